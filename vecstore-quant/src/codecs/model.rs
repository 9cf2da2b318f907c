//! A model as bytes: little-endian numbers, one after the other. Method and dimension give their count.

use super::DIM_MAX;

/// Bytes that are no model of the codec they are read as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A dimension that codecs are not defined for.
    #[error("a model of dimension {dim}: it must be from 1 to {DIM_MAX}")]
    Dimension {
        /// The dimension given.
        dim: usize,
    },
    /// Too few bytes, or too many.
    #[error("a model of dimension {dim} has {bytes} bytes; it must have {} {expected}", if expected > bytes { "at least" } else { "exactly" })]
    Length {
        /// Components of a vector.
        dim: usize,
        /// Bytes that it should have had, up to where reading ended.
        expected: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// No further centre, or more centres than a code can name.
    #[error("a model says that it has {count} centres besides the mean; it must have from 1 to 65535")]
    Centres {
        /// The number in the model.
        count: u64,
    },
    /// A number that training does not give.
    #[error("a model of dimension {dim}: the number at byte {offset} is not finite")]
    NotFinite {
        /// Components of a vector.
        dim: usize,
        /// The first byte of the number.
        offset: usize,
    },
}

/// Reads the numbers of a model.
pub(super) struct ModelReader<'a> {
    dim: usize,
    model: &'a [u8],
    offset: usize,
}

impl<'a> ModelReader<'a> {
    pub(super) fn new(dim: usize, model: &'a [u8]) -> Result<Self, ModelError> {
        if dim == 0 || dim > DIM_MAX {
            return Err(ModelError::Dimension { dim });
        }
        Ok(Self { dim, model, offset: 0 })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ModelError> {
        let end = self.offset.saturating_add(len);
        let taken = self.model.get(self.offset..end).ok_or(ModelError::Length {
            dim: self.dim,
            expected: end,
            bytes: self.model.len(),
        })?;
        self.offset = end;
        Ok(taken)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ModelError> {
        let (numbers, _) = self.take(8)?.as_chunks();
        Ok(u64::from_le_bytes(numbers[0]))
    }

    /// Whether all bytes have been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.offset == self.model.len()
    }

    pub(super) fn floats(&mut self, count: usize) -> Result<Vec<f32>, ModelError> {
        let start = self.offset;
        let (numbers, _) = self.take(count.saturating_mul(4))?.as_chunks();
        let floats: Vec<f32> = numbers.iter().copied().map(f32::from_le_bytes).collect();
        match floats.iter().position(|float| !float.is_finite()) {
            Some(index) => Err(ModelError::NotFinite { dim: self.dim, offset: start + index * 4 }),
            None => Ok(floats),
        }
    }

    pub(super) fn finish(self) -> Result<(), ModelError> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(ModelError::Length { dim: self.dim, expected: self.offset, bytes: self.model.len() })
        }
    }
}

pub(super) fn put_floats(model: &mut Vec<u8>, floats: &[f32]) {
    model.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
}
