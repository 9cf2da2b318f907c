//! A file descriptor that one thread may close while others still hold it.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

const CLOSED: RawFd = -1;

/// An open file until it is taken to be closed, or dropped.
pub(crate) struct Descriptor(AtomicI32);

impl Descriptor {
    pub(crate) fn new(file: File) -> Self {
        Self(AtomicI32::new(file.into_raw_fd()))
    }

    /// The descriptor, or what the system refuses as a bad one. Valid only as long as nobody takes it: the ring's thread,
    /// which alone asks, is also the one that takes.
    pub(crate) fn raw(&self) -> RawFd {
        self.0.load(Ordering::Relaxed)
    }

    /// The descriptor, to be closed by the caller.
    pub(crate) fn take(&self) -> RawFd {
        self.0.swap(CLOSED, Ordering::Relaxed)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let fd = *self.0.get_mut();
        if fd != CLOSED {
            // SAFETY: it came from a `File` and was not taken, so it is open and nobody else's.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}
