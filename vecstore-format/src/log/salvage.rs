//! Reads what is left of a damaged log.
//!
//! A record counts as found wherever its checksum fits. But a record behind damage may be the remains of a
//! failed write that was never acknowledged (see [the log](super)). It is taken in two cases. Either a record
//! says that the log was durable up to there, or its `previous` continues a record that is taken.
//!
//! **Zeros at the end** are either the room of the writer, or the place of lost records. A closed log has no
//! room, so the question does not arise. In an open log, a writer leaves at most the zeros that
//! `LogWriter::write_ahead` makes. If there are more, they were records: lost ones, or those of a write in
//! progress. Lost records leave no trace if the zeros in their place are no more than that. Nothing tells
//! these from room; see [`SalvagedLog::is_closed`].

use super::bytes::{LogBytes, ZEROS_MAX};
use super::find::{mend_record, next_whole, whole_record};
use super::header::parse_header;
use super::record::{LogOp, RecordHeader, decode_batch};
use super::{HEADER_BYTES, KIND_BATCH, KIND_CLOSE, KIND_MARK, LogHeader, RECORD_HEADER_BYTES, room_after};
use crate::FormatError;
use crate::bit_flip::mend;

/// The remains of a log.
#[derive(Debug)]
pub struct SalvagedLog<'a> {
    bytes: LogBytes<'a>,
    vector_bytes: usize,
    /// The header, if it is whole.
    pub header: Option<LogHeader>,
    /// The salt, even if the rest of the header is damaged. `None` if the file is shorter than a header.
    pub salt: Option<u64>,
    /// The batches, with ascending numbers. A missing number is that of a lost write.
    pub batches: Vec<SalvagedBatch>,
    /// The sequence number that follows the last batch, if a mark says it.
    pub next_seq: Option<u64>,
    /// Whether the log ends with the mark of a clean end. If not, writes that fit the room at its end may be
    /// lost without a trace.
    pub is_closed: bool,
    /// Whether anything was written behind the header, also if nothing of it is left.
    pub has_records: bool,
    /// Whether writes at its end left traces and may be lost. Their number is unknown.
    pub end_lost: bool,
    /// The faults, as text.
    pub notes: Vec<String>,
}

/// A batch, and the place of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SalvagedBatch {
    /// Its sequence number.
    pub seq: u64,
    at: u64,
    len: usize,
}

/// A whole record: its offset, and whether it continues the record before.
struct Found {
    at: u64,
    record: RecordHeader,
    chained: bool,
}

impl SalvagedLog<'_> {
    /// Decodes the points of a batch.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if the log changed meanwhile; [`FormatError::Directory`].
    pub fn points(&mut self, batch: SalvagedBatch) -> Result<Vec<LogOp<'_>>, FormatError> {
        let path = self.bytes.path().to_owned();
        let body = self.bytes.at(batch.at, batch.len)?;
        decode_batch(body, self.vector_bytes)
            .ok_or_else(|| FormatError::damaged(&path, batch.at, "the log was changed while it was read"))
    }

    /// The number of the first write, if the header or a batch tells it.
    #[must_use]
    pub fn first_seq(&self) -> Option<u64> {
        let header = self.header.map(|header| header.first_seq);
        header.or_else(|| self.batches.first().map(|batch| batch.seq))
    }

    /// Frees the memory of the last read.
    pub fn release(&mut self) {
        self.bytes.release();
    }
}

/// Salvages a damaged log whose vectors have `vector_bytes` bytes. It puts flipped bits back.
///
/// # Errors
/// [`FormatError::Directory`].
pub fn salvage_log(mut bytes: LogBytes<'_>, vector_bytes: usize) -> Result<SalvagedLog<'_>, FormatError> {
    let (mut batches, mut next_seq, mut notes) = (Vec::new(), None, Vec::new());
    if bytes.len() < HEADER_BYTES as u64 {
        notes.push("it was never begun, or what it held is lost".to_owned());
        return Ok(SalvagedLog {
            bytes,
            vector_bytes,
            header: None,
            salt: None,
            batches,
            next_seq,
            is_closed: false,
            has_records: false,
            end_lost: true,
            notes,
        });
    }
    let content = bytes.content(0)?;
    if content.has_long_hole {
        notes.push(format!(
            "after byte {} come more zeros than any log has; nothing behind them was read",
            content.end
        ));
        // The last record may end with zeros of its own.
        bytes.truncate(content.end + ZEROS_MAX);
    }
    let mut start: [u8; HEADER_BYTES] = bytes.at(0, HEADER_BYTES)?.try_into().expect("it is long enough");
    let known = header(&mut start, &mut notes);
    // The salt may be sound even if the header is not. Records that match it prove it.
    let salt = u64::from_le_bytes(start[16..24].try_into().expect("eight bytes"));
    let header = known.unwrap_or(LogHeader { salt, number: 0, first_seq: 0, collection: None });
    let found = find_records(&header, known.is_some(), &mut bytes, content.end, &mut notes)?;
    let durable = found.iter().map(|found| found.record.synced_len).max().unwrap_or(0);
    let (mut end, mut is_closed) = (HEADER_BYTES as u64, false);
    for Found { at, record, chained } in found {
        if !chained && at > durable {
            break;
        }
        if at > end {
            notes.push(format!("its bytes {end} to {at} are damaged"));
        }
        let (body, len) = (at + RECORD_HEADER_BYTES as u64, record.body_len as usize);
        end = body + len as u64;
        is_closed = record.kind == KIND_CLOSE;
        match record.kind {
            KIND_CLOSE | KIND_MARK => next_seq = Some(record.seq),
            KIND_BATCH if decode_batch(bytes.at(body, len)?, vector_bytes).is_some() => {
                batches.push(SalvagedBatch { seq: record.seq, at: body, len });
                next_seq = None;
            }
            // This record was a write, and used up its number.
            _ => {
                notes.push(format!("its record at {at} is no batch of points of this schema"));
                next_seq = Some(record.seq.saturating_add(1));
            }
        }
    }
    let rest = bytes.content(end)?.end - end;
    if rest > 0 {
        let what = "are no whole record: of a write that was under way, or damaged";
        notes.push(format!("its last {rest} bytes {what}"));
    }
    let zeros = bytes.len().saturating_sub(end);
    let has_long_end = !is_closed && rest == 0 && zeros > room_after(end);
    if has_long_end && !content.has_long_hole {
        let what = "more than a writer leaves: of writes that are lost, or were under way";
        notes.push(format!("its last {zeros} bytes are zeros, {what}"));
    }
    let is_nothing_left = known.is_none() && batches.is_empty();
    let end_lost = is_nothing_left || !is_closed && (rest > 0 || has_long_end);
    bytes.release();
    Ok(SalvagedLog {
        bytes,
        vector_bytes,
        header: known,
        salt: Some(salt),
        batches,
        next_seq,
        is_closed,
        has_records: content.end > HEADER_BYTES as u64,
        end_lost,
        notes,
    })
}

fn header(bytes: &mut [u8; HEADER_BYTES], notes: &mut Vec<String>) -> Option<LogHeader> {
    let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
    let before = *bytes;
    let mended = mend(bytes, crc) && *bytes != before;
    let header = parse_header("".as_ref(), bytes).ok().flatten();
    match header {
        Some(_) if mended => notes.push("a flipped bit of its header was put back".to_owned()),
        Some(_) => {}
        None => notes.push("its header is damaged".to_owned()),
    }
    header
}

fn find_records(
    log: &LogHeader,
    is_header_whole: bool,
    bytes: &mut LogBytes<'_>,
    end: u64,
    notes: &mut Vec<String>,
) -> Result<Vec<Found>, FormatError> {
    let mut found: Vec<Found> = Vec::new();
    let (mut budget, mut mending_budget) = (16 * bytes.len(), 16 * bytes.len());
    let mut due = log.first_seq;
    // The checksum of the record before, if known.
    let mut previous = is_header_whole.then(|| log.crc());
    let mut at = HEADER_BYTES as u64;
    while at < end {
        let continues = |record: &RecordHeader| match previous {
            Some(previous) => record.previous == previous && record.seq == due,
            None => record.seq >= due,
        };
        let mut next = whole_record(log, bytes, at, continues)?;
        if next.is_none()
            && let Some((_, record)) = mend_record(log, bytes, at, &mut mending_budget, continues)?
        {
            notes.push(format!("a flipped bit of its record at {at} was put back"));
            next = Some(record);
        }
        let chained = next.is_some();
        if !chained {
            let is_plausible = |record: &RecordHeader, at: u64| record.seq >= due && record.synced_len <= at;
            match next_whole(log, bytes, at..end, &mut budget, is_plausible)? {
                Some(there) => at = there,
                None => break,
            }
            next = RecordHeader::decode(bytes.at(at, RECORD_HEADER_BYTES)?);
        }
        let Some(record) = next else { break };
        found.push(Found { at, record, chained });
        due = record.seq.saturating_add(u64::from(![KIND_MARK, KIND_CLOSE].contains(&record.kind)));
        previous = Some(record.crc);
        at += (RECORD_HEADER_BYTES + record.body_len as usize) as u64;
    }
    Ok(found)
}
