//! The baseline of the mmap backend: a plain loop over slices of a map.

#![allow(unsafe_code)]

use crate::touch;
use io_core::ReadRequest;
use memmap2::{Advice, Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::path::Path;

/// Maps a file for scattered reads. `populate` puts all of its pages into the page table.
///
/// # Errors
/// The error of the system.
pub fn open(path: &Path, populate: bool) -> io::Result<Mmap> {
    let file = File::open(path)?;
    let mut options = MmapOptions::new();
    if populate {
        options.populate();
    }
    // SAFETY: the bench made the file, and nothing changes it. Its bytes are only read as bytes.
    let map = unsafe { options.map(&file)? };
    map.advise(Advice::Random)?;
    Ok(map)
}

/// Touches every request's bytes.
#[must_use]
pub fn read(map: &Mmap, requests: &[ReadRequest]) -> u64 {
    requests
        .iter()
        .map(|request| touch(&map[request.offset as usize..][..request.len as usize]))
        .fold(0, u64::wrapping_add)
}
