//! A fixed number of futures in one allocation. Each has a waker of its own, so that one completion costs one
//! poll.
//!
//! The only `unsafe` of this crate is here: pinning the elements of a boxed slice.

#![allow(unsafe_code)]

use atomic_waker::AtomicWaker;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// The slots that want to be polled, and the task to wake for them.
struct Ready {
    words: Box<[AtomicU64]>,
    parent: AtomicWaker,
}

struct SlotWaker {
    ready: Arc<Ready>,
    index: u32,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.mark(self.index);
        self.ready.parent.wake();
    }
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.parent.wake();
    }
}

impl Ready {
    fn mark(&self, index: u32) {
        self.words[index as usize / 64].fetch_or(1 << (index % 64), Ordering::AcqRel);
    }
}

/// The wakers of a set of slots, made once and used by one batch after another. A waker is reference counted,
/// so a waker for each read would be an allocation for each read.
pub(crate) struct SlotWakers {
    ready: Arc<Ready>,
    wakers: Vec<Waker>,
}

impl SlotWakers {
    pub(crate) fn new(slots: u32) -> Self {
        let words = (0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let ready = Arc::new(Ready { words, parent: AtomicWaker::new() });
        let wakers = (0..slots)
            .map(|index| Waker::from(Arc::new(SlotWaker { ready: Arc::clone(&ready), index })))
            .collect();
        Self { ready, wakers }
    }

    /// Wakes the task that the wakes of the slots are directed to.
    pub(crate) fn of_task(&self) -> Waker {
        Arc::clone(&self.ready).into()
    }

    /// Directs the wakes of the slots to this task.
    pub(crate) fn register(&self, parent: &Waker) {
        self.ready.parent.register(parent);
    }

    /// Calls `poll` for every slot that wants to be polled. Returns whether there was one.
    pub(crate) fn take_ready(&self, mut poll: impl FnMut(u32)) -> bool {
        let mut any = false;
        for (word, bits) in self.ready.words.iter().enumerate() {
            let mut bits = bits.swap(0, Ordering::AcqRel);
            any |= bits != 0;
            while bits != 0 {
                poll(word as u32 * 64 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
        any
    }

    pub(crate) fn mark_ready(&self, slot: u32) {
        self.ready.mark(slot);
    }

    pub(crate) fn waker(&self, slot: u32) -> &Waker {
        &self.wakers[slot as usize]
    }
}

/// The futures themselves.
pub(crate) struct Slots<F>(Pin<Box<[Option<F>]>>);

impl<F: Future> Slots<F> {
    pub(crate) fn new(slots: u32) -> Self {
        Self(Box::into_pin((0..slots).map(|_| None).collect::<Box<[_]>>()))
    }

    pub(crate) fn set(&mut self, slot: u32, future: F) {
        self.pinned(slot).set(Some(future));
    }

    /// Polls the future in `slot`, and drops a finished one in place. An empty slot is pending.
    ///
    /// So is a slot that only a larger batch had. Another thread may call its waker late, after the operation
    /// was seen to end.
    pub(crate) fn poll(&mut self, slot: u32, waker: &Waker) -> Poll<F::Output> {
        if slot as usize >= self.0.len() {
            return Poll::Pending;
        }
        let mut pinned = self.pinned(slot);
        let Some(future) = pinned.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let polled = future.poll(&mut Context::from_waker(waker));
        if polled.is_ready() {
            pinned.set(None);
        }
        polled
    }

    fn pinned(&mut self, slot: u32) -> Pin<&mut Option<F>> {
        // SAFETY: the slice is boxed and never resized, replaced or moved out of, so its elements do not
        // move. Only this function reaches them, and it hands them out pinned. They are dropped in place.
        unsafe { self.0.as_mut().map_unchecked_mut(|slots| &mut slots[slot as usize]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{Ready, ready};

    #[test]
    fn a_wake_that_comes_after_its_batch_is_taken_for_nothing() {
        let wakers = SlotWakers::new(8);
        let late = wakers.waker(7).clone();
        let mut slots = Slots::<Ready<u32>>::new(2);
        slots.set(1, ready(5));
        wakers.mark_ready(1);
        late.wake();
        let mut ended = Vec::new();
        assert!(wakers.take_ready(|slot| {
            if let Poll::Ready(value) = slots.poll(slot, wakers.waker(slot)) {
                ended.push((slot, value));
            }
        }));
        assert_eq!(ended, [(1, 5)]);
    }
}
