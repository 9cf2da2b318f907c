//! What can go wrong with a segment.

use crate::hnsw::{BuildError, GraphError};
use crate::input::InputError;
use crate::quantization::CodesError;
use io_core::{OpenError, ReadError, StartError, VectorFileError, WriteError};
use std::path::PathBuf;

/// A segment that could not be built, opened or searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// A file or directory operation failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "cannot create".
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something of that name is there already.
    #[error("{} exists already; remove it or choose another name", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// The directory holds no segment.
    #[error("{} is not a segment: it has no {}; build one with `vecstore build`", path.display(), super::MANIFEST)]
    NotASegment {
        /// The directory.
        path: PathBuf,
    },
    /// The manifest cannot be read.
    #[error("{}: not a manifest this build understands: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file's header or checksum is wrong.
    #[error("{}: damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// Files that do not belong together.
    #[error("{}: {what} says {found}, and the manifest {expected}", path.display())]
    Mismatch {
        /// The segment.
        path: PathBuf,
        /// Which file, and what of it.
        what: &'static str,
        /// What it says.
        found: u64,
        /// What it should say.
        expected: u64,
    },
    /// The graph in the file is none.
    #[error("{}: {source}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GraphError,
    },
    /// The codes in the file do not fit together.
    #[error("{}: {source}", path.display())]
    Codes {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CodesError,
    },
    /// The vectors to build from could not be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// There was nothing to build from.
    #[error("{}: holds no vectors", path.display())]
    Empty {
        /// The input.
        path: PathBuf,
    },
    /// The graph was not built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The backend did not open or create a file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backend's executor did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The vector file is wrong, or reading or writing it failed.
    #[error(transparent)]
    VectorFile(#[from] VectorFileError),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The query is of another dimension.
    #[error("the query has {found} components, and the segment's vectors have {dim}")]
    QueryDimension {
        /// Components of the query.
        found: usize,
        /// The segment's dimension.
        dim: usize,
    },
    /// The query holds a NaN or an infinite value.
    #[error("component {component} of the query is {value}; queries must be finite")]
    QueryNotFinite {
        /// Which.
        component: usize,
        /// Its value.
        value: f32,
    },
    /// Search parameters out of range.
    #[error("{name} is {value}; it must be {allowed}")]
    BadParams {
        /// Which parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A core of the pool panicked, or the pool is closed.
    #[error("the pool has no core left to search: a worker panicked or the pool was closed")]
    WorkerLost,
    /// The stop flag was raised.
    #[error("stopped")]
    Stopped,
}

impl SegmentError {
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
