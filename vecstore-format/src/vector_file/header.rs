//! The header of a vector file: what is in the file, and where.

use super::{HEADER_BYTES, RECORD_BYTES_MAX, VECTOR_FILE_FIELDS_BYTES, VectorFileError};
use crate::crc::crc32;
use crate::{ElementType, FileIdentity};
use std::path::Path;
use std::sync::Arc;

pub(super) const MAGIC: [u8; 8] = *b"VECTFILE";
pub(super) const VERSION: u32 = 3;
/// Files of version 2 have no identity, and so fewer fields.
const VERSION_OLDEST: u32 = 2;
pub(super) const FIELDS_BYTES_OLDEST: usize = 60;
const IDENTITY_AT: usize = 56;
/// A machine of the other byte order reads another number.
const BYTE_ORDER: u32 = 0x0A0B_0C0D;
pub(super) const BLOCK: u32 = 4096;
pub(super) const CHECKSUM_BYTES: u64 = 4;

/// Length of a record of `dim` components, in bytes.
pub(super) fn record_bytes(element: ElementType, dim: u32) -> u64 {
    u64::from(dim) * u64::from(element.bytes())
}

/// What a vector file holds, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorFileHeader {
    /// Version of the format.
    pub version: u32,
    /// Type of the components.
    pub element: ElementType,
    /// Components of a record.
    pub dim: u32,
    /// Records.
    pub count: u64,
    /// Records that lie together without a gap.
    pub records_per_block: u32,
    /// Bytes from one block to the next.
    pub block_bytes: u32,
    /// Checksum of the table of checksums.
    pub checksums_crc: u32,
    /// The file's identity, if it states one. Callers that know the expected one compare.
    pub identity: Option<FileIdentity>,
}

impl VectorFileHeader {
    /// The header of a new file. Records lie in 4096-byte blocks that none straddles, if that wastes at most
    /// an eighth of a block. Otherwise they are packed.
    #[must_use]
    pub fn new(element: ElementType, dim: u32, count: u64) -> Self {
        let stride = dim * element.bytes();
        let (records_per_block, block_bytes) = (1, stride);
        let (version, checksums_crc, identity) = (VERSION, 0, None);
        let packed =
            Self { version, element, dim, count, records_per_block, block_bytes, checksums_crc, identity };
        let in_pages = packed.in_pages();
        let wasted = in_pages.block_bytes - in_pages.records_per_block * stride;
        if wasted <= BLOCK / 8 { in_pages } else { packed }
    }

    /// The same, with records in 4096-byte blocks that none straddles, whatever that wastes. A record that is
    /// longer stays as it is.
    #[must_use]
    pub fn in_pages(self) -> Self {
        match BLOCK / self.stride().max(1) {
            0 => self,
            records_per_block => Self { records_per_block, block_bytes: BLOCK, ..self },
        }
    }

    /// Length of the fields in bytes. The last 4 bytes are their checksum.
    pub(super) fn fields_bytes(&self) -> usize {
        if self.version == VERSION_OLDEST { FIELDS_BYTES_OLDEST } else { VECTOR_FILE_FIELDS_BYTES }
    }

    /// The checksum of the header. It covers the whole file, because the header has the checksum of the table
    /// of all records' checksums.
    #[must_use]
    pub fn crc(&self) -> u32 {
        let fields = self.encode();
        crc32(0, &fields[..self.fields_bytes() - 4])
    }

    /// The checksum of the record of `point`. It depends on the file and the number of the record, so it also
    /// finds a record in the place of another one.
    #[must_use]
    pub fn record_crc(&self, point: u64, record: &[u8]) -> u32 {
        crc32(self.seed() ^ point as u32, record)
    }

    /// The checksum of the table of checksums.
    #[must_use]
    pub fn table_crc(&self, table: &[u8]) -> u32 {
        crc32(self.seed(), table)
    }

    pub(super) fn seed(&self) -> u32 {
        self.identity.map_or(0, |identity| identity.seed())
    }

    /// Bytes of one record.
    #[must_use]
    pub fn stride(&self) -> u32 {
        self.dim * self.element.bytes()
    }

    /// Where the record of `point` starts.
    #[must_use]
    pub fn offset(&self, point: u64) -> u64 {
        let per_block = u64::from(self.records_per_block);
        HEADER_BYTES
            + point / per_block * u64::from(self.block_bytes)
            + point % per_block * u64::from(self.stride())
    }

    /// Where the last record ends.
    fn records_end(&self) -> u64 {
        match self.count.checked_sub(1) {
            Some(last) => self.offset(last) + u64::from(self.stride()),
            None => HEADER_BYTES,
        }
    }

    /// Length from the first record to the end of the last one, in bytes.
    #[must_use]
    pub fn records_bytes(&self) -> u64 {
        self.records_end() - HEADER_BYTES
    }

    /// Where the table of checksums starts.
    #[must_use]
    pub fn checksums_offset(&self) -> u64 {
        self.records_end().next_multiple_of(u64::from(BLOCK))
    }

    /// Length of the whole file in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.checksums_offset() + self.count * CHECKSUM_BYTES
    }

    /// Encodes the fields of the header page.
    #[must_use]
    pub fn encode(&self) -> [u8; VECTOR_FILE_FIELDS_BYTES] {
        let mut bytes = [0; VECTOR_FILE_FIELDS_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(8, &self.version.to_le_bytes());
        put(12, &BYTE_ORDER.to_le_bytes());
        put(16, &self.element.code().to_le_bytes());
        put(20, &self.dim.to_le_bytes());
        put(24, &self.count.to_le_bytes());
        put(32, &self.stride().to_le_bytes());
        put(36, &self.records_per_block.to_le_bytes());
        put(40, &self.block_bytes.to_le_bytes());
        put(44, &self.checksums_crc.to_le_bytes());
        put(48, &HEADER_BYTES.to_le_bytes());
        if let Some(identity) = self.identity {
            put(IDENTITY_AT, &identity.to_bytes());
        }
        let crc_at = self.fields_bytes() - 4;
        let crc = crc32(0, &bytes[..crc_at]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the fields of the header page. It checks them against each other and against the length of the
    /// file.
    ///
    /// # Errors
    /// One variant of [`VectorFileError`] for each possible fault.
    pub fn decode(
        bytes: &[u8; VECTOR_FILE_FIELDS_BYTES],
        file: &Arc<Path>,
        file_len: u64,
    ) -> Result<Self, VectorFileError> {
        let file = || Arc::clone(file);
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..8] != MAGIC {
            let found = bytes[..8].try_into().expect("eight bytes");
            return Err(VectorFileError::WrongMagic { file: file(), found });
        }
        if u32_at(12) == BYTE_ORDER.swap_bytes() {
            return Err(VectorFileError::WrongEndianness { file: file() });
        }
        let (crc_at, identity) = match u32_at(8) {
            VERSION_OLDEST => (FIELDS_BYTES_OLDEST - 4, None),
            VERSION => {
                let identity =
                    bytes[IDENTITY_AT..][..FileIdentity::BYTES].try_into().expect("an identity's bytes");
                (VECTOR_FILE_FIELDS_BYTES - 4, FileIdentity::from_bytes(identity))
            }
            found => return Err(VectorFileError::WrongVersion { file: file(), found }),
        };
        let (found, stored) = (crc32(0, &bytes[..crc_at]), u32_at(crc_at));
        if found != stored {
            return Err(VectorFileError::HeaderDamaged { file: file(), found, stored });
        }
        let code = u32_at(16);
        let Some(element) = ElementType::from_code(code) else {
            return Err(VectorFileError::UnknownElement { file: file(), code });
        };
        let (dim, count) = (u32_at(20), u64_at(24));
        let bytes = record_bytes(element, dim);
        if bytes == 0 || bytes > RECORD_BYTES_MAX {
            return Err(VectorFileError::BadRecordLength { file: file(), bytes });
        }
        let (stride, records_per_block, block_bytes, data_offset) =
            (u32_at(32), u32_at(36), u32_at(40), u64_at(48));
        let (version, checksums_crc) = (u32_at(8), u32_at(44));
        let header =
            Self { version, element, dim, count, records_per_block, block_bytes, checksums_crc, identity };
        let layout_fits = stride == header.stride()
            && records_per_block > 0
            && u64::from(stride) * u64::from(records_per_block) <= u64::from(block_bytes)
            && block_bytes <= stride.max(BLOCK)
            && data_offset == HEADER_BYTES
            // More records would overflow the file's length. No file is that long.
            && count.checked_mul(u64::from(block_bytes) + CHECKSUM_BYTES).is_some_and(|bytes| bytes < i64::MAX as u64);
        if !layout_fits {
            let file = file();
            return Err(VectorFileError::BadLayout {
                file,
                stride,
                records_per_block,
                block_bytes,
                data_offset,
            });
        }
        let (expected, found) = (header.file_bytes(), file_len);
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => {
                Err(VectorFileError::Truncated { file: file(), count, expected, found })
            }
            std::cmp::Ordering::Greater => {
                Err(VectorFileError::TrailingBytes { file: file(), count, expected, found })
            }
            std::cmp::Ordering::Equal => Ok(header),
        }
    }
}
