//! The number of files that a collection may have open at once.

use super::handle::Collection;
use crate::immutable::segment::SegmentReader;
use serde::Serialize;

/// Descriptors of an executor, on any backend.
const EXECUTOR_FILES: u64 = 8;
/// Descriptors for the log, the lock, the manifest, listed directories, and a segment that is being built.
const OTHER_FILES: u64 = 32;

/// The number of files that a collection may have open at once, and the limit of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OpenFiles {
    /// The most descriptors that its threads have open at once. Each read in progress may hold the files of
    /// `segments_max + 1` segments. There are `reads_per_core` reads on each of `cores` threads, one for the
    /// writer, and one for the optimizer. The executors need some more. Reads usually see the same segments
    /// and share their files, which makes `reads_per_core` times fewer.
    ///
    /// Readers of the caller ([`Collection::reader`]) come on top. Each holds the files of the segments once
    /// for each of its reads in progress. Memory maps need no descriptor once a file is open.
    pub max: u64,
    /// The most descriptors that the process may have (`ulimit -n`), if the system tells it.
    pub limit: Option<u64>,
}

impl Collection {
    /// The number of files that the collection may have open at once, and the limit of the process.
    #[must_use]
    pub fn open_files(&self) -> OpenFiles {
        let options = &self.shared.options;
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let segments = number(options.segments_max).saturating_add(1);
        let segments = segments.max(number(self.shared.state.read().segments_peak));
        let writing: u64 = if options.read_only { 0 } else { 2 };
        let reads =
            number(options.cores).saturating_mul(number(options.reads_per_core)).saturating_add(writing);
        let files = SegmentReader::files(&self.shared.schema).saturating_mul(segments);
        let executors = number(options.cores).saturating_add(writing).saturating_mul(EXECUTOR_FILES);
        let max = files.saturating_mul(reads).saturating_add(executors).saturating_add(OTHER_FILES);
        OpenFiles { max, limit: limit() }
    }
}

#[cfg(target_os = "linux")]
fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(target_os = "linux"))]
fn limit() -> Option<u64> {
    None
}
