//! Everything that the writer or the optimizer does for a caller.

use super::lifecycle::Collection;
use super::start::Writers;
use crate::collection::files::whole_path;
use crate::collection::optimizer::{self, OptimizeProgress, OptimizeReport};
use crate::collection::pending::{Pending, Reply, ask};
use crate::collection::prepare;
use crate::collection::request::{Durability, PayloadChange, Selection, WriteSummary};
use crate::collection::writer::{Change, ControlJob, WriteJob};
use crate::error::Error;
use crate::mutable::PreparedPoint;
use crate::point::Point;
use crate::threads::belongs_to_a_collection;
use async_channel::Sender;
use io_core::StopFlag;
use std::path::Path;

impl Collection {
    /// Puts points in; those whose ids are there already are replaced. All of them or none.
    ///
    /// # Errors
    /// [`Error::Input`] with the first point that does not fit, before anything is written; [`Error::ReadOnly`]; what kept
    /// the log from being written.
    ///
    /// # Cancel safety
    /// Nothing is written before the future is polled; from then on dropping it may or may not take the write back.
    pub fn upsert(&self, points: Vec<Point>, durability: Durability) -> Pending<WriteSummary> {
        match prepare::prepare_points(&self.shared.schema, points) {
            Ok(puts) => self.put(puts, durability),
            Err(error) => Pending::failed(error.into()),
        }
    }

    /// Puts points in that were checked, each once.
    pub(crate) fn put(&self, puts: Vec<PreparedPoint>, durability: Durability) -> Pending<WriteSummary> {
        match prepare::encode_batch(&puts, &[]) {
            Ok(body) => self.write(Change::Batch { puts, deletes: Vec::new(), body }, durability),
            Err(error) => Pending::failed(error.into()),
        }
    }

    /// Deletes points; those that are not there are left out.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub fn delete(&self, selection: Selection, durability: Durability) -> Pending<WriteSummary> {
        let change = match selection {
            Selection::Ids(deletes) => match prepare::encode_batch(&[], &deletes) {
                Ok(body) => Change::Batch { puts: Vec::new(), deletes, body },
                Err(error) => return Pending::failed(error.into()),
            },
            Selection::Filter(_) => Change::Delete(selection),
        };
        self.write(change, durability)
    }

    /// Changes the payloads of points; those that are not there are left out.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub fn change_payload(
        &self,
        selection: Selection,
        change: PayloadChange,
        durability: Durability,
    ) -> Pending<WriteSummary> {
        self.write(Change::Payload(selection, change), durability)
    }

    /// Makes every write that was acknowledged durable.
    ///
    /// # Errors
    /// What the system says; the collection is read-only then.
    pub fn sync(&self) -> Pending<()> {
        self.control(ControlJob::Sync)
    }

    /// Seals what is in memory, merges all segments as far as [`CollectionOptions::segment_points_max`] allows, leaves
    /// deleted points out and puts points of a tenant together. `progress` is told how far it is, on a thread of a low
    /// priority: searches and writes go first also now that somebody waits, and an idle machine is all its own.
    ///
    /// The callback may write. It must not wait for another call of `optimize`, `seal` or `settle`, which comes after this one:
    /// [`Pending::wait`] fails there.
    ///
    /// It covers what is there when its turn comes, which is when the optimizer is done with one segment at most and with
    /// the calls before. What is written meanwhile is left to the next call, and waits where memory is full.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the future's [`Pending::stop_flag`] is raised, or it is dropped; whatever keeps files from
    /// being read or written. The collection is as it was then.
    ///
    /// [`CollectionOptions::segment_points_max`]: crate::collection::CollectionOptions::segment_points_max
    pub fn optimize(
        &self,
        progress: impl Fn(OptimizeProgress) + Send + Sync + 'static,
    ) -> Pending<OptimizeReport> {
        let progress = Box::new(progress);
        self.ask_optimizer(|stop, reply| optimizer::Job::Asked { merge: true, progress, stop, reply })
    }

    /// Seals what is in memory into a segment of its own, without merging it with others. Where there are more segments than
    /// [`CollectionOptions::segments_max`], some of these are merged first.
    ///
    /// # Errors
    /// As [`Collection::optimize`].
    ///
    /// [`CollectionOptions::segments_max`]: crate::collection::CollectionOptions::segments_max
    pub fn seal(
        &self,
        progress: impl Fn(OptimizeProgress) + Send + Sync + 'static,
    ) -> Pending<OptimizeReport> {
        let progress = Box::new(progress);
        self.ask_optimizer(|stop, reply| optimizer::Job::Asked { merge: false, progress, stop, reply })
    }

    /// Does what the thresholds of [`CollectionOptions`] ask for, also where they are not looked at in the background. For a
    /// process that writes something and ends: closing stops what is under way. Without writes meanwhile nothing is left to
    /// do afterwards; what is written meanwhile is left to the next call.
    ///
    /// # Errors
    /// As [`Collection::optimize`]. What was done stays done.
    ///
    /// [`CollectionOptions`]: crate::collection::CollectionOptions
    pub fn settle(&self) -> Pending<()> {
        self.ask_optimizer(|stop, reply| optimizer::Job::Settle { stop, reply })
    }

    fn ask_optimizer<T: Send + 'static>(
        &self,
        job: impl FnOnce(StopFlag, Reply<T>) -> optimizer::Job,
    ) -> Pending<T> {
        let stop = StopFlag::new();
        self.ask(stop.clone(), |writers| &writers.optimizer, |reply| job(stop, reply)).of_the_optimizer()
    }

    /// Hands a job to one of the threads that write.
    fn ask<J: Send + 'static, T: Send + 'static>(
        &self,
        stop: StopFlag,
        queue: impl FnOnce(&Writers) -> &Sender<J>,
        job: impl FnOnce(Reply<T>) -> J,
    ) -> Pending<T> {
        let Some(writers) = &self.writers else {
            return Pending::failed(Error::ReadOnly { reason: "it was opened so".to_owned() });
        };
        let (reply, answer) = async_channel::bounded(1);
        let asking = ask(queue(writers).clone(), job(reply), answer, self.closing.clone());
        Pending::new(stop, asking)
    }

    /// Makes a copy of the collection as it is now, in a directory that does not exist yet: a collection of its own, which
    /// can be opened where it is. Where the file system allows, the files of segments are shared by hard links, which costs no
    /// space: they never change once they are written. Logs are copied, and writes wait meanwhile.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Inside`] where the copy would be in the collection itself; [`Error::Stopped`] when the
    /// future's [`Pending::stop_flag`] is raised, or it is dropped; whatever keeps files from being written. Then nothing is
    /// left behind.
    pub fn snapshot(&self, dir: &Path) -> Pending<()> {
        let dir = match whole_path(dir) {
            Ok(dir) => dir,
            Err(error) => return Pending::failed(error.into()),
        };
        let stop = StopFlag::new();
        let job = |reply| ControlJob::Snapshot(dir, stop.clone(), reply);
        self.ask(stop.clone(), |writers| &writers.control, job)
    }

    fn write(&self, change: Change, durability: Durability) -> Pending<WriteSummary> {
        let job = |reply| WriteJob { change, durability, reply };
        if belongs_to_a_collection() {
            return self.control(|reply| ControlJob::Write(job(reply)));
        }
        self.ask(StopFlag::new(), |writers| &writers.writes, job)
    }

    fn control<T: Send + 'static>(&self, job: impl FnOnce(Reply<T>) -> ControlJob) -> Pending<T> {
        self.ask(StopFlag::new(), |writers| &writers.control, job)
    }
}
