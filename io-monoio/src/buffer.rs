//! Buffers in the form that monoio takes.

#![allow(unsafe_code)]

use io_core::backend::KernelBuf;
use monoio::buf::{IoBuf, IoBufMut};

/// A buffer on its way to the kernel and back.
pub(crate) struct RingBuf(pub(crate) KernelBuf);

// SAFETY: a `KernelBuf` owns its memory on the heap and does not move it. A runtime that drops it early leaks
// it. So the pointer stays valid for as long as the kernel may use it. All of its bytes are initialized.
unsafe impl IoBuf for RingBuf {
    fn read_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: as above. Nothing else touches the bytes until the runtime has given the buffer back.
unsafe impl IoBufMut for RingBuf {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.0.len()
    }

    /// Does nothing, because all bytes are initialized from the start.
    unsafe fn set_init(&mut self, _pos: usize) {}
}
