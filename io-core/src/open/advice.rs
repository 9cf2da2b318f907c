//! Advice to the kernel about the reads to come, and bringing a file into the page cache.

#[cfg(target_os = "linux")]
use super::AccessPattern;
use super::OpenOptions;
use crate::positional::read_at;
use std::fs::File;
use std::io;

const CHUNK: u64 = 1 << 20;

/// Gives the advice of the options, and brings the file into the page cache if they say so.
pub(super) fn give(file: &File, options: &OpenOptions) -> io::Result<()> {
    let advised = advise(file, options);
    let populated = if options.populate { read_through(file) } else { Ok(()) };
    advised.and(populated)
}

#[cfg(target_os = "linux")]
fn advise(file: &File, options: &OpenOptions) -> io::Result<()> {
    use rustix::fs::{Advice, fadvise};
    let pattern = match options.access {
        AccessPattern::Normal => Advice::Normal,
        AccessPattern::Random => Advice::Random,
        AccessPattern::Sequential => Advice::Sequential,
    };
    Ok(fadvise(file, 0, None, pattern)?)
}

/// Other systems take no such advice.
#[cfg(not(target_os = "linux"))]
fn advise(_file: &File, _options: &OpenOptions) -> io::Result<()> {
    Ok(())
}

/// Tells the kernel that the next bytes will be needed, in pieces. The kernel reads no more of a piece than
/// its read-ahead, or one request of the device.
#[cfg(target_os = "linux")]
fn announce(file: &File, offset: u64) {
    use rustix::fs::{Advice, fadvise};
    const PIECE: std::num::NonZeroU64 = std::num::NonZeroU64::new(128 << 10).expect("not zero");
    for piece in (offset..offset + CHUNK).step_by(PIECE.get() as usize) {
        // This is only advice. The read reports what is wrong with a file.
        let _ = fadvise(file, piece, Some(PIECE), Advice::WillNeed);
    }
}

#[cfg(not(target_os = "linux"))]
fn announce(_file: &File, _offset: u64) {}

/// Brings the whole file into the page cache. Reading guarantees that, even if the kernel ignores the advice.
/// The advice keeps many reads in flight, even if the kernel's read-ahead is short.
fn read_through(file: &File) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK as usize];
    let mut offset = 0;
    loop {
        announce(file, offset);
        match read_at(file, &mut chunk, offset) {
            Ok(0) => return Ok(()),
            Ok(bytes) => offset += bytes as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
