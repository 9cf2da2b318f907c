//! Reading what is in the page cache, without waiting for the disk.

use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
use std::io::IoSliceMut;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the file system of a file tells what is cached.
pub(crate) struct Cached {
    tells: AtomicBool,
}

impl Cached {
    /// It may. The first read shows it.
    pub(crate) fn new() -> Self {
        Self { tells: AtomicBool::new(true) }
    }

    /// Reads at `offset` and returns the number of bytes, at least 1. `None`: a thread must read. It has to
    /// wait for the disk, or finds the error.
    ///
    /// On a file whose bytes are not cached, the attempt makes the kernel begin to read them.
    pub(crate) fn read(&self, file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
        if !self.tells.load(Ordering::Relaxed) {
            return None;
        }
        match preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
            // 0 is the end of the file. Linux 5.9 and 5.10 say so at other places too, so a thread looks.
            Ok(bytes) => (bytes > 0).then_some(bytes),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => {
                self.tells.store(false, Ordering::Relaxed);
                None
            }
        }
    }
}
