//! What can be wrong with a vector file.

use super::RECORD_BYTES_MAX;
use super::header::{MAGIC, VERSION};
use crate::{ElementType, FileIdentity};
use std::path::Path;
use std::sync::Arc;

/// A vector file that is not what was written, or was not asked for what it has.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorFileError {
    /// It does not start with the magic bytes.
    #[error("{}: not a vector file: it starts with {found:02x?} instead of {MAGIC:02x?}; was its writing finished?", file.display())]
    WrongMagic {
        /// The file.
        file: Arc<Path>,
        /// Its first bytes.
        found: [u8; 8],
    },
    /// It was written on a machine of the other byte order.
    #[error("{}: written big-endian; vector files are little-endian", file.display())]
    WrongEndianness {
        /// The file.
        file: Arc<Path>,
    },
    /// It is of a version this build does not know.
    #[error("{}: version {found} of the vector file format; this build reads version {VERSION}", file.display())]
    WrongVersion {
        /// The file.
        file: Arc<Path>,
        /// Its version.
        found: u32,
    },
    /// The header's checksum does not match: a bit flipped, or it was edited.
    #[error("{}: the header is damaged (crc32 {found:08x}, stored {stored:08x})", file.display())]
    HeaderDamaged {
        /// The file.
        file: Arc<Path>,
        /// Computed from the header.
        found: u32,
        /// Stored in it.
        stored: u32,
    },
    /// The table of checksums does not match its own checksum.
    #[error("{}: the table of checksums at offset {offset} is damaged (crc32 {found:08x}, stored {stored:08x})", file.display())]
    ChecksumsDamaged {
        /// The file.
        file: Arc<Path>,
        /// Where the table starts.
        offset: u64,
        /// Computed from the table.
        found: u32,
        /// Stored in the header.
        stored: u32,
    },
    /// A record does not match its checksum: a bit flipped on its way.
    #[error("{}: record {point} at offset {offset} ({len} bytes) is damaged: crc32 {found:08x}, stored {stored:08x}", file.display())]
    RecordDamaged {
        /// The file.
        file: Arc<Path>,
        /// The record.
        point: u64,
        /// Where it starts.
        offset: u64,
        /// Bytes of it.
        len: u32,
        /// Computed from the record.
        found: u32,
        /// Stored in the table.
        stored: u32,
    },
    /// Bytes between records, which are zeros, are not.
    #[error("{}: the byte at offset {offset}, between records, is {found:#04x} instead of 0", file.display())]
    PaddingDamaged {
        /// The file.
        file: Arc<Path>,
        /// The first wrong byte.
        offset: u64,
        /// What is there.
        found: u8,
    },
    /// An element type this build does not know.
    #[error("{}: element type {code} is unknown", file.display())]
    UnknownElement {
        /// The file.
        file: Arc<Path>,
        /// The number in the header.
        code: u32,
    },
    /// Components of another type than was asked for.
    #[error("{}: its components are {found}, and {wanted} was asked for", file.display())]
    ElementMismatch {
        /// The file.
        file: Arc<Path>,
        /// What it holds.
        found: ElementType,
        /// What was asked for.
        wanted: ElementType,
    },
    /// Records of no bytes, or of more than [`RECORD_BYTES_MAX`].
    #[error("{}: records of {bytes} bytes; a record has from 1 to {RECORD_BYTES_MAX}", file.display())]
    BadRecordLength {
        /// The file.
        file: Arc<Path>,
        /// Bytes of a record.
        bytes: u64,
    },
    /// Fields that contradict each other.
    #[error("{}: the header's layout is impossible (stride {stride}, {records_per_block} records in a block of {block_bytes} bytes, data at {data_offset})", file.display())]
    BadLayout {
        /// The file.
        file: Arc<Path>,
        /// Bytes of a record.
        stride: u32,
        /// Records in a block.
        records_per_block: u32,
        /// Bytes of a block.
        block_bytes: u32,
        /// Where the records start.
        data_offset: u64,
    },
    /// Shorter than the header says.
    #[error("{}: truncated: {count} records need {expected} bytes and the file has {found}", file.display())]
    Truncated {
        /// The file.
        file: Arc<Path>,
        /// Records the header promises (0 when even the header is cut off).
        count: u64,
        /// Bytes they need, header included.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Longer than the header says.
    #[error("{}: {} bytes too long: {count} records need {expected} bytes", file.display(), found - expected)]
    TrailingBytes {
        /// The file.
        file: Arc<Path>,
        /// Records the header promises.
        count: u64,
        /// Bytes they need, header included.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Opened with the checksums of another file.
    #[error("{}: another file ({}) than the one whose checksums were given ({}): it was replaced meanwhile", file.display(), whose(.found), whose(.expected))]
    OtherFile {
        /// The file.
        file: Arc<Path>,
        /// What it says it is.
        found: Option<FileIdentity>,
        /// The file the checksums are of.
        expected: Option<FileIdentity>,
    },
    /// A point that the file does not have.
    #[error("{}: point {point} (request {index}) does not exist; the file has {count}", file.display())]
    NoSuchPoint {
        /// The file.
        file: Arc<Path>,
        /// Index in the batch.
        index: usize,
        /// Point asked for.
        point: u32,
        /// Points in the file.
        count: u64,
    },
    /// A record of another length than those of the file.
    #[error("{}: record {point} has {found} bytes, and the file's records have {stride}", file.display())]
    WrongLength {
        /// The file.
        file: Arc<Path>,
        /// Which record, in order of writing.
        point: u64,
        /// Its bytes.
        found: usize,
        /// Bytes of the file's records.
        stride: u32,
    },
}

fn whose(identity: &Option<FileIdentity>) -> String {
    identity.map_or_else(|| "without an identity".to_owned(), |identity| identity.to_string())
}
