//! The bytes of a log, read in pieces: a long file takes no more memory than its longest record.

use super::{BATCH_BYTES_MAX, RECORD_HEADER_BYTES, ROOM_MAX};
use crate::FormatError;
use io_core::Directory;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are read at once, but for longer records.
const PIECE: usize = 1 << 20;
/// Writes of a group that share a sync have at most this many bytes before the last of them.
pub const GROUP_BYTES_MAX: usize = 16 << 20;
/// No log has more zeros than this after a record: of a group that did not reach the disk, and of the room
/// after it.
pub(super) const ZEROS_MAX: u64 = (BATCH_BYTES_MAX + GROUP_BYTES_MAX) as u64 + ROOM_MAX;

type Read<'a> = Box<dyn FnMut(u64, usize) -> Result<Vec<u8>, FormatError> + 'a>;

/// A log to be read. In memory are at most [`BATCH_BYTES_MAX`], a record's header and a piece of it.
pub struct LogBytes<'a> {
    path: PathBuf,
    len: u64,
    read: Read<'a>,
    /// What was read last, and where it is.
    window: Vec<u8>,
    start: u64,
    /// Bits that were put back, counted from the file's first.
    flips: BTreeSet<u64>,
}

/// How far bytes reach that are not zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// After the last byte that is none, of those that were looked at.
    pub(super) end: u64,
    /// More than [`ZEROS_MAX`] zeros follow, and nothing behind them was looked at.
    pub(super) has_long_hole: bool,
}

impl fmt::Debug for LogBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, len, .. } = self;
        f.debug_struct("LogBytes").field("path", path).field("len", len).finish_non_exhaustive()
    }
}

impl LogBytes<'static> {
    /// Of a file of this length.
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

    /// Of bytes in memory.
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

    /// Bytes of it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes from an offset on: so many, or as many as there are.
    pub(super) fn at(&mut self, offset: u64, len: usize) -> Result<&[u8], FormatError> {
        let there = self.len.saturating_sub(offset);
        let len = there.min(len as u64) as usize;
        if len == 0 {
            return Ok(&[]);
        }
        let is_inside = self.start <= offset && offset + len as u64 <= self.start + self.window.len() as u64;
        if !is_inside {
            // Both at once would be twice as much.
            self.release();
            self.window = (self.read)(offset, there.min(len.max(PIECE) as u64) as usize)?;
            self.start = offset;
            let end = offset + self.window.len() as u64;
            for bit in self.flips.range(offset * 8..end * 8) {
                self.window[(bit / 8 - offset) as usize] ^= 1 << (bit % 8);
            }
            // Somebody else may have cut it off.
            if self.window.len() < len {
                self.len = end;
            }
        }
        let bytes = &self.window[(offset - self.start) as usize..];
        Ok(&bytes[..len.min(bytes.len())])
    }

    /// Flips a bit, counted from the file's first, in what is read from now on.
    pub(super) fn flip(&mut self, bit: u64) {
        if !self.flips.remove(&bit) {
            self.flips.insert(bit);
        }
        let place = (bit / 8).checked_sub(self.start).and_then(|at| self.window.get_mut(at as usize));
        if let Some(byte) = place {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Gives back memory.
    pub fn release(&mut self) {
        (self.window, self.start) = (Vec::new(), 0);
    }

    /// Reads no further than this.
    pub(super) fn truncate(&mut self, len: u64) {
        self.len = self.len.min(len);
        self.release();
    }

    /// How far bytes reach, from an offset on, that are not zeros.
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

    /// Whether these bytes are all zeros, or not there.
    pub(super) fn is_hole(&mut self, from: u64, to: u64) -> Result<bool, FormatError> {
        Ok(without_zeros(self.at(from, (to - from) as usize)?).is_empty())
    }
}

/// These bytes up to the last one that is not zero.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    const ZEROS: [u8; 4096] = [0; 4096];
    // Whole pages first: most of what is looked at are zeros.
    let pages = bytes.rchunks(ZEROS.len()).take_while(|page| **page == ZEROS[..page.len()]).count();
    let rest = &bytes[..bytes.len().saturating_sub(pages * ZEROS.len())];
    &rest[..rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
}

const _: () = assert!(PIECE > RECORD_HEADER_BYTES);
