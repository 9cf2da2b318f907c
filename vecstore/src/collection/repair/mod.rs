//! Repair: what is intact of a damaged collection goes into a new one, and what is lost is said.
//!
//! Codes, graph and indexes are made anew, so damage to them loses nothing. A point is lost when its id is damaged wherever
//! it is kept, when its vector is, or when a damaged part of the log held it; where only its payload is damaged it is kept
//! without one. What a checksum shows to be a single flipped bit is put back.

mod records;
mod segment;

use super::files::{FileName, MANIFEST, log_path, parse, parse_deleted, segment_path};
use super::manifest::{Manifest, ManifestSegment};
use super::open::lock;
use super::options::CollectionOptions;
use super::staging::{Staging, check_target};
use super::{Collection, Durability, Selection};
use crate::checked_json;
use crate::element;
use crate::error::Error;
use crate::immutable::build::parse_payload;
use crate::immutable::segment::{SEGMENT_JSON, SegmentInfo};
use crate::log::{LogOp, SalvagedLog, salvage_log};
use crate::point::{Point, PointId};
use crate::schema::Schema;
use io_core::{BackendFactory, Directory, DynBackend, ReadControl, StopFlag};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a repair saved and what it could not.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Points in the new collection.
    pub points: u64,
    /// Points of segments whose id or vector is damaged. Of one whose id is, nobody can tell whether the log has it anew.
    pub points_lost: u64,
    /// Payloads that are damaged; their points have none now.
    pub payloads_lost: u64,
    /// Writes of the log, of one or many points each, that are damaged or missing: what they put or deleted is as it was
    /// before them.
    pub writes_lost: u64,
    /// Whether more may be lost than is counted here: the notes say where nothing tells how much there was.
    pub more_lost: bool,
    /// What was wrong, and what came of it.
    pub notes: Vec<String>,
}

/// Salvages a collection into a new one. Call it inside the backend's `run`.
pub(super) async fn repair(
    backend: &DynBackend,
    dir: &Path,
    target: &Path,
    schema: Option<&Schema>,
    stop: &StopFlag,
) -> Result<RepairReport, Error> {
    let directory = backend.directory();
    let names = directory.list(dir)?;
    let mut names = names.iter().filter_map(|entry| entry.name.to_str());
    if !names.any(|name| name == MANIFEST || parse(name).is_some()) {
        return Err(Error::NotACollection { path: dir.to_owned() });
    }
    let _lock = lock(&*directory, dir, true)?;
    let mut report = RepairReport::default();
    let (manifest, due) = match unless_unread(read_json(
        &*directory,
        &dir.join(MANIFEST),
        Manifest::decode,
        &mut report.notes,
    ))? {
        Ok(manifest) => (manifest.clone(), Some(manifest.seq_first)),
        Err(error) => (without_manifest(&*directory, dir, schema, error, &mut report)?, None),
    };
    check_target(&*directory, dir, target)?;
    let (staging, lock) = Staging::begin(&*directory, target, "repair")?;
    // The new collection takes it for itself.
    drop(lock);
    let report = save(backend, dir, &staging.dir, &manifest, due, stop, report).await;
    staging.end(report)
}

/// Saves everything into a new collection, durably.
async fn save(
    backend: &DynBackend,
    dir: &Path,
    target: &Path,
    manifest: &Manifest,
    due: Option<u64>,
    stop: &StopFlag,
    report: RepairReport,
) -> Result<RepairReport, Error> {
    let options = CollectionOptions { cores: 1, ..CollectionOptions::default() };
    let new = Collection::create(backend, target, &manifest.schema, &options)?;
    let mut salvage = Salvage {
        backend,
        directory: backend.directory(),
        schema: manifest.schema.clone(),
        control: ReadControl::with_stop(stop.clone()),
        new: &new,
        report,
    };
    let saved = salvage.all(dir, manifest, due).await;
    let report = salvage.report;
    let closed = new.close();
    saved.and(closed).map(|()| report)
}

/// What is damaged is done without; what only could not be read is not given up, and ends the repair.
fn unless_unread<T>(result: Result<T, Error>) -> Result<Result<T, Error>, Error> {
    match result {
        Err(error) if !error.is_damage() => Err(error),
        read => Ok(read),
    }
}

/// Reads a JSON file, with a flipped bit put back if that is what is wrong with it.
fn read_json<T>(
    directory: &dyn Directory,
    path: &Path,
    decode: impl Fn(&Path, &[u8]) -> Result<T, Error>,
    notes: &mut Vec<String>,
) -> Result<T, Error> {
    let mut bytes = directory.read(path)?;
    decode(path, &bytes).or_else(|error| {
        if !checked_json::mend(&mut bytes) {
            return Err(error);
        }
        let decoded = decode(path, &bytes)?;
        notes.push(format!("{}: a flipped bit was put back", path.display()));
        Ok(decoded)
    })
}

/// Makes do without a manifest: every segment, and every log.
fn without_manifest(
    directory: &dyn Directory,
    dir: &Path,
    given: Option<&Schema>,
    error: Error,
    report: &mut RepairReport,
) -> Result<Manifest, Error> {
    let mut segments = Vec::new();
    let mut schema: Option<Schema> = None;
    for entry in directory.list(dir)? {
        if let Some(FileName::Segment(number)) = entry.name.to_str().and_then(parse) {
            let path = segment_path(dir, number);
            // What is wrong with it is told when the segment's turn comes.
            let info = read_json(directory, &path.join(SEGMENT_JSON), SegmentInfo::decode, &mut Vec::new());
            let info = unless_unread(info)?;
            schema = info.ok().map(|info| info.schema).or(schema);
            let files = directory.list(&path)?;
            let deleted = files.iter().filter_map(|file| parse_deleted(file.name.to_str()?)).max();
            segments.push(ManifestSegment { number, deleted });
        }
    }
    let schema = schema.or_else(|| given.cloned());
    let note = format!(
        "{error}: every segment that is there was taken, also one that a newer one may have replaced, with its newest file of deleted points"
    );
    let no_schema = || Error::NoSchema { path: dir.to_owned(), source: Box::new(error) };
    let mut manifest = Manifest::new(schema.ok_or_else(no_schema)?);
    report.notes.push(note);
    report.more_lost = true;
    manifest.log_first = 0;
    manifest.segments = segments;
    Ok(manifest)
}

struct Salvage<'a> {
    backend: &'a DynBackend,
    directory: Arc<dyn Directory>,
    schema: Schema,
    control: ReadControl,
    new: &'a Collection,
    report: RepairReport,
}

impl Salvage<'_> {
    /// Saves everything; `due` is the sequence number that the logs begin with, if that is known.
    async fn all(&mut self, dir: &Path, manifest: &Manifest, due: Option<u64>) -> Result<(), Error> {
        let mut logs = self.read_logs(dir, manifest)?;
        if manifest.lacks_log(logs.iter().map(|(number, ..)| *number)) {
            self.report.notes.push(Error::log_lost(&log_path(dir, manifest.log_last)).to_string());
            self.report.more_lost = true;
        }
        let batches = self.writes(&mut logs, due);
        // What the logs put or delete is not taken from segments: there it is older.
        let newer: BTreeSet<PointId> = batches.iter().flatten().map(LogOp::id).collect();
        for segment in &manifest.segments {
            self.segment(&segment_path(dir, segment.number), *segment, &newer).await?;
        }
        for ops in batches {
            self.replay(ops)?;
        }
        self.new.sync().wait()?;
        self.report.points = self.new.count(None).wait()?;
        Ok(())
    }

    fn put(&mut self, points: Vec<Point>) -> Result<(), Error> {
        self.new.upsert(points, Durability::Written).wait().map(drop)
    }

    /// The logs and their numbers; of those that cannot be read at all, no bytes.
    fn read_logs(&mut self, dir: &Path, manifest: &Manifest) -> Result<Vec<(u64, PathBuf, Vec<u8>)>, Error> {
        let names = self.directory.list(dir)?.into_iter().filter_map(|entry| parse(entry.name.to_str()?));
        let numbers = names.filter_map(|name| match name {
            FileName::Log(number) if number >= manifest.log_first => Some(number),
            _ => None,
        });
        let log = |number| {
            let path = log_path(dir, number);
            let read = unless_unread(self.directory.read(&path).map_err(Error::from))?;
            let bytes = read.unwrap_or_else(|error| {
                self.report.notes.push(error.to_string());
                Vec::new()
            });
            Ok((number, path, bytes))
        };
        numbers.map(log).collect()
    }

    /// What is left of the logs, in order, and counts what is not.
    fn writes<'a>(
        &mut self,
        logs: &'a mut [(u64, PathBuf, Vec<u8>)],
        mut due: Option<u64>,
    ) -> Vec<Vec<LogOp<'a>>> {
        let vector_bytes = self.schema.dim as usize * self.schema.element.bytes() as usize;
        let mut salvaged = Vec::new();
        for (number, path, bytes) in logs {
            let mut log = salvage_log(bytes, vector_bytes);
            let notes = std::mem::take(&mut log.notes);
            self.report.notes.extend(notes.into_iter().map(|note| format!("{}: {note}", path.display())));
            let own = log.header.map_or(*number, |header| header.number);
            if own != *number {
                self.report.notes.push(format!("{} is log {own}, and was taken as that", path.display()));
            }
            salvaged.push((own, log));
        }
        salvaged.sort_by_key(|(number, _)| *number);
        let (mut batches, mut lost, mut end_lost) = (Vec::new(), 0u64, false);
        for (_, log) in salvaged {
            let SalvagedLog { header, batches: own, next_seq, end_lost: own_end_lost, .. } = log;
            // The next number that is known tells how many writes are missing before it.
            let mut reach = |seq: u64, next: u64| {
                let at = due.unwrap_or(seq);
                (lost, end_lost) = (seq.saturating_sub(at).saturating_add(lost), false);
                due = Some(next.max(at));
                seq >= at
            };
            if let Some(header) = header {
                reach(header.first_seq, header.first_seq);
            }
            batches.extend(
                own.into_iter().filter(|(seq, _)| reach(*seq, seq.saturating_add(1))).map(|(_, ops)| ops),
            );
            if let Some(seq) = next_seq {
                reach(seq, seq);
            }
            end_lost |= own_end_lost;
        }
        self.report.more_lost |= end_lost;
        self.report.writes_lost = lost;
        batches
    }

    fn replay(&mut self, ops: Vec<LogOp<'_>>) -> Result<(), Error> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for op in ops {
            match op {
                LogOp::Delete { id } => deletes.push(id),
                LogOp::Put { id, payload, vector } => {
                    let payload = parse_payload(payload);
                    self.report.payloads_lost += u64::from(payload.is_none());
                    let vector = element::decode(self.schema.element, vector);
                    puts.push(Point { id, vector, payload: payload.unwrap_or_default() });
                }
            }
        }
        self.put(puts)?;
        self.new.delete(Selection::Ids(deletes), Durability::Written).wait().map(drop)
    }
}
