//! Reading what is left of a damaged log.
//!
//! A record is taken where its checksum fits, wherever it is found. Behind damage one may also be what a failed write left,
//! never acknowledged (see [the log](super)): it counts where a record says that the log was durable so far, or where it
//! continues, by its `previous`, one that counts.

use super::record::{LogOp, RecordHeader, decode_batch};
use super::replay::{next_whole, parse_header, whole_record, without_zeros};
use super::{HEADER_BYTES, KIND_BATCH, KIND_CLOSE, LogHeader, RECORD_HEADER_BYTES};
use crate::bit_flip::{flipped_bit, mend};

/// What is left of a log.
#[derive(Debug, Default)]
pub(crate) struct SalvagedLog<'a> {
    /// What its header says, if it is whole.
    pub(crate) header: Option<LogHeader>,
    /// Sequence number and points of each batch, ascending. Numbers between them are of writes that are lost.
    pub(crate) batches: Vec<(u64, Vec<LogOp<'a>>)>,
    /// The sequence number that follows the log, if it was closed.
    pub(crate) next_seq: Option<u64>,
    /// Whether nothing says how many writes are lost from its end.
    pub(crate) end_lost: bool,
    /// What was wrong.
    pub(crate) notes: Vec<String>,
}

/// A whole record: where it is, and whether it continues the one before.
struct Found {
    at: usize,
    record: RecordHeader,
    chained: bool,
}

/// Takes a damaged log apart. Bits that were flipped are put back.
pub(crate) fn salvage_log(bytes: &mut [u8], vector_bytes: usize) -> SalvagedLog<'_> {
    let mut log = SalvagedLog::default();
    if bytes.len() < HEADER_BYTES {
        log.notes.push("it was never begun, or what it held is lost".to_owned());
        log.end_lost = true;
        return log;
    }
    log.header = header(bytes, &mut log.notes);
    // Whatever the rest of the header is: records that fit the salt prove it.
    let salt = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    let header = log.header.unwrap_or(LogHeader { salt, number: 0, first_seq: 0, collection: None });
    let found = find_records(&header, log.header.is_some(), bytes, &mut log.notes);
    let bytes: &[u8] = bytes;
    let durable = found.iter().map(|found| found.record.synced_len).max().unwrap_or(0);
    let mut end = HEADER_BYTES;
    for Found { at, record, chained } in found {
        if !chained && at as u64 > durable {
            break;
        }
        if at > end {
            log.notes.push(format!("its bytes {end} to {at} are damaged"));
        }
        end = at + RECORD_HEADER_BYTES + record.body_len as usize;
        match (record.kind, decode_batch(&bytes[at + RECORD_HEADER_BYTES..end], vector_bytes)) {
            (KIND_CLOSE, _) => log.next_seq = Some(record.seq),
            (KIND_BATCH, Some(ops)) => {
                log.batches.push((record.seq, ops));
                log.next_seq = None;
            }
            _ => log.notes.push(format!("its record at {at} is no batch of points of this schema")),
        }
    }
    let rest = without_zeros(&bytes[end..]).len();
    if rest > 0 {
        let what = "are no whole record: of a write that was under way, or damaged";
        log.notes.push(format!("its last {rest} bytes {what}"));
    }
    log.end_lost = log.next_seq.is_none() && rest > 0;
    log
}

fn header(bytes: &mut [u8], notes: &mut Vec<String>) -> Option<LogHeader> {
    let bytes = &mut bytes[..HEADER_BYTES];
    let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
    let before = bytes.to_vec();
    let mended = mend(bytes, crc) && bytes != before;
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
    bytes: &mut [u8],
    notes: &mut Vec<String>,
) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let (mut budget, mut mending_budget) = (16 * bytes.len(), 16 * bytes.len());
    let mut due = log.first_seq;
    // The checksum of the record before, where it is known.
    let mut previous = is_header_whole.then(|| log.crc());
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let continues = |record: &RecordHeader| match previous {
            Some(previous) => record.previous == previous && record.seq == due,
            None => record.seq >= due,
        };
        // The cheap check first: the other one takes as long as the record says it is.
        let is_due = |bytes: &[u8]| {
            RecordHeader::decode(bytes).is_some_and(|record| continues(&record))
                && whole_record(log, bytes).is_some()
        };
        let mut chained = is_due(&bytes[at..]);
        if !chained && mend_record(log, &mut bytes[at..], &mut mending_budget, is_due) {
            notes.push(format!("a flipped bit of its record at {at} was put back"));
            chained = true;
        }
        if !chained {
            let plausible =
                |record: &RecordHeader, at: usize| record.seq >= due && record.synced_len <= at as u64;
            match next_whole(log, bytes, at, &mut budget, plausible) {
                Some(next) => at = next,
                None => break,
            }
        }
        let Some(record) = RecordHeader::decode(&bytes[at..]) else { break };
        found.push(Found { at, record, chained });
        due = record.seq.saturating_add(u64::from(record.kind != KIND_CLOSE));
        previous = Some(record.crc);
        at += RECORD_HEADER_BYTES + record.body_len as usize;
    }
    found
}

/// Puts back a flipped bit of the record at the start of these bytes, if that makes it the one that is due.
fn mend_record(
    log: &LogHeader,
    bytes: &mut [u8],
    budget: &mut usize,
    is_due: impl Fn(&[u8]) -> bool,
) -> bool {
    let len = |bytes: &[u8]| Some(RecordHeader::decode(bytes)?.body_len as usize + RECORD_HEADER_BYTES);
    let Some(own) = RecordHeader::decode(bytes) else { return false };
    let suspect = len(bytes).and_then(|len| {
        let body = bytes.get(RECORD_HEADER_BYTES..len)?;
        *budget = budget.checked_sub(len)?;
        let found = own.expected_crc(log.salt, body);
        // The checksum's own bits lie in front, where it was computed over something else.
        match flipped_bit(found, own.crc, len)? {
            32..64 => None,
            bit => Some(if bit < len * 8 { bit } else { bit - len * 8 + 32 }),
        }
    });
    // A flipped bit of the length makes quite another record of it, so each is tried.
    suspect.into_iter().chain(0..32).any(|bit| {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let affordable = len(bytes).filter(|&len| len <= bytes.len()).and_then(|len| budget.checked_sub(len));
        let right = affordable.is_some() && is_due(bytes);
        *budget = affordable.unwrap_or(*budget);
        if !right {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        right
    })
}
