//! Spans and events of reads, for the feature `tracing`. Without it, nothing here does anything.
//!
//! docs/reference/observability.md lists the names and fields, which are stable.

use crate::{BackendInfo, FileInfo, ReadError, ReadOutcome, ReadStats};
use std::io;
#[cfg(feature = "tracing")]
use tracing::Instrument;

#[cfg(feature = "tracing")]
const TARGET: &str = "io_core::read";

/// Carries out a batch in a `tracing` span of its own. An event at the end says what the batch cost.
///
/// [`PagedReader`](crate::backend::PagedReader) does so. A reader that needs no plan calls it itself. The
/// span is entered while the batch is polled. A batch that is dropped has a span, but no event at its end.
///
/// Without the feature `tracing`, this is `batch`.
pub fn trace_batch<F>(
    file: &FileInfo,
    info: &BackendInfo,
    requests: usize,
    bytes_wanted: u64,
    batch: F,
) -> impl Future<Output = F::Output> + use<F>
where
    F: Future<Output = Result<ReadOutcome, ReadError>>,
{
    #[cfg(feature = "tracing")]
    let batch = {
        let (file, backend) = (file.path.display(), info.backend);
        let span = tracing::debug_span!(target: TARGET, "batch", %file, backend, requests, bytes_wanted);
        async move {
            let result = batch.instrument(span.clone()).await;
            span.in_scope(|| batch_ended(&result));
            result
        }
    };
    #[cfg(not(feature = "tracing"))]
    let _ = (file, info, requests, bytes_wanted);
    batch
}

#[cfg(feature = "tracing")]
fn batch_ended(result: &Result<ReadOutcome, ReadError>) {
    match result {
        Ok(ReadOutcome { delivered, end, stats }) => {
            let ReadStats { reads, bytes_read, merged, duplicates, .. } = stats;
            tracing::debug!(
                name: "batch_ended", target: TARGET,
                delivered, ?end, reads, bytes_read, merged, duplicates, "a batch has ended"
            );
        }
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = error;
            tracing::debug!(name: "batch_failed", target: TARGET, error, "a batch has failed");
        }
    }
}

/// The `tracing` span of a session. Without the feature `tracing`, it is empty.
///
/// The session of a [`PagedReader`](crate::backend::PagedReader) has one. Other readers make their own.
#[derive(Debug)]
pub struct SessionSpan {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl SessionSpan {
    /// Opens the span.
    #[must_use]
    pub fn new(file: &FileInfo, info: &BackendInfo) -> Self {
        #[cfg(feature = "tracing")]
        let (file, backend) = (file.path.display(), info.backend);
        #[cfg(not(feature = "tracing"))]
        let _ = (file, info);
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::debug_span!(target: TARGET, "session", %file, backend),
        }
    }

    /// Does some work of the session within the span.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        return self.span.in_scope(work);
        #[cfg(not(feature = "tracing"))]
        work()
    }

    /// Says what the session has cost, at its end.
    pub fn ended(&self, delivered: usize, stats: &ReadStats) {
        #[cfg(feature = "tracing")]
        self.span.in_scope(|| {
            let ReadStats { reads, bytes_wanted, bytes_read, merged, duplicates } = stats;
            tracing::debug!(
                name: "session_ended", target: TARGET,
                delivered, bytes_wanted, reads, bytes_read, merged, duplicates, "a session has ended"
            );
        });
        #[cfg(not(feature = "tracing"))]
        let _ = (delivered, stats);
    }
}

/// A physical read has returned fewer bytes than the file has there.
pub(crate) fn short_read(offset: u64, len: u32, bytes: usize) {
    #[cfg(feature = "tracing")]
    tracing::debug!(name: "short_read", target: TARGET, offset, len, bytes, "a read was short");
    #[cfg(not(feature = "tracing"))]
    let _ = (offset, len, bytes);
}

/// A physical read has failed, and may be repeated.
pub(crate) fn read_failed(offset: u64, len: u32, error: &io::Error, repeated: bool) {
    #[cfg(feature = "tracing")]
    {
        let error: &(dyn std::error::Error + 'static) = error;
        tracing::debug!(name: "read_failed", target: TARGET, offset, len, error, repeated, "a read has failed");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (offset, len, error, repeated);
}
