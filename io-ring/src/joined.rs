//! Writes of one file that follow each other, joined into one.

#![allow(unsafe_code)]

use crate::operation::{OperationFile, Running};

/// Buffers in one vectored write, at most: what the system allows.
const BUFFERS_MAX: usize = libc::UIO_MAXIOV as usize;

/// A vectored write: its operations, by offset, and their buffers.
pub(crate) struct Joined<F> {
    operations: Vec<Running<F>>,
    vectors: Vec<libc::iovec>,
}

// SAFETY: the vectors point into the buffers of `operations`, which are this value's to give away.
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

    /// Adds an operation, which begins where the one before it ends.
    pub(crate) fn push(&mut self, operation: Running<F>) {
        let len = operation.order().len as usize;
        self.vectors.push(libc::iovec { iov_base: operation.buffer_ptr().cast(), iov_len: len });
        self.operations.push(operation);
    }

    /// The operation at the lowest offset.
    pub(crate) fn first(&self) -> &Running<F> {
        &self.operations[0]
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> u64 {
        self.operations.iter().map(|operation| u64::from(operation.order().len)).sum()
    }

    /// The buffers, as the system takes them.
    pub(crate) fn io_vectors(&self) -> (*const libc::iovec, u32) {
        (self.vectors.as_ptr(), self.vectors.len() as u32)
    }

    /// Ends the operations that `result` tells about: those whose bytes were written, whole or in part; or the first, which
    /// failed. Returns the others, last first, to be put back in front of their lane.
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
