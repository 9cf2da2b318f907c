//! The optimizer: one thread that makes immutable segments of frozen ones, and merges, vacuums and
//! defragments segments. Reads go on over the segments that they began with, and go first (see
//! [`background`]).

use super::events::{self, Work};
use super::files::segment_path;
use super::pending::Reply;
use super::plan::{Plan, fitting, merge, next_plan, size_and_number, vacuum};
use super::reader::{CollectionReader, OpenEntry};
use super::shared::Shared;
use super::state::{FrozenEntry, Version};
use super::writer::{ControlJob, Installation, Replaced};
use crate::background;
use crate::build::{BuildStage, SegmentBuilder, Source};
use crate::error::Error;
use crate::immutable::segment::SegmentData;
use crate::threads::Jobs;
use async_channel::{Sender, TryRecvError};
use futures_util::FutureExt;
use io_core::{FileSystem, StopFlag};
use roaring::RoaringBitmap;
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use vecstore_format::RandomId;

/// How far an optimization is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptimizeProgress {
    /// The current stage.
    pub stage: BuildStage,
    /// Points done in this stage.
    pub done: u64,
    /// Points in all of the segment that is being built.
    pub total: u64,
}

/// The result of an optimization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptimizeReport {
    /// Points moved from memory into an immutable segment.
    pub sealed: u64,
    /// Points rewritten into another segment.
    pub rewritten: u64,
    /// Deleted points that were left out.
    pub vacuumed: u64,
    /// Immutable segments before.
    pub segments_before: usize,
    /// Immutable segments after.
    pub segments_after: usize,
}

/// The callback that learns how far an optimization is.
pub(super) type Progress = Box<dyn Fn(OptimizeProgress) + Send + Sync>;

pub(super) enum Job {
    /// Do what the thresholds ask for.
    Background,
    /// The same, and answer when nothing is left to do.
    Settle { stop: StopFlag, reply: Reply<()> },
    /// Seal everything. With `merge`, also merge segments up to their limit.
    Asked { merge: bool, progress: Progress, stop: StopFlag, reply: Reply<OptimizeReport> },
}

pub(super) struct Optimizer {
    shared: Arc<Shared>,
    reader: CollectionReader,
    control: Sender<ControlJob>,
    /// Raised when the collection closes.
    closing: StopFlag,
    /// Whether the last plan sealed: then it is the vacuum's turn.
    sealed_last: Cell<bool>,
}

impl Optimizer {
    pub(super) fn new(shared: Arc<Shared>, control: Sender<ControlJob>, closing: StopFlag) -> Self {
        let options = background::options(&shared.options.open);
        let reader = CollectionReader::with_options(Arc::clone(&shared), options);
        Self { shared, reader, control, closing, sealed_last: Cell::new(false) }
    }

    /// Runs until the collection is closed. Call it inside the backend's `run`.
    pub(super) async fn run(self, jobs: &Jobs<Job>) {
        // Whether the thresholds may ask for something.
        let mut due = false;
        loop {
            // Waiting jobs run between two plans.
            let job = match jobs.try_recv() {
                Err(TryRecvError::Empty) if due => {
                    due = self.background().await;
                    continue;
                }
                Err(TryRecvError::Empty) => jobs.recv().await.ok(),
                job => job.ok(),
            };
            match job {
                None => break,
                Some(Job::Background) => due = true,
                Some(Job::Settle { stop, reply }) => {
                    let _ = reply.try_send(self.settle(&stop).await);
                    due = self.shared.options.background;
                }
                Some(Job::Asked { merge, progress, stop, reply }) => {
                    let done = self.asked(merge, &progress, &stop).await;
                    // `progress` may own the collection. Drop it before the caller gets the answer.
                    drop(progress);
                    let _ = reply.try_send(done);
                    // Frozen points remain after a failed call. The writer would wait for ever if nothing
                    // sealed them.
                    due = self.shared.options.background;
                }
            }
        }
        // A reader that fails to close loses nothing.
        let _ = self.reader.close().await;
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> ControlJob) -> Result<T, Error> {
        let (reply, answer) = async_channel::bounded(1);
        self.control.send(job(reply)).await.map_err(|_| Error::Closed)?;
        answer.recv().await.map_err(|_| Error::WorkerLost)?
    }

    fn version(&self) -> Version {
        self.shared.state.read().version.clone()
    }

    /// Does one step that the thresholds ask for. Returns whether to go on.
    async fn background(&self) -> bool {
        let plan = next_plan(&self.version(), &self.shared.options, self.sealed_last.get());
        let Some(plan) = plan else {
            self.shared.state.write().background_error = None;
            return false;
        };
        match self.execute(&plan, &|_| {}, &self.closing, &mut OptimizeReport::default()).await {
            Ok(()) => true,
            Err(Error::Stopped) => false,
            Err(error) => {
                self.shared.counts.background_errors.add(1);
                self.shared.state.write().background_error = Some(Arc::new(error));
                // Wakes the writer, which may wait for a seal that failed.
                let _ = self.control.send(ControlJob::Wake).await;
                false
            }
        }
    }

    /// Does what the thresholds ask for, of the points that are there now.
    async fn settle(&self, stop: &StopFlag) -> Result<(), Error> {
        let (progress, mut report) = (|_| {}, OptimizeReport::default());
        // Only older segments are vacuumed, because deletions go on in the new ones.
        let number_end = self.version().segments.iter().map(|entry| entry.data.number + 1).max().unwrap_or(0);
        self.seal_frozen(&progress, stop, &mut report).await?;
        self.ask(ControlJob::Settle).await?;
        self.seal_frozen(&progress, stop, &mut report).await?;
        loop {
            let (version, options) = (self.version(), &self.shared.options);
            let plan = merge(&version, options).or_else(|| vacuum(&version, options, number_end));
            let Some(plan) = plan else { return Ok(()) };
            self.execute(&plan, &progress, stop, &mut report).await?;
        }
    }

    /// Seals the segments that are frozen now.
    async fn seal_frozen(
        &self,
        progress: &(dyn Fn(OptimizeProgress) + Sync),
        stop: &StopFlag,
        report: &mut OptimizeReport,
    ) -> Result<(), Error> {
        for frozen in self.version().frozen {
            self.seal(frozen, progress, stop, report).await?;
        }
        Ok(())
    }

    /// Seals the oldest frozen segment. First merges, so that its segment has room.
    async fn seal(
        &self,
        frozen: FrozenEntry,
        progress: &(dyn Fn(OptimizeProgress) + Sync),
        stop: &StopFlag,
        report: &mut OptimizeReport,
    ) -> Result<(), Error> {
        while self.shared.options.background
            && let Some(plan) = merge(&self.version(), &self.shared.options)
        {
            self.execute(&plan, progress, stop, report).await?;
        }
        let plan = Plan { frozen: Some(frozen), segments: Vec::new() };
        self.execute(&plan, progress, stop, report).await
    }

    async fn asked(
        &self,
        merge: bool,
        progress: &Progress,
        stop: &StopFlag,
    ) -> Result<OptimizeReport, Error> {
        let count = || self.shared.state.read().version.segments.len();
        let mut report = OptimizeReport { segments_before: count(), ..OptimizeReport::default() };
        if stop.is_stopped() {
            return Err(Error::Stopped);
        }
        // Earlier frozen segments come first, so that they do not pile up after failures.
        self.seal_frozen(progress, stop, &mut report).await?;
        self.ask(ControlJob::Freeze).await?;
        // Takes each frozen segment once. Later writes are left to the next call.
        let mut frozen = self.version().frozen;
        // The last of them is merged with the segments right away.
        let mut last = if merge { frozen.pop() } else { None };
        for frozen in frozen {
            self.seal(frozen, progress, stop, &mut report).await?;
        }
        if merge {
            self.merge_all(&mut last, progress, stop, &mut report).await?;
        }
        report.segments_after = count();
        Ok(report)
    }

    /// Merges a frozen segment and the segments that are there now into as few as the limit allows.
    async fn merge_all(
        &self,
        frozen: &mut Option<FrozenEntry>,
        progress: &Progress,
        stop: &StopFlag,
        report: &mut OptimizeReport,
    ) -> Result<(), Error> {
        let mut waiting: Vec<(u64, u64)> = self.version().segments.iter().map(size_and_number).collect();
        waiting.sort_unstable();
        while frozen.is_some() || !waiting.is_empty() {
            let max = self.shared.options.segment_points_max;
            let sealed = frozen.as_ref().map_or(0, |frozen| frozen.segment.len() as u64);
            let mut chosen = fitting(waiting.iter().copied(), u64::from(max).saturating_sub(sealed));
            // If no segment fits beside the frozen one, it waits until the others are merged.
            let frozen = if chosen.is_empty() && !waiting.is_empty() { None } else { frozen.take() };
            if chosen.is_empty() && frozen.is_none() {
                chosen = fitting(waiting.iter().copied(), u64::from(max));
                // A segment above the limit is still defragmented.
                if chosen.is_empty() {
                    chosen.extend(waiting.first().map(|(_, number)| *number));
                }
            }
            waiting.retain(|(_, number)| !chosen.contains(number));
            if frozen.is_none() && self.is_as_good_as_new(&chosen) {
                continue;
            }
            self.execute(&Plan { frozen, segments: chosen }, progress, stop, report).await?;
        }
        Ok(())
    }

    /// Whether these are one segment without deleted points. Writing it again would change nothing.
    fn is_as_good_as_new(&self, segments: &[u64]) -> bool {
        let state = self.shared.state.read();
        let find = |number| state.version.segments.iter().find(|entry| entry.data.number == number);
        matches!(segments, &[number] if find(number).is_some_and(|entry| entry.deleted.is_empty()))
    }

    /// Builds a segment from others and puts it into their place.
    async fn execute(
        &self,
        plan: &Plan,
        progress: &(dyn Fn(OptimizeProgress) + Sync),
        stop: &StopFlag,
        report: &mut OptimizeReport,
    ) -> Result<(), Error> {
        let (shared, work, before) = (&*self.shared, Work::of(plan), *report);
        events::work_begun(shared, work, plan);
        let bytes = self
            .build(plan, progress, stop, report)
            .await
            .inspect_err(|error| events::work_failed(shared, work, error))?;
        let (sealed, rewritten) = (report.sealed - before.sealed, report.rewritten - before.rewritten);
        let counts = &shared.counts;
        match work {
            Work::Seal => counts.seals.add(1),
            Work::Merge => counts.merges.add(1),
            Work::Vacuum => counts.vacuums.add(1),
        }
        counts.points_sealed.add(sealed);
        counts.points_rewritten.add(rewritten);
        counts.segment_bytes.add(bytes);
        events::work_ended(shared, work, sealed + rewritten, bytes);
        Ok(())
    }

    /// As [`Optimizer::execute`]. Returns the bytes of the new segment's files.
    async fn build(
        &self,
        plan: &Plan,
        progress: &(dyn Fn(OptimizeProgress) + Sync),
        stop: &StopFlag,
        report: &mut OptimizeReport,
    ) -> Result<u64, Error> {
        self.sealed_last.set(plan.frozen.is_some());
        let (_, _, entries) = self.reader.view(|_| Ok(())).await?;
        let entries: Vec<&OpenEntry> =
            entries.iter().filter(|entry| plan.segments.contains(&entry.reader.data.number)).collect();
        let (mut sources, mut replaced, mut seq_next) = (Vec::new(), Vec::new(), 0);
        if let Some(frozen) = &plan.frozen {
            let live = frozen.segment.live() - &*frozen.deleted;
            report.sealed += live.len();
            sources.push(Source::Mutable { segment: &frozen.segment, live });
            replaced.push(Replaced::Frozen { log_next: frozen.log_next });
            seq_next = frozen.seq_next;
        }
        for entry in entries {
            let live: RoaringBitmap = entry.reader.all() - &*entry.deleted;
            report.rewritten += live.len();
            report.vacuumed += entry.deleted.len();
            seq_next = seq_next.max(entry.reader.data.seq_next);
            replaced.push(Replaced::Segment { number: entry.reader.data.number, live: live.clone() });
            sources.push(Source::Immutable { segment: &entry.reader, live });
        }
        let points: u64 = sources.iter().map(Source::len).sum();
        if points == 0 {
            let installation = Box::new(Installation { replaced, segments: Vec::new() });
            self.ask(|reply| ControlJob::Install(installation, reply)).await?;
            return Ok(0);
        }
        let shared = &self.shared;
        let directory = shared.backend.directory();
        let number = self.ask(ControlJob::Number).await?;
        let (dir, id) = (segment_path(&shared.dir, number), RandomId::random());
        shared.check_place()?;
        // Created outside of the cleanup below, which must not remove a directory of another owner.
        directory.create_dir(&dir)?;
        let handed_over = Cell::new(false);
        let built = async {
            let builder = SegmentBuilder {
                backend: &shared.backend,
                schema: &shared.schema,
                id,
                seq_next,
                dir: &dir,
                options: &self.reader.options,
                stop,
                closing: &self.closing,
                progress: &|stage, done, total| progress(OptimizeProgress { stage, done, total }),
            };
            let origins = builder.build(&sources).await?;
            directory.sync_dir(&shared.dir)?;
            let (which, options) = ((number, Some(id)), &self.reader.options);
            let data = SegmentData::load(&shared.backend, &dir, which, &shared.schema, options).await?;
            let segments = vec![(Arc::new(data), origins)];
            let bytes = directory.list(&dir)?.iter().map(|file| file.len).sum();
            let installation = Box::new(Installation { replaced, segments });
            handed_over.set(true);
            self.ask(|reply| ControlJob::Install(installation, reply)).await?;
            Ok(bytes)
        };
        // The progress callback may panic. The optimizer must go on.
        let built = AssertUnwindSafe(built).catch_unwind().await;
        self.reader.close_replaced().await;
        let built =
            built.unwrap_or(Err(Error::Panicked { what: "the optimizer, or its progress callback," }));
        // If it is unknown which manifest is in place, both segments stay until the next opening.
        let unknown = matches!(built, Err(Error::WorkerLost)) || shared.state.read().read_only.is_some();
        if built.is_err() && !(handed_over.get() && unknown) && shared.check_place().is_ok() {
            let _ = directory.remove_dir_all(&dir);
        }
        built
    }
}
