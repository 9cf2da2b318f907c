//! The threads that read: an executor each, with a reader of its own. Any thread hands reads in and gets futures.

use super::pending::{Pending, ask};
use super::reader::CollectionReader;
use super::shared::Shared;
use crate::error::Error;
use crate::threads::{Jobs, Thread, queue, spawn_belonging};
use async_channel::Sender;
use futures_util::future::{join_all, select};
use io_core::{BackendFactory, LocalBoxFuture, StopFlag};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

/// A read on its way to a core.
type Job = Box<dyn FnOnce(Rc<CollectionReader>) -> LocalBoxFuture<'static, ()> + Send>;

/// Reads that wait for a core at most, however many cores there are.
const QUEUE_MAX: usize = 1 << 14;

/// Executors that read one collection.
#[derive(Debug)]
pub(super) struct Cores {
    queue: Sender<Job>,
    closing: StopFlag,
    is_none: bool,
}

impl Cores {
    /// No threads: every read fails.
    pub(super) fn none() -> Self {
        Self { queue: queue(1).0, closing: StopFlag::new(), is_none: true }
    }

    /// Starts an executor a core. When one of them fails to start, the others end too.
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
        // A short queue: whoever asks faster than the cores answer waits instead of filling the memory.
        let (sender, jobs) = queue::<Job>((4 * options.cores * reads_per_core).min(QUEUE_MAX));
        // The last of them to end drops what nobody takes any more.
        let jobs = Arc::new(jobs);
        let cores = Self { queue: sender, closing: closing.clone(), is_none: false };
        let mut starts = Vec::with_capacity(options.cores);
        for core in 0..options.cores {
            let (shared, jobs) = (Arc::clone(shared), Arc::clone(&jobs));
            // A channel each: one that ends without a word is noticed while others go on.
            let (started, start) = mpsc::channel();
            starts.push(start);
            let backend = shared.backend.clone();
            threads.push(spawn_belonging(&shared.backend.clone(), &format!("core-{core}"), move || {
                let ran = backend.run(|| async {
                    let reader = Rc::new(CollectionReader::new(shared));
                    // What cannot be opened is to fail now, not with the first read.
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

    /// Hands a read to whichever core is free first. Raising the flag it gets ends it.
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

    /// [`Cores::read`] without a flag of its own.
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
                // Nobody waits any more when the caller dropped its future.
                let _ = result.try_send(read.await);
            })
        });
        let asking = ask(self.queue.clone(), job, answer, self.closing.clone());
        let is_none = self.is_none;
        async move { if is_none { Err(Error::NoCores) } else { asking.await } }
    }

    /// Takes nothing more. The threads end when they have finished what was handed in.
    pub(super) fn close(&self) {
        self.queue.close();
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.close();
    }
}

/// A core's whole life: several reads at once, so that while one waits for the disk another one computes.
async fn serve(reader: Rc<CollectionReader>, jobs: &Jobs<Job>, reads_per_core: usize) {
    let reads = join_all((0..reads_per_core).map(|_| async {
        while let Ok(job) = jobs.recv().await {
            job(Rc::clone(&reader)).await;
        }
    }));
    // A core that nothing is read on does not keep what was replaced either.
    let replaced = reader.shared.watch_replaced();
    let tidying = async {
        while let Ok(()) = replaced.recv().await {
            reader.close_replaced().await;
        }
    };
    select(pin!(reads), pin!(tidying)).await;
    // Files were only read: a failed close loses nothing.
    let _ = reader.close().await;
}
