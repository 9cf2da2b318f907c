//! Repair saves the intact part of a damaged collection into a new one, and reports the rest as lost.
//!
//! Codes, graph and indexes are rebuilt, so damage to them loses nothing. A point is lost in three cases: its
//! id is damaged wherever it is kept, its vector is damaged, or a damaged part of the log held it. A point
//! with a damaged payload is kept without a payload. Intact vectors and payloads that a collection would
//! refuse count as damaged. No older version of such a point comes back. A single flipped bit, which a
//! checksum reveals, is put back.
//!
//! | module | concern |
//! |---|---|
//! | `without_manifest` | what stands in for a lost manifest |
//! | `segment`, `records` | saving the points of a segment |
//! | `logs` | saving writes of the logs |
//! | `points`, `refused` | writing points into the new collection, which may refuse some |

mod logs;
mod points;
mod records;
mod refused;
mod segment;
#[cfg(test)]
mod tests;
mod without_manifest;

use super::files::{MANIFEST, parse, segment_path};
use super::handle::Collection;
use super::manifest::Manifest;
use super::open::{check_done_logs, check_leftovers, lock};
use super::options::CollectionOptions;
use super::staging::{Staging, check_target};
use crate::error::Error;
use crate::point::PointId;
use crate::schema::Schema;
use io_core::{Directory, DynBackend, FileSystem, ReadControl, StopFlag, with_causes};
use refused::Refused;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use vecstore_format::checked_json;
use vecstore_format::log::LogOp;
use without_manifest::without_manifest;

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
        control: ReadControl::new().with_stop(stop.clone()),
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
        self.points_refused.note("lost points", &mut self.report.notes);
        self.payloads_refused.note("lost payloads", &mut self.report.notes);
        self.new.sync().wait()?;
        self.report.points = self.new.count(None).wait()?;
        Ok(())
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.control.is_stopped() { Err(Error::Stopped) } else { Ok(()) }
    }
}
