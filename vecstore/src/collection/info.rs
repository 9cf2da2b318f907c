//! Content and size of a collection.

use super::handle::Collection;
use super::open_files::OpenFiles;
use super::plan;
use super::state::SegmentEntry;
use crate::error::Error;
use crate::schema::Schema;
use io_core::{FileSystem, with_causes};
use serde::Serialize;
use std::collections::BTreeMap;

/// Content and size of a collection.
#[derive(Clone, Debug, Serialize)]
pub struct CollectionInfo {
    /// The schema.
    pub schema: Schema,
    /// Number of points.
    pub points: u64,
    /// The part of them in memory, protected by the log.
    pub points_in_memory: u64,
    /// The sequence number of the last write.
    pub seq: u64,
    /// Immutable segments.
    pub segments: Vec<SegmentSummary>,
    /// The most immutable segments at one time since it was opened.
    pub segments_peak: usize,
    /// Its open files.
    pub open_files: OpenFiles,
    /// Why it is read-only, if it is.
    pub read_only: Option<String>,
    /// Whether the thresholds of the options ask for optimizer work.
    pub optimization_due: bool,
    /// Why background optimization fails, if it does.
    pub background_error: Option<String>,
}

/// An immutable segment.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentSummary {
    /// The number in its name.
    pub number: u64,
    /// Number of points, including deleted ones.
    pub points: u64,
    /// Number of deleted points.
    pub deleted: u64,
    /// Memory in bytes, by the file it belongs to.
    pub memory_bytes: BTreeMap<&'static str, u64>,
    /// Length on disk in bytes, by file.
    pub disk_bytes: BTreeMap<String, u64>,
}

impl Collection {
    /// Content and size of the collection.
    ///
    /// # Errors
    /// The error that prevents listing directories.
    pub fn info(&self) -> Result<CollectionInfo, Error> {
        let shared = &self.shared;
        loop {
            let (version, segments_peak, seq, in_memory, large, read_only, background_error) = {
                let state = shared.state.read();
                let error = state.background_error.as_ref().map(|error| with_causes(error).to_string());
                let (in_memory, large) = (state.mutable.len() as u64, state.is_large(&shared.options));
                let (version, peak) = (state.version.clone(), state.segments_peak);
                (version, peak, state.seq, in_memory, large, state.read_only.clone(), error)
            };
            let segments: Result<Vec<_>, Error> =
                version.segments.iter().map(|entry| self.summary(entry)).collect();
            // A segment that was replaced meanwhile has lost files.
            let now = shared.state.read().version.clone();
            let is_there =
                |entry: &SegmentEntry| now.segments.iter().any(|now| now.data.number == entry.data.number);
            if !version.segments.iter().all(is_there) {
                continue;
            }
            let frozen: u64 =
                version.frozen.iter().map(|frozen| frozen.segment.len() as u64 - frozen.deleted.len()).sum();
            return Ok(CollectionInfo {
                schema: shared.schema.clone(),
                points: in_memory + version.points(),
                points_in_memory: in_memory + frozen,
                seq,
                segments: segments?,
                segments_peak,
                open_files: self.open_files(),
                read_only,
                optimization_due: large || plan::is_due(&version, &shared.options),
                background_error,
            });
        }
    }

    fn summary(&self, entry: &SegmentEntry) -> Result<SegmentSummary, Error> {
        let memory = entry.data.memory_bytes().into_iter().map(|(name, bytes)| (name, bytes as u64));
        let disk = self.shared.backend.directory().list(&entry.data.dir)?.into_iter();
        let disk = disk.map(|file| (file.name.to_string_lossy().into_owned(), file.len));
        Ok(SegmentSummary {
            number: entry.data.number,
            points: u64::from(entry.data.points),
            deleted: entry.deleted.len(),
            memory_bytes: memory.collect(),
            disk_bytes: disk.collect(),
        })
    }
}
