//! Reading a log back, record by record.

use super::bytes::LogBytes;
use super::find::whole_record;
use super::record::{LogOp, RecordHeader, decode_batch};
use super::tail::{Due, judge};
use super::{
    BYTE_ORDER, COLLECTION_AT, HEADER_BYTES, KIND_BATCH, KIND_CLOSE, KIND_MARK, LogHeader, MAGIC,
    RECORD_HEADER_BYTES, VERSION, VERSION_OLDEST,
};
use crate::error::Error;
use crate::identity::RandomId;
use std::path::Path;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogEnd {
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

/// A log that is being read.
pub(crate) struct LogReader<'a> {
    bytes: LogBytes<'a>,
    header: LogHeader,
    vector_bytes: usize,
    /// What is due next.
    due: Due,
    end: LogEnd,
}

impl<'a> LogReader<'a> {
    /// Begins to read a log. `None` when not even its header was made durable: it has never held an acknowledged write.
    pub(crate) fn begin(mut bytes: LogBytes<'a>, vector_bytes: usize) -> Result<Option<Self>, Error> {
        let start = bytes.at(0, HEADER_BYTES)?.to_vec();
        let header = match parse_header(bytes.path(), &start)? {
            Some(header) => header,
            // The header is synced before the first record is written.
            None if bytes.len() <= HEADER_BYTES as u64 => return Ok(None),
            None => {
                let reason = "the header of the log is not what was written";
                return Err(Error::damaged(bytes.path(), 0, reason));
            }
        };
        let at = HEADER_BYTES as u64;
        let due = Due { at, seq: header.first_seq, previous: header.crc() };
        Ok(Some(Self { bytes, header, vector_bytes, due, end: LogEnd::Open { len: at } }))
    }

    pub(crate) fn header(&self) -> LogHeader {
        self.header
    }

    /// Whether a whole batch follows the header. To be asked before any is taken.
    pub(crate) fn has_batches(&mut self) -> Result<bool, Error> {
        let (at, previous) = (self.due.at, self.due.previous);
        let is_first = |record: &RecordHeader| record.previous == previous && record.kind == KIND_BATCH;
        Ok(whole_record(&self.header, &mut self.bytes, at, is_first)?.is_some())
    }

    /// The sequence number that comes after what was read.
    pub(crate) fn next_seq(&self) -> u64 {
        self.due.seq
    }

    /// How the log ends, once there is no batch any more.
    pub(crate) fn end(&self) -> LogEnd {
        self.end
    }

    /// The next batch: its sequence number and its points.
    pub(crate) fn next_batch(&mut self) -> Result<Option<(u64, Vec<LogOp<'_>>)>, Error> {
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
                return Err(Error::damaged(self.bytes.path(), at, reason));
            }
            if self.end == LogEnd::Closed {
                return Err(Error::damaged(self.bytes.path(), at, "a record after the mark of the end"));
            }
            self.due.at += (RECORD_HEADER_BYTES + record.body_len as usize) as u64;
            self.due.previous = record.crc;
            self.end = LogEnd::Open { len: self.due.at };
            match record.kind {
                KIND_BATCH => {
                    self.due.seq += 1;
                    let path = self.bytes.path().to_owned();
                    let body = self.bytes.at(at + RECORD_HEADER_BYTES as u64, record.body_len as usize)?;
                    let ops = decode_batch(body, self.vector_bytes)
                        .ok_or_else(|| Error::damaged(&path, at, "a record that is no batch of points"))?;
                    return Ok(Some((seq, ops)));
                }
                KIND_MARK => {}
                KIND_CLOSE => self.end = LogEnd::Closed,
                kind => {
                    let reason = format!("a record of kind {kind}, which this build does not know");
                    return Err(Error::damaged(self.bytes.path(), at, reason));
                }
            }
        }
        Ok(None)
    }
}

pub(super) fn parse_header(path: &Path, bytes: &[u8]) -> Result<Option<LogHeader>, Error> {
    let Some(bytes) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..60]) != u32_at(60) || u32_at(12) != BYTE_ORDER {
        return Ok(None);
    }
    let collection = match u32_at(8) {
        VERSION_OLDEST => None,
        VERSION => Some(RandomId(bytes[COLLECTION_AT..][..16].try_into().expect("sixteen bytes"))),
        found => return Err(Error::Version { path: path.to_owned(), found, known: VERSION }),
    };
    Ok(Some(LogHeader { salt: u64_at(16), number: u64_at(24), first_seq: u64_at(32), collection }))
}
