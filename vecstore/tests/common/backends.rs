//! The backends of this build, also traced.

use io_core::backend::{PageSink, PagedWriter};
use io_core::testing::{SimulatedDisk, TracedBackend};
use io_core::{BackendFactory, DynBackend, StartError};
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

/// A backend whose changes below a directory become the history of a simulated disk.
pub(crate) fn traced(kind: BackendKind, root: &Path) -> (DynBackend, SimulatedDisk) {
    match kind {
        #[cfg(feature = "mmap")]
        BackendKind::Mmap => trace(io_mmap::MmapBackend::default(), root),
        #[cfg(all(feature = "tokio-uring", target_os = "linux"))]
        BackendKind::TokioUring => trace(io_tokio_uring::TokioUringBackend::default(), root),
        #[cfg(all(feature = "glommio", target_os = "linux"))]
        BackendKind::Glommio => trace(io_glommio::GlommioBackend::default(), root),
        #[cfg(all(feature = "monoio", target_os = "linux"))]
        BackendKind::Monoio => trace(io_monoio::MonoioBackend::default(), root),
        #[cfg(all(feature = "compio", target_os = "linux"))]
        BackendKind::Compio => trace(io_compio::CompioBackend::default(), root),
        #[cfg(all(feature = "ring", target_os = "linux"))]
        BackendKind::Ring => trace(io_ring::RingBackend::default(), root),
        #[cfg(feature = "threads")]
        BackendKind::Threads => trace(io_threads::ThreadsBackend::default(), root),
        other => panic!("{other} cannot be traced below {}: name it here", root.display()),
    }
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
