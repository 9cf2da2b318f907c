//! Creating and opening: the lock, the manifest, segments, and what the logs hold that is not in segments
//! yet.

use super::files::{
    FileName, LOCK, MANIFEST, MANIFEST_NEW, NUMBER_END, SNAPSHOT_NEW, TORN_NEW, log_path, parent, parse,
    parse_deleted, segment_path, torn_path,
};
use super::manifest::{Manifest, ManifestLog};
use super::options::CollectionOptions;
use super::reader::CollectionReader;
use super::shared::Shared;
use super::state::{SegmentEntry, SharedState, State, Version};
use crate::element;
use crate::error::Error;
use crate::field::Key;
use crate::field::keys_of_fields;
use crate::immutable::deleted::{deleted_seq_next, load_deleted};
use crate::immutable::segment::{SEGMENT_JSON, SegmentData, SegmentInfo};
use crate::mutable::{MutableSegment, PreparedPoint};
use crate::point::PointId;
use crate::point::parse_payload;
use crate::schema::Schema;
use io_core::{
    BackendFactory, Directory, DirectoryError, DirectoryLock, DynBackend, LockError, LockKind, OpenOptions,
    ReadControl, ReadRequest, ReadStats, StopFlag, VectorReader, with_causes,
};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use vecstore_format::log::{FIRST_RECORD_BYTES, LogBytes, LogEnd, LogOp, LogReader, first_record};
use vecstore_format::pages::{Pages, PagesKind};

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Writes that were read back from the log.
    pub writes_replayed: u64,
    /// Ends of logs that were no whole record, and are left out.
    pub cut_off: Vec<CutOff>,
    /// What earlier runs left behind and opening for writing could not remove, each with the reason. Each
    /// says what it hinders.
    pub not_removed: Vec<String>,
}

/// The end of a log that was no whole record. Opening for writing cuts it off; opening for reading changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// The log.
    pub log: PathBuf,
    /// Where in it the end begins.
    pub offset: u64,
    /// Its bytes, less zeros at the end.
    pub bytes: u64,
    /// `None` if sectors are missing in it, as in a write that was under way when the power failed: what it
    /// held was not acknowledged as durable. Else nobody knows, and opening for writing keeps the whole log
    /// here, as it was.
    pub copy: Option<PathBuf>,
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, offset, bytes, copy } = self;
        write!(f, "{}: {bytes} bytes at its end, from offset {offset} on, are left out: ", log.display())?;
        match copy {
            None => write!(f, "a write was interrupted there, before it was synced"),
            Some(copy) => write!(
                f,
                "a write was interrupted there, or they are damaged; opening for writing keeps a copy of the log in {}",
                copy.display()
            ),
        }
    }
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

/// Who has a collection open.
pub(super) type Lock = Arc<dyn DirectoryLock>;

/// Creates the directory of a collection, or takes an empty one, and locks it.
pub(super) fn claim(directory: &dyn Directory, dir: &Path) -> Result<Lock, Error> {
    if let Err(error) = directory.create_dir(dir) {
        // What an attempt that did not come to its end left behind is taken up.
        let ours = [LOCK, MANIFEST_NEW];
        match directory.list(dir) {
            Ok(entries) if entries.iter().all(|entry| ours.iter().any(|name| entry.name == *name)) => {}
            Ok(_) => return Err(Error::Exists { path: dir.to_owned() }),
            Err(_) => return Err(error.into()),
        }
    }
    let lock = lock(directory, dir, false)?;
    // Somebody else may have been faster.
    match directory.read(&dir.join(MANIFEST)) {
        Ok(_) => Err(Error::Exists { path: dir.to_owned() }),
        Err(error) if error.is_not_found() => Ok(lock),
        Err(error) => Err(error.into()),
    }
}

/// Makes a collection of an empty directory that is locked.
pub(super) fn begin(directory: &dyn Directory, dir: &Path, schema: &Schema) -> Result<(), Error> {
    schema.check()?;
    Manifest::new(schema.clone()).prepare(directory, dir)?;
    Manifest::replace(directory, dir)?;
    Ok(directory.sync_dir(parent(dir))?)
}

/// Locks a collection against others.
pub(super) fn lock(directory: &dyn Directory, dir: &Path, read_only: bool) -> Result<Lock, Error> {
    let kind = if read_only { LockKind::Shared } else { LockKind::Exclusive };
    match directory.lock(&dir.join(LOCK), kind) {
        Ok(lock) => Ok(Arc::from(lock)),
        Err(LockError::Directory(error)) => Err(error.into()),
        Err(held @ LockError::Held { .. }) => Err(Error::InUse(held)),
    }
}

/// Fails where the collection's path leads to something else than what is locked. Its files are found by that
/// path.
pub(super) fn check_place(lock: &dyn DirectoryLock, dir: &Path) -> Result<(), Error> {
    if lock.is_in_place()? { Ok(()) } else { Err(Error::Displaced { collection: dir.to_owned() }) }
}

/// Refuses a link in the place of a segment's directory: through it, files of somebody else would be removed.
pub(super) fn check_segment_dir(directory: &dyn Directory, dir: &Path) -> Result<(), Error> {
    match directory.entry(dir) {
        Ok(entry) if !entry.is_dir => Err(Error::damaged(dir, None, "it is no directory")),
        // Whoever opens its files says what is missing.
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Loads a collection, which may be locked already. Call it inside the backend's `run`.
pub(super) async fn load(
    backend: &DynBackend,
    dir: &Path,
    options: &CollectionOptions,
    held: Option<Lock>,
) -> Result<Loaded, Error> {
    let directory = backend.directory();
    // Without a manifest there is nothing to lock, and nothing to leave a lock file in.
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
                let path = super::files::deleted_path(&path, number);
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
    // Only now: a manifest that is not the right one names too little.
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
    /// The logs that were read.
    begun: Vec<ManifestLog>,
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
            begun: Vec::new(),
        }
    }

    /// Reads all logs that are not done with.
    fn read_logs(
        &mut self,
        directory: &Arc<dyn Directory>,
        dir: &Path,
        manifest: &Manifest,
    ) -> Result<(), Error> {
        let mut logs = list_logs(&**directory, dir)?;
        logs.retain(|&number, _| number >= manifest.log_first);
        if let Some(lost) = manifest.begun().find(|number| !logs.contains_key(number)) {
            return Err(Error::log_lost(&log_path(dir, lost)));
        }
        for (&number, &len) in &logs {
            let path = log_path(dir, number);
            let bytes = LogBytes::open(directory, &path, len);
            let begun = self.read_log(&path, number, bytes, manifest)?;
            // The manifest names a log once its header is durable. Another one without may be of a failed
            // attempt.
            if !begun && manifest.begun().any(|begun| begun == number) {
                return Err(Error::log_lost(&path));
            }
        }
        Ok(())
    }

    /// Reads a log; says whether it was ever begun.
    fn read_log(
        &mut self,
        path: &Path,
        number: u64,
        bytes: LogBytes<'_>,
        manifest: &Manifest,
    ) -> Result<bool, Error> {
        let schema = &manifest.schema;
        let file_bytes = bytes.len();
        self.log_bytes += file_bytes;
        let vector_bytes = schema.dim as usize * schema.element.bytes() as usize;
        let Some(mut log) = LogReader::begin(bytes, vector_bytes)? else {
            if file_bytes > 0 {
                let cut_off = CutOff { log: path.to_owned(), offset: 0, bytes: file_bytes, copy: None };
                self.report.cut_off.push(cut_off);
            }
            return Ok(false);
        };
        let header = log.header();
        if !manifest.admit(path, number, &header, log.has_batches()?)? {
            return Ok(false);
        }
        if number >= NUMBER_END {
            let reason = format!("no log has a number above {}", NUMBER_END - 1);
            return Err(Error::damaged(path, None, reason));
        }
        self.begun.push(ManifestLog { number, salt: header.salt });
        if header.first_seq != self.seq + 1 {
            let reason = format!(
                "it begins with write {}, and the logs before it end with {}: there is one missing, or a part of one",
                header.first_seq, self.seq
            );
            return Err(Error::damaged(path, 0, reason));
        }
        while let Some((seq, ops)) = log.next_batch()? {
            for op in ops {
                self.apply(path, op, schema)?;
            }
            self.seq = seq;
            self.report.writes_replayed += 1;
        }
        let len = match log.end() {
            LogEnd::Closed => return Ok(true),
            LogEnd::Open { len } => len,
            LogEnd::Torn { offset, bytes, in_doubt } => {
                let copy = in_doubt.then(|| torn_path(parent(path), number));
                self.report.cut_off.push(CutOff { log: path.to_owned(), offset, bytes, copy });
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
                let keys = check_op(path, &op, schema)?;
                self.mutable.put(PreparedPoint { id, vector: vector.into(), payload: payload.into(), keys });
            }
        }
        Ok(())
    }
}

/// Checks what a log does to a point, as it was checked when it was written. Returns the values of the
/// indexed fields.
pub(super) fn check_op(path: &Path, op: &LogOp<'_>, schema: &Schema) -> Result<Vec<Vec<Key>>, Error> {
    let LogOp::Put { id, payload, vector } = op else { return Ok(Vec::new()) };
    let damaged = |what: String| Error::damaged(path, None, format!("point {id}: {what}"));
    let components = element::decode(schema.element, vector).into_iter().enumerate();
    if let Some((component, value)) = components.into_iter().find(|(_, value)| !value.is_finite()) {
        return Err(damaged(format!("component {component} is {value}, which is not finite")));
    }
    let payload =
        parse_payload(payload).ok_or_else(|| damaged("its payload is no JSON object".to_owned()))?;
    keys_of_fields(&payload, &schema.indexes).map_err(|(field, kind, wrong)| {
        damaged(format!("{} in field {field}, which is indexed as {kind}", wrong.found))
    })
}

/// The numbers of all logs, and their lengths in bytes.
fn list_logs(directory: &dyn Directory, dir: &Path) -> Result<BTreeMap<u64, u64>, Error> {
    let mut logs = BTreeMap::new();
    for entry in directory.list(dir)? {
        if let Some(FileName::Log(number)) = entry.name.to_str().and_then(parse) {
            logs.insert(number, entry.len);
        }
    }
    Ok(logs)
}

/// Checks that the logs which the manifest calls done with are: opening for writing removes them.
pub(super) async fn check_done_logs(
    backend: &DynBackend,
    dir: &Path,
    manifest: &Manifest,
) -> Result<(), Error> {
    let mut logs = list_logs(&*backend.directory(), dir)?;
    logs.retain(|&number, _| number < manifest.log_first);
    for number in logs.into_keys() {
        let path = log_path(dir, number);
        let reader = backend.open(&path, &OpenOptions::default()).await?;
        let len = reader.file().len.min(FIRST_RECORD_BYTES as u64) as u32;
        let mut first = None;
        let sink = |_, bytes: &[u8]| {
            first = first_record(bytes);
            ControlFlow::Continue(())
        };
        reader.read_vectors(&[ReadRequest::new(0, len)], &ReadControl::default(), sink).await?;
        let closed = reader.close().await;
        closed.map_err(|error| DirectoryError::new("close", &path, error))?;
        if let Some(seq) = first.filter(|&seq| seq >= manifest.seq_first) {
            let reason = format!(
                "it calls log {number} done with (log_first is {}), which begins with write {seq}, and only writes before {} are in segments",
                manifest.log_first, manifest.seq_first
            );
            return Err(Error::damaged(&dir.join(MANIFEST), None, reason));
        }
    }
    Ok(())
}

/// Checks that no leftover holds a write from `seq_next` on, where the logs end. A leftover is of a run that
/// crashed, and the named files hold all that was written. If a leftover holds more, the manifest is an older
/// one.
pub(super) async fn check_leftovers(
    backend: &DynBackend,
    dir: &Path,
    manifest: &Manifest,
    seq_next: u64,
) -> Result<(), Error> {
    let directory = backend.directory();
    let newer = |path: PathBuf, own: u64| {
        let reason = format!(
            "it does not name {}, which holds writes up to {}, and what it names ends with write {}: it is an older one, or that is not of this collection",
            path.display(),
            own - 1,
            seq_next - 1
        );
        Error::damaged(&dir.join(MANIFEST), None, reason)
    };
    for entry in directory.list(dir)? {
        let Some(FileName::Segment(number)) = entry.name.to_str().and_then(parse) else { continue };
        let path = dir.join(&entry.name);
        let named = manifest.segments.iter().find(|segment| segment.number == number);
        let Some(named) = named else {
            let json = path.join(SEGMENT_JSON);
            // One that is damaged or not there is of a segment whose building did not come to its end.
            let info = directory.read(&json).ok().and_then(|bytes| SegmentInfo::decode(&json, &bytes).ok());
            if let Some(info) = info.filter(|info| info.seq_next > seq_next) {
                return Err(newer(path, info.seq_next));
            }
            continue;
        };
        for file in directory.list(&path)? {
            let deleted = file.name.to_str().and_then(parse_deleted);
            if deleted.is_none() || deleted == named.deleted {
                continue;
            }
            let path = path.join(file.name);
            let reader = backend.open(&path, &OpenOptions::default()).await?;
            let Ok(pages) = Pages::open_any(reader, PagesKind::Deleted).await else { continue };
            let own = deleted_seq_next(&pages).await.ok().flatten();
            pages.close().await?;
            if let Some(own) = own.filter(|&own| own > seq_next) {
                return Err(newer(path, own));
            }
        }
    }
    Ok(())
}

/// Keeps logs as they are whose ends are in doubt, before these are cut off. Nobody removes the copies: they
/// may hold the only trace of an acknowledged write.
fn keep_logs_in_doubt(directory: &dyn Directory, dir: &Path, report: &OpenReport) -> Result<(), Error> {
    for cut_off in &report.cut_off {
        let Some(copy) = &cut_off.copy else { continue };
        match directory.read_at(copy, 0, 0) {
            // The log has only become shorter since.
            Ok(_) => continue,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let new = dir.join(TORN_NEW);
        // Of an opening that did not come so far.
        match directory.remove_file(&new) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        let copied =
            directory.copy(&cut_off.log, &new, &StopFlag::new()).and_then(|()| directory.rename(&new, copy));
        if let Err(error) = copied {
            // What somebody else has put there meanwhile is not ours.
            if error.source.kind() != ErrorKind::AlreadyExists {
                let _ = directory.remove_file(&new);
            }
            return Err(error.into());
        }
    }
    // Also those of an opening that did not come so far.
    if report.cut_off.iter().any(|cut_off| cut_off.copy.is_some()) {
        directory.sync_dir(dir)?;
    }
    Ok(())
}

/// Removes what an interrupted run left behind: files and segments with names of ours that the manifest does
/// not list. The report lists what could not be removed. The number of such a leftover is never used again.
fn remove_leftovers(
    directory: &dyn Directory,
    dir: &Path,
    manifest: &mut Manifest,
) -> Result<Vec<String>, Error> {
    // Without the place of the next manifest no write would come to its end.
    let new = dir.join(MANIFEST_NEW);
    match directory.remove_file(&new) {
        Err(source) if !source.is_not_found() => return Err(Error::InTheWay { path: new, source }),
        _ => {}
    }
    let (mut not_removed, mut number_next) = (Vec::new(), manifest.number_next);
    let mut told = |removed: Result<(), DirectoryError>, number: Option<u64>, hinders: &str| {
        let Err(error) = removed else { return };
        not_removed
            .push(format!("{}: an earlier run left it, and {hinders}; remove it", with_causes(&error)));
        // No other one is given.
        let number = number.filter(|&number| number < NUMBER_END);
        number_next = number_next.max(number.map_or(0, |number| number + 1));
    };
    let nothing = "it does no harm";
    for entry in directory.list(dir)? {
        let path = dir.join(&entry.name);
        let Some(name) = entry.name.to_str() else { continue };
        match parse(name) {
            // It is done with, or was never begun.
            Some(FileName::Log(number)) if manifest.logs.iter().all(|log| log.number != number) => {
                told(directory.remove_file(&path), None, nothing);
            }
            Some(FileName::Log(_) | FileName::Torn(_)) => {}
            Some(FileName::Segment(number)) => {
                let Some(segment) = manifest.segments.iter().find(|segment| segment.number == number) else {
                    told(directory.remove_dir_all(&path), Some(number), nothing);
                    continue;
                };
                for file in directory.list(&path)? {
                    let deleted = file.name.to_str().and_then(parse_deleted);
                    if deleted.is_some() && deleted != segment.deleted {
                        told(directory.remove_file(&path.join(file.name)), deleted, nothing);
                    }
                }
            }
            None if name == TORN_NEW => {
                let hinders = "opening fails as long as it is there and the end of a log is in doubt";
                told(directory.remove_file(&path), None, hinders);
            }
            None if name == SNAPSHOT_NEW => {
                told(directory.remove_dir_all(&path), None, "no snapshot is made as long as it is there");
            }
            None => {}
        }
    }
    manifest.number_next = number_next;
    Ok(not_removed)
}
