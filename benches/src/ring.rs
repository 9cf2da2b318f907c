//! The baseline of the ring backends: a bare io_uring, kept full. A buffer of its own for each read in flight; submits
//! what is free and reaps what is there with one system call a turn.

#![allow(unsafe_code)]

use crate::touch;
use aligned_vec::{AVec, ConstAlign};
use io_core::ReadRequest;
use io_uring::{IoUring, opcode, types};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const O_DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits() as i32;

/// A file, a ring and a buffer for each read in flight.
pub struct BareRing {
    ring: IoUring,
    file: File,
    buffers: Vec<AVec<u8, ConstAlign<4096>>>,
}

impl BareRing {
    /// Opens a file to be read `depth` deep in pieces of up to `len_max` bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path, direct: bool, depth: u32, len_max: usize) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true);
        if direct {
            options.custom_flags(O_DIRECT);
        }
        let file = options.open(path)?;
        if !direct {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random)?;
        }
        let ring = IoUring::new(depth)?;
        let buffer = || {
            let mut buffer = AVec::with_capacity(4096, len_max);
            buffer.resize(len_max, 0);
            buffer
        };
        Ok(Self { ring, file, buffers: (0..depth).map(|_| buffer()).collect() })
    }

    /// Reads every request and touches its bytes.
    ///
    /// # Errors
    /// A failed or short read: the bench's file has none.
    pub fn read(&mut self, requests: &[ReadRequest]) -> io::Result<u64> {
        let mut free: Vec<usize> = (0..self.buffers.len()).collect();
        let mut slots = vec![0usize; self.buffers.len()];
        let (mut next, mut done, mut sum) = (0, 0, 0u64);
        while done < requests.len() {
            while next < requests.len()
                && let Some(slot) = free.pop()
            {
                let request = requests[next];
                let buffer = self.buffers[slot].as_mut_ptr();
                let entry = opcode::Read::new(types::Fd(self.file.as_raw_fd()), buffer, request.len)
                    .offset(request.offset)
                    .build()
                    .user_data(slot as u64);
                // SAFETY: the buffer outlives the read: all reads are reaped before this function returns, or the
                // bench ends; and its slot is not free until then.
                unsafe { self.ring.submission().push(&entry) }.expect("as many entries as slots");
                slots[slot] = next;
                next += 1;
            }
            self.ring.submit_and_wait(1)?;
            for completion in self.ring.completion() {
                let slot = completion.user_data() as usize;
                let request = requests[slots[slot]];
                if completion.result() != request.len as i32 {
                    panic!("a read of {request:?} returned {}", completion.result());
                }
                sum = sum.wrapping_add(touch(&self.buffers[slot][..request.len as usize]));
                free.push(slot);
                done += 1;
            }
        }
        Ok(sum)
    }
}
