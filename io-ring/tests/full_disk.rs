//! Writes to a full disk. If the process may not mount a small disk, the test says so and checks nothing.
#![cfg(target_os = "linux")]

mod common;

use common::{Stalled, Writer, bytes_at, directory, own, poll_once};
use io_core::{FileSystem, Lane, OpenOptions, PageWrite, PageWriter, WriteError, WriteOutcome};
use std::ffi::CString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A file system in memory of so many pages. It is unmounted at the end.
struct SmallDisk(tempfile::TempDir);

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("no byte is 0")
}

impl SmallDisk {
    /// `None` if this process may not mount.
    fn of_pages(pages: u32) -> Option<Self> {
        let directory = directory();
        let (target, tmpfs) = (c_string(directory.path().as_os_str().as_bytes()), c_string(b"tmpfs"));
        let options = c_string(format!("size={}", pages * 4096).as_bytes());
        // SAFETY: all arguments are strings that end with 0 and outlive the call.
        let mounted = unsafe {
            libc::mount(tmpfs.as_ptr(), target.as_ptr(), tmpfs.as_ptr(), 0, options.as_ptr().cast())
        };
        if mounted != 0 {
            let reason = std::io::Error::last_os_error();
            // This bypasses the harness, which captures what is printed.
            let _ = writeln!(std::io::stderr(), "SKIPPED: a full disk: a tmpfs cannot be mounted: {reason}");
            return None;
        }
        Some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let target = c_string(self.path().as_os_str().as_bytes());
        // SAFETY: as in `of_pages`.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    }
}

const DISK: u32 = 16;
const PAGES: u64 = 20;

/// Writes a batch for each page, in order. The ring is held until all are handed in, so it joins them.
fn write_pages_at_once(writer: &Writer, stalled: Stalled) -> Vec<Result<WriteOutcome, WriteError>> {
    let bytes = bytes_at(0, PAGES as usize * 4096);
    let pages: Vec<_> = bytes.chunks(4096).enumerate().collect();
    let pages: Vec<_> =
        pages.iter().map(|&(page, bytes)| [PageWrite { offset: page as u64 * 4096, bytes }]).collect();
    let mut batches: Vec<_> = pages.iter().map(|page| Box::pin(writer.write_pages(page))).collect();
    for batch in &mut batches {
        assert!(poll_once(batch.as_mut()).is_pending());
    }
    drop(stalled);
    batches.into_iter().map(pollster::block_on).collect()
}

#[test]
fn of_joined_writes_those_that_fit_are_written_and_each_other_one_fails() {
    for lane in [Lane::Foreground, Lane::Background] {
        let (Some(disk), backend) = (SmallDisk::of_pages(DISK), own()) else { return };
        let path = disk.path().join("file");
        let options = OpenOptions::default().with_lane(lane);
        let writer = pollster::block_on(backend.create(&path, &options)).expect("creates");
        let results = write_pages_at_once(&writer, Stalled::new(&backend));
        for (page, result) in results.into_iter().enumerate() {
            match result {
                Ok(outcome) => {
                    assert!(page < DISK as usize, "page {page}");
                    assert_eq!(outcome.bytes_written, 4096);
                }
                Err(WriteError::Io { offset, len, bytes_written, source, .. }) => {
                    assert!(page >= DISK as usize, "page {page}: {source}");
                    assert_eq!((offset, len, bytes_written), (page as u64 * 4096, 4096, 0));
                    assert_eq!(source.raw_os_error(), Some(libc::ENOSPC));
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(std::fs::read(&path).expect("is there") == bytes_at(0, DISK as usize * 4096));
        // Once there is room again, the same writer goes on.
        pollster::block_on(writer.set_len(0)).expect("cuts");
        let page = bytes_at(0, 4096);
        let writes = [PageWrite { offset: 0, bytes: &page }];
        assert_eq!(pollster::block_on(writer.write_pages(&writes)).expect("writes").bytes_written, 4096);
        pollster::block_on(writer.close()).expect("closes");
    }
}
