//! The backends of this build, by name. Each Cargo feature adds some.

use io_core::DynBackend;
use std::fmt;
use std::str::FromStr;

/// The one list of backends: when each is there, its name, and how it is made.
macro_rules! kinds {
    (
        plain: {$($plain_doc:literal if $plain_cfg:meta: $plain:ident $plain_name:literal $plain_new:expr;)+}
        made_of_others: {$($doc:literal if $cfg:meta: $made:ident $name:literal $new:expr;)+}
    ) => {
        /// A backend that was compiled in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum BackendKind {
            $(#[doc = $plain_doc] #[cfg($plain_cfg)] $plain,)+
            $(#[doc = $doc] #[cfg($cfg)] $made,)+
        }

        impl BackendKind {
            /// Every backend of this build that does its own reading and writing, the default first.
            #[must_use]
            pub fn plain() -> &'static [Self] {
                &[$(#[cfg($plain_cfg)] Self::$plain,)+]
            }

            /// Every backend of this build: the plain ones first, then those that are made of them.
            #[must_use]
            pub fn all() -> &'static [Self] {
                &[$(#[cfg($plain_cfg)] Self::$plain,)+ $(#[cfg($cfg)] Self::$made,)+]
            }

            /// The name by which users select it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(#[cfg($plain_cfg)] Self::$plain => $plain_name,)+
                    $(#[cfg($cfg)] Self::$made => $name,)+
                }
            }

            /// The backend, behind its object-safe trait.
            #[must_use]
            pub fn backend(self) -> DynBackend {
                match self {
                    $(#[cfg($plain_cfg)] Self::$plain => DynBackend::new($plain_new),)+
                    $(#[cfg($cfg)] Self::$made => DynBackend::new($new),)+
                }
            }
        }
    };
}

kinds! {
    plain: {
        "Memory maps." if feature = "mmap":
            Mmap "mmap" io_mmap::MmapBackend::default();
        "tokio-uring." if all(feature = "tokio-uring", target_os = "linux"):
            TokioUring "tokio-uring" io_tokio_uring::TokioUringBackend::default();
        "glommio." if all(feature = "glommio", target_os = "linux"):
            Glommio "glommio" io_glommio::GlommioBackend::default();
        "monoio." if all(feature = "monoio", target_os = "linux"):
            Monoio "monoio" io_monoio::MonoioBackend::default();
        "compio." if all(feature = "compio", target_os = "linux"):
            Compio "compio" io_compio::CompioBackend::default();
        "One io_uring for the whole process." if all(feature = "ring", target_os = "linux"):
            Ring "ring" io_ring::RingBackend::default();
        "A pool of threads." if feature = "threads":
            Threads "threads" io_threads::ThreadsBackend::default();
    }
    made_of_others: {
        "The ring where the kernel allows io_uring, else the threads." if feature = "auto":
            Auto "auto" io_auto::AutoBackend::default();
        "A map before the ring." if all(feature = "mmap", feature = "ring", target_os = "linux"):
            MmapRing "mmap+ring" io_mmap::MmapBefore::new(Self::MmapRing.name(), io_ring::RingBackend::default());
        "A map before the threads." if all(feature = "mmap", feature = "threads", target_os = "linux"):
            MmapThreads "mmap+threads" io_mmap::MmapBefore::new(Self::MmapThreads.name(), io_threads::ThreadsBackend::default());
        "A map before the ring where the kernel allows io_uring, else before the threads."
            if all(feature = "mmap", feature = "auto", target_os = "linux"):
            MmapAuto "mmap+auto" io_mmap::MmapBefore::new(Self::MmapAuto.name(), io_auto::AutoBackend::default());
    }
}

impl BackendKind {
    /// Whether it reads through a map, also if another backend is behind the map. It then refuses to bypass
    /// the page cache.
    #[must_use]
    pub fn maps(self) -> bool {
        self.name().starts_with("mmap")
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
