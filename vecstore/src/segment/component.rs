//! A file of a few arrays that are read into memory whole, each with a checksum.
//!
//! ```text
//! 0      8        12      16    20        24                            4092
//! |magic | version | order | kind| sections| (bytes u64, crc32 u32, 0 u32) ... | crc32 of 0..4092 |
//! ^ "VECPARTS"       0x0A0B0C0D
//! then the sections, each from a multiple of 4096 on, the last page of each filled up with zeros
//! ```
//!
//! All numbers are little-endian.

use super::SegmentError;
use bytemuck::Pod;
use io_core::{PageWrite, PageWriter, ReadControl, ReadRequest, SyncKind, VectorReader};
use std::ops::ControlFlow;

const PAGE: usize = 4096;
const MAGIC: [u8; 8] = *b"VECPARTS";
const VERSION: u32 = 1;
const BYTE_ORDER: u32 = 0x0A0B_0C0D;
const ENTRY: usize = 16;
const ENTRIES_AT: usize = 24;
const SECTIONS_MAX: usize = (PAGE - 4 - ENTRIES_AT) / ENTRY;
/// Bytes read by one request.
const CHUNK: usize = 1 << 20;

/// What the sections are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Codes = 1,
    Graph = 2,
}

/// Writes a whole component, durably; the header last, so that an unfinished file is not taken for one.
pub(super) async fn write_component<W: PageWriter>(
    writer: W,
    kind: Kind,
    sections: &[&[u8]],
) -> Result<(), SegmentError> {
    assert!(sections.len() <= SECTIONS_MAX, "more sections than a header page lists");
    let mut header = vec![0; PAGE];
    header[..8].copy_from_slice(&MAGIC);
    let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
    put(8, &VERSION.to_le_bytes());
    put(12, &BYTE_ORDER.to_le_bytes());
    put(16, &(kind as u32).to_le_bytes());
    put(20, &(sections.len() as u32).to_le_bytes());

    let mut offset = PAGE as u64;
    for (index, section) in sections.iter().enumerate() {
        let entry = ENTRIES_AT + index * ENTRY;
        put(entry, &(section.len() as u64).to_le_bytes());
        put(entry + 8, &crc32fast::hash(section).to_le_bytes());
        let (pages, tail) = section.split_at(section.len() / PAGE * PAGE);
        let mut last = tail.to_vec();
        last.resize(tail.len().next_multiple_of(PAGE), 0);
        let tail_at = offset + pages.len() as u64;
        writer
            .write_pages(&[PageWrite { offset, bytes: pages }, PageWrite { offset: tail_at, bytes: &last }])
            .await?;
        offset = tail_at + last.len() as u64;
    }
    writer.sync(SyncKind::Data).await?;
    let crc = crc32fast::hash(&header[..PAGE - 4]);
    header[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
    writer.write_pages(&[PageWrite { offset: 0, bytes: &header }]).await?;
    writer.sync(SyncKind::All).await?;
    writer.close().await?;
    Ok(())
}

/// An open component, its header checked.
pub(super) struct Component<R> {
    reader: R,
    /// Offset, bytes and checksum of each section.
    sections: Vec<(u64, u64, u32)>,
}

impl<R: VectorReader> Component<R> {
    pub(super) async fn open(reader: R, kind: Kind) -> Result<Self, SegmentError> {
        let mut header = vec![0; PAGE];
        let len = reader.file().len;
        let damaged =
            |reason: String| SegmentError::Damaged { path: reader.file().path.to_path_buf(), reason };
        if len < PAGE as u64 {
            return Err(damaged(format!("{len} bytes are too few even for a header")));
        }
        read_into(&reader, 0, &mut header).await?;
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        if header[..8] != MAGIC {
            return Err(damaged(format!("it starts with {:02x?} instead of {MAGIC:02x?}", &header[..8])));
        }
        if u32_at(12) == BYTE_ORDER.swap_bytes() {
            return Err(damaged("written big-endian; components are little-endian".into()));
        }
        if u32_at(8) != VERSION {
            return Err(damaged(format!("version {} (this build reads version {VERSION})", u32_at(8))));
        }
        if crc32fast::hash(&header[..PAGE - 4]) != u32_at(PAGE - 4) {
            return Err(damaged("the checksum of its header does not match".into()));
        }
        if u32_at(16) != kind as u32 {
            return Err(damaged(format!("it is of kind {} instead of {kind:?}", u32_at(16))));
        }
        let count = u32_at(20) as usize;
        if count > SECTIONS_MAX {
            return Err(damaged(format!("{count} sections, more than a header lists")));
        }
        let mut sections = Vec::with_capacity(count);
        let mut offset = PAGE as u64;
        for index in 0..count {
            let entry = ENTRIES_AT + index * ENTRY;
            let bytes = u64_at(entry);
            let padded = bytes.checked_next_multiple_of(PAGE as u64);
            let Some(end) = padded.and_then(|padded| offset.checked_add(padded)).filter(|&end| end <= len)
            else {
                return Err(damaged(format!(
                    "truncated: section {index} of {bytes} bytes does not fit into {len}"
                )));
            };
            sections.push((offset, bytes, u32_at(entry + 8)));
            offset = end;
        }
        if offset != len {
            return Err(damaged(format!("{len} bytes long, and its sections end at {offset}")));
        }
        Ok(Self { reader, sections })
    }

    pub(super) fn sections(&self) -> usize {
        self.sections.len()
    }

    /// A section as an array.
    pub(super) async fn read<T: Pod>(&self, index: usize) -> Result<Vec<T>, SegmentError> {
        let path = || self.reader.file().path.to_path_buf();
        let Some(&(offset, bytes, crc)) = self.sections.get(index) else {
            let reason = format!("section {index} is missing: there are {}", self.sections.len());
            return Err(SegmentError::Damaged { path: path(), reason });
        };
        let size = size_of::<T>() as u64;
        if !bytes.is_multiple_of(size) {
            let reason = format!("section {index} of {bytes} bytes is no array of {size}-byte items");
            return Err(SegmentError::Damaged { path: path(), reason });
        }
        let mut items = vec![T::zeroed(); (bytes / size) as usize];
        let found = {
            let target: &mut [u8] = bytemuck::cast_slice_mut(&mut items);
            read_into(&self.reader, offset, target).await?;
            crc32fast::hash(target)
        };
        if found != crc {
            let reason = format!(
                "section {index} (offset {offset}, {bytes} bytes) has the checksum {found:08x} instead of {crc:08x}"
            );
            return Err(SegmentError::Damaged { path: path(), reason });
        }
        Ok(items)
    }

    pub(super) async fn close(self) -> Result<(), SegmentError> {
        let closed = self.reader.close().await;
        closed.map_err(|error| SegmentError::io("cannot close", &self.reader.file().path, error))
    }
}

async fn read_into<R: VectorReader>(reader: &R, offset: u64, target: &mut [u8]) -> Result<(), SegmentError> {
    let requests: Vec<_> = (0..target.len().div_ceil(CHUNK))
        .map(|chunk| {
            let len = CHUNK.min(target.len() - chunk * CHUNK) as u32;
            ReadRequest::new(offset + (chunk * CHUNK) as u64, len)
        })
        .collect();
    reader
        .read_vectors(&requests, &ReadControl::default(), |chunk, bytes| {
            target[chunk * CHUNK..][..bytes.len()].copy_from_slice(bytes);
            ControlFlow::Continue(())
        })
        .await?;
    Ok(())
}
