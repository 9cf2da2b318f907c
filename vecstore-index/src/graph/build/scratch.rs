//! What threads need to insert points, used again.

use super::selection::Selection;
use crate::graph::pool::Candidate;
use crate::graph::search::SearchScratch;
use std::sync::{Mutex, PoisonError};

/// What a thread needs to insert points.
#[derive(Default)]
pub(super) struct BuildScratch {
    pub(super) search: SearchScratch,
    pub(super) selection: Selection,
    pub(super) candidates: Vec<Candidate>,
}

/// Scratches that are used again: as many as threads worked at the same time.
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
