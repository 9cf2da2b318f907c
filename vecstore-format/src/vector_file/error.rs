//! Errors of vector files.

use super::RECORD_BYTES_MAX;
use super::header::{MAGIC, VERSION};
use crate::{ElementType, FileIdentity};
use std::path::Path;
use std::sync::Arc;

/// A vector file is damaged, or a caller asked for what it does not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorFileError {
    /// The file does not start with the magic bytes.
    #[error("{}: not a vector file: it starts with {found:02x?} instead of {MAGIC:02x?}; was its writing finished?", file.display())]
    WrongMagic {
        /// The file.
        file: Arc<Path>,
        /// Its first bytes.
        found: [u8; 8],
    },
    /// A machine of the other byte order wrote the file.
    #[error("{}: written big-endian; vector files are little-endian", file.display())]
    WrongEndianness {
        /// The file.
        file: Arc<Path>,
    },
    /// The file has a version that this build does not know.
    #[error("{}: version {found} of the vector file format; this build reads version {VERSION}", file.display())]
    WrongVersion {
        /// The file.
        file: Arc<Path>,
        /// Its version.
        found: u32,
    },
    /// The header does not match its checksum: a bit flipped, or a program edited it.
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
    /// A record does not match its checksum.
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
    /// The padding between records is not zeros.
    #[error("{}: the byte at offset {offset}, between records, is {found:#04x} instead of 0", file.display())]
    PaddingDamaged {
        /// The file.
        file: Arc<Path>,
        /// The first wrong byte.
        offset: u64,
        /// What is there.
        found: u8,
    },
    /// This build does not know the element type.
    #[error("{}: element type {code} is unknown", file.display())]
    UnknownElement {
        /// The file.
        file: Arc<Path>,
        /// The number in the header.
        code: u32,
    },
    /// The components have another type than the caller asked for.
    #[error("{}: its components are {found}, and {wanted} was asked for", file.display())]
    ElementMismatch {
        /// The file.
        file: Arc<Path>,
        /// What it holds.
        found: ElementType,
        /// What was asked for.
        wanted: ElementType,
    },
    /// A record has no bytes, or more than [`RECORD_BYTES_MAX`].
    #[error("{}: records of {bytes} bytes; a record has from 1 to {RECORD_BYTES_MAX}", file.display())]
    BadRecordLength {
        /// The file.
        file: Arc<Path>,
        /// Bytes of a record.
        bytes: u64,
    },
    /// Fields of the header contradict each other.
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
    /// The file is shorter than its header says.
    #[error("{}: truncated: {count} records need {expected} bytes and the file has {found}", file.display())]
    Truncated {
        /// The file.
        file: Arc<Path>,
        /// Records according to the header (0 if even the header is cut off).
        count: u64,
        /// The length they need in bytes, header included.
        expected: u64,
        /// The length of the file in bytes.
        found: u64,
    },
    /// The file is longer than its header says.
    #[error("{}: {} bytes too long: {count} records need {expected} bytes", file.display(), found - expected)]
    TrailingBytes {
        /// The file.
        file: Arc<Path>,
        /// Records according to the header.
        count: u64,
        /// The length they need in bytes, header included.
        expected: u64,
        /// The length of the file in bytes.
        found: u64,
    },
    /// The file was opened with the checksums of another file.
    #[error("{}: another file ({}) than the one whose checksums were given ({}): it was replaced meanwhile", file.display(), whose(.found), whose(.expected))]
    OtherFile {
        /// The file.
        file: Arc<Path>,
        /// The identity that the file states.
        found: Option<FileIdentity>,
        /// The identity of the checksums' file.
        expected: Option<FileIdentity>,
    },
    /// The file does not have this point.
    #[error("{}: point {point} (request {index}) does not exist; the file has {count}", file.display())]
    NoSuchPoint {
        /// The file.
        file: Arc<Path>,
        /// Index in the batch.
        index: usize,
        /// The point asked for.
        point: u32,
        /// Points in the file.
        count: u64,
    },
    /// The record to write has another length than the records of the file.
    #[error("{}: record {point} has {found} bytes, and the file's records have {stride}", file.display())]
    WrongLength {
        /// The file.
        file: Arc<Path>,
        /// The number of the record, in order of writing.
        point: u64,
        /// Its length in bytes.
        found: usize,
        /// The length of the file's records, in bytes.
        stride: u32,
    },
}

fn whose(identity: &Option<FileIdentity>) -> String {
    identity.map_or_else(|| "without an identity".to_owned(), |identity| identity.to_string())
}
