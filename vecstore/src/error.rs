//! What can go wrong with a collection, in one type: each says what, where, and where it is not obvious what to do.
//!
//! An error prints its own part, and its cause is its `source`; [`io_core::with_causes`] prints both.

use crate::point::PointId;
use crate::schema::SchemaError;
use io_core::{DirectoryError, LockError, OpenError, ReadError, StartError, WriteError};
use std::path::{Path, PathBuf};
use vecstore_format::vector_file::VectorFileError;
use vecstore_index::graph::BuildError;

pub use vecstore_format::FormatError;

/// Anything that can go wrong with a collection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A schema no collection can have.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// What was given is wrong; nothing of it was applied.
    #[error(transparent)]
    Input(#[from] InputError),
    /// There is something already where a collection was to be created.
    #[error("{} exists already: choose another path", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A copy of a collection was to be put into the collection itself, which would remove it, or be damaged by it.
    #[error("{} lies within the collection {}: choose a path outside of it", path.display(), collection.display())]
    Inside {
        /// Where it was to be put.
        path: PathBuf,
        /// The collection.
        collection: PathBuf,
    },
    /// There is no collection there.
    #[error("{} is no collection: there is no file MANIFEST in it", path.display())]
    NotACollection {
        /// Where.
        path: PathBuf,
    },
    /// A collection that is to be repaired has lost its schema, without which nobody knows how long a vector is.
    #[error("nothing in {} says its schema any more; give the one it was created with", path.display())]
    NoSchema {
        /// The collection.
        path: PathBuf,
        /// What is wrong with its manifest.
        source: Box<Error>,
    },
    /// Another process has the collection open, or this one has it open twice.
    #[error("the collection is in use; close it there first")]
    InUse(#[source] LockError),
    /// The collection takes no writes any more, or never did.
    #[error("the collection is read-only: {reason}")]
    ReadOnly {
        /// Why, and what to do.
        reason: String,
    },
    /// The path of an open collection leads to something else than what is locked. Nothing more is written. Of the writes under
    /// way nobody knows whether they are in the collection.
    #[error(
        "{} was moved, replaced or removed while it was open, or its file LOCK was: nothing more is written to it; close it, and open the collection again",
        collection.display()
    )]
    Displaced {
        /// The path.
        collection: PathBuf,
    },
    /// Something that cannot be removed is where the next manifest would be written. Opening for writing fails with this before
    /// it changes anything else.
    #[error("no write can come to its end while {} is there: remove it", path.display())]
    InTheWay {
        /// Where the next manifest would be written.
        path: PathBuf,
        /// Why it was not removed.
        source: DirectoryError,
    },
    /// Points in memory cannot be sealed, and there are so many of them that no more are taken.
    #[error(
        "{points} points wait in memory, and sealing them fails; mend the cause, and it goes on at the next attempt (or `optimize`)"
    )]
    Full {
        /// Points that wait.
        points: u64,
        /// What sealing failed with.
        source: std::sync::Arc<Error>,
    },
    /// Numbers up to 2^63 - 2 are used up, as they are in no collection that was not crafted. Nothing was written.
    #[error("the collection {} has no numbers left for its {what}: `repair` puts what it holds into a new one, which begins anew", collection.display())]
    NumbersUsedUp {
        /// The collection.
        collection: PathBuf,
        /// What the numbers are of.
        what: &'static str,
    },
    /// A callback or the optimizer panicked; what it said is on standard error.
    #[error("{what} panicked; nothing was changed by it")]
    Panicked {
        /// Who.
        what: &'static str,
    },
    /// A point is in immutable segments twice, as it is in no collection that was written.
    #[error(
        "point {id} is in immutable segments twice: `verify` says where, and `repair` keeps one of the two"
    )]
    Overlap {
        /// The point.
        id: PointId,
    },
    /// A callback on a thread of a collection was to wait for the optimizer, which waits for the callback.
    #[error("a callback of a collection cannot wait for its optimizer: wait on another thread")]
    WaitsForItself,
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
    /// The collection was opened without threads that read.
    #[error("the collection has no threads that read (`cores` is 0): read through `Collection::reader`")]
    NoCores,
    /// The collection was closed while this was under way.
    #[error("the collection was closed")]
    Closed,
    /// A thread of the collection panicked; what it said is on standard error.
    #[error("a thread of the collection ended unexpectedly; open the collection again")]
    WorkerLost,
    /// A write failed together with others that shared its sync.
    #[error(transparent)]
    Shared(std::sync::Arc<Error>),
    /// A graph was not built.
    #[error(transparent)]
    Graph(#[from] BuildError),
    /// The backend's executor did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file is damaged, does not belong where it is, or was not opened, read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Errors of [`io_core`] are those of files, wherever they come from.
macro_rules! from_io {
    ($($error:ty),+) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                FormatError::from(error).into()
            }
        })+
    };
}

from_io!(OpenError, ReadError, WriteError, DirectoryError, VectorFileError);

impl Error {
    /// A log that the manifest names and that is not there, or has lost even its header.
    pub(crate) fn log_lost(path: &Path) -> Self {
        Self::damaged(path, None, "it is missing, or nothing is left of it: what was written last is lost")
    }

    pub(crate) fn damaged(path: &Path, offset: impl Into<Option<u64>>, reason: impl Into<String>) -> Self {
        FormatError::damaged(path, offset, reason).into()
    }

    /// Whether something on disk is not what was written, or is gone. Otherwise the system only did not let it be looked at,
    /// and nobody knows.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Schema(_) => true,
            Self::Format(error) => error.is_damage(),
            _ => false,
        }
    }
}

/// What was given and cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A vector of another dimension.
    #[error("point {id}: a vector of {found} components; the collection's dimension is {dim}")]
    Dimension {
        /// The point.
        id: PointId,
        /// Components given.
        found: usize,
        /// Components wanted.
        dim: u32,
    },
    /// A component that is NaN or infinite, or is so in the collection's element type.
    #[error("point {id}: component {component} is {value}, which is not finite{}", as_element(element))]
    NotFinite {
        /// The point.
        id: PointId,
        /// Which component.
        component: usize,
        /// What it is.
        value: f32,
        /// The element type that cannot hold it; empty if none can.
        element: &'static str,
    },
    /// A component that the element type u8 cannot hold.
    #[error(
        "point {id}: component {component} is {value}; in a collection of u8 components are whole numbers from 0 to 255"
    )]
    NotAByte {
        /// The point.
        id: PointId,
        /// Which component.
        component: usize,
        /// What it is.
        value: f32,
    },
    /// An id that is in the batch twice.
    #[error("point {id} is in the batch twice")]
    Duplicate {
        /// The id.
        id: PointId,
    },
    /// A payload that is too long.
    #[error(
        "point {id}: a payload of {bytes} bytes of JSON; the collection takes up to {bytes_max} (payload_bytes_max of its schema)"
    )]
    PayloadTooLong {
        /// The point.
        id: PointId,
        /// Its bytes of JSON.
        bytes: usize,
        /// What is allowed.
        bytes_max: u32,
    },
    /// A payload of arrays and objects in one another that are too many.
    #[error("point {id}: a payload of arrays and objects more than {depth_max} deep in one another")]
    PayloadTooDeep {
        /// The point.
        id: PointId,
        /// What is allowed.
        depth_max: usize,
    },
    /// A value of an indexed field that is not of the field's kind.
    #[error("point {id}: field {field} is indexed as {kind}, and {found} is none")]
    FieldKind {
        /// The point.
        id: PointId,
        /// The field.
        field: String,
        /// The kind of its index.
        kind: String,
        /// The value.
        found: String,
    },
    /// A batch that is too long.
    #[error("a batch of {bytes} bytes or more; at most {bytes_max} are written at once, split it")]
    BatchTooLong {
        /// Its bytes, as far as they were counted.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// A query of another dimension.
    #[error("a query of {found} components; the collection's dimension is {dim}")]
    QueryDimension {
        /// Components given.
        found: usize,
        /// Components wanted.
        dim: u32,
    },
    /// A query with a component that is NaN or infinite.
    #[error("component {component} of the query is {value}, which is not finite")]
    QueryNotFinite {
        /// Which component.
        component: usize,
        /// What it is.
        value: f32,
    },
    /// A parameter that is out of its range.
    #[error("{name} is {value}; it must be {allowed}")]
    Param {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A filter, an order or a count by a field without an index.
    #[error("field {field} has no index; indexed are: {indexed}")]
    NotIndexed {
        /// The field.
        field: String,
        /// The fields that have one.
        indexed: String,
    },
    /// Filters in one another that are too many.
    #[error("filter: filters are more than {depth_max} deep in one another")]
    FilterTooDeep {
        /// What is allowed.
        depth_max: usize,
    },
    /// A filter or an order that does not fit the kind of its field.
    #[error("field {field} is indexed as {kind}: {reason}")]
    Filter {
        /// The field.
        field: String,
        /// The kind of its index.
        kind: String,
        /// What does not fit.
        reason: String,
    },
    /// A page token that does not come from this kind of scroll.
    #[error("page token {token:?}: {reason}")]
    PageToken {
        /// What was given.
        token: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn as_element(element: &str) -> String {
    if element.is_empty() { String::new() } else { format!(" as {element}") }
}
