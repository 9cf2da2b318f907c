//! The first page of a file of pages: its sections, and the fields that determine the seed of its checksums.

use super::{PAGE, PAGE_DATA, PagesKind};
use crate::crc::crc32;
use crate::{FileIdentity, FormatError};
use io_core::{DynVectorReader, ReadControl, ReadRequest};
use std::ops::ControlFlow;
use std::path::Path;

pub(super) const MAGIC: [u8; 8] = *b"VECPAGES";
pub(super) const VERSION: u32 = 2;
/// Files of version 1 have no identity.
const VERSION_OLDEST: u32 = 1;
pub(super) const BYTE_ORDER: u32 = 0x0A0B_0C0D;
pub(super) const IDENTITY_AT: usize = 24;
pub(super) const CHECKSUMS_CRC_AT: usize = IDENTITY_AT + FileIdentity::BYTES;
pub(super) const ENTRIES_AT: usize = 56;
const ENTRIES_AT_OLDEST: usize = 24;
pub(super) const ENTRY: usize = 16;
pub(super) const SECTIONS_MAX: usize = (PAGE_DATA - ENTRIES_AT) / ENTRY;
/// Longer than any file, and short enough that computing with it never overflows.
const FILE_BYTES_MAX: u64 = 1 << 48;

/// The start value of the checksums of a file's pages.
pub(super) fn seed(identity: Option<FileIdentity>, kind: u32) -> u32 {
    identity.map_or(0, |identity| crc32(identity.seed(), &kind.to_le_bytes()))
}

pub(super) fn page_crc(seed: u32, number: u64, data: &[u8]) -> u32 {
    crc32(seed ^ number as u32, data)
}

/// Place and length of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) first_page: u64,
    pub(super) bytes: u64,
}

impl Section {
    /// The page after the section, where the next one begins.
    pub(super) fn end_page(&self) -> u64 {
        self.first_page + self.bytes.div_ceil(PAGE_DATA as u64)
    }
}

/// The fields of a header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) sections: Vec<Section>,
    pub(super) identity: Option<FileIdentity>,
    pub(super) seed: u32,
    /// The crc32 of the checksums of all other pages. `None` in version 1.
    pub(super) checksums_crc: Option<u32>,
    /// The checksum of the header.
    pub(super) crc: u32,
}

impl Header {
    /// Length of the file in bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        self.sections.last().map_or(1, Section::end_page) * PAGE as u64
    }

    /// Reads the first page of a file.
    pub(super) async fn read(reader: &dyn DynVectorReader) -> Result<Vec<u8>, FormatError> {
        let file = reader.file_dyn().clone();
        if file.len < PAGE as u64 {
            let reason = format!("{} bytes are too few even for a header", file.len);
            return Err(FormatError::damaged(&file.path, None, reason));
        }
        let mut header = vec![0; PAGE];
        let request = [ReadRequest::new(0, PAGE as u32)];
        reader
            .read_vectors_dyn(&request, &ReadControl::default(), &mut |_, bytes| {
                header.copy_from_slice(bytes);
                ControlFlow::Continue(())
            })
            .await?;
        Ok(header)
    }

    /// Decodes a header of this kind.
    pub(super) fn decode(path: &Path, header: &[u8], kind: PagesKind) -> Result<Self, FormatError> {
        let damaged = |reason: String| FormatError::damaged(path, None, reason);
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        if header[..8] != MAGIC {
            return Err(damaged(format!("it starts with {:02x?} instead of {MAGIC:02x?}", &header[..8])));
        }
        let version = u32_at(8);
        let (identity, entries_at) = layout(header);
        let seed = seed(identity, u32_at(16));
        let crc = page_crc(seed, 0, &header[..PAGE_DATA]);
        if crc != u32_at(PAGE_DATA) {
            return Err(FormatError::damaged(path, 0, "the checksum of the header does not match"));
        }
        if u32_at(12) == BYTE_ORDER.swap_bytes() {
            return Err(damaged("written big-endian; these files are little-endian".into()));
        }
        if !(VERSION_OLDEST..=VERSION).contains(&version) {
            return Err(FormatError::Version { path: path.to_owned(), found: version, known: VERSION });
        }
        if u32_at(16) != kind as u32 {
            return Err(damaged(format!("it is of kind {} instead of {kind:?}", u32_at(16))));
        }
        let count = u32_at(20) as usize;
        if count > (PAGE_DATA - entries_at) / ENTRY {
            return Err(damaged(format!("{count} sections, more than a header lists")));
        }
        let mut sections = Vec::with_capacity(count);
        let mut page = 1;
        for index in 0..count {
            let at = entries_at + index * ENTRY;
            let section = Section { first_page: u64_at(at), bytes: u64_at(at + 8) };
            if section.first_page != page || section.bytes > FILE_BYTES_MAX {
                return Err(damaged(format!(
                    "section {index} of {} bytes is to start at page {} instead of {page}",
                    section.bytes, section.first_page
                )));
            }
            sections.push(section);
            page = section.end_page();
        }
        let checksums_crc = (version > VERSION_OLDEST).then(|| u32_at(CHECKSUMS_CRC_AT));
        Ok(Self { sections, identity, seed, checksums_crc, crc })
    }
}

/// The identity in a header, and where it lists the sections.
pub(super) fn layout(header: &[u8]) -> (Option<FileIdentity>, usize) {
    if header[8..12] == VERSION_OLDEST.to_le_bytes() {
        return (None, ENTRIES_AT_OLDEST);
    }
    let identity = header[IDENTITY_AT..CHECKSUMS_CRC_AT].try_into().expect("an identity's bytes");
    (FileIdentity::from_bytes(identity), ENTRIES_AT)
}
