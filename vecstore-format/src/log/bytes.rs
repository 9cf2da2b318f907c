//! The bytes of a log, read in pieces. A long file takes no more memory than its longest record.

use super::{BATCH_BYTES_MAX, RECORD_HEADER_BYTES, ROOM_MAX};
use crate::FormatError;
use io_core::Directory;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of one read. A longer record is read whole.
const PIECE: usize = 1 << 20;
/// The writes of a group share a sync. Before its last write, a group has at most this many bytes.
pub const GROUP_BYTES_MAX: usize = 16 << 20;
/// Batches of so many bytes may be in a log without being synced, or one group of them.
pub(super) const UNSYNCED_MAX: u64 = BATCH_BYTES_MAX as u64;
/// The most zeros that follow a record in any log: batches that did not reach the disk, and the room after
/// them. A second group makes up for the headers of records.
pub(super) const ZEROS_MAX: u64 = UNSYNCED_MAX + 2 * GROUP_BYTES_MAX as u64 + ROOM_MAX;

type Read<'a> = Box<dyn FnMut(u64, usize) -> Result<Vec<u8>, FormatError> + 'a>;

/// A log to read. Memory holds at most [`BATCH_BYTES_MAX`], a record's header and one piece.
pub struct LogBytes<'a> {
    path: PathBuf,
    len: u64,
    read: Read<'a>,
    /// The bytes read last. `start` is their offset.
    window: Vec<u8>,
    start: u64,
    /// Bits to put back, counted from the first bit of the file.
    flips: BTreeSet<u64>,
}

/// How far bytes other than zeros reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The offset after the last non-zero byte, as far as was looked.
    pub(super) end: u64,
    /// More than [`ZEROS_MAX`] zeros follow. The bytes behind them were not looked at.
    pub(super) has_long_hole: bool,
}

impl fmt::Debug for LogBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, len, .. } = self;
        f.debug_struct("LogBytes").field("path", path).field("len", len).finish_non_exhaustive()
    }
}

impl LogBytes<'static> {
    /// A log in a file of `len` bytes.
    #[must_use]
    pub fn open(directory: &Arc<dyn Directory>, path: &Path, len: u64) -> Self {
        let (directory, own) = (Arc::clone(directory), path.to_owned());
        Self::new(path, len, Box::new(move |offset, bytes| Ok(directory.read_at(&own, offset, bytes)?)))
    }
}

impl<'a> LogBytes<'a> {
    pub(super) fn new(path: &Path, len: u64, read: Read<'a>) -> Self {
        Self { path: path.to_owned(), len, read, window: Vec::new(), start: 0, flips: BTreeSet::new() }
    }

    /// A log in memory.
    #[must_use]
    pub fn of(path: &Path, bytes: &'a [u8]) -> Self {
        let read = |offset: u64, len: usize| Ok(bytes[offset as usize..][..len].to_vec());
        Self::new(path, bytes.len() as u64, Box::new(read))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the log has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Up to `len` bytes from an offset on. Fewer at the end of the log.
    pub(super) fn at(&mut self, offset: u64, len: usize) -> Result<&[u8], FormatError> {
        let there = self.len.saturating_sub(offset);
        let len = there.min(len as u64) as usize;
        if len == 0 {
            return Ok(&[]);
        }
        let is_inside = self.start <= offset && offset + len as u64 <= self.start + self.window.len() as u64;
        if !is_inside {
            // Frees the window first, because both at once would double the memory.
            self.release();
            self.window = (self.read)(offset, there.min(len.max(PIECE) as u64) as usize)?;
            self.start = offset;
            let end = offset + self.window.len() as u64;
            for bit in self.flips.range(offset * 8..end * 8) {
                self.window[(bit / 8 - offset) as usize] ^= 1 << (bit % 8);
            }
            // Another process may have truncated the file.
            if self.window.len() < len {
                self.len = end;
            }
        }
        let bytes = &self.window[(offset - self.start) as usize..];
        Ok(&bytes[..len.min(bytes.len())])
    }

    /// Flips a bit, counted from the first bit of the file, in all reads from now on.
    pub(super) fn flip(&mut self, bit: u64) {
        if !self.flips.remove(&bit) {
            self.flips.insert(bit);
        }
        let place = (bit / 8).checked_sub(self.start).and_then(|at| self.window.get_mut(at as usize));
        if let Some(byte) = place {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Frees the memory of the last read.
    pub fn release(&mut self) {
        (self.window, self.start) = (Vec::new(), 0);
    }

    /// Ends the log at this length.
    pub(super) fn truncate(&mut self, len: u64) {
        self.len = self.len.min(len);
        self.release();
    }

    /// How far bytes other than zeros reach, from an offset on.
    pub(super) fn content(&mut self, from: u64) -> Result<Content, FormatError> {
        let (mut at, mut end) = (from, from);
        while at < self.len {
            let piece = self.at(at, PIECE)?;
            end = match without_zeros(piece).len() as u64 {
                0 => end,
                len => at + len,
            };
            at += piece.len() as u64;
            if at - end > ZEROS_MAX {
                return Ok(Content { end, has_long_hole: true });
            }
        }
        Ok(Content { end, has_long_hole: false })
    }

    /// Whether these bytes are zeros or beyond the end.
    pub(super) fn is_hole(&mut self, from: u64, to: u64) -> Result<bool, FormatError> {
        Ok(without_zeros(self.at(from, (to - from) as usize)?).is_empty())
    }
}

/// These bytes up to the last one that is not zero.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    const ZEROS: [u8; 4096] = [0; 4096];
    // Compares whole pages first, because most bytes here are zeros.
    let pages = bytes.rchunks(ZEROS.len()).take_while(|page| **page == ZEROS[..page.len()]).count();
    let rest = &bytes[..bytes.len().saturating_sub(pages * ZEROS.len())];
    &rest[..rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
}

const _: () = assert!(PIECE > RECORD_HEADER_BYTES);
