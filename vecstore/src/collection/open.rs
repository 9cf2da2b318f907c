//! Creating and opening: the lock, the manifest, segments, and what the logs hold that is not in segments yet.

use super::Shared;
use super::files::{
    FileName, LOCK, MANIFEST, MANIFEST_NEW, SNAPSHOT_NEW, log_path, parent, parse, parse_deleted,
    segment_path,
};
use super::manifest::Manifest;
use super::options::CollectionOptions;
use super::reader::CollectionReader;
use super::state::{SegmentEntry, SharedState, State, Version};
use crate::error::Error;
use crate::immutable::build::parse_payload;
use crate::immutable::deleted::load_deleted;
use crate::immutable::segment::SegmentData;
use crate::log::{LogEnd, LogOp, parse_log};
use crate::mutable::fields::keys_of_fields;
use crate::mutable::{MutableSegment, PreparedPoint};
use crate::pages::{Pages, PagesKind};
use crate::point::PointId;
use crate::schema::Schema;
use io_core::{
    BackendFactory, Directory, DirectoryLock, DynBackend, LockError, LockKind, OpenOptions, ReadControl,
    ReadStats,
};
use roaring::RoaringBitmap;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Writes that were read back from the log.
    pub writes_replayed: u64,
    /// Bytes at the ends of logs that were no whole record: of writes that were under way, never acknowledged as durable.
    pub torn_bytes: u64,
}

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

/// A log without the mark of a clean end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnclosedLog {
    pub(super) number: u64,
    /// Bytes of whole records and the header.
    pub(super) len: u64,
}

/// Creates the directory of a collection, or takes an empty one.
pub(super) fn create(directory: &dyn Directory, dir: &Path, schema: &Schema) -> Result<(), Error> {
    schema.check()?;
    if let Err(error) = directory.create_dir(dir) {
        // What an attempt that did not come to its end left behind is taken up.
        let ours = [LOCK, MANIFEST_NEW];
        match directory.list(dir) {
            Ok(entries) if entries.iter().all(|entry| ours.iter().any(|name| entry.name == *name)) => {}
            Ok(_) => return Err(Error::Exists { path: dir.to_owned() }),
            Err(_) => return Err(error.into()),
        }
    }
    let _lock = lock(directory, dir, false)?;
    // Somebody else may have been faster.
    match directory.read(&dir.join(MANIFEST)) {
        Ok(_) => return Err(Error::Exists { path: dir.to_owned() }),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    Manifest::new(schema.clone()).prepare(directory, dir)?;
    Manifest::replace(directory, dir)?;
    Ok(directory.sync_dir(parent(dir))?)
}

/// Locks a collection against others.
pub(super) fn lock(
    directory: &dyn Directory,
    dir: &Path,
    read_only: bool,
) -> Result<Box<dyn DirectoryLock>, Error> {
    let kind = if read_only { LockKind::Shared } else { LockKind::Exclusive };
    directory.lock(&dir.join(LOCK), kind, &format!("process {}", std::process::id())).map_err(|error| {
        match error {
            LockError::Directory(error) => error.into(),
            held @ LockError::Held { .. } => Error::InUse(held),
        }
    })
}

/// Loads a collection. Call it inside the backend's `run`.
pub(super) async fn load(
    backend: &DynBackend,
    dir: &Path,
    options: &CollectionOptions,
) -> Result<Loaded, Error> {
    let directory = backend.directory();
    // Without a manifest there is nothing to lock, and nothing to leave a lock file in.
    Manifest::read(&*directory, dir)?;
    let lock = lock(&*directory, dir, options.read_only)?;
    let manifest = Manifest::read(&*directory, dir)?;
    if !options.read_only {
        remove_leftovers(&*directory, dir, &manifest)?;
    }
    let mut segments = Vec::with_capacity(manifest.segments.len());
    let mut deleted_written = HashMap::new();
    for listed in &manifest.segments {
        let path = segment_path(dir, listed.number);
        let data = SegmentData::load(backend, &path, listed.number, &manifest.schema, &options.open).await?;
        let deleted = match listed.deleted {
            None => RoaringBitmap::new(),
            Some(number) => {
                let path = super::files::deleted_path(&path, number);
                let reader = backend.open(&path, &OpenOptions::default()).await?;
                let pages = Pages::open(reader, PagesKind::Deleted).await?;
                let deleted = load_deleted(&pages, data.points).await?;
                pages.close().await?;
                deleted
            }
        };
        deleted_written.insert(listed.number, deleted.len());
        segments.push(SegmentEntry { data: Arc::new(data), deleted: Arc::new(deleted) });
    }
    let mut replay = Replay::new(&manifest);
    let last = replay.read_logs(&*directory, dir, &manifest)?;
    let log_next = last.map_or(manifest.log_first, |last| last + 1);
    let Replay { mutable, touched, seq, report, unclosed, log_bytes } = replay;
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
        _lock: lock,
    });
    mark_replaced(&shared, touched).await?;
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

/// What the logs come to.
struct Replay {
    mutable: MutableSegment,
    /// Every point that a log puts or deletes.
    touched: BTreeSet<PointId>,
    seq: u64,
    report: OpenReport,
    unclosed: Vec<UnclosedLog>,
    log_bytes: u64,
}

impl Replay {
    fn new(manifest: &Manifest) -> Self {
        Self {
            mutable: MutableSegment::new(&manifest.schema),
            touched: BTreeSet::new(),
            seq: manifest.seq_first - 1,
            report: OpenReport::default(),
            unclosed: Vec::new(),
            log_bytes: 0,
        }
    }

    /// Reads all logs that are not done with, and returns the number of the last one.
    fn read_logs(
        &mut self,
        directory: &dyn Directory,
        dir: &Path,
        manifest: &Manifest,
    ) -> Result<Option<u64>, Error> {
        let names = directory.list(dir)?.into_iter().filter_map(|entry| parse(entry.name.to_str()?));
        let mut logs: Vec<u64> = names
            .filter_map(|name| match name {
                FileName::Log(number) if number >= manifest.log_first => Some(number),
                _ => None,
            })
            .collect();
        logs.sort_unstable();
        if manifest.lacks_log(logs.iter().copied()) {
            return Err(Error::log_lost(&log_path(dir, manifest.log_last)));
        }
        for &number in &logs {
            let path = log_path(dir, number);
            let begun = self.read_log(&path, number, &directory.read(&path)?, &manifest.schema)?;
            // The manifest names a log once its header is durable. An earlier one without may be of a failed attempt.
            if !begun && number == manifest.log_last {
                return Err(Error::log_lost(&path));
            }
        }
        Ok(logs.last().copied())
    }

    /// Reads a log; says whether it was ever begun.
    fn read_log(&mut self, path: &Path, number: u64, bytes: &[u8], schema: &Schema) -> Result<bool, Error> {
        self.log_bytes += bytes.len() as u64;
        let vector_bytes = schema.dim as usize * schema.element.bytes() as usize;
        let Some(log) = parse_log(path, bytes, vector_bytes)? else {
            self.report.torn_bytes += bytes.len() as u64;
            return Ok(false);
        };
        if log.header.number != number {
            let reason = format!("it says that it is log {}", log.header.number);
            return Err(Error::damaged(path, 0, reason));
        }
        if log.header.first_seq != self.seq + 1 {
            let reason = format!(
                "it begins with write {}, and the logs before it end with {}: there is one missing, or a part of one",
                log.header.first_seq, self.seq
            );
            return Err(Error::damaged(path, 0, reason));
        }
        for (seq, ops) in log.batches {
            for op in ops {
                self.apply(path, op, schema)?;
            }
            self.seq = seq;
            self.report.writes_replayed += 1;
        }
        let len = match log.end {
            LogEnd::Closed => return Ok(true),
            LogEnd::Open { len } => len,
            LogEnd::Torn { offset, bytes } => {
                self.report.torn_bytes += bytes;
                offset
            }
        };
        self.unclosed.push(UnclosedLog { number, len });
        Ok(true)
    }

    fn apply(&mut self, path: &Path, op: LogOp<'_>, schema: &Schema) -> Result<(), Error> {
        self.touched.insert(op.id());
        match op {
            LogOp::Delete { id } => {
                self.mutable.delete(id);
            }
            LogOp::Put { id, payload, vector } => {
                let damaged = |what: String| Error::damaged(path, None, format!("point {id}: {what}"));
                let parsed = parse_payload(payload)
                    .ok_or_else(|| damaged("its payload is no JSON object".to_owned()))?;
                let keys = keys_of_fields(&parsed, &schema.indexes).map_err(|(field, kind, wrong)| {
                    damaged(format!("{} in field {field}, which is indexed as {kind}", wrong.found))
                })?;
                self.mutable.put(PreparedPoint { id, vector: vector.into(), payload: payload.into(), keys });
            }
        }
        Ok(())
    }
}

/// Removes what a run that did not come to its end left behind: whatever has a name of ours and is not named by the
/// manifest.
fn remove_leftovers(directory: &dyn Directory, dir: &Path, manifest: &Manifest) -> Result<(), Error> {
    for entry in directory.list(dir)? {
        let path = dir.join(&entry.name);
        let Some(name) = entry.name.to_str() else { continue };
        match parse(name) {
            Some(FileName::Log(number)) if number < manifest.log_first => directory.remove_file(&path)?,
            Some(FileName::Log(_)) => {}
            Some(FileName::Segment(number)) => {
                let Some(segment) = manifest.segments.iter().find(|segment| segment.number == number) else {
                    directory.remove_dir_all(&path)?;
                    continue;
                };
                for file in directory.list(&path)? {
                    let deleted = file.name.to_str().and_then(parse_deleted);
                    if deleted.is_some_and(|number| Some(number) != segment.deleted) {
                        directory.remove_file(&path.join(file.name))?;
                    }
                }
            }
            None if name == MANIFEST_NEW => directory.remove_file(&path)?,
            None if name == SNAPSHOT_NEW => directory.remove_dir_all(&path)?,
            None => {}
        }
    }
    Ok(())
}
