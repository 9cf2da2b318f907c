//! Chooses, once for the process.

use crate::either::{Either, RingBackend, ThreadsBackend};
use io_core::backend::OfProcess;
use io_core::{Choice, FileSystem, StartError};
use std::sync::Arc;

/// The backend that was taken, and why. Open files keep it, so that all of them have the same.
pub(crate) struct Chosen {
    pub(crate) taken: Either<RingBackend, ThreadsBackend>,
    pub(crate) choice: Choice,
}

impl Chosen {
    fn threads(reason: &str) -> Self {
        let threads = ThreadsBackend::default();
        Self { choice: Choice::new(threads.name(), reason), taken: Either::Threads(threads) }
    }
}

/// The choice that holds for this process, or a new one.
pub(crate) fn of_process() -> Result<Arc<Chosen>, StartError> {
    static OF_PROCESS: OfProcess<Chosen> = OfProcess::new();
    OF_PROCESS.get_or_start(|| choose().map(Arc::new))
}

#[cfg(target_os = "linux")]
fn choose() -> Result<Chosen, StartError> {
    match RingBackend::of_process() {
        Ok(ring) => {
            let choice = Choice::new(ring.name(), "the kernel allows io_uring");
            Ok(Chosen { choice, taken: Either::Ring(ring) })
        }
        // Threads would lack the same.
        Err(error @ (StartError::Descriptors { .. } | StartError::Threads { .. })) => Err(error),
        Err(refused) => Ok(Chosen::threads(&io_core::with_causes(&refused).to_string())),
    }
}

#[cfg(not(target_os = "linux"))]
fn choose() -> Result<Chosen, StartError> {
    Ok(Chosen::threads("io_uring is a part of Linux, and this is another system"))
}
