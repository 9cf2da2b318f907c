//! The optimizer: one thread that makes immutable segments of frozen ones, and merges, vacuums and defragments those there
//! are. Reads go on meanwhile, over the segments they began with, and go first (see [`background`]).

use super::Shared;
use super::files::segment_path;
use super::install::{Installation, Replaced};
use super::options::CollectionOptions;
use super::reader::{CollectionReader, OpenEntry};
use super::state::{FrozenEntry, Version};
use super::writer::{ControlJob, Reply};
use crate::background;
use crate::error::Error;
use crate::identity::RandomId;
use crate::immutable::build::{BuildStage, SegmentBuilder, Source};
use crate::immutable::segment::SegmentData;
use async_channel::{Receiver, Sender};
use futures_util::FutureExt;
use io_core::{BackendFactory, StopFlag};
use roaring::RoaringBitmap;
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// How far an optimization is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptimizeProgress {
    /// What it is at.
    pub stage: BuildStage,
    /// Points done in this stage.
    pub done: u64,
    /// Points in all of the segment that is being built.
    pub total: u64,
}

/// What an optimization did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptimizeReport {
    /// Points that were in memory and are in an immutable segment now.
    pub sealed: u64,
    /// Points that were written anew into another segment.
    pub rewritten: u64,
    /// Deleted points that were left out.
    pub vacuumed: u64,
    /// Immutable segments before.
    pub segments_before: usize,
    /// Immutable segments after.
    pub segments_after: usize,
}

/// Who is told how far an optimization is.
pub(super) type Progress = Box<dyn Fn(OptimizeProgress) + Send + Sync>;

pub(super) enum Job {
    /// Do what the thresholds ask for.
    Background,
    /// The same, and tell when there is nothing more to do.
    Settle { stop: StopFlag, reply: Reply<()> },
    /// Seal everything, and merge all segments, as far as they may be, if asked to.
    Asked { merge: bool, progress: Progress, stop: StopFlag, reply: Reply<OptimizeReport> },
}

pub(super) struct Optimizer {
    shared: Arc<Shared>,
    reader: CollectionReader,
    control: Sender<ControlJob>,
    /// Raised when the collection closes.
    closing: StopFlag,
}

/// Segments to make one of.
pub(super) struct Plan {
    frozen: Option<FrozenEntry>,
    /// Their numbers.
    segments: Vec<u64>,
}

impl Optimizer {
    pub(super) fn new(shared: Arc<Shared>, control: Sender<ControlJob>, closing: StopFlag) -> Self {
        let options = background::options(&shared.options.open);
        let reader = CollectionReader::with_options(Arc::clone(&shared), options);
        Self { shared, reader, control, closing }
    }

    /// Runs until the collection is closed. Call it inside the backend's `run`.
    pub(super) async fn run(self, jobs: Receiver<Job>) {
        while let Ok(job) = jobs.recv().await {
            match job {
                Job::Background => drop(self.background(&self.closing).await),
                Job::Settle { stop, reply } => {
                    let _ = reply.try_send(self.settle(&stop).await);
                    // Where it was given up, the writer must not wait for what is left.
                    if self.shared.options.background {
                        let _ = self.background(&self.closing).await;
                    }
                }
                Job::Asked { merge, progress, stop, reply } => {
                    let done = self.asked(merge, &progress, &stop).await;
                    let _ = reply.try_send(done);
                    // Sealing may have brought on a merge. And what was frozen for something that failed is still to be
                    // sealed, or the writer would wait for that for ever.
                    if self.shared.options.background {
                        let _ = self.background(&self.closing).await;
                    }
                }
            }
        }
        // It was only read from.
        let _ = self.reader.close().await;
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> ControlJob) -> Result<T, Error> {
        let (reply, answer) = async_channel::bounded(1);
        self.control.send(job(reply)).await.map_err(|_| Error::Closed)?;
        answer.recv().await.map_err(|_| Error::WorkerLost)?
    }

    /// Does what the thresholds ask for until they ask for nothing more.
    async fn settle(&self, stop: &StopFlag) -> Result<(), Error> {
        loop {
            self.ask(ControlJob::Settle).await?;
            if next_plan(&self.shared.state.read().version, &self.shared.options).is_none() {
                return Ok(());
            }
            self.background(stop).await?;
        }
    }

    /// Does what the thresholds ask for; what keeps it from that, but for being stopped, is told by the state.
    async fn background(&self, stop: &StopFlag) -> Result<(), Error> {
        let mut report = OptimizeReport::default();
        let next = || next_plan(&self.shared.state.read().version, &self.shared.options);
        while let Some(plan) = next() {
            match self.execute(&plan, &|_| {}, stop, &mut report).await {
                Ok(()) => {}
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) => {
                    let error = Arc::new(error);
                    self.shared.state.write().background_error = Some(Arc::clone(&error));
                    // The writer may be waiting for what is not to come.
                    let _ = self.ask(ControlJob::Sync).await;
                    return Err(Error::Shared(error));
                }
            }
        }
        self.shared.state.write().background_error = None;
        Ok(())
    }

    async fn asked(
        &self,
        merge: bool,
        progress: &Progress,
        stop: &StopFlag,
    ) -> Result<OptimizeReport, Error> {
        let count = || self.shared.state.read().version.segments.len();
        let mut report = OptimizeReport { segments_before: count(), ..OptimizeReport::default() };
        self.ask(ControlJob::Freeze).await?;
        // Each is taken up once: what is written meanwhile stays for the next time.
        loop {
            let frozen = self.shared.state.read().version.frozen.clone();
            let Some((first, later)) = frozen.split_first() else { break };
            // The last of them is merged with the segments right away.
            if later.is_empty() && merge {
                break;
            }
            let plan = Plan { frozen: Some(first.clone()), segments: Vec::new() };
            self.execute(&plan, progress, stop, &mut report).await?;
        }
        if !merge {
            report.segments_after = count();
            return Ok(report);
        }
        let (frozen, mut waiting) = {
            let state = self.shared.state.read();
            let segments = state.version.segments.iter();
            let mut sizes: Vec<(u64, u64)> = segments
                .map(|entry| (u64::from(entry.data.points) - entry.deleted.len(), entry.data.number))
                .collect();
            sizes.sort_unstable();
            (state.version.frozen.first().cloned(), sizes)
        };
        let mut frozen = frozen;
        while frozen.is_some() || !waiting.is_empty() {
            let sealed = frozen.as_ref().map_or(0, |frozen| frozen.segment.len() as u64);
            let max = self.shared.options.segment_points_max;
            let room = u64::from(max).saturating_sub(sealed) as u32;
            let mut chosen = fitting(waiting.iter().copied(), room);
            if chosen.is_empty() && frozen.is_none() {
                // One that is larger than a merged one may be is still defragmented.
                chosen.extend(waiting.first().map(|(_, number)| *number));
            }
            waiting.retain(|(_, number)| !chosen.contains(number));
            if frozen.is_none() && self.is_as_good_as_new(&chosen) {
                continue;
            }
            let plan = Plan { frozen: frozen.take(), segments: chosen };
            self.execute(&plan, progress, stop, &mut report).await?;
        }
        report.segments_after = count();
        Ok(report)
    }

    /// Whether these are one segment without deleted points: written anew it would be the same.
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
            return self
                .ask(|reply| {
                    ControlJob::Install(Box::new(Installation { replaced, segments: Vec::new() }), reply)
                })
                .await;
        }
        let shared = &self.shared;
        let directory = shared.backend.directory();
        let number = self.ask(ControlJob::Number).await?;
        let (dir, id) = (segment_path(&shared.dir, number), RandomId::new());
        let handed_over = Cell::new(false);
        let built = async {
            directory.create_dir(&dir)?;
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
            let installation = Box::new(Installation { replaced, segments });
            handed_over.set(true);
            self.ask(|reply| ControlJob::Install(installation, reply)).await
        };
        // The progress callback is somebody else's, and what panics here must not take the optimizer along.
        let built = AssertUnwindSafe(built).catch_unwind().await;
        self.reader.close_replaced().await;
        let built =
            built.unwrap_or(Err(Error::Panicked { what: "the optimizer, or its progress callback," }));
        // Where nobody knows which manifest is there, both segments stay until the next opening.
        if built.is_err() && (!handed_over.get() || shared.state.read().read_only.is_none()) {
            let _ = directory.remove_dir_all(&dir);
        }
        built
    }
}

/// What the thresholds ask for next.
pub(super) fn next_plan(version: &Version, options: &CollectionOptions) -> Option<Plan> {
    if let Some(frozen) = version.frozen.first() {
        return Some(Plan { frozen: Some(frozen.clone()), segments: Vec::new() });
    }
    let segments = &version.segments;
    let too_many_deleted = segments
        .iter()
        .find(|entry| entry.deleted.len() as f64 > f64::from(entry.data.points) * options.vacuum_ratio);
    if let Some(entry) = too_many_deleted {
        return Some(Plan { frozen: None, segments: vec![entry.data.number] });
    }
    if segments.len() <= options.segments_max {
        return None;
    }
    // The smallest ones, so many that half of what is allowed remains.
    let mut by_size: Vec<(u64, u64)> = segments
        .iter()
        .map(|entry| (u64::from(entry.data.points) - entry.deleted.len(), entry.data.number))
        .collect();
    by_size.sort_unstable();
    let wanted = segments.len() - options.segments_max / 2;
    let chosen = fitting(by_size.into_iter().take(wanted.max(2)), options.segment_points_max);
    (chosen.len() >= 2).then_some(Plan { frozen: None, segments: chosen })
}

/// Of segments with their sizes, as many as may become one.
fn fitting(segments: impl Iterator<Item = (u64, u64)>, points_max: u32) -> Vec<u64> {
    let mut sum = 0;
    let mut chosen = Vec::new();
    for (points, number) in segments {
        sum += points;
        if sum > u64::from(points_max) {
            break;
        }
        chosen.push(number);
    }
    chosen
}
