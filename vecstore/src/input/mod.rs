//! Reads vectors from files, block by block: `.npy`, `.fvecs`, `.bvecs` and raw numbers.
//!
//! All formats have the same form: a header, then rows of one length. A row may begin with a prefix that
//! repeats its dimension. A function for each format finds the layout, and one reader reads all formats.

mod error;
mod npy;
mod vecs;

pub use error::VectorSourceError;
#[cfg(feature = "internals")]
pub(crate) use npy::fuzzed as fuzzed_npy;
pub use npy::read_npy_i32;

use crate::schema::DIM_MAX;
use half::f16;
use io_core::{Links, OpenError, open_regular};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use vecstore_format::ElementType;

/// Rows of one element type, concatenated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rows<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit floats.
    F16(&'a [f16]),
    /// Unsigned bytes.
    U8(&'a [u8]),
}

impl Rows<'_> {
    /// The components as 32-bit floats, which represent each of them exactly.
    #[must_use]
    pub fn to_f32(self) -> Vec<f32> {
        match self {
            Self::F32(rows) => rows.to_vec(),
            Self::F16(rows) => rows.iter().map(|half| half.to_f32()).collect(),
            Self::U8(rows) => rows.iter().map(|&byte| f32::from(byte)).collect(),
        }
    }
}

/// A source of vectors, from which a segment can be built.
pub trait VectorSource {
    /// Its name in messages, such as a file's path.
    fn name(&self) -> &Path;

    /// The number of vectors.
    fn count(&self) -> u64;

    /// Components of a vector, from 1 to [`DIM_MAX`].
    fn dim(&self) -> usize;

    /// The type of the components.
    fn element(&self) -> ElementType;

    /// The next `rows_max` (at least 1) rows, or all that are left if these are fewer. Their type is
    /// [`VectorSource::element`]. All components are finite.
    ///
    /// # Errors
    /// What is wrong, and where.
    fn next_rows(&mut self, rows_max: usize) -> Result<Rows<'_>, VectorSourceError>;
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy: float32, float16 or uint8, two dimensions, C order, little-endian.
    Npy,
    /// Each row is an `i32` dimension and as many `f32`.
    Fvecs,
    /// Each row is an `i32` dimension and as many bytes.
    Bvecs,
    /// Only numbers.
    Raw {
        /// Components of a vector.
        dim: usize,
        /// Their type.
        element: ElementType,
    },
}

impl Format {
    /// The format named by a file's extension.
    ///
    /// # Errors
    /// [`VectorSourceError::UnknownFormat`] for any other.
    pub fn by_extension(path: &Path) -> Result<Self, VectorSourceError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("fvecs") => Ok(Self::Fvecs),
            Some("bvecs") => Ok(Self::Bvecs),
            _ => Err(VectorSourceError::UnknownFormat { path: path.to_owned() }),
        }
    }
}

/// Opens a non-empty file, and returns its length. Entries without a length, such as pipes, are refused at
/// once.
fn open(path: &Path) -> Result<(File, u64), VectorSourceError> {
    let failed = |source| VectorSourceError::Io { path: path.to_owned(), source };
    // The user named the path, and may have named a link.
    let file = open_regular(path, Links::Follow).map_err(|error| match error {
        OpenError::NotAFile { path, found } => VectorSourceError::NotAFile { path, found },
        OpenError::Io { source, .. } => failed(source),
        other => failed(std::io::Error::other(other)),
    })?;
    match file.metadata().map_err(failed)?.len() {
        0 => Err(VectorSourceError::Empty { path: path.to_owned() }),
        len => Ok((file, len)),
    }
}

/// Where the rows of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    data_offset: u64,
    /// Whether each row begins with its dimension.
    prefixed: bool,
    element: ElementType,
    dim: usize,
    count: u64,
}

impl Layout {
    fn row_bytes(&self) -> usize {
        self.dim * self.element.bytes() as usize + if self.prefixed { 4 } else { 0 }
    }
}

/// A file of vectors.
#[derive(Debug)]
pub struct VectorInput {
    path: PathBuf,
    file: BufReader<File>,
    layout: Layout,
    row_next: u64,
    floats: Vec<f32>,
    halves: Vec<f16>,
    bytes: Vec<u8>,
}

impl VectorInput {
    /// Opens a file, and checks its header and its length.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn open(path: &Path, format: Format) -> Result<Self, VectorSourceError> {
        let failed = |source| VectorSourceError::Io { path: path.to_owned(), source };
        let (file, len) = open(path)?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let layout = match format {
            Format::Npy => npy::layout(path, &mut file, len)?,
            Format::Fvecs => vecs::layout(path, &mut file, len, ElementType::F32)?,
            Format::Bvecs => vecs::layout(path, &mut file, len, ElementType::U8)?,
            Format::Raw { dim, element } => raw_layout(path, len, dim, element)?,
        };
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(layout.data_offset)).map_err(failed)?;
        let path = path.to_owned();
        Ok(Self {
            path,
            file,
            layout,
            row_next: 0,
            floats: Vec::new(),
            halves: Vec::new(),
            bytes: Vec::new(),
        })
    }

    /// Reads `rows` rows. It checks their prefixes and omits them.
    fn read_rows(
        file: &mut BufReader<File>,
        path: &Path,
        layout: &Layout,
        row_next: u64,
        target: &mut [u8],
    ) -> Result<(), VectorSourceError> {
        let failed = |source| VectorSourceError::Io { path: path.to_owned(), source };
        if !layout.prefixed {
            return file.read_exact(target).map_err(failed);
        }
        let row_bytes = layout.dim * layout.element.bytes() as usize;
        for (row, bytes) in target.chunks_exact_mut(row_bytes).enumerate() {
            let mut prefix = [0; 4];
            file.read_exact(&mut prefix).map_err(failed)?;
            let found = i32::from_le_bytes(prefix);
            if usize::try_from(found) != Ok(layout.dim) {
                let row = row_next + row as u64;
                return Err(VectorSourceError::Ragged { path: path.to_owned(), row, found, dim: layout.dim });
            }
            file.read_exact(bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn check_finite(
        &self,
        row_first: u64,
        values: impl Iterator<Item = f32>,
    ) -> Result<(), VectorSourceError> {
        for (at, value) in values.enumerate() {
            if !value.is_finite() {
                let row = row_first + (at / self.layout.dim) as u64;
                let component = at % self.layout.dim;
                return Err(VectorSourceError::NotFinite { path: self.path.clone(), row, component, value });
            }
        }
        Ok(())
    }
}

impl VectorSource for VectorInput {
    fn name(&self) -> &Path {
        &self.path
    }

    fn count(&self) -> u64 {
        self.layout.count
    }

    fn dim(&self) -> usize {
        self.layout.dim
    }

    fn element(&self) -> ElementType {
        self.layout.element
    }

    fn next_rows(&mut self, rows_max: usize) -> Result<Rows<'_>, VectorSourceError> {
        let left = usize::try_from(self.layout.count - self.row_next).unwrap_or(usize::MAX);
        let components = left.min(rows_max) * self.layout.dim;
        let first = self.row_next;
        let (file, layout, path) = (&mut self.file, &self.layout, &self.path);
        match layout.element {
            ElementType::F32 => {
                self.floats.resize(components, 0.0);
                Self::read_rows(file, path, layout, first, bytemuck::cast_slice_mut(&mut self.floats))?;
                self.check_finite(first, self.floats.iter().copied())?;
            }
            ElementType::F16 => {
                self.halves.resize(components, f16::ZERO);
                Self::read_rows(file, path, layout, first, bytemuck::cast_slice_mut(&mut self.halves))?;
                self.check_finite(first, self.halves.iter().map(|half| half.to_f32()))?;
            }
            ElementType::U8 => {
                self.bytes.resize(components, 0);
                Self::read_rows(file, path, layout, first, &mut self.bytes)?;
            }
        }
        self.row_next += (components / self.layout.dim) as u64;
        Ok(match self.layout.element {
            ElementType::F32 => Rows::F32(&self.floats),
            ElementType::F16 => Rows::F16(&self.halves),
            ElementType::U8 => Rows::U8(&self.bytes),
        })
    }
}

fn check_dim(path: &Path, dim: u64) -> Result<usize, VectorSourceError> {
    match usize::try_from(dim) {
        Ok(dim) if (1..=DIM_MAX).contains(&dim) => Ok(dim),
        _ => Err(VectorSourceError::Dimension { path: path.to_owned(), dim }),
    }
}

/// The number of whole rows. An error if the file ends within a row.
fn count_rows(path: &Path, data_bytes: u64, row_bytes: u64) -> Result<u64, VectorSourceError> {
    if !data_bytes.is_multiple_of(row_bytes) {
        let extra = data_bytes % row_bytes;
        return Err(VectorSourceError::PartialRow {
            path: path.to_owned(),
            rows: data_bytes / row_bytes,
            row_bytes,
            extra,
        });
    }
    Ok(data_bytes / row_bytes)
}

fn raw_layout(path: &Path, len: u64, dim: usize, element: ElementType) -> Result<Layout, VectorSourceError> {
    let dim = check_dim(path, dim as u64)?;
    let mut layout = Layout { data_offset: 0, prefixed: false, element, dim, count: 0 };
    layout.count = count_rows(path, len, layout.row_bytes() as u64)?;
    Ok(layout)
}

#[cfg(test)]
mod tests;
