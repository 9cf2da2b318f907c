//! Judges the bytes after the last whole record of a log: the remains of a crash, or damage.
//!
//! A disk writes whole sectors, and the sectors of one write in any order. After a crash, each sector of a
//! torn record is therefore either as written or as before. Before, it was zeros of the room, or lay beyond
//! the end of the file. Damage leaves other bytes. Bytes that one flipped bit explains are damage too. The
//! first line that holds decides:
//!
//! | the bytes | are |
//! |---|---|
//! | a later record says that they were durable | damage: an error |
//! | one flipped bit of a batch explains them, and no sector is missing | damage: an error |
//! | one flipped bit of a batch explains them, and a sector is missing | in doubt: cut off, the log is kept |
//! | one flipped bit of a mark explains them, or a sector is missing | torn: never acknowledged, cut off |
//! | anything else | in doubt, as above |
//!
//! One kind of damage passes as torn: an unsynced batch that was whole, and later lost a whole sector.

use super::bytes::LogBytes;
use super::find::{mend_record, next_whole};
use super::reader::LogEnd;
use super::record::RecordHeader;
use super::{KIND_BATCH, KIND_CLOSE, KIND_MARK, LogHeader, RECORD_HEADER_BYTES};
use crate::FormatError;

/// The smallest unit that a disk writes, in bytes.
const SECTOR: u64 = 512;

/// The record that should follow, where a log has no whole record.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) at: u64,
    pub(super) seq: u64,
    pub(super) previous: u32,
}

impl Due {
    fn is_met_by(&self, record: &RecordHeader) -> bool {
        record.seq == self.seq
            && record.previous == self.previous
            && record.synced_len <= self.at
            && [KIND_BATCH, KIND_CLOSE, KIND_MARK].contains(&record.kind)
    }
}

/// Judges the bytes from the place of the due record on.
pub(super) fn judge(log: &LogHeader, bytes: &mut LogBytes<'_>, due: &Due) -> Result<LogEnd, FormatError> {
    let at = due.at;
    let content = bytes.content(at)?;
    if content.has_long_hole {
        let reason = "more zeros follow than any log has; `repair` saves what is before them";
        return Err(FormatError::damaged(bytes.path(), content.end, reason));
    }
    if content.end == at {
        return Ok(LogEnd::Open { len: at });
    }
    let mut budget = 16 * bytes.len();
    let says_durable = |record: &RecordHeader, later: u64| {
        record.seq >= due.seq && (at + 1..=later).contains(&record.synced_len)
    };
    if let Some(later) = next_whole(log, bytes, at + 1..content.end, &mut budget, says_durable)? {
        let reason = format!(
            "the record that starts here is not what was written, and the one at {later} says that it was durable; `repair` saves what is intact"
        );
        return Err(FormatError::damaged(bytes.path(), at, reason));
    }
    let mended = mend_record(log, bytes, at, &mut budget, |record| due.is_met_by(record))?;
    let header = match mended {
        Some((bit, record)) => {
            // A missing sector may have had one set bit only. Mended, it would not look missing.
            bytes.flip(bit);
            Some(record)
        }
        None => {
            RecordHeader::decode(bytes.at(at, RECORD_HEADER_BYTES)?).filter(|header| due.is_met_by(header))
        }
    };
    let has_hole = has_hole(bytes, at, header.and_then(|header| header.len()))?;
    let in_doubt = match mended {
        Some((_, record)) if record.kind != KIND_BATCH => false,
        Some(_) if !has_hole => {
            let reason = "one bit of the record that starts here was flipped; `repair` puts it back";
            return Err(FormatError::damaged(bytes.path(), at, reason));
        }
        Some(_) => true,
        None => !has_hole,
    };
    Ok(LogEnd::Torn { offset: at, bytes: content.end - at, in_doubt })
}

/// Whether a sector of the record at `at` is missing. If its length is unknown, since its header is not the
/// due one, only the header's own sectors are checked.
fn has_hole(bytes: &mut LogBytes<'_>, mut at: u64, len: Option<usize>) -> Result<bool, FormatError> {
    let end = at + len.unwrap_or(RECORD_HEADER_BYTES) as u64;
    while at < end {
        let next = (at / SECTOR * SECTOR + SECTOR).min(end);
        if bytes.is_hole(at, next)? {
            return Ok(true);
        }
        at = next;
    }
    Ok(false)
}
