//! The threads that read. Each has an executor with a reader of its own. Any thread submits reads and gets
//! futures.

use super::pending::{Pending, ask};
use super::reader::CollectionReader;
use super::shared::Shared;
use crate::error::Error;
use crate::threads::{Jobs, Thread, queue, spawn_belonging};
use async_channel::Sender;
use futures_util::future::{join_all, select};
use io_core::{Executor, LocalBoxFuture, StopFlag};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

/// A read on its way to a core.
type Job = Box<dyn FnOnce(Rc<CollectionReader>) -> LocalBoxFuture<'static, ()> + Send>;

/// The most reads that wait for a core, for any number of cores.
const QUEUE_MAX: usize = 1 << 14;

/// The executors that read one collection.
#[derive(Debug)]
pub(super) struct Cores {
    queue: Sender<Job>,
    closing: StopFlag,
    is_none: bool,
    reads_at_once: usize,
}

impl Cores {
    /// No threads, so every read fails.
    pub(super) fn none() -> Self {
        Self { queue: queue(1).0, closing: StopFlag::new(), is_none: true, reads_at_once: 0 }
    }

    /// Starts an executor for each core. If one of them fails to start, the others end too.
    pub(super) fn start(
        shared: &Arc<Shared>,
        closing: &StopFlag,
        threads: &mut Vec<Thread<Result<(), Error>>>,
    ) -> Result<Self, Error> {
        let options = &shared.options;
        if options.cores == 0 {
            return Ok(Self::none());
        }
        let reads_per_core = options.reads_per_core;
        // The queue is short. Callers that submit faster than the cores answer wait, and do not fill the
        // memory.
        let reads_at_once = options.cores * reads_per_core;
        let (sender, jobs) = queue::<Job>((4 * reads_at_once).min(QUEUE_MAX));
        // The last core to end drops the jobs that are left.
        let jobs = Arc::new(jobs);
        let cores = Self { queue: sender, closing: closing.clone(), is_none: false, reads_at_once };
        let mut starts = Vec::with_capacity(options.cores);
        for core in 0..options.cores {
            let (shared, jobs) = (Arc::clone(shared), Arc::clone(&jobs));
            // Each core has its own channel, so that one that ends silently is noticed while others run.
            let (started, start) = mpsc::channel();
            starts.push(start);
            let backend = shared.backend.clone();
            threads.push(spawn_belonging(&shared.backend.clone(), &format!("core-{core}"), move || {
                let ran = backend.run(|| async {
                    let reader = Rc::new(CollectionReader::new(shared));
                    // If a file cannot be opened, the start fails, not the first read.
                    let opened = reader.view(|_| Ok(())).await.map(drop);
                    let ready = opened.is_ok();
                    let _ = started.send(opened);
                    if ready {
                        serve(reader, &jobs, reads_per_core).await;
                    }
                });
                if let Err(error) = ran {
                    let _ = started.send(Err(error.into()));
                }
                Ok(())
            })?);
        }
        for start in starts {
            start.recv().map_err(|_| Error::WorkerLost)??;
        }
        Ok(cores)
    }

    /// The most reads that all cores work on at once.
    pub(super) fn reads_at_once(&self) -> usize {
        self.reads_at_once
    }

    /// Submits a read to the first free core. Raising the flag that the read gets ends it.
    pub(super) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(Rc<CollectionReader>, StopFlag) -> LocalBoxFuture<'static, Result<T, Error>>
        + Send
        + 'static,
    ) -> Pending<T> {
        let stop = StopFlag::new();
        let stopped = stop.clone();
        Pending::new(stop, self.submit(move |reader| read(reader, stopped)))
    }

    /// As [`Cores::read`], without a flag of its own.
    pub(super) fn submit<T, R>(
        &self,
        read: R,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'static + use<T, R>
    where
        T: Send + 'static,
        R: FnOnce(Rc<CollectionReader>) -> LocalBoxFuture<'static, Result<T, Error>> + Send + 'static,
    {
        let (result, answer) = async_channel::bounded(1);
        let job: Job = Box::new(move |reader| {
            let read = read(reader);
            Box::pin(async move {
                // If the caller dropped its future, the channel is closed.
                let _ = result.try_send(read.await);
            })
        });
        let asking = ask(self.queue.clone(), job, answer, self.closing.clone());
        let is_none = self.is_none;
        async move { if is_none { Err(Error::NoCores) } else { asking.await } }
    }

    /// Accepts no more reads. The threads end once they have finished the submitted ones.
    pub(super) fn close(&self) {
        self.queue.close();
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.close();
    }
}

/// The work of a core: several concurrent reads, so that one can compute while others wait for the disk.
async fn serve(reader: Rc<CollectionReader>, jobs: &Jobs<Job>, reads_per_core: usize) {
    let reads = join_all((0..reads_per_core).map(|_| async {
        while let Ok(job) = jobs.recv().await {
            job(Rc::clone(&reader)).await;
        }
    }));
    // A core without reads must also release replaced segments.
    let replaced = reader.shared.watch_replaced();
    let tidying = async {
        while let Ok(()) = replaced.recv().await {
            reader.close_replaced().await;
        }
    };
    select(pin!(reads), pin!(tidying)).await;
    // Files were only read, so a failed close loses nothing.
    let _ = reader.close().await;
}
