//! The backends of this build, by name. Each Cargo feature adds one.

use io_core::DynBackend;
use std::fmt;
use std::str::FromStr;

/// A backend that was compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendKind {
    /// Memory maps.
    #[cfg(feature = "mmap")]
    Mmap,
    /// tokio-uring.
    #[cfg(all(feature = "tokio-uring", target_os = "linux"))]
    TokioUring,
    /// glommio.
    #[cfg(all(feature = "glommio", target_os = "linux"))]
    Glommio,
    /// monoio.
    #[cfg(all(feature = "monoio", target_os = "linux"))]
    Monoio,
    /// compio.
    #[cfg(all(feature = "compio", target_os = "linux"))]
    Compio,
    /// One io_uring for the whole process.
    #[cfg(all(feature = "ring", target_os = "linux"))]
    Ring,
    /// A pool of threads.
    #[cfg(feature = "threads")]
    Threads,
}

impl BackendKind {
    /// Every backend of this build, the default first.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &[
            #[cfg(feature = "mmap")]
            Self::Mmap,
            #[cfg(all(feature = "tokio-uring", target_os = "linux"))]
            Self::TokioUring,
            #[cfg(all(feature = "glommio", target_os = "linux"))]
            Self::Glommio,
            #[cfg(all(feature = "monoio", target_os = "linux"))]
            Self::Monoio,
            #[cfg(all(feature = "compio", target_os = "linux"))]
            Self::Compio,
            #[cfg(all(feature = "ring", target_os = "linux"))]
            Self::Ring,
            #[cfg(feature = "threads")]
            Self::Threads,
        ]
    }

    /// The name by which users select it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "mmap")]
            Self::Mmap => "mmap",
            #[cfg(all(feature = "tokio-uring", target_os = "linux"))]
            Self::TokioUring => "tokio-uring",
            #[cfg(all(feature = "glommio", target_os = "linux"))]
            Self::Glommio => "glommio",
            #[cfg(all(feature = "monoio", target_os = "linux"))]
            Self::Monoio => "monoio",
            #[cfg(all(feature = "compio", target_os = "linux"))]
            Self::Compio => "compio",
            #[cfg(all(feature = "ring", target_os = "linux"))]
            Self::Ring => "ring",
            #[cfg(feature = "threads")]
            Self::Threads => "threads",
        }
    }

    /// The backend, behind its object-safe trait.
    #[must_use]
    pub fn backend(self) -> DynBackend {
        match self {
            #[cfg(feature = "mmap")]
            Self::Mmap => DynBackend::new(io_mmap::MmapBackend::default()),
            #[cfg(all(feature = "tokio-uring", target_os = "linux"))]
            Self::TokioUring => DynBackend::new(io_tokio_uring::TokioUringBackend::default()),
            #[cfg(all(feature = "glommio", target_os = "linux"))]
            Self::Glommio => DynBackend::new(io_glommio::GlommioBackend::default()),
            #[cfg(all(feature = "monoio", target_os = "linux"))]
            Self::Monoio => DynBackend::new(io_monoio::MonoioBackend::default()),
            #[cfg(all(feature = "compio", target_os = "linux"))]
            Self::Compio => DynBackend::new(io_compio::CompioBackend::default()),
            #[cfg(all(feature = "ring", target_os = "linux"))]
            Self::Ring => DynBackend::new(io_ring::RingBackend::default()),
            #[cfg(feature = "threads")]
            Self::Threads => DynBackend::new(io_threads::ThreadsBackend::default()),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no backend of this build has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no backend {name:?} in this build; it has {}", available())]
pub struct UnknownBackendError {
    name: String,
}

fn available() -> String {
    let names: Vec<_> = BackendKind::all().iter().map(|kind| kind.name()).collect();
    if names.is_empty() { "none: enable a Cargo feature such as `mmap`".into() } else { names.join(", ") }
}

impl FromStr for BackendKind {
    type Err = UnknownBackendError;

    fn from_str(name: &str) -> Result<Self, UnknownBackendError> {
        let found = Self::all().iter().copied().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownBackendError { name: name.to_owned() })
    }
}
