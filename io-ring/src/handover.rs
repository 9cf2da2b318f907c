//! How operations get from any thread to the ring's: a lock-free stack, whose empty state also says whether the ring
//! sleeps. So handing in is one compare-and-swap, and who finds the ring asleep, and nobody else, has to wake it.
//!
//! ```text
//!  head:  AWAKE (null) ──push──> operation ──push──> operation ──> ...       push: "no need to wake"
//!           │    ^                      │
//!         sleep  └─────── take_all ─────┘   the ring takes all of it, and puts it into the order of arrival
//!           v
//!         ASLEEP ──push──> operation                                          push: "wake the ring"
//! ```

#![allow(unsafe_code)]

use crate::operation::{Operation, OperationFile, Running};
use crate::sync::{Arc, AtomicPtr};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::Ordering;

/// Empty, and the ring will look again before it sleeps.
const fn awake<F>() -> *mut Operation<F> {
    null_mut()
}

/// Empty, and the ring sleeps. No operation has this address: they are aligned.
const fn asleep<F>() -> *mut Operation<F> {
    without_provenance_mut(1)
}

/// From many threads to one.
pub(crate) struct Handover<F: OperationFile> {
    head: AtomicPtr<Operation<F>>,
}

impl<F: OperationFile> Handover<F> {
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(awake()) }
    }

    /// Hands an operation in. `true`: the ring sleeps, and the caller has to wake it.
    #[must_use]
    pub(crate) fn push(&self, operation: Running<F>) -> bool {
        let pushed = Arc::into_raw(operation.into_shared()).cast_mut();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let next = if head == asleep() { awake() } else { head };
            // SAFETY: `pushed` came from an Arc whose count this stack now owns, so it is alive.
            unsafe { &*pushed }.next.store(next, Ordering::Relaxed);
            // Release: the ring is to see the link, and what the operation says.
            match self.head.compare_exchange_weak(head, pushed, Ordering::Release, Ordering::Relaxed) {
                Ok(before) => return before == asleep(),
                Err(now) => head = now,
            }
        }
    }

    /// Takes everything that was handed in, oldest first. The ring is awake from here on.
    pub(crate) fn take_all(&self) -> Taken<F> {
        let newest = self.head.swap(awake(), Ordering::Acquire);
        let mut oldest_first = awake();
        let mut at = if newest == asleep() { awake() } else { newest };
        while !at.is_null() {
            // SAFETY: every operation of the chain is alive: the count its push gave away is still there.
            let operation = unsafe { &*at };
            let older = operation.next.load(Ordering::Relaxed);
            operation.next.store(oldest_first, Ordering::Relaxed);
            oldest_first = at;
            at = older;
        }
        Taken(oldest_first)
    }

    /// Says that the ring is about to sleep. `false`: something was handed in, so it must not.
    #[must_use]
    pub(crate) fn sleep(&self) -> bool {
        let slept = self.head.compare_exchange(awake(), asleep(), Ordering::Relaxed, Ordering::Relaxed);
        slept.is_ok()
    }
}

impl<F: OperationFile> Drop for Handover<F> {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}

/// Operations taken from the stack.
pub(crate) struct Taken<F: OperationFile>(*mut Operation<F>);

impl<F: OperationFile> Iterator for Taken<F> {
    type Item = Running<F>;

    fn next(&mut self) -> Option<Running<F>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: it is alive, as in `take_all`.
        let next = unsafe { &*self.0 }.next.load(Ordering::Relaxed);
        // SAFETY: it came from `Arc::into_raw` in `push`, and leaves the chain here, once.
        let operation = unsafe { Arc::from_raw(self.0) };
        self.0 = next;
        Some(Running::from_shared(operation))
    }
}

impl<F: OperationFile> Drop for Taken<F> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
