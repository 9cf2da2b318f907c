//! Finds records in the bytes of a log: whole ones, and ones with a flipped bit.

use super::bytes::LogBytes;
use super::record::RecordHeader;
use super::{LogHeader, RECORD_HEADER_BYTES};
use crate::FormatError;
use crate::bit_flip::flipped_bit;

/// The header of the record at an offset, if `is_wanted` accepts it and the record is whole.
pub(super) fn whole_record(
    log: &LogHeader,
    bytes: &mut LogBytes<'_>,
    at: u64,
    is_wanted: impl Fn(&RecordHeader) -> bool,
) -> Result<Option<RecordHeader>, FormatError> {
    // The cheap check comes first. The checksum takes time in proportion to the length that the record
    // states.
    let header = RecordHeader::decode(bytes.at(at, RECORD_HEADER_BYTES)?).filter(is_wanted);
    let Some((record, len)) = header.and_then(|record| Some((record, record.len()?))) else {
        return Ok(None);
    };
    let whole = bytes.at(at, len)?;
    let is_whole =
        whole.len() == len && record.expected_crc(log.salt, &whole[RECORD_HEADER_BYTES..]) == record.crc;
    Ok(is_whole.then_some(record))
}

/// Where the next whole and plausible record of a range starts. `budget` bounds the bytes whose checksums are
/// computed. Only a crafted log has so many record-like places that checking all of them would take long.
pub(super) fn next_whole(
    log: &LogHeader,
    bytes: &mut LogBytes<'_>,
    range: std::ops::Range<u64>,
    budget: &mut u64,
    is_plausible: impl Fn(&RecordHeader, u64) -> bool,
) -> Result<Option<u64>, FormatError> {
    for at in range {
        // Cheap checks come first, because nearly every place fails them.
        let Some(record) = RecordHeader::decode(bytes.at(at, RECORD_HEADER_BYTES)?) else { break };
        let len = record.len().filter(|&len| at + len as u64 <= bytes.len());
        let Some(len) = len.filter(|_| is_plausible(&record, at)) else { continue };
        let Some(left) = budget.checked_sub(len as u64) else { break };
        *budget = left;
        if whole_record(log, bytes, at, |_| true)?.is_some() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The record at an offset, if one flipped bit makes it whole and wanted. Also returns that bit, counted from
/// the first bit of the file. The bit stays put back.
pub(super) fn mend_record(
    log: &LogHeader,
    bytes: &mut LogBytes<'_>,
    at: u64,
    budget: &mut u64,
    is_wanted: impl Fn(&RecordHeader) -> bool,
) -> Result<Option<(u64, RecordHeader)>, FormatError> {
    let Some(own) = RecordHeader::decode(bytes.at(at, RECORD_HEADER_BYTES)?) else { return Ok(None) };
    let suspect = match own.len().and_then(|len| Some((len, budget.checked_sub(len as u64)?))) {
        Some((len, left)) => {
            *budget = left;
            suspect_bit(log, &own, bytes.at(at, len)?)
        }
        None => None,
    };
    // A flipped bit in the length changes where the record ends. Each bit of the length is therefore tried.
    for bit in suspect.into_iter().chain(0..32) {
        let bit = at * 8 + bit as u64;
        bytes.flip(bit);
        let record = RecordHeader::decode(bytes.at(at, RECORD_HEADER_BYTES)?).filter(&is_wanted);
        let left = record.and_then(|record| budget.checked_sub(record.len()? as u64));
        if let Some(left) = left {
            *budget = left;
            if let Some(record) = whole_record(log, bytes, at, &is_wanted)? {
                return Ok(Some((bit, record)));
            }
        }
        bytes.flip(bit);
    }
    Ok(None)
}

/// The bit whose flip makes a record's checksum match.
fn suspect_bit(log: &LogHeader, own: &RecordHeader, record: &[u8]) -> Option<usize> {
    if Some(record.len()) != own.len() {
        return None;
    }
    let found = own.expected_crc(log.salt, &record[RECORD_HEADER_BYTES..]);
    // The checksum's own bits lie in the header. The checksum is computed over other bytes in their place.
    match flipped_bit(found, own.crc, record.len())? {
        32..64 => None,
        bit => Some(if bit < record.len() * 8 { bit } else { bit - record.len() * 8 + 32 }),
    }
}
