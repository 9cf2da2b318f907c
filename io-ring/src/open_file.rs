//! An open file, as operations carry it.

use crate::descriptor::Descriptor;
use crate::operation::{Idle, OperationFile};
use crate::ring::Ring;
use io_core::backend::SharedPool;
use io_core::{Lane, OpenOptions};
use std::fs::File;
use std::sync::Arc;

/// The handles and the operations of a file share it.
///
/// It keeps its ring. So a ring does not end while an operation is in flight.
pub(crate) struct OpenFile {
    pub(crate) descriptor: Descriptor,
    pub(crate) lane: Lane,
    pub(crate) direct: bool,
    ring: Arc<Ring<Self>>,
}

impl OpenFile {
    pub(crate) fn new(file: File, ring: Arc<Ring<Self>>, options: &OpenOptions) -> Arc<Self> {
        let descriptor = Descriptor::new(file);
        Arc::new(Self { descriptor, lane: options.lane, direct: options.direct, ring })
    }

    pub(crate) fn ring(&self) -> &Ring<Self> {
        &self.ring
    }

    pub(crate) fn pool(&self) -> &SharedPool<Idle<Self>> {
        self.ring.pool()
    }

    /// Whether a write ends only when its pages are on the disk.
    ///
    /// Otherwise the background would fill the page cache. One sync would then send all of it to the device,
    /// ahead of all reads.
    pub(crate) fn writes_back(&self) -> bool {
        self.lane == Lane::Background && !self.direct
    }
}

impl OperationFile for OpenFile {
    fn take_back(&self, idle: Idle<Self>) {
        self.pool().put(idle);
    }
}
