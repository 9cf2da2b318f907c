//! Reading a log back: a pure function over its bytes.

use super::record::{LogOp, RecordHeader, decode_batch};
use super::{
    BYTE_ORDER, COLLECTION_AT, HEADER_BYTES, KIND_BATCH, KIND_CLOSE, LogHeader, MAGIC, RECORD_HEADER_BYTES,
    VERSION, VERSION_OLDEST,
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
    /// With bytes that are no whole record: of a write that was under way, never acknowledged.
    Torn {
        /// Where they begin.
        offset: u64,
        /// How many they are, less zeros at the end.
        bytes: u64,
    },
}

/// A log that was read.
#[derive(Debug)]
pub(crate) struct ParsedLog<'a> {
    pub(crate) header: LogHeader,
    /// Sequence number and points of each batch.
    pub(crate) batches: Vec<(u64, Vec<LogOp<'a>>)>,
    /// The sequence number that comes next.
    pub(crate) next_seq: u64,
    pub(crate) end: LogEnd,
}

/// Takes a log apart. `None` when not even its header was made durable: it has never held an acknowledged write.
pub(crate) fn parse_log<'a>(
    path: &Path,
    bytes: &'a [u8],
    vector_bytes: usize,
) -> Result<Option<ParsedLog<'a>>, Error> {
    let mut log = match begin_log(path, bytes)? {
        Some(log) => log,
        None => return Ok(None),
    };
    log.read_records(path, bytes, vector_bytes)?;
    Ok(Some(log))
}

fn begin_log<'a>(path: &Path, bytes: &'a [u8]) -> Result<Option<ParsedLog<'a>>, Error> {
    let header = match parse_header(path, bytes)? {
        Some(header) => header,
        // The header is synced before the first record is written.
        None if bytes.len() <= HEADER_BYTES => return Ok(None),
        None => return Err(Error::damaged(path, 0, "the header of the log is not what was written")),
    };
    let end = LogEnd::Open { len: HEADER_BYTES as u64 };
    let log = ParsedLog { header, batches: Vec::new(), next_seq: header.first_seq, end };
    Ok(Some(log))
}

impl<'a> ParsedLog<'a> {
    fn read_records(&mut self, path: &Path, bytes: &'a [u8], vector_bytes: usize) -> Result<(), Error> {
        let header = self.header;
        let mut at = HEADER_BYTES;
        let mut previous = header.crc();
        while at < bytes.len() {
            let whole = whole_record(&header, &bytes[at..]).filter(|(record, _)| record.previous == previous);
            let Some((record, body)) = whole else {
                if without_zeros(&bytes[at..]).is_empty() {
                    break;
                }
                self.end = torn(path, &header, bytes, at, self.next_seq)?;
                break;
            };
            if record.seq != self.next_seq {
                let reason = format!("record {} follows where {} was due", record.seq, self.next_seq);
                return Err(Error::damaged(path, at as u64, reason));
            }
            if self.end == LogEnd::Closed {
                return Err(Error::damaged(path, at as u64, "a record after the mark of the end"));
            }
            match record.kind {
                KIND_BATCH => {
                    let Some(ops) = decode_batch(body, vector_bytes) else {
                        return Err(Error::damaged(path, at as u64, "a record that is no batch of points"));
                    };
                    self.batches.push((record.seq, ops));
                    self.next_seq += 1;
                }
                KIND_CLOSE => {}
                kind => {
                    let reason = format!("a record of kind {kind}, which this build does not know");
                    return Err(Error::damaged(path, at as u64, reason));
                }
            }
            at += RECORD_HEADER_BYTES + body.len();
            previous = record.crc;
            self.end =
                if record.kind == KIND_CLOSE { LogEnd::Closed } else { LogEnd::Open { len: at as u64 } };
        }
        Ok(())
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

/// These bytes up to the last one that is not zero: what comes after a log's records is room for more.
pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// The record at the start of these bytes, if it is whole.
pub(super) fn whole_record<'a>(log: &LogHeader, bytes: &'a [u8]) -> Option<(RecordHeader, &'a [u8])> {
    let record = RecordHeader::decode(bytes)?;
    let body = bytes[RECORD_HEADER_BYTES..].get(..record.body_len as usize)?;
    (record.expected_crc(log.salt, body) == record.crc).then_some((record, body))
}

/// Decides about bytes that are no record: a torn end, or damage if a later record says that they were durable.
fn torn(path: &Path, log: &LogHeader, bytes: &[u8], at: usize, due: u64) -> Result<LogEnd, Error> {
    let mut budget = 16 * bytes.len();
    let later = next_whole(log, bytes, at + 1, &mut budget, |record, later| {
        record.seq >= due && (at as u64 + 1..=later as u64).contains(&record.synced_len)
    });
    let Some(later) = later else {
        let bytes = without_zeros(&bytes[at..]).len() as u64;
        return Ok(LogEnd::Torn { offset: at as u64, bytes });
    };
    let reason = format!(
        "the record that starts here is not what was written, and the one at {later} says that it was durable"
    );
    Err(Error::damaged(path, at as u64, reason))
}

/// Where the next whole record starts, from an offset on, of those that are plausible there. The budget is of bytes whose
/// checksum may be computed: only crafted ones look like so many records that checking them all would take long.
pub(super) fn next_whole(
    log: &LogHeader,
    bytes: &[u8],
    from: usize,
    budget: &mut usize,
    plausible: impl Fn(&RecordHeader, usize) -> bool,
) -> Option<usize> {
    for at in from..bytes.len().saturating_sub(RECORD_HEADER_BYTES - 1) {
        // Cheap checks first: nearly every place fails them.
        let record = RecordHeader::decode(&bytes[at..])?;
        let fits = record.body_len as usize <= bytes.len() - at - RECORD_HEADER_BYTES;
        if !fits || !plausible(&record, at) {
            continue;
        }
        *budget = budget.checked_sub(record.body_len as usize)?;
        if whole_record(log, &bytes[at..]).is_some() {
            return Some(at);
        }
    }
    None
}
