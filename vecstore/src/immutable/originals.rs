//! The original vectors of a segment, in memory or in their file.

use super::records::Records;
use crate::element::Vectors;
use crate::error::Error;
use io_core::{BackendInfo, ReadControl, ReadStats};
use std::sync::Arc;
use vecstore_format::ElementType;
use vecstore_quant::prefetch;

/// Vectors of one read when all are read.
const BATCH: usize = 4096;

/// Reads all vectors of a file of this element type and dimension into memory.
pub(crate) async fn pin(
    file: &Records,
    element: ElementType,
    dim: u32,
    points: u32,
) -> Result<Vectors, Error> {
    let mut vectors = Vectors::with_len(element, dim as usize, points as usize);
    let all: Vec<u32> = (0..points).collect();
    for batch in all.chunks(BATCH) {
        let sink = |index: usize, bytes: &[u8]| vectors.set(batch[index] as usize, bytes);
        file.read(batch, &ReadControl::default(), sink).await?;
    }
    Ok(vectors)
}

/// The vectors of a segment, for one core.
pub(crate) struct Originals {
    pub(super) file: Records,
    /// All vectors, if they are in memory.
    pub(super) pinned: Option<Arc<Vectors>>,
}

impl Originals {
    /// Reads vectors in one batch. It passes each, as it arrives, to `sink(index, bytes)`.
    pub(crate) async fn read(
        &self,
        points: &[u32],
        control: &ReadControl,
        mut sink: impl FnMut(usize, &[u8]),
    ) -> Result<ReadStats, Error> {
        let Some(vectors) = &self.pinned else { return self.file.read(points, control, sink).await };
        for (index, &point) in points.iter().enumerate() {
            if control.is_stopped() {
                return Err(Error::Stopped);
            }
            if let Some(&coming) = points.get(index + 1) {
                prefetch(vectors.bytes(coming as usize));
            }
            sink(index, vectors.bytes(point as usize));
        }
        Ok(ReadStats::default())
    }

    pub(crate) fn info(&self) -> &BackendInfo {
        self.file.info()
    }

    pub(crate) async fn close(&self) -> Result<(), Error> {
        self.file.close().await
    }
}
