//! Creating and opening: the lock, the manifest, segments, and what the logs hold that is not in segments
//! yet.
//!
//! | module | concern |
//! |---|---|
//! | `place` | the lock, and whether the path leads to what is locked |
//! | `replay` | reading the logs |
//! | `in_doubt` | keeping a log before its end is cut off |
//! | `leftovers` | what the manifest does not name |
//! | `report` | what was found |

mod in_doubt;
mod leftovers;
mod place;
mod replay;
mod report;

use super::counters::Counts;
use super::events;
use super::files::{deleted_path, segment_path};
use super::manifest::Manifest;
use super::options::CollectionOptions;
use super::reader::CollectionReader;
use super::shared::Shared;
use super::state::{SegmentEntry, SharedState, State, Version};
use crate::error::Error;
use crate::immutable::deleted::load_deleted;
use crate::immutable::segment::SegmentData;
use crate::point::PointId;
use in_doubt::keep_logs_in_doubt;
use io_core::{DynBackend, FileSystem, OpenOptions, ReadControl, ReadStats};
use leftovers::remove_leftovers;
use replay::Replay;
use roaring::RoaringBitmap;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use vecstore_format::pages::{Pages, PagesKind};

pub(super) use leftovers::{check_done_logs, check_leftovers};
pub(super) use place::{Lock, begin, check_place, check_segment_dir, claim, lock};
pub(super) use replay::{UnclosedLog, check_op};
pub use report::{CutOff, OpenReport};

/// A collection as it was found on disk.
pub(super) struct Loaded {
    pub(super) shared: Arc<Shared>,
    pub(super) manifest: Manifest,
    /// The number of the next log.
    pub(super) log_next: u64,
    /// Bytes of the logs that protect the mutable segment.
    pub(super) log_bytes: u64,
    /// The logs that protect the mutable segment and have no mark of a clean end.
    pub(super) unclosed_logs: Vec<UnclosedLog>,
    /// How many points of each segment the manifest says are deleted.
    pub(super) deleted_written: HashMap<u64, u64>,
}

/// Loads a collection, which may be locked already. Call it inside the backend's `run`.
pub(super) async fn load(
    backend: &DynBackend,
    dir: &Path,
    options: &CollectionOptions,
    held: Option<Lock>,
) -> Result<Loaded, Error> {
    let directory = backend.directory();
    // Without a manifest it is no collection, and gets no lock file.
    Manifest::read(&*directory, dir)?;
    let lock = held.map_or_else(|| lock(&*directory, dir, options.read_only), Ok)?;
    let mut manifest = Manifest::read(&*directory, dir)?;
    for segment in &manifest.segments {
        check_segment_dir(&*directory, &segment_path(dir, segment.number))?;
    }
    check_done_logs(backend, dir, &manifest).await?;
    let mut segments = Vec::with_capacity(manifest.segments.len());
    let mut deleted_written = HashMap::new();
    for listed in &manifest.segments {
        let path = segment_path(dir, listed.number);
        let which = (listed.number, listed.id);
        let data = SegmentData::load(backend, &path, which, &manifest.schema, &options.open).await?;
        let deleted = match listed.deleted {
            None => RoaringBitmap::new(),
            Some(number) => {
                let path = deleted_path(&path, number);
                let reader = backend.open(&path, &OpenOptions::default()).await?;
                let pages = Pages::open(reader, PagesKind::Deleted, &listed.expected_deleted()).await?;
                let deleted = load_deleted(&pages, data.points).await?;
                pages.close().await?;
                deleted
            }
        };
        deleted_written.insert(listed.number, deleted.len());
        segments.push(SegmentEntry { data: Arc::new(data), deleted: Arc::new(deleted) });
    }
    let mut replay = Replay::new(&manifest);
    replay.read_logs(&directory, dir, &manifest)?;
    if !options.read_only {
        check_place(&*lock, dir)?;
        keep_logs_in_doubt(&*directory, dir, &replay.report)?;
    }
    let Replay { mutable, touched, seq, mut report, unclosed, log_bytes, begun } = replay;
    check_leftovers(backend, dir, &manifest, seq + 1).await?;
    manifest.adopt(begun);
    let log_next = manifest.logs.last().map_or(manifest.log_first, |log| log.number + 1);
    // Comes last, because a wrong manifest would make needed files look like leftovers.
    if !options.read_only {
        check_place(&*lock, dir)?;
        report.not_removed = remove_leftovers(&*directory, dir, &mut manifest)?;
    }
    let segments_peak = segments.len();
    let version = Version { frozen: Vec::new(), segments };
    let state = State { mutable, version, segments_peak, seq, read_only: None, background_error: None };
    let shared = Arc::new(Shared {
        dir: dir.to_owned(),
        schema: manifest.schema.clone(),
        backend: backend.clone(),
        options: options.clone(),
        state: SharedState::new(state),
        replaced: Mutex::default(),
        report,
        lock,
        counts: Counts::default(),
        #[cfg(feature = "histograms")]
        meter: io_core::Meter::new(),
    });
    mark_replaced(&shared, touched).await?;
    events::opened(&shared, segments_peak);
    Ok(Loaded { shared, manifest, log_next, log_bytes, unclosed_logs: unclosed, deleted_written })
}

/// Marks points of segments that the log has newer versions of, or deletes.
async fn mark_replaced(shared: &Arc<Shared>, touched: BTreeSet<PointId>) -> Result<(), Error> {
    let ids: Vec<PointId> = touched.into_iter().collect();
    if ids.is_empty() {
        return Ok(());
    }
    let reader = CollectionReader::new(Arc::clone(shared));
    let (_, _, entries) = reader.view(|_| Ok(())).await?;
    let mut stats = ReadStats::default();
    for (index, entry) in entries.iter().enumerate() {
        let found = entry.reader.find(&ids, &ReadControl::default(), &mut stats).await?;
        let mut state = shared.state.write();
        let deleted = Arc::make_mut(&mut state.version.segments[index].deleted);
        deleted.extend(found.into_iter().flatten());
    }
    drop(entries);
    reader.close().await
}
