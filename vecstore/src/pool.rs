//! A segment served by one executor a core: any thread, under any runtime or none, hands a query in and gets a future.
//!
//! ```text
//!  any thread               core 0: executor, reader, lanes ──┐
//!  search() ──> queue ────> core 1: executor, reader, lanes ──┼──> originals on disk
//!      ^                    ...                               ┘
//!      └──── result (a Send future) ────
//! ```
//!
//! Each core runs several queries at once, its *lanes*: while one waits for the disk another one computes.

use crate::segment::{OpenSegment, SearchParams, SearchResult, SegmentData, SegmentError};
use async_channel::{Receiver, Sender};
use futures_util::future::join_all;
use io_core::{BackendFactory, BackendInfo, OpenOptions, StopFlag};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

/// How a pool is laid out.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Executors, each on a thread of its own.
    pub cores: NonZeroUsize,
    /// Queries that each core has under way at once.
    pub lanes: NonZeroUsize,
    /// How the originals are opened.
    pub open: OpenOptions,
}

impl Default for PoolOptions {
    /// As many cores as the machine has, 4 lanes, buffered.
    fn default() -> Self {
        Self {
            cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            lanes: NonZeroUsize::new(4).expect("not zero"),
            open: OpenOptions::default(),
        }
    }
}

/// A query on its way to a core.
struct Job {
    query: Vec<f32>,
    params: SearchParams,
    stop: StopFlag,
    result: Sender<Result<SearchResult, SegmentError>>,
}

/// Executors that search one segment. Dropping it, or [`Pool::close`], finishes what was handed in and stops them.
#[derive(Debug)]
pub struct Pool {
    /// `None` only while it is closing.
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    info: BackendInfo,
}

impl Pool {
    /// Starts an executor a core and opens the segment's originals on each.
    ///
    /// # Errors
    /// Whatever keeps the first core from starting or opening; then no thread is left behind.
    pub fn start<B: BackendFactory>(
        backend: &B,
        data: &Arc<SegmentData>,
        options: &PoolOptions,
    ) -> Result<Self, SegmentError> {
        // A short queue: a producer that is faster than the cores waits instead of filling the memory.
        let (queue, jobs) = async_channel::bounded(4 * options.cores.get() * options.lanes.get());
        let (started, starts) = mpsc::channel();
        let mut threads = Vec::with_capacity(options.cores.get());
        for core in 0..options.cores.get() {
            let worker = Worker {
                backend: backend.clone(),
                data: Arc::clone(data),
                options: options.clone(),
                jobs: jobs.clone(),
            };
            let started = started.clone();
            let spawned = std::thread::Builder::new()
                .name(format!("{}-{core}", backend.name()))
                .spawn(move || worker.run(&started));
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    let failed = SegmentError::Start(io_core::StartError::Io { runtime: "a thread", source });
                    return Err(abandon(queue, threads, failed));
                }
            }
        }
        drop((started, jobs));
        let mut info = None;
        for _ in 0..threads.len() {
            match starts.recv() {
                Ok(Ok(opened)) => info = Some(opened),
                Ok(Err(error)) => return Err(abandon(queue, threads, error)),
                Err(mpsc::RecvError) => break,
            }
        }
        match info {
            Some(info) => Ok(Self { queue: Some(queue), threads, info }),
            None => Err(abandon(queue, threads, SegmentError::WorkerLost)),
        }
    }

    /// What the readers of the originals really use.
    #[must_use]
    pub fn info(&self) -> &BackendInfo {
        &self.info
    }

    /// Hands a query to whichever core is free first.
    ///
    /// The future may be awaited anywhere. It waits while the queue is full. Dropping it stops the search.
    pub fn search(&self, query: Vec<f32>, params: SearchParams) -> PendingSearch {
        let (result, receiver) = async_channel::bounded(1);
        let stop = StopFlag::new();
        let job = Job { query, params, stop: stop.clone(), result };
        let queue = self.queue.clone();
        let future = Box::pin(async move {
            let sent = match queue {
                Some(queue) => queue.send(job).await.is_ok(),
                None => false,
            };
            match receiver.recv().await {
                Ok(result) if sent => result,
                _ => Err(SegmentError::WorkerLost),
            }
        });
        PendingSearch { future, stop }
    }

    /// [`Pool::search`] for threads without an executor.
    ///
    /// # Errors
    /// As [`OpenSegment::search`].
    pub fn search_blocking(
        &self,
        query: Vec<f32>,
        params: SearchParams,
    ) -> Result<SearchResult, SegmentError> {
        pollster::block_on(self.search(query, params))
    }

    /// Finishes what was handed in and stops the executors.
    ///
    /// # Errors
    /// [`SegmentError::WorkerLost`] when a core panicked.
    pub fn close(mut self) -> Result<(), SegmentError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), SegmentError> {
        if let Some(queue) = self.queue.take() {
            queue.close();
        }
        let mut joined = Ok(());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                joined = Err(SegmentError::WorkerLost);
            }
        }
        joined
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A core that panicked has told so on its own; nobody is left to tell here.
        let _ = self.join();
    }
}

/// Ends a start that failed: no thread stays behind.
fn abandon(queue: Sender<Job>, threads: Vec<JoinHandle<()>>, error: SegmentError) -> SegmentError {
    queue.close();
    drop(queue);
    for thread in threads {
        let _ = thread.join();
    }
    error
}

/// A search under way in a [`Pool`].
pub struct PendingSearch {
    future: Pin<Box<dyn Future<Output = Result<SearchResult, SegmentError>> + Send>>,
    stop: StopFlag,
}

impl std::fmt::Debug for PendingSearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingSearch").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl PendingSearch {
    /// The flag that ends this search early, with [`SegmentError::Stopped`].
    #[must_use]
    pub fn stop_flag(&self) -> StopFlag {
        self.stop.clone()
    }
}

impl Future for PendingSearch {
    type Output = Result<SearchResult, SegmentError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl Drop for PendingSearch {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

struct Worker<B> {
    backend: B,
    data: Arc<SegmentData>,
    options: PoolOptions,
    jobs: Receiver<Job>,
}

impl<B: BackendFactory> Worker<B> {
    /// A core's whole life.
    fn run(self, started: &mpsc::Sender<Result<BackendInfo, SegmentError>>) {
        let ran = self.backend.run(|| async {
            let segment =
                match OpenSegment::open(&self.backend, Arc::clone(&self.data), &self.options.open).await {
                    Ok(segment) => segment,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return;
                    }
                };
            let _ = started.send(Ok(segment.info().clone()));
            join_all((0..self.options.lanes.get()).map(|_| self.lane(&segment))).await;
            // Reads are over and the file was only read: a failed close loses nothing.
            let _ = segment.close().await;
        });
        if let Err(error) = ran {
            let _ = started.send(Err(error.into()));
        }
    }

    /// Takes one query after the other until the pool closes.
    async fn lane(&self, segment: &OpenSegment<B::Reader>) {
        while let Ok(job) = self.jobs.recv().await {
            let result = segment.search(&job.query, &job.params, Some(&job.stop)).await;
            // Nobody waits any more when the caller dropped its future.
            let _ = job.result.send(result).await;
        }
    }
}
