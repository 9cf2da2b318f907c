//! The records of a vector file as slices of their type.

use super::{VectorFile, VectorFileError};
use crate::{Element, FormatError};
use io_core::{ReadControl, ReadOutcome, VectorReader};
use std::marker::PhantomData;
use std::ops::ControlFlow;

/// A [`VectorFile`] whose components have type `T`. Its records come as slices of `T`.
#[derive(Clone, Copy, Debug)]
pub struct VectorView<'a, T, R> {
    file: &'a VectorFile<R>,
    element: PhantomData<T>,
}

impl<R: VectorReader> VectorFile<R> {
    /// Views the file as vectors of `T`.
    ///
    /// # Errors
    /// [`VectorFileError::ElementMismatch`] if its components have another type.
    pub fn view<T: Element>(&self) -> Result<VectorView<'_, T, R>, VectorFileError> {
        self.check_element(T::TYPE)?;
        Ok(VectorView { file: self, element: PhantomData })
    }
}

impl<T: Element, R: VectorReader> VectorView<'_, T, R> {
    /// As [`VectorFile::read`], with vectors as slices of their components.
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
