//! The operations of one batch that are in flight: their futures, their entries, and the free slots.

use crate::slots::{SlotWakers, Slots};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Memory that outlives a batch and serves the next one. So a read allocates nothing.
pub(crate) struct SlotTable<T> {
    wakers: SlotWakers,
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> SlotTable<T> {
    pub(crate) fn new(slots: u32) -> Self {
        Self {
            wakers: SlotWakers::new(slots),
            entries: (0..slots).map(|_| None).collect(),
            free: Vec::with_capacity(slots as usize),
        }
    }
}

/// The futures of a batch in flight, each with its entry.
pub(crate) struct InFlight<F, T> {
    futures: Slots<F>,
    table: SlotTable<T>,
    slots: u32,
}

impl<F: Future, T> InFlight<F, T> {
    /// Room for `slots` operations. The table must have that many.
    pub(crate) fn new(mut table: SlotTable<T>, slots: u32) -> Self {
        debug_assert!(slots as usize <= table.entries.len());
        table.free.clear();
        table.free.extend((0..slots).rev());
        Self { futures: Slots::new(slots), table, slots }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.free.len() == self.slots as usize
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.table.free.is_empty()
    }

    /// A waker of the task that polls, which need not be known yet.
    pub(crate) fn waker(&self) -> Waker {
        self.table.wakers.of_task()
    }

    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.table.wakers.register(cx.waker());
    }

    /// Adds an operation. The next [`InFlight::poll_ready`] polls it for the first time.
    ///
    /// # Panics
    /// If there is no room.
    pub(crate) fn insert(&mut self, future: F, entry: T) {
        let slot = self.table.free.pop().expect("the caller looked for room");
        self.futures.set(slot, future);
        self.table.entries[slot as usize] = Some(entry);
        self.table.wakers.mark_ready(slot);
    }

    /// Polls each operation that was woken, and calls `done` for each that ended. An operation that `done`
    /// returns takes the same slot. Returns whether anything was polled.
    pub(crate) fn poll_ready(&mut self, mut done: impl FnMut(T, F::Output) -> Option<(F, T)>) -> bool {
        let Self { futures, table: SlotTable { wakers, entries, free }, .. } = self;
        wakers.take_ready(|slot| {
            let Poll::Ready(output) = futures.poll(slot, wakers.waker(slot)) else { return };
            // The slot is freed before `done` runs, because `done` calls the caller's sink, which may panic.
            free.push(slot);
            let entry = entries[slot as usize].take().expect("a future has an entry");
            if let Some((future, entry)) = done(entry, output) {
                free.pop();
                futures.set(slot, future);
                entries[slot as usize] = Some(entry);
                wakers.mark_ready(slot);
            }
        })
    }

    /// Makes the next [`InFlight::poll_ready`] poll all operations.
    pub(crate) fn mark_all_ready(&self) {
        for (slot, entry) in self.table.entries.iter().enumerate() {
            if entry.is_some() {
                self.table.wakers.mark_ready(slot as u32);
            }
        }
    }

    /// Waits for all operations in flight to end, and drops them.
    pub(crate) async fn drain(mut self) {
        // A panic of the sink ends `poll_ready` early. The wakes that it had taken but not used are lost.
        self.mark_all_ready();
        poll_fn(|cx| {
            self.register(cx);
            while self.poll_ready(|_, _| None) {}
            if self.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The table, for the next batch.
    pub(crate) fn into_table(self) -> SlotTable<T> {
        debug_assert!(self.is_empty());
        self.table
    }
}
