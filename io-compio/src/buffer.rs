//! Buffers in the form that compio takes.

#![allow(unsafe_code)]

use compio_buf::{IoBuf, IoBufMut, SetLen};
use io_core::backend::KernelBuf;
use std::mem::MaybeUninit;
use std::slice;

/// A buffer on its way to the kernel and back.
pub(crate) struct RingBuf(pub(crate) KernelBuf);

impl IoBuf for RingBuf {
    fn as_init(&self) -> &[u8] {
        // SAFETY: a `KernelBuf` owns this many bytes on the heap, and all of them are initialized. compio
        // calls this before the kernel gets the buffer.
        unsafe { slice::from_raw_parts(self.0.as_ptr(), self.0.len()) }
    }
}

impl IoBufMut for RingBuf {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: as above. Only the pointer and the length go to the kernel. The memory does not move, and a
        // runtime that drops the buffer early leaks it. So the pointer stays valid for as long as the kernel
        // may use it.
        unsafe { slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len()) }
    }
}

impl SetLen for RingBuf {
    /// Does nothing, because all bytes are initialized from the start.
    unsafe fn set_len(&mut self, _len: usize) {}
}
