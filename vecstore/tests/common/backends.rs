//! The plain backends of this build, also traced, and with faults.

use io_core::backend::{PageSink, PageSource, PagedReader, PagedWriter};
use io_core::testing::{Faults, FaultyBackend, FaultyWrites, SimulatedDisk, TracedBackend};
use io_core::{BackendFactory, DynBackend, Executor, StartError};
use std::io::Write;
use std::path::Path;
use vecstore::backends::BackendKind;

/// The plain backends that start on this system. Prints why the others do not. The backends that are made of
/// them write through one of them.
pub(crate) fn startable() -> Vec<BackendKind> {
    let starts = |kind: &BackendKind| match kind.backend().run(|| async {}) {
        Err(reason @ (StartError::IoUringRefused { .. } | StartError::LockedMemory { .. })) => {
            // Written directly, because the test harness would capture the message.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {kind}: {reason}");
            false
        }
        _ => true,
    };
    BackendKind::plain().iter().copied().filter(starts).collect()
}

/// Calls a function with a plain backend. Each has a type of its own.
macro_rules! with_plain {
    ($kind:expr, map $of_map:path, others $of_others:path, $($argument:expr),+) => {
        match $kind {
            #[cfg(feature = "mmap")]
            BackendKind::Mmap => $of_map(io_mmap::MmapBackend::default(), $($argument),+),
            #[cfg(all(feature = "tokio-uring", target_os = "linux"))]
            BackendKind::TokioUring => $of_others(io_tokio_uring::TokioUringBackend::default(), $($argument),+),
            #[cfg(all(feature = "glommio", target_os = "linux"))]
            BackendKind::Glommio => $of_others(io_glommio::GlommioBackend::default(), $($argument),+),
            #[cfg(all(feature = "monoio", target_os = "linux"))]
            BackendKind::Monoio => $of_others(io_monoio::MonoioBackend::default(), $($argument),+),
            #[cfg(all(feature = "compio", target_os = "linux"))]
            BackendKind::Compio => $of_others(io_compio::CompioBackend::default(), $($argument),+),
            #[cfg(all(feature = "ring", target_os = "linux"))]
            BackendKind::Ring => $of_others(io_ring::RingBackend::default(), $($argument),+),
            #[cfg(feature = "threads")]
            BackendKind::Threads => $of_others(io_threads::ThreadsBackend::default(), $($argument),+),
            other => panic!("{other}, with {:?}: a plain backend is named here", ($($argument),+)),
        }
    };
}

/// A backend whose changes below a directory become the history of a simulated disk.
pub(crate) fn traced(kind: BackendKind, root: &Path) -> (DynBackend, SimulatedDisk) {
    with_plain!(kind, map trace, others trace, root)
}

/// A backend whose transfers fail, and how many there were so far. Reads of a map do not fail.
pub(crate) fn faulty(kind: BackendKind, faults: Faults) -> (DynBackend, Box<dyn Fn() -> u64>) {
    with_plain!(kind, map faulty_writes, others faulty_transfers, faults)
}

fn trace<B, K>(backend: B, root: &Path) -> (DynBackend, SimulatedDisk)
where
    B: BackendFactory<Writer = PagedWriter<K>>,
    K: PageSink,
{
    let traced = TracedBackend::new(backend, root).unwrap();
    let disk = traced.disk().clone();
    (DynBackend::new(traced), disk)
}

fn faulty_writes<B, K>(backend: B, faults: Faults) -> (DynBackend, Box<dyn Fn() -> u64>)
where
    B: BackendFactory<Writer = PagedWriter<K>>,
    K: PageSink,
{
    let faulty = FaultyWrites::new(backend, faults);
    (DynBackend::new(faulty.clone()), Box::new(move || faulty.log().transfers()))
}

fn faulty_transfers<B, S, K>(backend: B, faults: Faults) -> (DynBackend, Box<dyn Fn() -> u64>)
where
    B: BackendFactory<Reader = PagedReader<S>, Writer = PagedWriter<K>>,
    S: PageSource,
    K: PageSink,
{
    let faulty = FaultyBackend::new(backend, faults);
    (DynBackend::new(faulty.clone()), Box::new(move || faulty.log().transfers()))
}
