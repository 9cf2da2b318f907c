//! Contiguous writes of one file, joined into one.

#![allow(unsafe_code)]

use crate::operation::{OperationFile, Running};

/// Maximum of buffers in one vectored write: the system's limit.
const BUFFERS_MAX: usize = libc::UIO_MAXIOV as usize;

/// A vectored write: its operations, by offset, and their buffers.
pub(crate) struct Joined<F> {
    operations: Vec<Running<F>>,
    vectors: Vec<libc::iovec>,
}

// SAFETY: the vectors point into the buffers of `operations`, which this value owns and which are `Send`.
unsafe impl<F: OperationFile> Send for Joined<F> {}

impl<F: OperationFile> Joined<F> {
    pub(crate) fn new(first: Running<F>) -> Self {
        let mut joined = Self { operations: Vec::new(), vectors: Vec::new() };
        joined.push(first);
        joined
    }

    pub(crate) fn has_room(&self) -> bool {
        self.operations.len() < BUFFERS_MAX
    }

    /// Adds an operation that begins where the last one ends.
    pub(crate) fn push(&mut self, operation: Running<F>) {
        let len = operation.order().len as usize;
        self.vectors.push(libc::iovec { iov_base: operation.buffer_ptr().cast(), iov_len: len });
        self.operations.push(operation);
    }

    /// The operation at the lowest offset.
    pub(crate) fn first(&self) -> &Running<F> {
        &self.operations[0]
    }

    /// Bytes of all operations.
    pub(crate) fn bytes(&self) -> u64 {
        self.operations.iter().map(|operation| u64::from(operation.order().len)).sum()
    }

    /// The buffers in the system's form.
    pub(crate) fn io_vectors(&self) -> (*const libc::iovec, u32) {
        (self.vectors.as_ptr(), self.vectors.len() as u32)
    }

    /// Ends the operations whose bytes were written, whole or in part. Ends the first one in any case.
    ///
    /// Returns the others, last first. The caller puts them back in front of their lane.
    pub(crate) fn finish(self, result: i32) -> Vec<Running<F>> {
        let mut written = result;
        let mut operations = self.operations.into_iter();
        let mut told = false;
        while let Some(operation) = operations.next() {
            let share = written.min(operation.order().len as i32);
            if told && share <= 0 {
                let mut again: Vec<_> = operations.rev().collect();
                again.push(operation);
                return again;
            }
            operation.finish(share);
            told = true;
            written -= share.max(0);
        }
        Vec::new()
    }
}
