//! The handle of a ring, and what it shares with the ring's thread.

use crate::handover::Handover;
use crate::operation::{Idle, OperationFile, Running};
use io_core::backend::{SharedPool, fork};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const NAME: &str = "ring";
pub(crate) const RUNTIME: &str = "one ring for all threads";

/// A running ring. It ends when all handles and all operations are gone.
pub(crate) struct Ring<F: OperationFile> {
    shared: Arc<Shared<F>>,
    generation: u64,
    features: Vec<&'static str>,
    pool: SharedPool<Idle<F>>,
}

/// The state that the ring's thread and the others share.
pub(crate) struct Shared<F: OperationFile> {
    pub(crate) handover: Handover<F>,
    /// Wakes the ring's thread, which keeps a read of this in flight.
    pub(crate) wake: OwnedFd,
    /// Whether all handles are gone.
    pub(crate) stopping: AtomicBool,
}

impl<F: OperationFile> Shared<F> {
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { handover: Handover::new(), wake, stopping: AtomicBool::new(false) })
    }

    fn wake(&self) {
        // The write fails only if the counter would overflow. The ring is then awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Makes the ring end once nothing is in flight.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }
}

impl<F: OperationFile> Ring<F> {
    /// The handle of a ring. The ring's thread has `shared` too, and uses these features of the kernel.
    pub(crate) fn new(shared: Arc<Shared<F>>, features: Vec<&'static str>) -> Arc<Self> {
        Arc::new(Self { shared, generation: fork::generation(), features, pool: SharedPool::new() })
    }

    /// Kernel features in use.
    pub(crate) fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// Idle operations, to use again.
    pub(crate) fn pool(&self) -> &SharedPool<Idle<F>> {
        &self.pool
    }

    /// Whether the ring stayed behind at a fork.
    pub(crate) fn is_of_another_process(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Hands an operation to the ring's thread.
    pub(crate) fn submit(&self, operation: Running<F>) {
        if self.is_of_another_process() {
            operation.finish_forked();
        } else if self.shared.handover.push(operation) {
            self.shared.wake();
        }
    }
}

impl<F: OperationFile> Drop for Ring<F> {
    fn drop(&mut self) {
        if !self.is_of_another_process() {
            self.shared.stop();
        }
    }
}
