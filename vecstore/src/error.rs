//! All errors of a collection, in one type. Each says what was wrong and where, and what to do if that is not
//! obvious.
//!
//! An error prints its own part, and `source` returns its cause. [`io_core::with_causes`] prints both.

use crate::point::PointId;
use crate::schema::SchemaError;
use io_core::{DirectoryError, LockError, OpenError, ReadError, StartError, WriteError};
use std::path::{Path, PathBuf};
use vecstore_format::vector_file::VectorFileError;
use vecstore_index::graph::BuildError;

pub use vecstore_format::FormatError;

/// Any error of a collection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No collection can have this schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The input is wrong. Nothing of it was applied.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Something already exists where a collection was to be created.
    #[error("{} exists already: choose another path", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// The target of a copy lies inside the collection itself. The copy would remove or damage the
    /// collection.
    #[error("{} lies within the collection {}: choose a path outside of it", path.display(), collection.display())]
    Inside {
        /// The target.
        path: PathBuf,
        /// The collection.
        collection: PathBuf,
    },
    /// There is no collection there.
    #[error("{} is no collection: there is no file MANIFEST in it", path.display())]
    NotACollection {
        /// The place.
        path: PathBuf,
    },
    /// A collection to repair has lost its schema. Without it, the length of a vector is unknown.
    #[error("nothing in {} says its schema any more; give the one it was created with", path.display())]
    NoSchema {
        /// The collection.
        path: PathBuf,
        /// What is wrong with the manifest.
        source: Box<Error>,
    },
    /// The schema given for a collection to repair is not the one of its vectors. Nothing was written.
    #[error(
        "the schema says {given}, and {}, whose header is whole, says {found}: correct the schema",
        path.display()
    )]
    SchemaMisfit {
        /// A file of vectors.
        path: PathBuf,
        /// What the schema says.
        given: String,
        /// What the file says.
        found: String,
    },
    /// The collection is already open, in another process or in this one.
    #[error("the collection is in use; close it there first")]
    InUse(#[source] LockError),
    /// The collection is read-only.
    #[error("the collection is read-only: {reason}")]
    ReadOnly {
        /// Why, and what to do.
        reason: String,
    },
    /// The path of an open collection leads elsewhere. Nothing more is written. It is unknown whether the
    /// writes under way are in the collection.
    #[error(
        "{} was moved, replaced or removed while it was open, or its file LOCK was: nothing more is written to it; close it, and open the collection again",
        collection.display()
    )]
    Displaced {
        /// The path.
        collection: PathBuf,
    },
    /// An entry that cannot be removed has the name of the next manifest. Opening for writing fails with this
    /// before it changes anything else.
    #[error("no write can come to its end while {} is there: remove it", path.display())]
    InTheWay {
        /// The place of the next manifest.
        path: PathBuf,
        /// Why the entry was not removed.
        source: DirectoryError,
    },
    /// Sealing fails, and memory is full of points that wait for it. No more points are taken.
    #[error(
        "{points} points wait in memory, and sealing them fails; mend the cause, and it goes on at the next attempt (or `optimize`)"
    )]
    Full {
        /// Waiting points.
        points: u64,
        /// Why sealing failed.
        source: std::sync::Arc<Error>,
    },
    /// There would be more segments than a collection may have, so nothing new is sealed.
    #[error(
        "{} would have {segments} segments, and may have {segments_max}: raise `segment_points_max`, and merge them with `optimize`",
        collection.display()
    )]
    TooManySegments {
        /// The collection.
        collection: PathBuf,
        /// Segments that there would be.
        segments: usize,
        /// Segments that it may have.
        segments_max: usize,
    },
    /// All numbers up to 2^63 - 2 are used up. This happens only in crafted collections. Nothing was written.
    #[error("the collection {} has no numbers left for its {what}: `repair` puts what it holds into a new one, which begins anew", collection.display())]
    NumbersUsedUp {
        /// The collection.
        collection: PathBuf,
        /// What the numbers count.
        what: &'static str,
    },
    /// A callback or the optimizer panicked. Its message is on standard error.
    #[error("{what} panicked; nothing was changed by it")]
    Panicked {
        /// What panicked.
        what: &'static str,
    },
    /// Two immutable segments hold the same point. No collection that was written has that.
    #[error(
        "point {id} is in immutable segments twice: `verify` says where, and `repair` keeps one of the two"
    )]
    Overlap {
        /// The point.
        id: PointId,
    },
    /// A callback on a thread of a collection tried to wait for the optimizer, which waits for the callback.
    #[error("a callback of a collection cannot wait for its optimizer: wait on another thread")]
    WaitsForItself,
    /// The caller stopped the operation.
    #[error("stopped")]
    Stopped,
    /// The collection was opened without threads for reads.
    #[error("the collection has no threads that read (`cores` is 0): read through `Collection::reader`")]
    NoCores,
    /// The collection was closed during the operation.
    #[error("the collection was closed")]
    Closed,
    /// A thread of the collection panicked. Its message is on standard error.
    #[error("a thread of the collection ended unexpectedly; open the collection again")]
    WorkerLost,
    /// A write failed together with the other writes of its sync.
    #[error(transparent)]
    Shared(std::sync::Arc<Error>),
    /// A graph was not built.
    #[error(transparent)]
    Graph(#[from] BuildError),
    /// The backend's executor did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file is damaged or misplaced, or was not opened, read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// An error of [`io_core`] becomes a [`FormatError`].
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
    /// The error for a log that the manifest names and that is missing, or has lost even its header.
    pub(crate) fn log_lost(path: &Path) -> Self {
        Self::damaged(path, None, "it is missing, or nothing is left of it: what was written last is lost")
    }

    pub(crate) fn damaged(path: &Path, offset: impl Into<Option<u64>>, reason: impl Into<String>) -> Self {
        FormatError::damaged(path, offset, reason).into()
    }

    /// Whether something on disk is damaged or gone. If false, the system only refused access, and the state
    /// of the disk is unknown.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Schema(_) => true,
            Self::Format(error) => error.is_damage(),
            _ => false,
        }
    }
}

/// Input that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The vector has another dimension than the collection.
    #[error("point {id}: a vector of {found} components; the collection's dimension is {dim}")]
    Dimension {
        /// The point.
        id: PointId,
        /// Components in the input.
        found: usize,
        /// Components of the collection's vectors.
        dim: u32,
    },
    /// A component is NaN or infinite, in the input or in the collection's element type.
    #[error("point {id}: component {component} is {value}, which is not finite{}", as_element(element))]
    NotFinite {
        /// The point.
        id: PointId,
        /// The index of the component.
        component: usize,
        /// Its value.
        value: f32,
        /// The element type that cannot hold it. Empty if none can.
        element: &'static str,
    },
    /// The element type u8 cannot hold a component.
    #[error(
        "point {id}: component {component} is {value}; in a collection of u8 components are whole numbers from 0 to 255"
    )]
    NotAByte {
        /// The point.
        id: PointId,
        /// The index of the component.
        component: usize,
        /// Its value.
        value: f32,
    },
    /// The batch has an id twice.
    #[error("point {id} is in the batch twice")]
    Duplicate {
        /// The id.
        id: PointId,
    },
    /// The payload is too long.
    #[error(
        "point {id}: a payload of {bytes} bytes of JSON; the collection takes up to {bytes_max} (payload_bytes_max of its schema)"
    )]
    PayloadTooLong {
        /// The point.
        id: PointId,
        /// Its length in bytes of JSON.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
    /// The payload nests arrays and objects too deeply.
    #[error("point {id}: a payload of arrays and objects more than {depth_max} deep in one another")]
    PayloadTooDeep {
        /// The point.
        id: PointId,
        /// The limit.
        depth_max: usize,
    },
    /// The value of an indexed field does not have the field's kind.
    #[error("point {id}: field {field} holds {kind}s, and {found} is not one")]
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
    /// The batch is too long.
    #[error("a batch of {bytes} bytes or more; at most {bytes_max} are written at once, split it")]
    BatchTooLong {
        /// Its length in bytes, as far as it was counted.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The query has another dimension than the collection.
    #[error("a query of {found} components; the collection's dimension is {dim}")]
    QueryDimension {
        /// Components of the query.
        found: usize,
        /// Components of the collection's vectors.
        dim: u32,
    },
    /// A component of the query is NaN or infinite.
    #[error("component {component} of the query is {value}, which is not finite")]
    QueryNotFinite {
        /// The index of the component.
        component: usize,
        /// Its value.
        value: f32,
    },
    /// A parameter is out of its range.
    #[error("{name} is {value}; it must be {allowed}")]
    Param {
        /// The parameter.
        name: &'static str,
        /// The value given.
        value: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// A filter, an order or a count uses a field without an index.
    #[error("field {field} has no index; indexed are: {indexed}")]
    NotIndexed {
        /// The field.
        field: String,
        /// The fields with an index.
        indexed: String,
    },
    /// Filters are nested too deeply.
    #[error("filters are more than {depth_max} inside each other")]
    FilterTooDeep {
        /// The limit.
        depth_max: usize,
    },
    /// A filter or an order does not fit the kind of its field.
    #[error("field {field} holds {kind}s; {reason}")]
    Filter {
        /// The field.
        field: String,
        /// The kind of its index.
        kind: String,
        /// What does not fit.
        reason: String,
    },
    /// A page token does not come from this kind of scroll.
    #[error("page token {token:?}: {reason}")]
    PageToken {
        /// The token.
        token: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl InputError {
    /// The point of a write that is wrong. `None` if the fault is not that of one point.
    #[must_use]
    pub fn point(&self) -> Option<PointId> {
        match self {
            Self::Dimension { id, .. }
            | Self::NotFinite { id, .. }
            | Self::NotAByte { id, .. }
            | Self::Duplicate { id }
            | Self::PayloadTooLong { id, .. }
            | Self::PayloadTooDeep { id, .. }
            | Self::FieldKind { id, .. } => Some(*id),
            _ => None,
        }
    }
}

fn as_element(element: &str) -> String {
    if element.is_empty() { String::new() } else { format!(" as {element}") }
}
