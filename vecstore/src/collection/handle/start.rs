//! Starts the threads that write to an open collection, and handles their end.

use crate::background;
use crate::collection::open::{self, Lock};
use crate::collection::optimizer;
use crate::collection::options::CollectionOptions;
use crate::collection::shared::Shared;
use crate::collection::writer::{ControlJob, WriteJob, Writer};
use crate::error::Error;
use crate::threads::{Thread, queue, spawn, spawn_belonging};
use async_channel::Sender;
use io_core::{DynBackend, Executor, StopFlag};
use std::path::Path;
use std::sync::{Arc, mpsc};

/// The most writes that wait to be grouped.
const WRITES_WAITING_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Writers {
    pub(super) writes: Sender<WriteJob>,
    pub(super) control: Sender<ControlJob>,
    pub(super) optimizer: Sender<optimizer::Job>,
}

impl Writers {
    /// Accepts no more jobs. The threads end once they have finished the jobs in their queues. An
    /// optimization ends early.
    pub(super) fn close(&self) {
        self.optimizer.close();
        self.control.close();
        self.writes.close();
    }
}

/// Loads a collection on its own thread, because the caller's thread may already run an executor.
pub(super) fn load(
    backend: &DynBackend,
    dir: &Path,
    options: &CollectionOptions,
) -> Result<Arc<Shared>, Error> {
    let (backend, dir, options) = (backend.clone(), dir.to_owned(), options.clone());
    let loading = spawn(&backend.clone(), "load", move || {
        backend.run(|| async { Ok(open::load(&backend, &dir, &options, None).await?.shared) })
    })?;
    loading.join()??
}

/// Loads a collection on the writer's thread, and starts the optimizer's. If one fails, the other ends.
pub(super) fn start(
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
                        let writer = Writer::new(found, optimizer, closing);
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
            // The writer has dropped its lock by then.
            let _ = writer.join();
            return Err(error);
        }
    };
    let (started, starting) = mpsc::channel();
    let optimizing = {
        let (shared, control, closing) = (Arc::clone(&shared), writers.control.clone(), closing.clone());
        spawn_belonging(backend, "optimizer", move || {
            background::lower_priority();
            // Dropped after the jobs. When the writer looks, no job can arrive any more.
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

/// Makes the collection read-only when the writer ends, even by a panic.
struct WriterEnded(Arc<Shared>);

impl Drop for WriterEnded {
    fn drop(&mut self) {
        self.0.make_read_only("its writer ended unexpectedly; open the collection again");
    }
}

/// Wakes the writer when the optimizer ends, even by a panic. The writer may be waiting for room.
struct OptimizerEnded(Sender<ControlJob>);

impl Drop for OptimizerEnded {
    fn drop(&mut self) {
        let _ = self.0.send_blocking(ControlJob::Wake);
    }
}
