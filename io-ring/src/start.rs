//! Starting a ring and its thread.

use crate::open_file::OpenFile;
use crate::options::RingOptions;
use crate::ring::{RUNTIME, Ring, Shared};
use crate::worker::Worker;
use io_core::StartError;
use io_core::backend::{OfProcess, fork};
use std::io;
use std::sync::{Arc, mpsc};

/// Starts a ring and its thread.
pub(crate) fn start(options: &RingOptions) -> Result<Arc<Ring<OpenFile>>, StartError> {
    start_with(options, 0)
}

/// As [`start`]. The first `setups_skipped` setups are not tried, as if the kernel were older.
pub(crate) fn start_with(
    options: &RingOptions,
    setups_skipped: usize,
) -> Result<Arc<Ring<OpenFile>>, StartError> {
    fork::watch();
    let failed = |source| StartError::from_ring_setup(RUNTIME, source);
    let shared = Arc::new(Shared::new().map_err(failed)?);
    let (started, start) = mpsc::sync_channel(1);
    let (for_thread, options) = (Arc::clone(&shared), options.clone());
    // The ring is made on its own thread, so the kernel knows that no other thread submits.
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
    Ok(Ring::new(shared, features.map_err(failed)?))
}

/// The process's ring: the running one, or a new one.
pub(crate) fn of_process() -> Result<Arc<Ring<OpenFile>>, StartError> {
    static OF_PROCESS: OfProcess<Ring<OpenFile>> = OfProcess::new();
    OF_PROCESS.get_or_start(|| start(&RingOptions::default()))
}
