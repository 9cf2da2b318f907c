//! The write-ahead log. Each batch of writes is a record, and is durable before it is acknowledged.
//!
//! ```text
//! file:    |"VECSTLOG"|version|order|salt u64|number u64|first_seq u64|collection|zeros|crc32|  64 bytes
//! record:  |body_len u32|crc32|seq u64|synced_len u64|kind u32|previous u32|body|
//! batch:   |count u32| for each point |tag u8|id 8 or 16 bytes| for a put |payload_len u32|payload|vector|
//! ```
//!
//! The checksum of a record starts from the salt of its log. Bytes of an older file in reused blocks
//! therefore do not pass as records, and neither do records of another log. The header says which log it is,
//! and the user of this crate lists the salts of all its logs. `previous` is the checksum of the record
//! before, or of the header for the first record. The remains of a failed write therefore do not continue the
//! records written in its place. Sequence numbers follow each other within a file and from file to file. All
//! numbers are little-endian.
//!
//! **Where a log ends.** A power cut may leave the last, unacknowledged records torn, in any order. Opening
//! cuts them off. But a bad record may also be an acknowledged one that was damaged later. Each record
//! therefore states how long the durable part of the log was when it was written (`synced_len`). A bad record
//! before that length is damage, and an error. The writer adds a mark after each sync, which states the new
//! length. The mark itself is not synced. It survives a kill, and may be lost in a power cut. Closing adds a
//! last mark. If no record decides, `tail.rs` judges by the bytes.
//!
//! **Room.** The writer writes zeros ahead of the records, so the file is longer than they are. A sync then
//! need not make a new length durable, which costs a file system several writes. Closing cuts the zeros off.
//!
//! The log is *physical*: it holds points as they are after a write, and ids of deleted points. Replaying it
//! twice, or over data that already has part of it, gives the same points.

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

/// Numbers of logs and of writes are below this one, so the next number always fits. Only a crafted file
/// comes near.
pub const NUMBER_END: u64 = u64::MAX / 2;
const HEADER_BYTES: usize = 64;
/// The number of bytes that [`first_record`] needs.
pub const FIRST_RECORD_BYTES: usize = HEADER_BYTES + RECORD_HEADER_BYTES;
const RECORD_HEADER_BYTES: usize = 32;
const KIND_BATCH: u32 = 1;
const KIND_CLOSE: u32 = 2;
const KIND_MARK: u32 = 3;
const ROOM_MIN: u64 = 16 << 10;
const ROOM_MAX: u64 = 1 << 20;

/// The number of zeros to write after records that end here: about as many as the records, within bounds.
/// Records use them up until the file grows again.
fn room_after(end: u64) -> u64 {
    end.clamp(ROOM_MIN, ROOM_MAX)
}

#[cfg(test)]
mod tests;
