//! A file descriptor that one thread may close while others still hold it.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

const CLOSED: RawFd = -1;

/// An open file, until it is taken or dropped.
pub(crate) struct Descriptor(AtomicI32);

impl Descriptor {
    pub(crate) fn new(file: File) -> Self {
        Self(AtomicI32::new(file.into_raw_fd()))
    }

    /// The descriptor, or -1, which the system refuses as a bad one.
    ///
    /// Only the ring's thread calls this and [`Descriptor::take`]. So the number stays valid while it is
    /// used.
    pub(crate) fn raw(&self) -> RawFd {
        self.0.load(Ordering::Relaxed)
    }

    /// The descriptor, for the caller to close.
    pub(crate) fn take(&self) -> RawFd {
        self.0.swap(CLOSED, Ordering::Relaxed)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let fd = *self.0.get_mut();
        if fd != CLOSED {
            // SAFETY: the descriptor came from a `File` and was not taken, so it is open and owned here.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}
