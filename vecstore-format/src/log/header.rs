//! The header of a log.

use super::{HEADER_BYTES, NUMBER_END};
use crate::{FormatError, RandomId};
use std::fmt;
use std::path::Path;

const MAGIC: [u8; 8] = *b"VECSTLOG";
const VERSION: u32 = 2;
/// Logs of version 1 do not state their collection, and have only the last mark.
const VERSION_OLDEST: u32 = 1;
const FIRST_SEQ_AT: usize = 32;
const COLLECTION_AT: usize = 40;
const BYTE_ORDER: u32 = 0x0A0B_0C0D;

/// The fields of a log's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// The random number that the checksums of all records start from.
    pub salt: u64,
    /// The number in the file's name.
    pub number: u64,
    /// The sequence number of its first record.
    pub first_seq: u64,
    /// The collection's id. `None` in version 1.
    pub collection: Option<RandomId>,
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

impl LogHeader {
    /// The checksum of the header.
    pub(super) fn crc(&self) -> u32 {
        let [.., a, b, c, d] = self.encode();
        u32::from_le_bytes([a, b, c, d])
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        let version = if self.collection.is_some() { VERSION } else { VERSION_OLDEST };
        put(8, &version.to_le_bytes());
        put(12, &BYTE_ORDER.to_le_bytes());
        put(16, &self.salt.to_le_bytes());
        put(24, &self.number.to_le_bytes());
        put(FIRST_SEQ_AT, &self.first_seq.to_le_bytes());
        put(COLLECTION_AT, &self.collection.unwrap_or(RandomId::NONE).0);
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// Decodes the bytes at the start of a log. `None` if they are not a whole header.
pub(super) fn parse_header(path: &Path, bytes: &[u8]) -> Result<Option<LogHeader>, FormatError> {
    let Some(bytes) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..60]) != u32_at(60) || u32_at(12) != BYTE_ORDER {
        return Ok(None);
    }
    let collection = match u32_at(8) {
        VERSION_OLDEST => None,
        VERSION => Some(RandomId(bytes[COLLECTION_AT..][..16].try_into().expect("sixteen bytes"))),
        found => return Err(FormatError::Version { path: path.to_owned(), found, known: VERSION }),
    };
    let first_seq = u64_at(FIRST_SEQ_AT);
    // The reader of the records counts on from this number.
    if !(1..=NUMBER_END).contains(&first_seq) {
        let reason = format!("its first write is {first_seq}, and has to be from 1 to {NUMBER_END}");
        return Err(FormatError::damaged(path, FIRST_SEQ_AT as u64, reason));
    }
    Ok(Some(LogHeader { salt: u64_at(16), number: u64_at(24), first_seq, collection }))
}
