//! Operations of the writer and the optimizer.

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
    /// Writes points. A point with an existing id replaces the old one. Either all points are written or
    /// none.
    ///
    /// # Errors
    /// - [`Error::Input`] for the first point that does not fit, before anything is written
    /// - [`Error::ReadOnly`]
    /// - the error that prevented writing the log
    ///
    /// # Cancel safety
    /// Nothing is written before the future is polled. After that, dropping it may or may not cancel the
    /// write.
    pub fn upsert(&self, points: Vec<Point>, durability: Durability) -> Pending<WriteSummary> {
        match prepare::prepare_points(&self.shared.schema, points) {
            Ok(puts) => self.put(puts, durability),
            Err(error) => Pending::failed(error.into()),
        }
    }

    /// Writes checked points. No id occurs twice.
    pub(crate) fn put(&self, puts: Vec<PreparedPoint>, durability: Durability) -> Pending<WriteSummary> {
        match prepare::encode_batch(&puts, &[]) {
            Ok(body) => self.write(Change::Batch { puts, deletes: Vec::new(), body }, durability),
            Err(error) => Pending::failed(error.into()),
        }
    }

    /// Deletes points. Unknown ids are ignored.
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

    /// Changes the payloads of points. Unknown ids are ignored.
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

    /// Makes every acknowledged write durable.
    ///
    /// # Errors
    /// The error of the system. The collection is read-only then.
    pub fn sync(&self) -> Pending<()> {
        self.control(ControlJob::Sync)
    }

    /// Seals the points in memory, and merges all segments as far as
    /// [`CollectionOptions::segment_points_max`] allows. It omits deleted points and puts points of a tenant
    /// together. `progress` receives the progress, on a low-priority thread. Searches and writes go first
    /// even while a caller waits for this. An idle machine is used fully.
    ///
    /// The callback may write. It must not wait for another call of `optimize`, `seal` or `settle`, because
    /// that comes after this one: [`Pending::wait`] fails there.
    ///
    /// It covers the points that exist when its turn comes. That is after earlier calls, and after at most
    /// one segment of background work. Later writes are left to the next call, and wait if memory is full.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the future's [`Pending::stop_flag`] is raised or the future is dropped; the
    /// error that prevents reading or writing files. The collection is then as before.
    ///
    /// [`CollectionOptions::segment_points_max`]: crate::collection::CollectionOptions::segment_points_max
    pub fn optimize(
        &self,
        progress: impl Fn(OptimizeProgress) + Send + Sync + 'static,
    ) -> Pending<OptimizeReport> {
        let progress = Box::new(progress);
        self.ask_optimizer(|stop, reply| optimizer::Job::Asked { merge: true, progress, stop, reply })
    }

    /// Seals the points in memory into a segment, without merging it with others. If there are more than
    /// [`CollectionOptions::segments_max`] segments, it first merges some of them.
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

    /// Does all work that the thresholds of [`CollectionOptions`] ask for, even without background work. It
    /// serves a process that writes something and ends, because closing stops work in progress. If nothing is
    /// written meanwhile, no work is left afterwards. Writes during the call are left to the next one.
    ///
    /// # Errors
    /// As [`Collection::optimize`]. Finished steps are kept.
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

    /// Copies the collection as it is now to a directory that does not exist yet. The copy is a collection of
    /// its own, and can be opened in place. If the file system allows, it shares the files of segments by
    /// hard links, which costs no space. These files never change. Logs are copied, and writes wait
    /// meanwhile.
    ///
    /// # Errors
    /// - [`Error::Exists`]
    /// - [`Error::Inside`] if the copy would lie in the collection itself
    /// - [`Error::Stopped`] if the future's [`Pending::stop_flag`] is raised or the future is dropped
    /// - the error that prevents writing files
    ///
    /// After an error, no part of the copy is left.
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
