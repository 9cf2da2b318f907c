//! Places in the ring's table of registered buffers. Any thread may give one back.

use crossbeam_queue::ArrayQueue;
use io_core::backend::fork;
use std::sync::Arc;

/// The places that no buffer has.
pub(crate) struct FreePlaces {
    indices: ArrayQueue<u16>,
    generation: u64,
}

/// A buffer's place in the table. Dropping this frees the place.
pub(crate) struct Place {
    index: u16,
    free: Arc<FreePlaces>,
}

impl FreePlaces {
    /// `count` places, all free.
    pub(crate) fn new(count: u16) -> Arc<Self> {
        let indices = ArrayQueue::new(usize::from(count));
        (0..count).try_for_each(|index| indices.push(index)).expect("as much room as places");
        Arc::new(Self { indices, generation: fork::generation() })
    }

    /// The place that has been free longest.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        Some(Place { index: self.indices.pop()?, free: Arc::clone(self) })
    }
}

impl Place {
    pub(crate) fn index(&self) -> u16 {
        self.index
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After a fork the table is in the other process. A thread that stayed there may have been changing
        // the queue.
        if self.free.generation == fork::generation() {
            let _ = self.free.indices.push(self.index);
        }
    }
}
