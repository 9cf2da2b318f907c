//! What can be wrong with a file of vectors.

use std::path::PathBuf;

/// A file of vectors that cannot be read, with what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorSourceError {
    /// The system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A directory, or something else without a length.
    #[error("{} is {found}, not a regular file, and vectors are only read from one", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The file is empty.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The extension says nothing.
    #[error("{}: cannot tell its format from its name; name it .npy, .fvecs or .bvecs, or state the format (raw needs dimension and type too)", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The header of an `.npy` file cannot be parsed.
    #[error("{}: not an .npy file: {reason}", path.display())]
    NpyHeader {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An array of numbers that are not vectors' components.
    #[error("{}: its type is {found}, and {wanted} is needed; convert it with NumPy's astype", path.display())]
    NpyType {
        /// The file.
        path: PathBuf,
        /// Its type, as NumPy writes it.
        found: String,
        /// What can be read.
        wanted: &'static str,
    },
    /// Columns first.
    #[error("{}: stored in Fortran order; save it as numpy.ascontiguousarray(array)", path.display())]
    NpyOrder {
        /// The file.
        path: PathBuf,
    },
    /// Not two dimensions.
    #[error("{}: its shape is {shape:?}; two dimensions are needed: vectors x components", path.display())]
    NpyShape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// The header promises more or less than there is.
    #[error("{}: {found} bytes long, and its header says {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes by the header.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A table that is to be read whole, and is too long for that.
    #[error("{}: a table of {bytes} bytes; at most {bytes_max} are read", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes of the table.
        bytes: u64,
        /// What is read.
        bytes_max: u64,
    },
    /// Dimension 0 or absurd.
    #[error("{}: dimension {dim} is not from 1 to {}", path.display(), crate::schema::DIM_MAX)]
    Dimension {
        /// The file.
        path: PathBuf,
        /// The dimension.
        dim: u64,
    },
    /// A row of another dimension than the first.
    #[error("{}: row {row} says it has {found} components, and the first row has {dim}", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// What it says.
        found: i32,
        /// Components of the first row.
        dim: usize,
    },
    /// The last row is cut off.
    #[error("{}: ends inside a row: after {rows} rows of {row_bytes} bytes there are {extra} bytes more (truncated, or of another dimension or type)", path.display())]
    PartialRow {
        /// The file.
        path: PathBuf,
        /// Whole rows.
        rows: u64,
        /// Bytes of a row.
        row_bytes: u64,
        /// Bytes after the last whole row.
        extra: u64,
    },
    /// NaN or infinite.
    #[error("{}: row {row}, component {component} is {value}; vectors must be finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// The component, from 0.
        component: usize,
        /// Its value.
        value: f32,
    },
}
