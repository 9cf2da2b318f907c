//! A file of records of one length: vectors, or codes of vectors. Records are read by point offset, over any
//! reader.
//!
//! ```text
//! 0     8       12    16      20  24    32     36        40          44 48          56       80    84
//! |magic|version|order|element|dim|count|stride|per_block|block_bytes|t |data_offset|identity|crc32|zeros|
//! data:      blocks of records, the rest of a block is zeros; zeros up to a multiple of 4096
//! checksums: the crc32 of each record, its initial value the seed xor the number of the record
//! t:         the crc32 of this table, its initial value the seed
//! ```
//!
//! All numbers are little-endian. The seed is [`FileIdentity::seed`](crate::FileIdentity::seed), or 0 in a
//! file without an identity. A record therefore passes only in its own file, at its own place. Version 2 can
//! still be read: it has no identity, and its crc32 is at 56.
//!
//! The checksums are kept in memory, 4 bytes a record. Every record that is read is therefore checked without
//! another read. Records follow each other without gaps, or lie in blocks of 4096 bytes that no record
//! straddles. A read of one record then touches one page. [`VectorFileHeader::new`] chooses.
//!
//! [`VectorFile`] and [`VectorFileWriter`] take records as bytes of any type. The header states the type of
//! their components, and records are passed on aligned for it. [`VectorFile::view`] shows them as slices of
//! that type.

mod checksums;
mod error;
mod header;
mod in_order;
mod mend;
mod reader;
mod verify;
mod view;
mod writer;

pub use checksums::RecordChecksums;
pub use error::VectorFileError;
pub use header::VectorFileHeader;
pub use in_order::{RecordRun, RunsInOrder};
pub use reader::VectorFile;
pub use view::VectorView;
pub use writer::VectorFileWriter;

/// Length of the header page, in bytes.
const HEADER_BYTES: u64 = 4096;
/// Bytes of the header page that hold fields.
pub const VECTOR_FILE_FIELDS_BYTES: usize = 84;
/// The longest record, in bytes: 65,536 components of 4 bytes.
pub const RECORD_BYTES_MAX: u64 = 65_536 * 4;
