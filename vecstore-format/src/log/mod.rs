//! The write-ahead log: every batch of writes is a record, durable before it is acknowledged.
//!
//! ```text
//! file:    |"VECSTLOG"|version|order|salt u64|number u64|first_seq u64|collection|zeros|crc32|  64 bytes
//! record:  |body_len u32|crc32|seq u64|synced_len u64|kind u32|previous u32|body|
//! batch:   |count u32| for each point |tag u8|id 8 or 16 bytes| for a put |payload_len u32|payload|vector|
//! ```
//!
//! A record's checksum starts from the salt. Bytes of an older file in reused blocks are therefore no
//! records, and neither are those of another log. The header says which log it is, and the user of this crate
//! lists the salts of all its logs. `previous` is the checksum of the record before, or of the header for the
//! first one. What a failed write left behind therefore does not continue what was written in its place.
//! Sequence numbers follow each other within a file and from file to file. All numbers are little-endian.
//!
//! **Where a log ends.** A power cut may leave the last, unacknowledged records torn, in any order: they are
//! cut off. But a bad record may also be an acknowledged one that was damaged later. Each record therefore
//! says how long the log was known to be durable when it was written (`synced_len`). A bad record before that
//! length is damage, and an error. A mark follows each sync, and says just that. The mark is not synced
//! itself: a kill leaves it whole, a power cut may not. Closing leaves a last mark. Where no record tells,
//! `tail.rs` judges by the bytes.
//!
//! **Room.** The file is longer than its records: zeros are written ahead of them. A sync then has bytes to
//! make durable and no new length, for which a file system writes several times. Closing cuts the zeros off.
//!
//! The log is *physical*: it holds points as they are after a write, and ids of deleted ones. Replaying it
//! twice, or over data that holds some of it already, gives the same points.

mod bytes;
mod find;
mod header;
mod reader;
mod record;
mod salvage;
mod tail;
mod writer;

pub use bytes::{GROUP_BYTES_MAX, LogBytes};
pub use header::LogHeader;
pub use reader::{LogEnd, LogReader, first_record};
pub use record::{BATCH_BYTES_MAX, BatchEncoder, BatchTooLongError, LogOp, decode_batch};
pub use salvage::{SalvagedBatch, SalvagedLog, salvage_log};
pub use writer::LogWriter;

/// Numbers of logs and of writes are below this one, so that the next one can always be written down. It takes
/// a crafted file to come near.
pub const NUMBER_END: u64 = u64::MAX / 2;
const HEADER_BYTES: usize = 64;
/// Bytes that [`first_record`] needs.
pub const FIRST_RECORD_BYTES: usize = HEADER_BYTES + RECORD_HEADER_BYTES;
const RECORD_HEADER_BYTES: usize = 32;
const KIND_BATCH: u32 = 1;
const KIND_CLOSE: u32 = 2;
const KIND_MARK: u32 = 3;
const ROOM_MIN: u64 = 16 << 10;
const ROOM_MAX: u64 = 1 << 20;

/// Bytes of zeros ahead of records that end here: about as many as there are of these, within bounds. They become
/// fewer until the file grows again.
fn room_after(end: u64) -> u64 {
    end.clamp(ROOM_MIN, ROOM_MAX)
}

#[cfg(test)]
mod tests;
