//! The records of a vector file as slices of their type.

use super::{VectorFile, VectorFileError};
use crate::{Element, FormatError};
use io_core::{ReadControl, ReadOutcome, VectorReader};
use std::marker::PhantomData;
use std::ops::ControlFlow;

/// A [`VectorFile`] whose components are known to be `T`: its records are handed out as slices of that.
#[derive(Clone, Copy, Debug)]
pub struct VectorView<'a, T, R> {
    file: &'a VectorFile<R>,
    element: PhantomData<T>,
}

impl<R: VectorReader> VectorFile<R> {
    /// The file as one of vectors of `T`.
    ///
    /// # Errors
    /// [`VectorFileError::ElementMismatch`] if its components are of another type.
    pub fn view<T: Element>(&self) -> Result<VectorView<'_, T, R>, VectorFileError> {
        self.check_element(T::TYPE)?;
        Ok(VectorView { file: self, element: PhantomData })
    }
}

impl<T: Element, R: VectorReader> VectorView<'_, T, R> {
    /// As [`VectorFile::read`], with the components of each vector.
    ///
    /// # Errors
    /// As [`VectorFile::read`].
    ///
    /// # Cancel safety
    /// As [`VectorReader::read_vectors`].
    pub async fn read<S>(
        &self,
        points: &[u32],
        control: &ReadControl,
        mut sink: S,
    ) -> Result<ReadOutcome, FormatError>
    where
        S: FnMut(usize, &[T]) -> ControlFlow<()>,
    {
        self.file.read(points, control, |index, record| sink(index, bytemuck::cast_slice(record))).await
    }
}
