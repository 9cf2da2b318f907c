//! Memory that threads reuse while they insert points.

use super::selection::Selection;
use crate::graph::search::SearchScratch;
use crate::pool::Candidate;
use std::sync::{Mutex, PoisonError};

/// The memory that one thread needs to insert points.
#[derive(Default)]
pub(super) struct BuildScratch {
    pub(super) search: SearchScratch,
    pub(super) selection: Selection,
    pub(super) candidates: Vec<Candidate>,
}

/// A pool of scratches. It grows to the number of threads that work at the same time.
#[derive(Default)]
pub(super) struct Scratches {
    free: Mutex<Vec<BuildScratch>>,
}

impl Scratches {
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut BuildScratch) -> R) -> R {
        let lock = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = lock().pop().unwrap_or_default();
        let result = work(&mut scratch);
        lock().push(scratch);
        result
    }
}
