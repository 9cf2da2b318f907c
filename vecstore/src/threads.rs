//! Threads of collections, and the queues that they take jobs from.

use crate::error::Error;
use async_channel::{Receiver, Sender};
use io_core::{BackendFactory, DynBackend, StartError};
use std::cell::Cell;
use std::ops::Deref;

thread_local! {
    static BELONGS: Cell<bool> = const { Cell::new(false) };
}

/// Makes the calling thread one of a collection's, for good.
pub(crate) fn belong_to_a_collection() {
    BELONGS.set(true);
}

/// Whether the calling thread belongs to a collection: a callback or a waker runs there.
///
/// Such a thread waits for no thread of a collection. It would wait for itself, or two of them for each other.
pub(crate) fn belongs_to_a_collection() -> bool {
    BELONGS.get()
}

/// A thread that may be waited for. Dropping it lets the thread go on.
#[derive(Debug)]
pub(crate) struct Thread<T>(Receiver<T>);

impl<T> Thread<T> {
    /// Blocks until the thread's work is done. Everything that the work held is dropped by then.
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

/// The end of a queue that jobs are taken from.
///
/// A queue keeps its jobs while anybody can send, also when nobody takes them any more. Whoever waits for the answer to one would
/// wait for ever. So when this is dropped, in whatever way its thread ends, the jobs go too.
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

/// A queue for so many jobs.
pub(crate) fn queue<T>(jobs_max: usize) -> (Sender<T>, Jobs<T>) {
    let (sender, receiver) = async_channel::bounded(jobs_max);
    (sender, Jobs(receiver))
}
