//! Repair saves the intact part of a damaged collection into a new one, and reports the rest as lost.
//!
//! Codes, graph and indexes are rebuilt, so damage to them loses nothing. A point is lost in three cases: its
//! id is damaged wherever it is kept, its vector is damaged, or a damaged part of the log held it. A point
//! with a damaged payload is kept without a payload. Intact vectors and payloads that a collection would
//! refuse count as damaged. No older version of such a point comes back. A single flipped bit, which a
//! checksum reveals, is put back.

mod records;
mod refused;
mod segment;
#[cfg(test)]
mod tests;

use super::files::{FileName, MANIFEST, log_path, parse, parse_deleted, segment_path, torn_path};
use super::handle::Collection;
use super::manifest::{Manifest, ManifestSegment};
use super::open::{check_done_logs, check_leftovers, lock};
use super::options::CollectionOptions;
use super::prepare::{BatchSize, prepare_point};
use super::request::{Durability, Selection};
use super::staging::{Staging, check_target};
use crate::element;
use crate::error::Error;
use crate::immutable::segment::{SEGMENT_JSON, SegmentInfo};
use crate::mutable::PreparedPoint;
use crate::point::parse_payload;
use crate::point::{Payload, Point, PointId};
use crate::schema::Schema;
use io_core::{BackendFactory, Directory, DynBackend, ReadControl, StopFlag, with_causes};
use refused::Refused;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vecstore_format::checked_json;
use vecstore_format::log::{LogBytes, LogOp, SalvagedBatch, SalvagedLog, salvage_log};

/// What a repair saved and lost.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Points in the new collection.
    pub points: u64,
    /// Points of segments with a damaged id or vector, and points whose last vector a collection would
    /// refuse. No older version of the latter is kept. A point with a damaged id counts as lost, although the
    /// log may hold a newer version.
    pub points_lost: u64,
    /// Payloads that are damaged, or that a collection would refuse. Their points have no payload now.
    pub payloads_lost: u64,
    /// Damaged or missing writes of the log, of one or many points each. Their points are as before these
    /// writes.
    pub writes_lost: u64,
    /// Whether more may be lost than is counted here. The notes say where the number of writes is unknown,
    /// which deleted points may be back, and which vectors may have changed.
    pub more_lost: bool,
    /// What was wrong, and what repair did about it.
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
    let read = read_json(&*directory, &dir.join(MANIFEST), Manifest::decode, &mut report.notes);
    let (manifest, due) = match unless_unread(read)? {
        Ok(manifest) => match unless_unread(check_done_logs(backend, dir, &manifest).await)? {
            Ok(()) => (manifest.clone(), Some(manifest.seq_first)),
            Err(error) => (without_manifest(&*directory, dir, schema, error, &mut report)?, None),
        },
        Err(error) => (without_manifest(&*directory, dir, schema, error, &mut report)?, None),
    };
    check_target(&*directory, dir, target)?;
    let staging = Staging::begin(&*directory, target, "repair")?;
    let report = save(backend, dir, &staging, &manifest, due, stop, report).await;
    staging.end(report)
}

/// Saves everything into a new collection, durably.
async fn save(
    backend: &DynBackend,
    dir: &Path,
    staging: &Staging<'_>,
    manifest: &Manifest,
    due: Option<u64>,
    stop: &StopFlag,
    report: RepairReport,
) -> Result<RepairReport, Error> {
    let options = CollectionOptions { cores: 1, ..CollectionOptions::default() };
    let new = Collection::begin(backend, &staging.dir, &manifest.schema, &options, staging.lock.clone())?;
    let mut salvage = Salvage {
        backend,
        directory: backend.directory(),
        schema: manifest.schema.clone(),
        control: ReadControl::with_stop(stop.clone()),
        new: &new,
        is_manifest_known: due.is_some(),
        points_refused: Refused::default(),
        payloads_refused: Refused::default(),
        report,
    };
    let saved = salvage.all(dir, manifest, due).await;
    let report = salvage.report;
    let closed = new.close();
    saved.and(closed).map(|()| report)
}

/// Passes damage on to the caller, who works around it. An error of reading ends the repair, because the data
/// may be intact.
fn unless_unread<T>(result: Result<T, Error>) -> Result<Result<T, Error>, Error> {
    match result {
        Err(error) if !error.is_damage() => Err(error),
        read => Ok(read),
    }
}

/// Reads a JSON file. Puts back a flipped bit if that makes it valid.
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

/// A saved point.
struct SavedPoint {
    point: Point,
    /// Why a collection would refuse its payload, if it lost its payload.
    payload_refused: Option<String>,
}

/// A log, and the batches of it that count.
type Batches = (SalvagedLog<'static>, Vec<SalvagedBatch>);

/// Replaces a lost manifest by a list of every segment and every log.
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
            // Its errors are reported when the segment is saved.
            let info = read_json(directory, &path.join(SEGMENT_JSON), SegmentInfo::decode, &mut Vec::new());
            let info = unless_unread(info)?;
            schema = info.ok().map(|info| info.schema).or(schema);
            let files = directory.list(&path)?;
            let deleted = files.iter().filter_map(|file| parse_deleted(file.name.to_str()?)).max();
            segments.push(ManifestSegment { number, id: None, deleted, deleted_salt: None });
        }
    }
    let schema = schema.or_else(|| given.cloned());
    let note = format!(
        "{}: every segment that is there was taken, also one that a newer one may have replaced, with its newest file of deleted points",
        with_causes(&error)
    );
    let no_schema = || Error::NoSchema { path: dir.to_owned(), source: Box::new(error) };
    let mut manifest = Manifest::new(schema.ok_or_else(no_schema)?);
    report.notes.push(note);
    report.more_lost = true;
    // Accepts any log.
    (manifest.id, manifest.log_first) = (None, 0);
    manifest.segments = segments;
    Ok(manifest)
}

struct Salvage<'a> {
    backend: &'a DynBackend,
    directory: Arc<dyn Directory>,
    schema: Schema,
    control: ReadControl,
    new: &'a Collection,
    /// Whether the manifest, and so the content of the collection, is known.
    is_manifest_known: bool,
    /// Points whose last vector or payload a collection would refuse.
    points_refused: Refused,
    payloads_refused: Refused,
    report: RepairReport,
}

impl Salvage<'_> {
    /// Saves everything. `due` is the first sequence number of the logs, if known.
    async fn all(&mut self, dir: &Path, manifest: &Manifest, due: Option<u64>) -> Result<(), Error> {
        let logs = self.find_logs(dir, manifest)?;
        let (mut writes, seq_next) = self.writes(dir, &logs, manifest, due)?;
        if let Some(seq_next) = seq_next.filter(|_| self.is_manifest_known)
            && let Err(error) = unless_unread(check_leftovers(self.backend, dir, manifest, seq_next).await)?
        {
            self.report.notes.push(with_causes(&error).to_string());
            self.report.more_lost = true;
        }
        // Points that the logs put or delete are not taken from segments, where they are older.
        let mut newer: BTreeSet<PointId> = BTreeSet::new();
        for (log, batches) in &mut writes {
            for &batch in &*batches {
                self.check_stop()?;
                newer.extend(log.points(batch)?.iter().map(LogOp::id));
            }
            log.release();
        }
        for segment in &manifest.segments {
            self.segment(&segment_path(dir, segment.number), *segment, &newer).await?;
        }
        for (mut log, batches) in writes {
            for batch in batches {
                self.check_stop()?;
                self.replay(log.points(batch)?)?;
            }
        }
        self.report.points_lost += self.points_refused.count();
        self.report.payloads_lost += self.payloads_refused.count();
        self.points_refused.note("points are lost", &mut self.report.notes);
        self.payloads_refused.note("points have lost their payloads", &mut self.report.notes);
        self.new.sync().wait()?;
        self.report.points = self.new.count(None).wait()?;
        Ok(())
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.control.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Writes the valid points in order. For the others, it deletes older versions.
    fn put(&mut self, points: Vec<SavedPoint>) -> Result<(), Error> {
        let (mut puts, mut ids, mut size) = (Vec::new(), BTreeSet::new(), BatchSize::default());
        let mut gone: BTreeSet<PointId> = BTreeSet::new();
        for point in points {
            let id = point.point.id;
            let prepared = self.prepare(point);
            // If an id occurs twice, the last point counts.
            let is_due = match &prepared {
                Some(point) => ids.contains(&id) || size.add(point).is_err(),
                None => ids.contains(&id),
            };
            if is_due {
                self.new.put(std::mem::take(&mut puts), Durability::Written).wait()?;
                (ids, size) = (BTreeSet::new(), BatchSize::default());
                prepared.as_ref().map_or(Ok(()), |point| size.add(point))?;
            }
            match prepared {
                Some(point) => {
                    gone.remove(&id);
                    ids.insert(id);
                    puts.push(point);
                }
                None => drop(gone.insert(id)),
            }
        }
        if !puts.is_empty() {
            self.new.put(puts, Durability::Written).wait()?;
        }
        self.delete(gone.into_iter().collect())
    }

    /// Checks a point. If only its payload is refused, returns it without one. `None` if its vector is
    /// refused.
    fn prepare(&mut self, SavedPoint { mut point, payload_refused }: SavedPoint) -> Option<PreparedPoint> {
        // Earlier faults of the point do not matter, because this version replaces it.
        self.forget(point.id);
        let mut payload_refused = payload_refused;
        let prepared = prepare_point(&self.schema, &point).or_else(|refused| {
            payload_refused = Some(refused.to_string());
            point.payload = Payload::new();
            prepare_point(&self.schema, &point)
        });
        match prepared {
            Ok(prepared) => {
                if let Some(reason) = payload_refused {
                    self.payloads_refused.add(point.id, reason);
                }
                Some(prepared)
            }
            Err(refused) => {
                self.points_refused.add(point.id, refused.to_string());
                None
            }
        }
    }

    fn forget(&mut self, id: PointId) {
        self.points_refused.remove(id);
        self.payloads_refused.remove(id);
    }

    fn delete(&self, ids: Vec<PointId>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        self.new.delete(Selection::Ids(ids), Durability::Written).wait().map(drop)
    }

    /// The numbers and lengths of the logs. Notes which copies of earlier logs exist.
    fn find_logs(&mut self, dir: &Path, manifest: &Manifest) -> Result<Vec<(u64, u64)>, Error> {
        let mut logs = Vec::new();
        for entry in self.directory.list(dir)? {
            match entry.name.to_str().and_then(parse) {
                Some(FileName::Log(number)) if number >= manifest.log_first => logs.push((number, entry.len)),
                Some(FileName::Torn(number)) => {
                    let what = "what was left out of a log when it was opened was not taken over";
                    self.report.notes.push(format!("{}: {what}", torn_path(dir, number).display()));
                    self.report.more_lost = true;
                }
                _ => {}
            }
        }
        Ok(logs)
    }

    /// The remains of the logs, in order: the batches of each that count, and the number of the next write.
    /// Counts the lost writes.
    fn writes(
        &mut self,
        dir: &Path,
        logs: &[(u64, u64)],
        manifest: &Manifest,
        mut due: Option<u64>,
    ) -> Result<(Vec<Batches>, Option<u64>), Error> {
        let vector_bytes = self.schema.dim as usize * self.schema.element.bytes() as usize;
        let begun: Vec<u64> = manifest.begun().collect();
        let mut salvaged: Vec<(u64, PathBuf, SalvagedLog<'static>)> = Vec::new();
        for &(number, len) in logs {
            self.check_stop()?;
            let path = log_path(dir, number);
            let open = |len| salvage_log(LogBytes::open(&self.directory, &path, len), vector_bytes);
            // An unreadable log counts as empty.
            let mut log = match unless_unread(open(len).map_err(Error::from))? {
                Ok(log) => log,
                Err(error) => {
                    self.report.notes.push(with_causes(&error).to_string());
                    open(0)?
                }
            };
            let salt = log.header.map(|header| header.salt).or(log.salt);
            let own = match manifest.id {
                None => log.header.map_or(number, |header| header.number),
                Some(_) => match manifest.logs.iter().find(|log| Some(log.salt) == salt) {
                    Some(log) => log.number,
                    // A log that was created but never begun is not worth a note.
                    None if log.batches.is_empty() && !begun.contains(&number) => continue,
                    None if log.batches.is_empty() && log.header.is_none() => number,
                    None => {
                        let what =
                            log.header.map_or("a log that lost its header".to_owned(), |own| own.to_string());
                        let note = "not one of the logs of this collection, and was left out";
                        self.report.notes.push(format!("{} is {what}, {note}", path.display()));
                        self.report.more_lost = true;
                        continue;
                    }
                },
            };
            let notes = std::mem::take(&mut log.notes);
            self.report.notes.extend(notes.into_iter().map(|note| format!("{}: {note}", path.display())));
            if own != number {
                self.report.notes.push(format!("{} is log {own}, and was taken as that", path.display()));
            }
            salvaged.push((own, path, log));
        }
        salvaged.sort_by_key(|(number, ..)| *number);
        // The next log tells how many writes a missing log held. Nothing tells it for the last log.
        let is_lost = |number: &&u64| !salvaged.iter().any(|(own, ..)| own == *number);
        let lost: Vec<String> = begun
            .iter()
            .filter(is_lost)
            .map(|&number| Error::log_lost(&log_path(dir, number)).to_string())
            .collect();
        self.report.notes.extend(lost);
        self.report.more_lost |= begun.last().is_some_and(|last| is_lost(&last));
        // Segments hold the writes that the manifest calls finished, unless the manifest is wrong. Replaying
        // them is harmless, because all later writes follow.
        let first = salvaged.iter().filter_map(|(.., log)| log.first_seq()).min();
        if let Some((first, seq_first)) = first.zip(due).filter(|(first, seq_first)| first < seq_first) {
            let what = "which it calls done with, are taken from its logs";
            let path = dir.join(MANIFEST);
            self.report.notes.push(format!(
                "{}: its seq_first is {seq_first}; the writes from {first} on, {what}",
                path.display()
            ));
            due = Some(first);
        }
        let (mut writes, mut lost, mut end_lost) = (Vec::new(), 0u64, false);
        let last = salvaged.last().filter(|(.., log)| !log.is_closed && !log.end_lost);
        // For every other log, the next one shows whether writes are missing.
        if let Some((_, path, _)) = last {
            let what = "it was not closed: if zeros have replaced its last writes, nothing shows it";
            self.report.notes.push(format!("{}: {what}", path.display()));
        }
        for (_, path, log) in salvaged {
            // The next known number shows how many writes are missing before it.
            let mut reach = |seq: u64, next: u64| {
                let at = due.unwrap_or(seq);
                (lost, end_lost) = (seq.saturating_sub(at).saturating_add(lost), false);
                due = Some(next.max(at));
                seq >= at
            };
            if let Some(header) = log.header {
                reach(header.first_seq, header.first_seq);
            }
            let own = log.batches.iter().copied();
            let batches: Vec<SalvagedBatch> =
                own.filter(|batch| reach(batch.seq, batch.seq.saturating_add(1))).collect();
            let repeated = log.batches.len() - batches.len();
            if repeated > 0 {
                let what = "have numbers of writes before them, and were left out";
                self.report.notes.push(format!("{}: {repeated} of its writes {what}", path.display()));
                self.report.more_lost = true;
            }
            if let Some(seq) = log.next_seq {
                reach(seq, seq);
            }
            end_lost |= log.end_lost;
            writes.push((log, batches));
        }
        self.report.more_lost |= end_lost;
        self.report.writes_lost = lost;
        Ok((writes, due))
    }

    fn replay(&mut self, ops: Vec<LogOp<'_>>) -> Result<(), Error> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for op in ops {
            match op {
                LogOp::Delete { id } => {
                    self.put(std::mem::take(&mut puts))?;
                    self.forget(id);
                    deletes.push(id);
                }
                LogOp::Put { id, payload, vector } => {
                    self.delete(std::mem::take(&mut deletes))?;
                    let payload = parse_payload(payload);
                    let what = || format!("point {id}: its payload is no JSON object");
                    let payload_refused = payload.is_none().then(what);
                    let vector = element::decode(self.schema.element, vector);
                    let point = Point { id, vector, payload: payload.unwrap_or_default() };
                    puts.push(SavedPoint { point, payload_refused });
                }
            }
        }
        self.put(puts)?;
        self.delete(deletes)
    }
}
