//! An open file, as operations carry it.

use crate::pool::Pool;
use io_core::{Lane, OpenOptions};
use std::fs::File;
use std::sync::Arc;

/// The handles and the operations of a file share it. The last one closes it.
///
/// It keeps its pool. So the threads do not end while an operation is in flight.
pub(crate) struct OpenFile {
    std: File,
    lane: Lane,
    direct: bool,
    _pool: Arc<Pool>,
}

impl OpenFile {
    pub(crate) fn new(std: File, pool: Arc<Pool>, options: &OpenOptions) -> Self {
        Self { std, lane: options.lane, direct: options.direct, _pool: pool }
    }

    pub(crate) fn std(&self) -> &File {
        &self.std
    }

    /// Whether a write ends only when its pages are on the disk.
    ///
    /// Otherwise the background would fill the page cache. One sync would then send all of it to the device,
    /// ahead of all reads.
    pub(crate) fn writes_back(&self) -> bool {
        self.lane == Lane::Background && !self.direct
    }
}
