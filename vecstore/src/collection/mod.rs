//! Collections: points that are put in, found, changed and kept.
//!
//! ```text
//! any thread: Collection ──┬── writes ──> writer thread: log, state, manifest
//!                          ├── reads ───> core 0, core 1, ...: an executor each, with readers of its own
//!                          └── optimize ─> optimizer thread: new segments, installed by the writer
//! ```
//!
//! | module | concern |
//! |---|---|
//! | `open` | creating and opening, recovery from the log |
//! | `writer` | all changes, one after the other; `install` replaces segments |
//! | `optimizer` | sealing, merging, vacuum, defragmentation; `plan` says what is next |
//! | `reader` | reading on one core; `search`, `retrieve` and `scroll` are the reads |
//! | `state` | what there is at one moment, and the version that a read keeps |
//! | `manifest`, `files` | what belongs to a collection, and its names |
//! | `prepare` | checking and encoding what is written |
//! | `pending` | what a caller waits for |

mod best;
mod cores;
mod decide;
mod disk_search;
mod files;
mod info;
mod install;
mod locality;
mod manifest;
mod open;
mod open_files;
mod optimizer;
mod options;
mod overlap;
mod pending;
mod plan;
mod prepare;
mod reader;
mod repair;
mod request;
mod retrieve;
mod scroll;
mod search;
mod select;
mod snapshot;
mod staging;
mod state;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use crate::immutable::build::BuildStage;
pub use info::{CollectionInfo, SegmentSummary};
pub use locality::Locality;
pub use open::{CutOff, OpenReport};
pub use open_files::OpenFiles;
pub use optimizer::{OptimizeProgress, OptimizeReport};
pub use options::CollectionOptions;
pub use pending::Pending;
pub use reader::CollectionReader;
pub use repair::RepairReport;
pub use request::{
    Durability, FacetCount, Hit, LIMIT_MAX, PayloadChange, Record, RecordParts, Rescore, Retrieved,
    ScrollPage, ScrollRequest, SearchParams, SearchRequest, SearchResult, SearchStats, Selection,
    WriteSummary,
};
pub use verify::VerifyReport;

pub(crate) use files::MANIFEST;

/// What the fuzz targets reach.
#[cfg(feature = "internals")]
pub(crate) mod fuzzing {
    /// Takes a manifest apart.
    pub(crate) fn manifest(path: &std::path::Path, bytes: &[u8]) {
        let _ = super::manifest::Manifest::decode(path, bytes);
    }
}

use crate::background;
use crate::error::Error;
use crate::filter::Filter;
use crate::mutable::PreparedPoint;
use crate::point::{Point, PointId};
use crate::schema::Schema;
use crate::threads::{Thread, belongs_to_a_collection, queue, spawn, spawn_belonging};
use async_channel::{Receiver, Sender};
use cores::Cores;
use io_core::{BackendFactory, BackendInfo, DynBackend, StopFlag};
use open::Lock;
use pending::{Reply, ask};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use writer::{Change, ControlJob, WriteJob};

/// What all threads of a collection share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) schema: Schema,
    pub(crate) backend: DynBackend,
    pub(crate) options: CollectionOptions,
    pub(crate) state: state::SharedState,
    /// Tells each thread that reads when segments were replaced.
    replaced: Mutex<Vec<Sender<()>>>,
    report: OpenReport,
    _lock: Lock,
}

impl Shared {
    /// Something to wait for, each time segments were replaced.
    fn watch_replaced(&self) -> Receiver<()> {
        // One is enough: whoever has not looked yet sees the newest version when it does.
        let (sender, receiver) = async_channel::bounded(1);
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    fn tell_replaced(&self) {
        for watching in &*self.replaced.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = watching.try_send(());
        }
    }
}

/// Points with vectors and payloads in a directory.
///
/// Its methods may be called from any thread, under any runtime or none. Those that return [`Pending`] may be awaited
/// anywhere, or waited for with [`Pending::wait`].
#[derive(Debug)]
pub struct Collection {
    shared: Arc<Shared>,
    cores: Cores,
    /// `None` in a read-only collection.
    writers: Option<Writers>,
    /// Raised when it is closed.
    closing: StopFlag,
    threads: Vec<Thread<Result<(), Error>>>,
}

#[derive(Debug)]
struct Writers {
    writes: Sender<WriteJob>,
    control: Sender<ControlJob>,
    optimizer: Sender<optimizer::Job>,
}

impl Writers {
    /// Takes nothing more. The threads end when they have finished what was handed in; an optimization ends early.
    fn close(&self) {
        self.optimizer.close();
        self.control.close();
        self.writes.close();
    }
}

/// Writes that wait to be grouped.
const WRITES_WAITING_MAX: usize = 1024;

impl Collection {
    /// Creates a collection in a directory that does not exist or is empty, and opens it. Blocks.
    ///
    /// # Errors
    /// [`Error::Schema`]; [`Error::Exists`]; whatever keeps files from being written.
    pub fn create(
        backend: &DynBackend,
        dir: &Path,
        schema: &Schema,
        options: &CollectionOptions,
    ) -> Result<Self, Error> {
        schema.check()?;
        let lock = open::claim(&*backend.directory(), dir)?;
        Self::begin(backend, dir, schema, options, lock)
    }

    /// Makes a collection of an empty directory that is locked, and opens it. The lock may be shared: the directory is not free
    /// until all have dropped it.
    fn begin(
        backend: &DynBackend,
        dir: &Path,
        schema: &Schema,
        options: &CollectionOptions,
        lock: Lock,
    ) -> Result<Self, Error> {
        open::begin(&*backend.directory(), dir, schema)?;
        // A reader shares the collection with others.
        Self::open_locked(backend, dir, options, (!options.read_only).then_some(lock))
    }

    /// Opens a collection. Blocks while its segments are loaded and its log is read.
    ///
    /// # Errors
    /// [`Error::Input`] for options out of their ranges; [`Error::NotACollection`]; [`Error::InUse`] when another owner has
    /// it open; [`Error::Format`] for a file that is damaged, misplaced, of another version, or cannot be read.
    pub fn open(backend: &DynBackend, dir: &Path, options: &CollectionOptions) -> Result<Self, Error> {
        Self::open_locked(backend, dir, options, None)
    }

    fn open_locked(
        backend: &DynBackend,
        dir: &Path,
        options: &CollectionOptions,
        lock: Option<Lock>,
    ) -> Result<Self, Error> {
        options.open.check()?;
        options.check()?;
        let (closing, mut threads) = (StopFlag::new(), Vec::new());
        let (shared, writers) = if options.read_only {
            (load(backend, dir, options)?, None)
        } else {
            let (shared, writers) = start(backend, dir, options, lock, &closing, &mut threads)?;
            (shared, Some(writers))
        };
        let mut collection = Self { shared, cores: Cores::none(), writers, closing, threads };
        // Where it fails, dropping the collection ends the threads that were started.
        collection.cores = Cores::start(&collection.shared, &collection.closing, &mut collection.threads)?;
        Ok(collection)
    }

    /// Reads every byte of a collection, checks each checksum and that the files say the same. Blocks. Several may do so, and
    /// read the collection, at once; nobody may have it open for writing.
    ///
    /// # Errors
    /// [`Error::InUse`]; [`Error::NotACollection`]; [`Error::Stopped`] once `stop` is raised. Damage is in the report,
    /// and so is what could not be read.
    pub fn verify(backend: &DynBackend, dir: &Path, stop: &StopFlag) -> Result<VerifyReport, Error> {
        let (backend, dir, stop) = (backend.clone(), dir.to_owned(), stop.clone());
        let verifying =
            spawn(&backend.clone(), "verify", move || backend.run(|| verify::verify(&backend, &dir, &stop)))?;
        verifying.join()??
    }

    /// Puts what is intact of a damaged collection into a new one, in a directory that does not exist yet. The damaged one
    /// is only read. The new one gets its name when it is complete and durable. Blocks.
    ///
    /// `schema` is gone by where neither the manifest nor any segment says it any more.
    ///
    /// # Errors
    /// [`Error::NotACollection`]; [`Error::NoSchema`]; [`Error::InUse`]; [`Error::Exists`]; [`Error::Inside`];
    /// [`Error::Stopped`]; whatever keeps the damaged one from being read, such as permissions, or the new one from being
    /// written.
    pub fn repair(
        backend: &DynBackend,
        dir: &Path,
        target: &Path,
        schema: Option<&Schema>,
        stop: &StopFlag,
    ) -> Result<RepairReport, Error> {
        let (backend, dir, target, stop) = (backend.clone(), dir.to_owned(), target.to_owned(), stop.clone());
        let schema = schema.cloned();
        let repairing = spawn(&backend.clone(), "repair", move || {
            backend.run(|| repair::repair(&backend, &dir, &target, schema.as_ref(), &stop))
        })?;
        repairing.join()??
    }

    /// What the collection is.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.shared.schema
    }

    /// What opening it found.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.shared.report
    }

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
    fn put(&self, puts: Vec<PreparedPoint>, durability: Durability) -> Pending<WriteSummary> {
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
        let (dir, stop) = (dir.to_owned(), StopFlag::new());
        let job = |reply| ControlJob::Snapshot(dir, stop.clone(), reply);
        self.ask(stop.clone(), |writers| &writers.control, job)
    }

    /// Makes a collection in a directory that does not exist yet from a snapshot, which stays. Blocks.
    ///
    /// # Errors
    /// As [`Collection::snapshot`] and [`Collection::open`]; [`Error::Stopped`] once `stop` is raised.
    pub fn restore(backend: &DynBackend, snapshot: &Path, dir: &Path, stop: &StopFlag) -> Result<(), Error> {
        let directory = backend.directory();
        manifest::Manifest::read(&*directory, snapshot)?;
        // Nobody is to write to the snapshot meanwhile.
        let _lock = open::lock(&*directory, snapshot, true)?;
        let manifest = manifest::Manifest::read(&*directory, snapshot)?;
        snapshot::restore(&*directory, snapshot, &manifest, dir, stop)
    }

    /// Finds the points nearest to a vector.
    ///
    /// # Errors
    /// As [`CollectionReader::search`].
    pub fn search(&self, request: SearchRequest) -> Pending<SearchResult> {
        self.cores.read(move |reader, stop| Box::pin(async move { reader.search(&request, &stop).await }))
    }

    /// Many searches, on all cores; the results are in the order of the requests.
    ///
    /// # Errors
    /// As [`CollectionReader::search`], of the first that fails.
    pub fn search_batch(&self, requests: Vec<SearchRequest>) -> Pending<Vec<SearchResult>> {
        // One flag for all, which the future raises when it is dropped: then one of them may have failed.
        let stop = StopFlag::new();
        let search = |request| {
            let stop = stop.clone();
            self.cores.submit(move |reader| Box::pin(async move { reader.search(&request, &stop).await }))
        };
        let searches: Vec<_> = requests.into_iter().map(search).collect();
        Pending::new(stop, futures_util::future::try_join_all(searches))
    }

    /// Fetches points by their ids.
    ///
    /// # Errors
    /// As [`CollectionReader::retrieve`].
    pub fn retrieve(&self, ids: Vec<PointId>, with: RecordParts) -> Pending<Retrieved> {
        self.cores.read(move |reader, stop| Box::pin(async move { reader.retrieve(&ids, with, &stop).await }))
    }

    /// A page of points, in order.
    ///
    /// # Errors
    /// As [`CollectionReader::scroll`].
    pub fn scroll(&self, request: ScrollRequest) -> Pending<ScrollPage> {
        self.cores.read(move |reader, stop| Box::pin(async move { reader.scroll(&request, &stop).await }))
    }

    /// Counts points.
    ///
    /// # Errors
    /// As [`CollectionReader::count`].
    pub fn count(&self, filter: Option<Filter>) -> Pending<u64> {
        self.cores
            .read(move |reader, stop| Box::pin(async move { reader.count(filter.as_ref(), &stop).await }))
    }

    /// The values of an indexed field with the most points.
    ///
    /// # Errors
    /// As [`CollectionReader::facet`].
    pub fn facet(&self, field: String, filter: Option<Filter>, limit: usize) -> Pending<Vec<FacetCount>> {
        self.cores.read(move |reader, stop| {
            Box::pin(async move { reader.facet(&field, filter.as_ref(), limit, &stop).await })
        })
    }

    /// How well the points of each value of an indexed field lie together on disk.
    ///
    /// # Errors
    /// As [`CollectionReader::locality`].
    pub fn locality(&self, field: String) -> Pending<Locality> {
        self.cores.read(move |reader, stop| Box::pin(async move { reader.locality(&field, &stop).await }))
    }

    /// What the readers of vectors really use; none while there is no immutable segment.
    ///
    /// # Errors
    /// What keeps files from being opened.
    pub fn backend_info(&self) -> Pending<Option<BackendInfo>> {
        self.cores.read(|reader, _| Box::pin(async move { reader.backend_info().await }))
    }

    /// A reader for a thread of yours. Use it inside the backend's `run`. The collection stays locked while it lives.
    #[must_use]
    pub fn reader(&self) -> CollectionReader {
        CollectionReader::new(Arc::clone(&self.shared))
    }

    /// Finishes reads and writes that were begun, ends the log and closes everything. Dropping the collection does the
    /// same, without telling what failed.
    ///
    /// On a thread of a collection, where progress callbacks and wakers run, neither waits. The threads do the same on
    /// their own, and the directory stays locked until they have.
    ///
    /// # Errors
    /// What kept the log from being ended; every acknowledged write is durable all the same.
    pub fn close(mut self) -> Result<(), Error> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<(), Error> {
        self.closing.stop();
        self.cores.close();
        if let Some(writers) = &self.writers {
            writers.close();
        }
        let threads = std::mem::take(&mut self.threads);
        if belongs_to_a_collection() {
            return Ok(());
        }
        // All of them, whatever becomes of the first.
        let ended: Vec<_> = threads.into_iter().map(Thread::join).collect();
        ended.into_iter().try_for_each(Result::flatten)
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

impl Drop for Collection {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.shut_down();
    }
}

/// Loads a collection on a thread of its own: the caller's may run an executor already.
fn load(backend: &DynBackend, dir: &Path, options: &CollectionOptions) -> Result<Arc<Shared>, Error> {
    let (backend, dir, options) = (backend.clone(), dir.to_owned(), options.clone());
    let loading = spawn(&backend.clone(), "load", move || {
        backend.run(|| async { Ok(open::load(&backend, &dir, &options, None).await?.shared) })
    })?;
    loading.join()??
}

/// Loads a collection on what is to be its writer's thread, and starts the optimizer's. Where one fails, the other ends.
fn start(
    backend: &DynBackend,
    dir: &Path,
    options: &CollectionOptions,
    lock: Option<Lock>,
    closing: &StopFlag,
    threads: &mut Vec<Thread<Result<(), Error>>>,
) -> Result<(Arc<Shared>, Writers), Error> {
    let (writes, write_jobs) = queue(WRITES_WAITING_MAX);
    let (control, control_jobs) = queue(16);
    let (optimizer, optimizer_jobs) = queue(16);
    let writers = Writers { writes, control, optimizer };
    let (loaded, loading) = mpsc::channel();
    let writer = {
        let (backend, dir, options) = (backend.clone(), dir.to_owned(), options.clone());
        let (optimizer, closing) = (writers.optimizer.clone(), closing.clone());
        spawn_belonging(&backend.clone(), "writer", move || {
            let ran = backend.run(|| async {
                match open::load(&backend, &dir, &options, lock).await {
                    Err(error) => {
                        let _ = loaded.send(Err(error));
                        Ok(())
                    }
                    Ok(found) => {
                        let _ended = WriterEnded(Arc::clone(&found.shared));
                        let shared = Arc::clone(&found.shared);
                        let writer = writer::Writer::new(found, optimizer, closing);
                        let _ = loaded.send(Ok(shared));
                        writer.run(&write_jobs, &control_jobs).await
                    }
                }
            });
            ran.unwrap_or_else(|error| {
                let _ = loaded.send(Err(error.into()));
                Ok(())
            })
        })?
    };
    let shared = match loading.recv().unwrap_or(Err(Error::WorkerLost)) {
        Ok(shared) => shared,
        Err(error) => {
            // Its lock is gone by then.
            let _ = writer.join();
            return Err(error);
        }
    };
    let (started, starting) = mpsc::channel();
    let optimizing = {
        let (shared, control, closing) = (Arc::clone(&shared), writers.control.clone(), closing.clone());
        spawn_belonging(backend, "optimizer", move || {
            background::lower_priority();
            // Dropped after the jobs: nobody hands one in any more when the writer looks.
            let _ended = OptimizerEnded(control.clone());
            let jobs = optimizer_jobs;
            let backend = shared.backend.clone();
            let ran = backend.run(|| async {
                let optimizer = optimizer::Optimizer::new(shared, control, closing);
                let _ = started.send(Ok(()));
                optimizer.run(&jobs).await;
            });
            if let Err(error) = ran {
                let _ = started.send(Err(error.into()));
            }
            Ok(())
        })
    };
    let optimizing = optimizing.and_then(|thread| {
        starting.recv().map_err(|_| Error::WorkerLost).flatten()?;
        Ok(thread)
    });
    match optimizing {
        Ok(thread) => threads.extend([thread, writer]),
        Err(error) => {
            writers.close();
            drop(shared);
            let _ = writer.join();
            return Err(error);
        }
    }
    Ok((shared, writers))
}

/// Tells everybody when the writer has ended, by a panic too.
struct WriterEnded(Arc<Shared>);

impl Drop for WriterEnded {
    fn drop(&mut self) {
        let reason = || "its writer ended unexpectedly; open the collection again".to_owned();
        self.0.state.write().read_only.get_or_insert_with(reason);
    }
}

/// Has the writer look when the optimizer has ended, by a panic too: it may be waiting for room.
struct OptimizerEnded(Sender<ControlJob>);

impl Drop for OptimizerEnded {
    fn drop(&mut self) {
        let _ = self.0.send_blocking(ControlJob::Wake);
    }
}
