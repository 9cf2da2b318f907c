//! Threads of collections, and their job queues.

use crate::error::Error;
use async_channel::{Receiver, Sender};
use io_core::{DynBackend, Executor, StartError};
use std::cell::Cell;
use std::ops::Deref;

thread_local! {
    static BELONGS: Cell<bool> = const { Cell::new(false) };
}

/// Marks the calling thread as a collection's, permanently.
pub(crate) fn belong_to_a_collection() {
    BELONGS.set(true);
}

/// Whether the calling thread belongs to a collection. Callbacks and wakers run on such threads.
///
/// Such a thread waits for no thread of a collection. Otherwise it could wait for itself, or two of them for
/// each other.
pub(crate) fn belongs_to_a_collection() -> bool {
    BELONGS.get()
}

/// A thread to wait for. Dropping this value detaches the thread.
#[derive(Debug)]
pub(crate) struct Thread<T>(Receiver<T>);

impl<T> Thread<T> {
    /// Blocks until the thread's work is done. By then, everything that the work owned is dropped.
    pub(crate) fn join(self) -> Result<T, Error> {
        self.0.recv_blocking().map_err(|_| Error::WorkerLost)
    }
}

/// Starts a thread for work that may call the backend's `run`.
pub(crate) fn spawn<T: Send + 'static>(
    backend: &DynBackend,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Thread<T>, Error> {
    let (done, ended) = async_channel::bounded(1);
    let work = move || {
        let result = work();
        let _ = done.try_send(result);
    };
    let spawned = backend.spawn_thread(format!("vecstore-{name}"), Box::new(work));
    spawned.map_err(|source| StartError::Threads { runtime: "a collection", source })?;
    Ok(Thread(ended))
}

/// As [`spawn`], for a thread that belongs to a collection.
pub(crate) fn spawn_belonging<T: Send + 'static>(
    backend: &DynBackend,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Thread<T>, Error> {
    spawn(backend, name, move || {
        belong_to_a_collection();
        work()
    })
}

/// The receiving end of a job queue.
///
/// A queue keeps its jobs while a sender exists, even without a receiver. A caller that waits for the answer
/// to a job would then wait for ever. Dropping this end therefore drops the jobs too, however its thread
/// ends.
#[derive(Debug)]
pub(crate) struct Jobs<T>(Receiver<T>);

impl<T> Deref for Jobs<T> {
    type Target = Receiver<T>;

    fn deref(&self) -> &Receiver<T> {
        &self.0
    }
}

impl<T> Drop for Jobs<T> {
    fn drop(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}

/// A queue for `jobs_max` jobs.
pub(crate) fn queue<T>(jobs_max: usize) -> (Sender<T>, Jobs<T>) {
    let (sender, receiver) = async_channel::bounded(jobs_max);
    (sender, Jobs(receiver))
}
