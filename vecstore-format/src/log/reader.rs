//! Reads a log, record by record.

use super::bytes::LogBytes;
use super::find::whole_record;
use super::header::parse_header;
use super::record::{LogOp, decode_batch};
use super::tail::{Due, judge};
use super::{HEADER_BYTES, KIND_BATCH, KIND_CLOSE, KIND_MARK, LogHeader, NUMBER_END, RECORD_HEADER_BYTES};
use crate::FormatError;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// With the mark of a clean end.
    Closed,
    /// After a whole record. Only zeros follow, the room of the writer.
    Open {
        /// Length of header and whole records, in bytes.
        len: u64,
    },
    /// With bytes that are not a whole record.
    Torn {
        /// The offset of these bytes.
        offset: u64,
        /// Their number, without zeros at the end.
        bytes: u64,
        /// Whether they may be something other than a write in progress.
        in_doubt: bool,
    },
}

/// The sequence number of the first record of a log that begins with these bytes. `None` if they are not a
/// log, or if it has no record. The first [`FIRST_RECORD_BYTES`](super::FIRST_RECORD_BYTES) are enough.
#[must_use]
pub fn first_record(bytes: &[u8]) -> Option<u64> {
    let header = parse_header("".as_ref(), bytes).ok()??;
    bytes[HEADER_BYTES..].iter().any(|&byte| byte != 0).then_some(header.first_seq)
}

/// A log in the course of reading.
#[derive(Debug)]
pub struct LogReader<'a> {
    bytes: LogBytes<'a>,
    header: LogHeader,
    vector_bytes: usize,
    /// The record that is due next.
    due: Due,
    end: LogEnd,
}

impl<'a> LogReader<'a> {
    /// Begins to read a log whose vectors have `vector_bytes` bytes. `None` if not even its header became
    /// durable. Such a log never held an acknowledged write.
    ///
    /// # Errors
    /// [`FormatError::Damaged`]; [`FormatError::Version`]; [`FormatError::Directory`].
    pub fn begin(mut bytes: LogBytes<'a>, vector_bytes: usize) -> Result<Option<Self>, FormatError> {
        let start = bytes.at(0, HEADER_BYTES)?.to_vec();
        let header = match parse_header(bytes.path(), &start)? {
            Some(header) => header,
            // The header is synced before the first record is written.
            None if bytes.len() <= HEADER_BYTES as u64 => return Ok(None),
            None => {
                let reason = "the header of the log is not what was written";
                return Err(FormatError::damaged(bytes.path(), 0, reason));
            }
        };
        let at = HEADER_BYTES as u64;
        let due = Due { at, seq: header.first_seq, previous: header.crc() };
        Ok(Some(Self { bytes, header, vector_bytes, due, end: LogEnd::Open { len: at } }))
    }

    /// The fields of the header.
    #[must_use]
    pub fn header(&self) -> LogHeader {
        self.header
    }

    /// Whether anything was written behind the header, also if it is damaged by now.
    ///
    /// # Errors
    /// [`FormatError::Directory`].
    pub fn has_records(&mut self) -> Result<bool, FormatError> {
        let at = HEADER_BYTES as u64;
        Ok(self.bytes.content(at)?.end > at)
    }

    /// The sequence number that follows the last one read.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.due.seq
    }

    /// How the log ends. Valid once [`LogReader::next_batch`] returned `None`.
    #[must_use]
    pub fn end(&self) -> LogEnd {
        self.end
    }

    /// The next batch: its sequence number and its points. `None` at the end of the log.
    ///
    /// # Errors
    /// [`FormatError::Damaged`]; [`FormatError::Directory`].
    pub fn next_batch(&mut self) -> Result<Option<(u64, Vec<LogOp<'_>>)>, FormatError> {
        while self.due.at < self.bytes.len() {
            let (at, seq, previous) = (self.due.at, self.due.seq, self.due.previous);
            let continues =
                whole_record(&self.header, &mut self.bytes, at, |record| record.previous == previous)?;
            let Some(record) = continues else {
                let is_closed = self.end == LogEnd::Closed;
                match judge(&self.header, &mut self.bytes, &self.due)? {
                    LogEnd::Open { .. } if is_closed => {}
                    end => self.end = end,
                }
                return Ok(None);
            };
            if record.seq != seq {
                let reason = format!("record {} follows where {seq} was due", record.seq);
                return Err(FormatError::damaged(self.bytes.path(), at, reason));
            }
            if self.end == LogEnd::Closed {
                return Err(FormatError::damaged(
                    self.bytes.path(),
                    at,
                    "a record after the mark of the end",
                ));
            }
            self.due.at += (RECORD_HEADER_BYTES + record.body_len as usize) as u64;
            self.due.previous = record.crc;
            self.end = LogEnd::Open { len: self.due.at };
            match record.kind {
                KIND_BATCH if seq >= NUMBER_END => {
                    let reason = format!("it is write {seq}; no write has a number above {}", NUMBER_END - 1);
                    return Err(FormatError::damaged(self.bytes.path(), at, reason));
                }
                KIND_BATCH => {
                    self.due.seq += 1;
                    let path = self.bytes.path().to_owned();
                    let body = self.bytes.at(at + RECORD_HEADER_BYTES as u64, record.body_len as usize)?;
                    let ops = decode_batch(body, self.vector_bytes).ok_or_else(|| {
                        FormatError::damaged(&path, at, "a record that is no batch of points")
                    })?;
                    return Ok(Some((seq, ops)));
                }
                KIND_MARK => {}
                KIND_CLOSE => self.end = LogEnd::Closed,
                kind => {
                    let reason = format!("a record of kind {kind}, which this build does not know");
                    return Err(FormatError::damaged(self.bytes.path(), at, reason));
                }
            }
        }
        Ok(None)
    }
}
