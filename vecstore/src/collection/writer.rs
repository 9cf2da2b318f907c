//! The writer: one thread that all changes of a collection go through, one after the other.
//!
//! ```text
//! upsert, delete, ... ──> group ──> log: one write, one sync ──> state, under its lock ──> acknowledgements
//!                                                                  │ large enough: frozen, and the optimizer told
//! optimizer ──────────> install: deletions written, manifest replaced, state changed, old files removed
//! ```
//!
//! Many writers share one sync: whatever has come in while the last group was made durable is the next group.

use super::files::{NUMBER_END, log_path};
use super::install::Installation;
use super::manifest::{Manifest, ManifestLog};
use super::open::{Loaded, UnclosedLog};
use super::pending::Reply;
use super::prepare::{BatchSize, encode_batch, prepare_payload};
use super::reader::CollectionReader;
use super::request::{Durability, PayloadChange, RecordParts, Selection, WriteSummary};
use super::state::{FrozenEntry, State};
use super::{Shared, optimizer, plan, snapshot};
use crate::error::Error;
use crate::mutable::{MutableSegment, PreparedPoint};
use crate::point::{Payload, PointId};
use crate::threads::Jobs;
use async_channel::Sender;
use futures_util::future::{Either, select};
use io_core::{BackendFactory, ReadControl, ReadStats, StopFlag, with_causes};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vecstore_format::log::{GROUP_BYTES_MAX, LogWriter};

/// Writes that share one sync.
const GROUP_MAX: usize = 1024;
/// Time between attempts of an optimizer that fails.
const RETRY: Duration = Duration::from_secs(10);
/// Points and bytes in memory and bytes of its log, in multiples of what is sealed, that writes wait at.
const FULL: usize = 4;
/// Logs that protect the mutable segment; more than this, of many short runs, are sealed away.
const LOGS_MAX: u64 = 16;

/// What has the numbers of segments, and of files of deleted points.
pub(super) const SEGMENTS: &str = "segments";

/// Something to be written.
pub(super) struct WriteJob {
    pub(super) change: Change,
    pub(super) durability: Durability,
    pub(super) reply: Reply<WriteSummary>,
}

pub(super) enum Change {
    /// Checked and encoded by whoever sent it.
    Batch {
        puts: Vec<PreparedPoint>,
        deletes: Vec<PointId>,
        body: Option<Vec<u8>>,
    },
    /// What depends on what is there.
    Delete(Selection),
    Payload(Selection, PayloadChange),
}

/// What is not a write.
pub(super) enum ControlJob {
    /// A write from a thread of a collection, which may be what makes room: it does not wait for room.
    Write(WriteJob),
    Sync(Reply<()>),
    /// Sync, and freeze what is mutable if the thresholds ask for it.
    Settle(Reply<()>),
    /// Seal what is mutable, if there is anything; says whether there was.
    Freeze(Reply<bool>),
    /// Give a number to a segment to be built.
    Number(Reply<u64>),
    Install(Box<Installation>, Reply<()>),
    /// Make a copy of the collection in a directory that does not exist.
    Snapshot(PathBuf, StopFlag, Reply<()>),
    /// Look again whether writes have to wait.
    Wake,
}

/// The writer's own part of a collection.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) manifest: Manifest,
    pub(super) reader: CollectionReader,
    log: Option<LogWriter>,
    /// The number of the next log.
    log_next: u64,
    /// Logs of an earlier run that did not come to a clean end. They must be durable before a new one is begun.
    unclosed_logs: Vec<UnclosedLog>,
    /// Bytes of the logs that protect the mutable segment, the current one not counted.
    ended_log_bytes: u64,
    /// How many points of each segment the manifest says are deleted.
    pub(super) deleted_written: HashMap<u64, u64>,
    optimizer: Sender<optimizer::Job>,
    /// Raised when the collection is being closed.
    closing: StopFlag,
    /// When the optimizer, having failed, is to try again.
    retry_at: Option<Instant>,
}

impl Writer {
    pub(super) fn new(loaded: Loaded, optimizer: Sender<optimizer::Job>, closing: StopFlag) -> Self {
        let Loaded { shared, manifest, log_next, log_bytes, unclosed_logs, deleted_written } = loaded;
        let reader = CollectionReader::new(Arc::clone(&shared));
        let mut writer = Self {
            shared,
            manifest,
            reader,
            log: None,
            log_next,
            unclosed_logs,
            ended_log_bytes: log_bytes,
            deleted_written,
            optimizer,
            closing,
            retry_at: None,
        };
        // Torn ends go now, so that they are not taken for damage later. What fails is tried again by the first write.
        let _ = writer.rewrite_earlier_logs();
        writer
    }

    /// Runs until the collection is closed. Call it inside the backend's `run`.
    pub(super) async fn run(
        mut self,
        writes: &Jobs<WriteJob>,
        control: &Jobs<ControlJob>,
    ) -> Result<(), Error> {
        self.ask_optimizer().await;
        loop {
            let job = if self.must_wait() {
                Either::Left(control.recv().await)
            } else {
                match select(pin!(control.recv()), pin!(writes.recv())).await {
                    Either::Left((job, _)) => Either::Left(job),
                    Either::Right((Ok(job), _)) => Either::Right(job),
                    // It is being closed. What is not a write comes first.
                    Either::Right((Err(_), _)) => Either::Left(control.recv().await),
                }
            };
            match job {
                Either::Left(Ok(job)) => self.control(job).await,
                Either::Left(Err(_)) => break,
                Either::Right(first) => self.write_group(first, Some(writes)).await,
            }
        }
        // Writes that were sent before are still to be done.
        while let Ok(first) = writes.recv().await {
            self.write_group(first, Some(writes)).await;
        }
        self.close().await
    }

    /// Whether writes have to wait for the optimizer, so that memory stays bounded.
    fn must_wait(&self) -> bool {
        let state = self.shared.state.read();
        !self.closing.is_stopped() && self.is_full(&state) && self.optimizer_failure(&state).is_none()
    }

    /// Whether the mutable segment, or its log, is several times as large as it should be, since the one before is not
    /// sealed yet.
    fn is_full(&self, state: &State) -> bool {
        let options = &self.shared.options;
        options.background
            && !state.version.frozen.is_empty()
            && (state.mutable.slots() >= options.seal_points.saturating_mul(FULL)
                || state.mutable.bytes() >= options.seal_bytes.saturating_mul(FULL)
                || self.log_bytes() >= options.seal_log_bytes.saturating_mul(FULL as u64))
    }

    /// Bytes of the logs that protect the mutable segment.
    fn log_bytes(&self) -> u64 {
        self.ended_log_bytes + self.log.as_ref().map_or(0, LogWriter::len)
    }

    /// Why there is nothing to wait for, if so.
    fn optimizer_failure(&self, state: &State) -> Option<Arc<Error>> {
        let is_lost = || self.optimizer.is_closed() && !self.closing.is_stopped();
        let ended = || is_lost().then(|| Arc::new(Error::WorkerLost));
        state.background_error.clone().or_else(ended)
    }

    /// Why no points are taken, if so: memory is full, and nothing makes room.
    fn refusal(&self) -> Option<(u64, Arc<Error>)> {
        let state = self.shared.state.read();
        let failure = self.optimizer_failure(&state).filter(|_| self.is_full(&state))?;
        Some((state.mutable.len() as u64, failure))
    }

    async fn control(&mut self, job: ControlJob) {
        match job {
            ControlJob::Write(job) => self.write_group(job, None).await,
            ControlJob::Sync(reply) => {
                let synced = self.sync().await;
                answer(&reply, synced);
            }
            ControlJob::Settle(reply) => {
                let synced = self.sync().await;
                self.freeze_if_large().await;
                answer(&reply, synced);
            }
            ControlJob::Freeze(reply) => {
                let frozen = self.freeze().await;
                answer(&reply, frozen);
            }
            ControlJob::Number(reply) => {
                let number = self.manifest.number_next;
                let left = self.check_number(number, SEGMENTS);
                self.manifest.number_next += u64::from(left.is_ok());
                answer(&reply, left.map(|()| number));
            }
            ControlJob::Install(installation, reply) => {
                let installed = self.install(*installation).await;
                answer(&reply, installed);
                self.ask_optimizer().await;
            }
            ControlJob::Snapshot(path, stop, reply) => {
                let taken = self.snapshot(&path, &stop).await;
                answer(&reply, taken);
            }
            ControlJob::Wake => {}
        }
    }

    /// Does a write, and with it those that have come in meanwhile.
    async fn write_group(&mut self, first: WriteJob, writes: Option<&Jobs<WriteJob>>) {
        let mut group = vec![first];
        let mut bytes = 0;
        // A change that depends on what is there is a group of its own, so that it sees all before it.
        while let Change::Batch { body, .. } = &group[group.len() - 1].change {
            bytes += body.as_ref().map_or(0, Vec::len);
            if group.len() >= GROUP_MAX || bytes >= GROUP_BYTES_MAX {
                break;
            }
            match writes.map(|writes| writes.try_recv()) {
                Some(Ok(job)) => group.push(job),
                _ => break,
            }
        }
        let last = match group.last() {
            Some(WriteJob { change: Change::Batch { .. }, .. }) | None => None,
            Some(_) => group.pop(),
        };
        self.write_batches(group).await;
        if let Some(WriteJob { change, durability, reply }) = last {
            match self.resolve(change).await {
                Ok((puts, deletes)) => match encode_batch(&puts, &deletes) {
                    Ok(body) => {
                        let change = Change::Batch { puts, deletes, body };
                        self.write_batches(vec![WriteJob { change, durability, reply }]).await;
                    }
                    Err(error) => answer(&reply, Err(error.into())),
                },
                Err(error) => answer(&reply, Err(error)),
            }
        }
        self.ask_optimizer().await;
    }

    /// What a change that depends on what is there comes to.
    async fn resolve(&self, change: Change) -> Result<(Vec<PreparedPoint>, Vec<PointId>), Error> {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        match change {
            Change::Batch { puts, deletes, .. } => return Ok((puts, deletes)),
            Change::Delete(selection) => {
                let each = |id, _: &[u8], _| {
                    deletes.push(id);
                    Ok(())
                };
                self.reader.each_selected(&selection, RecordParts::NOTHING, each).await?;
            }
            Change::Payload(selection, change) => {
                let mut size = BatchSize::default();
                let each = |id, vector: &[u8], payload| {
                    let payload = changed(payload, &change);
                    let point = prepare_payload(&self.shared.schema, id, vector.into(), &payload)?;
                    size.add(&point)?;
                    puts.push(point);
                    Ok(())
                };
                self.reader.each_selected(&selection, RecordParts::ALL, each).await?;
            }
        }
        Ok((puts, deletes))
    }

    async fn write_batches(&mut self, mut group: Vec<WriteJob>) {
        if group.is_empty() {
            return;
        }
        if let Some(reason) = self.shared.state.read().read_only.clone() {
            for job in group {
                answer(&job.reply, Err(Error::ReadOnly { reason: reason.clone() }));
            }
            return;
        }
        if let Some((points, source)) = self.refusal() {
            // Deletions may go on: they make room.
            for job in group.extract_if(.., |job| job.change.has_puts()) {
                answer(&job.reply, Err(Error::Full { points, source: Arc::clone(&source) }));
            }
        }
        match self.try_write(&group).await {
            Ok((places, seqs)) => {
                // Answered after the lock is released.
                let answers = self.apply(group, &places, &seqs);
                for (reply, written) in answers {
                    answer(&reply, Ok(written));
                }
            }
            Err(error) if group.len() == 1 => answer(&group.remove(0).reply, Err(error)),
            Err(error) => {
                let error = Arc::new(error);
                for job in group {
                    answer(&job.reply, Err(Error::Shared(Arc::clone(&error))));
                }
            }
        }
    }

    /// Finds where the points of a group are now, and makes its records durable. Returns the places, and the sequence
    /// number of each write that has a record.
    async fn try_write(&mut self, group: &[WriteJob]) -> Result<(Places, Vec<Option<u64>>), Error> {
        let ids: BTreeSet<PointId> = group.iter().flat_map(|job| job.change.ids()).collect();
        let places = self.find(ids).await?;
        let mut seqs = vec![None; group.len()];
        let records = group.iter().filter(|job| job.change.body().is_some()).count() as u64;
        if records > 0 {
            self.check_number(self.shared.state.read().seq + records, "writes")?;
            self.open_log().await?;
            let log = self.log.as_mut().expect("just opened");
            for (seq, job) in seqs.iter_mut().zip(group) {
                *seq = job.change.body().map(|body| log.push(body));
            }
            log.write().await?;
        }
        // Also where nothing was written: a synced write makes those before it durable.
        if group.iter().any(|job| job.durability == Durability::Synced) {
            self.sync().await?;
        }
        Ok((places, seqs))
    }

    /// Where these ids are in immutable segments, as far as they are there and not deleted.
    async fn find(&self, ids: BTreeSet<PointId>) -> Result<Places, Error> {
        let wanted: Vec<PointId> = {
            let state = self.shared.state.read();
            let newer = |id: &PointId| {
                let frozen = &state.version.frozen;
                state.mutable.find(*id).is_some()
                    || frozen.iter().any(|frozen| {
                        frozen.segment.find(*id).is_some_and(|slot| !frozen.deleted.contains(slot))
                    })
            };
            ids.into_iter().filter(|id| !newer(id)).collect()
        };
        let mut places = Places::new();
        if wanted.is_empty() {
            return Ok(places);
        }
        let (_, _, entries) = self.reader.view(|_| Ok(())).await?;
        let mut stats = ReadStats::default();
        for entry in &entries {
            let found = entry.reader.find(&wanted, &ReadControl::default(), &mut stats).await?;
            for (id, point) in wanted.iter().zip(found) {
                if let Some(point) = point.filter(|&point| !entry.deleted.contains(point)) {
                    places.insert(*id, (entry.reader.data.number, point));
                }
            }
        }
        Ok(places)
    }

    /// Applies a group that is in the log.
    fn apply(
        &self,
        group: Vec<WriteJob>,
        places: &Places,
        seqs: &[Option<u64>],
    ) -> Vec<(Reply<WriteSummary>, WriteSummary)> {
        let mut state = self.shared.state.write();
        let mut answers = Vec::with_capacity(group.len());
        for (job, seq) in group.into_iter().zip(seqs) {
            let Change::Batch { puts, deletes, .. } = job.change else {
                unreachable!("changes are resolved before they are written")
            };
            let mut points = puts.len() as u64;
            for point in puts {
                remove_older(&mut state, point.id, places);
                state.mutable.put(point);
            }
            for id in deletes {
                let older = remove_older(&mut state, id, places);
                points += u64::from(state.mutable.delete(id) || older);
            }
            state.seq = seq.unwrap_or(state.seq);
            answers.push((job.reply, WriteSummary { seq: state.seq, points }));
        }
        answers
    }

    async fn open_log(&mut self) -> Result<(), Error> {
        if self.log.is_some() {
            return Ok(());
        }
        self.rewrite_earlier_logs()?;
        let directory = self.shared.backend.directory();
        let (number, seq) = (self.log_next, self.shared.state.read().seq + 1);
        self.check_number(number, "logs")?;
        // One that was begun and failed keeps its name, so that the next one gets another.
        self.log_next += 1;
        let path = log_path(&self.shared.dir, number);
        let id = self.manifest.id.expect("a manifest has an id when it was opened");
        let created = LogWriter::create(&self.shared.backend, &path, id, number, seq).await;
        // Named before anything is acknowledged that is in it: should it get lost, that is known.
        let named = created.map_err(Error::from).and_then(|log| {
            let mut manifest = self.manifest.clone();
            manifest.logs.push(ManifestLog { number, salt: log.salt() });
            self.publish(manifest).map(|_| log)
        });
        match named {
            Ok(log) => {
                self.log = Some(log);
                Ok(())
            }
            Err(error) => {
                // Nothing is in it. Where the manifest may name it, it stays.
                if self.shared.state.read().read_only.is_none() {
                    let _ = directory.remove_file(&path);
                }
                Err(error)
            }
        }
    }

    /// Makes durable what an earlier run wrote and may not have synced: it was read back, and is built upon now.
    ///
    /// Syncing those files would not do. Where a sync failed in that run, the kernel has dropped what it could not write and
    /// calls the rest clean: what was read back may be in its cache only, and another sync succeeds without writing it.
    /// So they are written again, where they are: on a full disk too.
    fn rewrite_earlier_logs(&mut self) -> Result<(), Error> {
        let (directory, dir) = (self.shared.backend.directory(), &self.shared.dir);
        while let Some(&UnclosedLog { number, len }) = self.unclosed_logs.last() {
            directory.rewrite(&log_path(dir, number), len)?;
            self.unclosed_logs.pop();
        }
        Ok(())
    }

    /// Makes everything durable that was applied.
    pub(super) async fn sync(&mut self) -> Result<(), Error> {
        self.check_writable()?;
        self.rewrite_earlier_logs()?;
        let Some(log) = &mut self.log else { return Ok(()) };
        match log.sync().await {
            Ok(()) => Ok(()),
            // The kernel may have dropped what it did not write: another sync would only seem to succeed.
            Err(error) => Err(self.stop_writing(error.into())),
        }
    }

    /// Fails where a number is one that nothing may have.
    pub(super) fn check_number(&self, number: u64, what: &'static str) -> Result<(), Error> {
        if number < NUMBER_END {
            return Ok(());
        }
        Err(Error::NumbersUsedUp { collection: self.shared.dir.clone(), what })
    }

    fn check_writable(&self) -> Result<(), Error> {
        match &self.shared.state.read().read_only {
            Some(reason) => Err(Error::ReadOnly { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Takes no writes any more, since nobody knows what is on the disk.
    pub(super) fn stop_writing(&self, error: Error) -> Error {
        let what = "open the collection again to go on from what is on the disk";
        let reason = format!("{}; {what}", with_causes(&error));
        self.shared.state.write().read_only.get_or_insert(reason);
        error
    }

    /// Has the optimizer do what the thresholds ask for. One that failed is given some time.
    async fn ask_optimizer(&mut self) {
        if !self.shared.options.background {
            return;
        }
        let frozen = self.freeze_if_large().await;
        let (due, failed) = {
            let state = self.shared.state.read();
            let due = plan::is_due(&state.version, &self.shared.options);
            (due, state.background_error.is_some())
        };
        // One that is at work looks again on its own when it is done with what it was asked for.
        if !(frozen || due) || !self.optimizer.is_empty() {
            return;
        }
        if failed {
            let now = Instant::now();
            if self.retry_at.is_some_and(|at| now < at) {
                return;
            }
            self.retry_at = Some(now + RETRY);
        }
        // Without an optimizer, which has ended, the next opening seals.
        let _ = self.optimizer.try_send(optimizer::Job::Background);
    }

    /// Freezes the mutable segment when it or its log is large, unless one is frozen already. Says whether it did.
    async fn freeze_if_large(&mut self) -> bool {
        let (options, floor) = (&self.shared.options, self.log_floor());
        let large = {
            let state = self.shared.state.read();
            state.read_only.is_none()
                && state.version.frozen.is_empty()
                && (state.is_large(options)
                    || self.log_bytes() >= options.seal_log_bytes
                    || self.log_next - floor > LOGS_MAX)
        };
        large && matches!(self.freeze().await, Ok(true))
    }

    /// Ends the mutable segment and begins a new one, with a new log. Says whether there was anything in it.
    async fn freeze(&mut self) -> Result<bool, Error> {
        if self.log_next == self.log_floor() {
            return Ok(false);
        }
        self.end_log().await?;
        let mut state = self.shared.state.write();
        let segment = std::mem::replace(&mut state.mutable, MutableSegment::new(&self.shared.schema));
        let (log_next, seq_next) = (self.log_next, state.seq + 1);
        let entry = FrozenEntry { segment: Arc::new(segment), deleted: Arc::default(), log_next, seq_next };
        state.version.frozen.push(entry);
        drop(state);
        self.ended_log_bytes = 0;
        Ok(true)
    }

    /// The first log that protects what is mutable now.
    fn log_floor(&self) -> u64 {
        let state = self.shared.state.read();
        state.version.frozen.last().map_or(self.manifest.log_first, |frozen| frozen.log_next)
    }

    /// Ends the current log, so that the next write begins a new one.
    async fn end_log(&mut self) -> Result<(), Error> {
        self.sync().await?;
        if let Some(log) = self.log.take() {
            self.ended_log_bytes += log.len();
            let number = log.number();
            if let Err(len) = log.close().await {
                self.unclosed_logs.push(UnclosedLog { number, len });
            }
        }
        Ok(())
    }

    /// Copies the collection as it is now. The log is ended, so that nothing is written to it meanwhile.
    async fn snapshot(&mut self, target: &Path, stop: &StopFlag) -> Result<(), Error> {
        self.end_log().await?;
        let directory = self.shared.backend.directory();
        snapshot::take(&*directory, &self.shared.dir, &self.manifest, target, stop)
    }

    async fn close(&mut self) -> Result<(), Error> {
        let writable = self.shared.state.read().read_only.is_none();
        let ended = if writable { self.end_log().await } else { Ok(()) };
        if let Some(log) = self.log.take() {
            log.abandon().await;
        }
        self.shared.state.write().read_only.get_or_insert_with(|| "it was closed".to_owned());
        self.reader.close().await?;
        ended
    }
}

/// Where points are in immutable segments: the segment's number, and the point there.
type Places = HashMap<PointId, (u64, u32)>;

/// Marks the older version of a point, outside of the mutable segment, as deleted; says whether there was one.
fn remove_older(state: &mut State, id: PointId, places: &Places) -> bool {
    for frozen in &mut state.version.frozen {
        if let Some(slot) = frozen.segment.find(id)
            && !frozen.deleted.contains(slot)
        {
            return Arc::make_mut(&mut frozen.deleted).insert(slot);
        }
    }
    let Some((number, point)) = places.get(&id) else { return false };
    let entry = state.version.segments.iter_mut().find(|entry| entry.data.number == *number);
    entry.is_some_and(|entry| {
        !entry.deleted.contains(*point) && Arc::make_mut(&mut entry.deleted).insert(*point)
    })
}

impl Change {
    fn ids(&self) -> impl Iterator<Item = PointId> {
        let (puts, deletes): (&[PreparedPoint], &[PointId]) = match self {
            Self::Batch { puts, deletes, .. } => (puts, deletes),
            Self::Delete(_) | Self::Payload(..) => (&[], &[]),
        };
        puts.iter().map(|point| point.id).chain(deletes.iter().copied())
    }

    fn has_puts(&self) -> bool {
        match self {
            Self::Batch { puts, .. } => !puts.is_empty(),
            Self::Delete(_) | Self::Payload(..) => false,
        }
    }

    fn body(&self) -> Option<&[u8]> {
        match self {
            Self::Batch { body, .. } => body.as_deref(),
            Self::Delete(_) | Self::Payload(..) => None,
        }
    }
}

fn changed(mut payload: Payload, change: &PayloadChange) -> Payload {
    match change {
        PayloadChange::Set(payload) => payload.clone(),
        PayloadChange::Merge(fields) => {
            payload.extend(fields.clone());
            payload
        }
        PayloadChange::Clear => Payload::new(),
    }
}

/// Answers somebody who may not wait any more.
fn answer<T>(reply: &Reply<T>, result: Result<T, Error>) {
    let _ = reply.try_send(result);
}
