//! The ring and its handles: starting it, handing operations in, ending it.

use crate::fork;
use crate::handover::Handover;
use crate::operation::Running;
use crate::pool::Pool;
use crate::runtime::RUNTIME;
use crate::worker::Worker;
use io_core::StartError;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};

/// How large a ring is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// Entries of the submission queue: what one system call takes along at most.
    pub entries: u32,
    /// Operations in flight at most, over all files. More wait, in their lane.
    pub in_flight_max: u32,
    /// Kernel threads at most for operations that block: buffered writes where the file system has no other way, syncs.
    /// From Linux 5.15 on; before, the kernel's own bound holds.
    pub workers_max: u32,
    /// Bytes of buffers at most that stay registered with the kernel, for operations past the page cache: those then take
    /// less CPU. They are locked in memory, where other rings of the user need some too, so of the user's limit for that
    /// (`ulimit -l`) a quarter is taken at most. From Linux 5.19 on; before, none are.
    pub registered_bytes_max: u64,
}

impl Default for RingOptions {
    /// 256 entries, 4095 operations in flight, 8 workers, 32 MiB of registered buffers.
    fn default() -> Self {
        Self { entries: 256, in_flight_max: 4095, workers_max: 8, registered_bytes_max: 32 << 20 }
    }
}

/// A running ring. It ends when all handles are gone and all operations with them.
pub(crate) struct Ring {
    shared: Arc<Shared>,
    generation: u64,
    features: Vec<&'static str>,
    pool: Arc<Pool>,
}

/// What the ring's thread and the others share.
pub(crate) struct Shared {
    pub(crate) handover: Handover,
    /// Wakes the ring's thread: it keeps a read of this in flight.
    pub(crate) wake: OwnedFd,
    /// No handle is left.
    pub(crate) stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { handover: Handover::new(), wake, stopping: AtomicBool::new(false) })
    }

    fn wake(&self) {
        // It fails only when the counter would overflow, and then the ring is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Has the ring end when nothing is in flight any more.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }
}

impl Ring {
    /// Starts a ring and its thread.
    pub(crate) fn start(options: &RingOptions) -> Result<Arc<Self>, StartError> {
        Self::start_with(options, 0)
    }

    /// As [`Ring::start`], as on an older kernel if setups are skipped.
    pub(crate) fn start_with(options: &RingOptions, setups_skipped: usize) -> Result<Arc<Self>, StartError> {
        fork::watch();
        let failed = |source| StartError::from_ring_setup(RUNTIME, source);
        let shared = Arc::new(Shared::new().map_err(failed)?);
        let (started, start) = mpsc::sync_channel(1);
        let (for_thread, options) = (Arc::clone(&shared), options.clone());
        // The ring is made on its own thread: the kernel then knows that no other one submits.
        let thread = std::thread::Builder::new().name("io-ring".into()).spawn(move || {
            match Worker::new(for_thread, &options, setups_skipped) {
                Ok(worker) => {
                    let _ = started.send(Ok(worker.features().to_vec()));
                    worker.run();
                }
                Err(error) => drop(started.send(Err(error))),
            }
        });
        thread.map_err(failed)?;
        let features = start.recv().map_err(|_| failed(io::Error::other("its thread ended")))?;
        let features = features.map_err(failed)?;
        Ok(Arc::new(Self { shared, generation: fork::generation(), features, pool: Arc::new(Pool::new()) }))
    }

    /// The process's ring: the running one, or a new one.
    pub(crate) fn of_process() -> Result<Arc<Self>, StartError> {
        // One for each generation: that of the process before may be locked by a thread that stayed behind.
        static OF_PROCESS: [Mutex<Weak<Ring>>; 16] = [const { Mutex::new(Weak::new()) }; 16];
        let of_process = &OF_PROCESS[fork::generation() as usize % OF_PROCESS.len()];
        // It is replaced in one step, so a panic leaves it whole.
        let mut of_process = of_process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ring) = of_process.upgrade().filter(|ring| !ring.is_of_another_process()) {
            return Ok(ring);
        }
        let ring = Self::start(&RingOptions::default())?;
        *of_process = Arc::downgrade(&ring);
        Ok(ring)
    }

    /// What of the kernel's is in use.
    pub(crate) fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// Operations to be used again.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Whether the ring stayed behind at a fork.
    pub(crate) fn is_of_another_process(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Hands an operation to the ring's thread.
    pub(crate) fn submit(&self, operation: Running) {
        if self.is_of_another_process() {
            operation.finish_forked();
        } else if self.shared.handover.push(operation) {
            self.shared.wake();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.is_of_another_process() {
            self.shared.stop();
        }
    }
}
