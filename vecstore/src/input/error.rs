//! Errors of files of vectors.

use std::path::PathBuf;

/// A file of vectors that cannot be read: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorSourceError {
    /// The system refused access.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The path names a directory, or something else without a length.
    #[error("{} is {found}, not a regular file, and vectors are only read from one", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// The type of the entry.
        found: &'static str,
    },
    /// The file is empty.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The extension names no known format.
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
        /// The fault.
        reason: String,
    },
    /// The numbers of the array cannot be components of vectors.
    #[error("{}: its type is {found}, and {wanted} is needed; convert it with NumPy's astype", path.display())]
    NpyType {
        /// The file.
        path: PathBuf,
        /// The array's type, as NumPy writes it.
        found: String,
        /// The types that can be read.
        wanted: &'static str,
    },
    /// The array is in Fortran order (columns first).
    #[error("{}: stored in Fortran order; save it as numpy.ascontiguousarray(array)", path.display())]
    NpyOrder {
        /// The file.
        path: PathBuf,
    },
    /// The array does not have two dimensions.
    #[error("{}: its shape is {shape:?}; two dimensions are needed: vectors x components", path.display())]
    NpyShape {
        /// The file.
        path: PathBuf,
        /// The array's shape.
        shape: Vec<u64>,
    },
    /// The file is longer or shorter than its header says.
    #[error("{}: {found} bytes long, and its header says {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Length by the header, in bytes.
        expected: u64,
        /// Length of the file, in bytes.
        found: u64,
    },
    /// A table that is read whole is too long for that.
    #[error("{}: a table of {bytes} bytes; at most {bytes_max} are read", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Length of the table, in bytes.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The dimension is 0 or too large.
    #[error("{}: dimension {dim} is not from 1 to {}", path.display(), crate::schema::DIM_MAX)]
    Dimension {
        /// The file.
        path: PathBuf,
        /// The dimension.
        dim: u64,
    },
    /// A row has another dimension than the first row.
    #[error("{}: row {row} says it has {found} components, and the first row has {dim}", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// The dimension of the row.
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
    /// A component is NaN or infinite.
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
