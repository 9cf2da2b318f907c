//! Sending written pages to the disk.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;

/// Waits until these bytes of the page cache are on the disk. Does nothing on a file system that has nothing
/// to write back.
///
/// # Errors
/// The pages could not be written. No later sync reports that again.
#[cfg(target_os = "linux")]
pub(crate) fn write_back(file: &File, offset: u64, len: usize) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let whole =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // A file has fewer than 2^63 bytes.
    let (offset, len) = (offset.cast_signed(), (len as u64).cast_signed());
    // SAFETY: the descriptor is open as long as `file` is borrowed. The call touches no memory.
    if unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, whole) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ESPIPE) => Ok(()),
        _ => Err(error),
    }
}

/// This system has no call for it. So its buffered files have no lanes, and their writers sync in slices.
#[cfg(not(target_os = "linux"))]
pub(crate) fn write_back(_file: &File, _offset: u64, _len: usize) -> io::Result<()> {
    Ok(())
}
