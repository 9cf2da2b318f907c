//! The write-ahead log: every batch of writes is a record, durable before it is acknowledged.
//!
//! ```text
//! file:    |magic "VECSTLOG"| version | order | salt u64 | number u64 | first_seq u64 | collection | zeros | crc32 |   64 bytes
//! record:  |body_len u32| crc32 | seq u64 | synced_len u64 | kind u32 | previous u32 | body |
//! batch:   |count u32| then for each point  |tag u8| id 8 or 16 bytes|  and for a put  |payload_len u32| payload| vector|
//! ```
//!
//! A record's checksum starts from the salt, so that bytes of an older file in reused blocks are no records, nor are those of
//! another log. Whose the log itself is, the header says, and the manifest, which lists the salts of all logs. `previous` is
//! the checksum of the record before (of the header, for the first one), so that what a failed write left behind does not
//! continue what was written in its place. Sequence numbers follow each other within a file and from file to file. All
//! numbers are little-endian.
//!
//! **Where a log ends.** A power cut may leave the last, unacknowledged records torn, in any order: they are cut off. But a
//! bad record may also be an acknowledged one that was damaged later. To tell the two apart, each record says how long the
//! log was known to be durable when it was written (`synced_len`): a bad record before that length is damage, and an error.
//! A mark follows each sync, and says just that. It is not synced itself: a kill leaves it whole, a power cut may not.
//! Closing leaves a last mark. What no record tells about, [`tail`] judges by its bytes.
//!
//! **Room.** The file is longer than its records: zeros are written ahead of them, so that a sync has bytes to make durable
//! and no new length, for which a file system writes several times. Closing cuts them off.
//!
//! The log is *physical*: it holds points as they are after a write, and ids of deleted ones. Replaying it twice, or over
//! segments that hold some of it already, gives the same collection.

mod bytes;
mod find;
mod record;
mod replay;
mod salvage;
mod tail;
mod writer;

pub(crate) use bytes::{GROUP_BYTES_MAX, LogBytes};
pub(crate) use record::{BATCH_BYTES_MAX, BatchEncoder, LogOp};
pub(crate) use replay::{LogEnd, LogReader};
pub(crate) use salvage::{SalvagedBatch, SalvagedLog, salvage_log};
pub(crate) use writer::LogWriter;

use crate::identity::RandomId;
use std::fmt;

/// Takes the body of a record apart.
#[cfg(feature = "internals")]
pub(crate) fn fuzz_batch(body: &[u8], vector_bytes: usize) {
    let _ = record::decode_batch(body, vector_bytes);
}

pub(crate) const HEADER_BYTES: usize = 64;
/// Bytes that [`first_record`] needs.
pub(crate) const FIRST_RECORD_BYTES: usize = HEADER_BYTES + RECORD_HEADER_BYTES;
const MAGIC: [u8; 8] = *b"VECSTLOG";
pub(crate) const VERSION: u32 = 2;
/// Logs did not say which collection they are of, and had no marks but the last.
const VERSION_OLDEST: u32 = 1;
const COLLECTION_AT: usize = 40;
const BYTE_ORDER: u32 = 0x0A0B_0C0D;
const RECORD_HEADER_BYTES: usize = 32;
const KIND_BATCH: u32 = 1;
const KIND_CLOSE: u32 = 2;
const KIND_MARK: u32 = 3;
/// Bytes of zeros ahead of the records: about as many as there are of these, within bounds.
const ROOM_MIN: u64 = 16 << 10;
const ROOM_MAX: u64 = 1 << 20;

/// What the header of a log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogHeader {
    pub(crate) salt: u64,
    /// The number in the file's name.
    pub(crate) number: u64,
    /// The sequence number of its first record.
    pub(crate) first_seq: u64,
    /// The collection's id; none in the version that knew no ids.
    pub(crate) collection: Option<RandomId>,
}

impl fmt::Display for LogHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.collection {
            Some(id) => write!(f, "log {} of collection {id}", self.number)?,
            None => write!(f, "log {} of an old version, without an id,", self.number)?,
        }
        write!(f, " with the salt {:016x}", self.salt)
    }
}

/// The sequence number of the first record of a log that begins with these bytes; none if it is no log, or holds nothing.
pub(crate) fn first_record(bytes: &[u8]) -> Option<u64> {
    let header = replay::parse_header("".as_ref(), bytes).ok()??;
    bytes[HEADER_BYTES..].iter().any(|&byte| byte != 0).then_some(header.first_seq)
}

impl LogHeader {
    /// The checksum of the header.
    fn crc(&self) -> u32 {
        let [.., a, b, c, d] = self.encode();
        u32::from_le_bytes([a, b, c, d])
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        let version = if self.collection.is_some() { VERSION } else { VERSION_OLDEST };
        put(8, &version.to_le_bytes());
        put(12, &BYTE_ORDER.to_le_bytes());
        put(16, &self.salt.to_le_bytes());
        put(24, &self.number.to_le_bytes());
        put(32, &self.first_seq.to_le_bytes());
        put(COLLECTION_AT, &self.collection.unwrap_or(RandomId::NONE).0);
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests;
