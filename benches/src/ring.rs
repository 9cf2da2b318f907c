//! The baseline of the ring backends: a bare io_uring that is kept full. Each read in flight has a buffer of
//! its own. One system call a turn submits all free reads and reaps all completions.

#![allow(unsafe_code)]

use aligned_vec::{AVec, ConstAlign};
use io_core::ReadRequest;
use io_uring::{IoUring, opcode, squeue, types};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const O_DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits() as i32;

/// The resources registered with the kernel, and how completions are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BareOptions {
    /// `IORING_SETUP_SINGLE_ISSUER` and `IORING_SETUP_DEFER_TASKRUN`.
    pub defer_taskrun: bool,
    /// Registers the file.
    pub registered_file: bool,
    /// Registers all buffers.
    pub registered_buffers: bool,
    /// Makes a system call for each read, instead of one for all free ones.
    pub one_by_one: bool,
}

/// A file, a ring, and a buffer for each read in flight.
pub struct BareRing {
    ring: IoUring,
    file: File,
    buffers: Vec<AVec<u8, ConstAlign<4096>>>,
    options: BareOptions,
}

impl BareRing {
    /// Opens a file to read pieces of up to `len_max` bytes, `depth` at a time.
    ///
    /// # Errors
    /// The error of the system.
    pub fn open(path: &Path, direct: bool, depth: u32, len_max: usize) -> io::Result<Self> {
        Self::open_with(path, direct, depth, len_max, BareOptions::default())
    }

    /// As [`BareRing::open`], with options.
    ///
    /// # Errors
    /// The error of the system.
    pub fn open_with(
        path: &Path,
        direct: bool,
        depth: u32,
        len_max: usize,
        options: BareOptions,
    ) -> io::Result<Self> {
        let BareOptions { defer_taskrun, registered_file, registered_buffers, .. } = options;
        let mut how = File::options();
        how.read(true);
        if direct {
            how.custom_flags(O_DIRECT);
        }
        let file = how.open(path)?;
        if !direct {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random)?;
        }
        let mut builder = IoUring::builder();
        if defer_taskrun {
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        let ring = builder.build(depth)?;
        let buffer = || {
            let mut buffer = AVec::with_capacity(4096, len_max);
            buffer.resize(len_max, 0);
            buffer
        };
        let mut buffers: Vec<_> = (0..depth).map(|_| buffer()).collect();
        if registered_file {
            ring.submitter().register_files(&[file.as_raw_fd()])?;
        }
        if registered_buffers {
            let vectors: Vec<_> = buffers
                .iter_mut()
                .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: len_max })
                .collect();
            // SAFETY: the buffers live longer than the ring, which is dropped before them.
            unsafe { ring.submitter().register_buffers(&vectors) }?;
        }
        Ok(Self { ring, file, buffers, options })
    }

    fn entry(&self, slot: usize, buffer: *mut u8, ReadRequest { offset, len }: ReadRequest) -> squeue::Entry {
        let fd = types::Fd(self.file.as_raw_fd());
        match (self.options.registered_file, self.options.registered_buffers) {
            (false, false) => opcode::Read::new(fd, buffer, len).offset(offset).build(),
            (true, false) => opcode::Read::new(types::Fixed(0), buffer, len).offset(offset).build(),
            (false, true) => opcode::ReadFixed::new(fd, buffer, len, slot as u16).offset(offset).build(),
            (true, true) => {
                opcode::ReadFixed::new(types::Fixed(0), buffer, len, slot as u16).offset(offset).build()
            }
        }
    }

    /// Reads every request and passes its bytes to `sink(index, bytes)`.
    ///
    /// # Errors
    /// The ring's error.
    ///
    /// # Panics
    /// On a failed or short read, because the bench's file has none.
    pub fn read(&mut self, requests: &[ReadRequest], mut sink: impl FnMut(usize, &[u8])) -> io::Result<()> {
        let mut free: Vec<usize> = (0..self.buffers.len()).collect();
        let mut slots = vec![0usize; self.buffers.len()];
        let (mut next, mut done) = (0, 0);
        while done < requests.len() {
            while next < requests.len()
                && let Some(slot) = free.pop()
            {
                let request = requests[next];
                let buffer = self.buffers[slot].as_mut_ptr();
                let entry = self.entry(slot, buffer, request).user_data(slot as u64);
                // SAFETY: the buffer outlives the read. All reads are reaped before this function returns, or
                // the bench ends. The buffer's slot is not free until then.
                unsafe { self.ring.submission().push(&entry) }.expect("as many entries as slots");
                slots[slot] = next;
                next += 1;
                if self.options.one_by_one {
                    self.ring.submit()?;
                }
            }
            self.ring.submit_and_wait(1)?;
            for completion in self.ring.completion() {
                let slot = completion.user_data() as usize;
                let request = requests[slots[slot]];
                if completion.result() != request.len as i32 {
                    panic!("a read of {request:?} returned {}", completion.result());
                }
                sink(slots[slot], &self.buffers[slot][..request.len as usize]);
                free.push(slot);
                done += 1;
            }
        }
        Ok(())
    }
}
