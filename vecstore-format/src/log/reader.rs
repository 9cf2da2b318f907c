//! Reading a log back, record by record.

use super::bytes::LogBytes;
use super::find::whole_record;
use super::header::parse_header;
use super::record::{LogOp, RecordHeader, decode_batch};
use super::tail::{Due, judge};
use super::{HEADER_BYTES, KIND_BATCH, KIND_CLOSE, KIND_MARK, LogHeader, NUMBER_END, RECORD_HEADER_BYTES};
use crate::FormatError;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// With the mark of a clean end.
    Closed,
    /// After a whole record; only zeros follow, of room that was made ahead.
    Open {
        /// Bytes of whole records and the header.
        len: u64,
    },
    /// With bytes that are no whole record.
    Torn {
        /// Where they begin.
        offset: u64,
        /// How many they are, less zeros at the end.
        bytes: u64,
        /// Whether they may be something else than a write that was under way.
        in_doubt: bool,
    },
}

/// The sequence number of the first record of a log that begins with these bytes; `None` if it is no log, or
/// has no record. The first [`FIRST_RECORD_BYTES`](super::FIRST_RECORD_BYTES) are enough.
#[must_use]
pub fn first_record(bytes: &[u8]) -> Option<u64> {
    let header = parse_header("".as_ref(), bytes).ok()??;
    bytes[HEADER_BYTES..].iter().any(|&byte| byte != 0).then_some(header.first_seq)
}

/// A log that is being read.
#[derive(Debug)]
pub struct LogReader<'a> {
    bytes: LogBytes<'a>,
    header: LogHeader,
    vector_bytes: usize,
    /// What is due next.
    due: Due,
    end: LogEnd,
}

impl<'a> LogReader<'a> {
    /// Begins to read a log of vectors of so many bytes. `None` when not even its header was made durable: it
    /// has never held an acknowledged write.
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

    /// What its header says.
    #[must_use]
    pub fn header(&self) -> LogHeader {
        self.header
    }

    /// Whether a whole batch follows the header. To be asked before any is taken.
    ///
    /// # Errors
    /// [`FormatError::Directory`].
    pub fn has_batches(&mut self) -> Result<bool, FormatError> {
        let (at, previous) = (self.due.at, self.due.previous);
        let is_first = |record: &RecordHeader| record.previous == previous && record.kind == KIND_BATCH;
        Ok(whole_record(&self.header, &mut self.bytes, at, is_first)?.is_some())
    }

    /// The sequence number that comes after what was read.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.due.seq
    }

    /// How the log ends, once there is no batch any more.
    #[must_use]
    pub fn end(&self) -> LogEnd {
        self.end
    }

    /// The next batch: its sequence number and its points. `None` where the log ends.
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
