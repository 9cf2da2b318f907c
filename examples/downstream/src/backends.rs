//! The backends of this build. Nothing else in this library knows one.

use io_core::{DynBackend, SendBackend};

/// All of them. Their files stay on the thread that opened them.
pub fn all() -> Vec<DynBackend> {
    vec![
        #[cfg(feature = "mmap")]
        DynBackend::new(io_mmap::MmapBackend::default()),
        #[cfg(feature = "tokio-uring")]
        DynBackend::new(io_tokio_uring::TokioUringBackend::default()),
        #[cfg(feature = "glommio")]
        DynBackend::new(io_glommio::GlommioBackend::default()),
        #[cfg(feature = "monoio")]
        DynBackend::new(io_monoio::MonoioBackend::default()),
        #[cfg(feature = "compio")]
        DynBackend::new(io_compio::CompioBackend::default()),
        #[cfg(feature = "ring")]
        DynBackend::new(io_ring::RingBackend::default()),
        #[cfg(feature = "threads")]
        DynBackend::new(io_threads::ThreadsBackend::default()),
        #[cfg(feature = "auto")]
        DynBackend::new(io_auto::AutoBackend::default()),
    ]
}

/// Those whose files, futures and sessions may move between threads.
pub fn send() -> Vec<SendBackend> {
    vec![
        #[cfg(feature = "mmap")]
        SendBackend::new(io_mmap::MmapBackend::default()),
        #[cfg(feature = "ring")]
        SendBackend::new(io_ring::RingBackend::default()),
        #[cfg(feature = "threads")]
        SendBackend::new(io_threads::ThreadsBackend::default()),
        #[cfg(feature = "auto")]
        SendBackend::new(io_auto::AutoBackend::default()),
    ]
}
