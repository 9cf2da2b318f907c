//! Writes a file of pages from front to back.

use super::header::{
    BYTE_ORDER, CHECKSUMS_CRC_AT, ENTRIES_AT, ENTRY, IDENTITY_AT, MAGIC, SECTIONS_MAX, Section, VERSION,
    page_crc, seed,
};
use super::{PAGE, PAGE_DATA, PagesKind};
use crate::{FileIdentity, FormatError};
use io_core::{DynPageWriter, PageWrite, PageWriter, SyncKind, WriteBehind};
use std::fmt;

/// Bytes to collect before a write.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// Writes a file of pages from front to back, and then its header. It syncs only once, because the file does
/// not count before something durable names it.
pub struct PagesWriter {
    writer: WriteBehind<Box<dyn DynPageWriter>>,
    kind: PagesKind,
    identity: FileIdentity,
    seed: u32,
    /// The crc32 of the checksums of all finished pages.
    checksums: crc32fast::Hasher,
    sections: Vec<Section>,
    /// Finished but unwritten pages, then the unfinished page.
    pending: Vec<u8>,
    /// The number of the first page in `pending`.
    pending_page: u64,
}

impl fmt::Debug for PagesWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, identity, sections, .. } = self;
        f.debug_struct("PagesWriter")
            .field("kind", kind)
            .field("identity", identity)
            .field("sections", sections)
            .finish_non_exhaustive()
    }
}

impl PagesWriter {
    /// Starts an empty file. Its checksums are valid for this identity only.
    #[must_use]
    pub fn new(writer: Box<dyn DynPageWriter>, kind: PagesKind, identity: FileIdentity) -> Self {
        Self {
            writer: WriteBehind::new(writer),
            kind,
            identity,
            seed: seed(Some(identity), kind as u32),
            checksums: crc32fast::Hasher::new(),
            sections: Vec::new(),
            pending: Vec::with_capacity(PENDING_BYTES_MAX + PAGE),
            pending_page: 1,
        }
    }

    /// The identity of the file.
    #[must_use]
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Ends the section before, and begins the next one. Returns its number.
    ///
    /// # Errors
    /// [`FormatError::Write`], as for all calls here. The writer must not be used after it.
    ///
    /// # Panics
    /// If there are 252 sections already.
    pub async fn begin_section(&mut self) -> Result<usize, FormatError> {
        assert!(self.sections.len() < SECTIONS_MAX, "more sections than a header page lists");
        self.fill_page();
        let first_page = self.pending_page + (self.pending.len() / PAGE) as u64;
        self.sections.push(Section { first_page, bytes: 0 });
        self.write_pending(PENDING_BYTES_MAX).await?;
        Ok(self.sections.len() - 1)
    }

    /// Appends to the section.
    ///
    /// # Errors
    /// [`FormatError::Write`].
    ///
    /// # Panics
    /// If no section was begun.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), FormatError> {
        while !bytes.is_empty() {
            let taken = bytes.len().min(self.room_in_page());
            self.pending.extend_from_slice(&bytes[..taken]);
            self.section().bytes += taken as u64;
            bytes = &bytes[taken..];
            if self.pending.len() % PAGE == PAGE_DATA {
                self.end_page();
                self.write_pending(PENDING_BYTES_MAX).await?;
            }
        }
        Ok(())
    }

    /// The number of sections so far.
    #[must_use]
    pub fn sections(&self) -> usize {
        self.sections.len()
    }

    /// Length of the section so far: the offset of the next bytes.
    ///
    /// # Panics
    /// If no section was begun.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.sections.last().expect("a section was begun").bytes
    }

    /// Bytes that still fit the page. At the start of a page, all of its bytes.
    #[must_use]
    pub fn room_in_page(&self) -> usize {
        PAGE_DATA - self.pending.len() % PAGE
    }

    /// Keeps a record of this many bytes within one page. It fills the current page with zeros if the record
    /// fits a page but not the rest of this one, and if that wastes at most an eighth of the page.
    ///
    /// # Errors
    /// [`FormatError::Write`].
    pub async fn align_record(&mut self, bytes: usize) -> Result<(), FormatError> {
        let room = self.room_in_page();
        if bytes > room && bytes <= PAGE_DATA && room <= PAGE_DATA / 8 {
            self.write(&[0; PAGE_DATA][..room]).await?;
        }
        Ok(())
    }

    /// Writes the remaining pages and the header, and makes the file durable, without its name. Returns the
    /// checksum of the header.
    ///
    /// # Errors
    /// [`FormatError::Write`].
    pub async fn finish(mut self) -> Result<u32, FormatError> {
        self.fill_page();
        self.write_pending(0).await?;
        let mut header = vec![0; PAGE];
        let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &BYTE_ORDER.to_le_bytes());
        put(16, &(self.kind as u32).to_le_bytes());
        put(20, &(self.sections.len() as u32).to_le_bytes());
        put(IDENTITY_AT, &self.identity.to_bytes());
        put(CHECKSUMS_CRC_AT, &self.checksums.finalize().to_le_bytes());
        for (index, section) in self.sections.iter().enumerate() {
            put(ENTRIES_AT + index * ENTRY, &section.first_page.to_le_bytes());
            put(ENTRIES_AT + index * ENTRY + 8, &section.bytes.to_le_bytes());
        }
        let crc = page_crc(self.seed, 0, &header[..PAGE_DATA]);
        header[PAGE_DATA..].copy_from_slice(&crc.to_le_bytes());
        self.writer.settled().await?;
        let writer = self.writer.writer();
        writer.write_pages(&[PageWrite { offset: 0, bytes: &header }]).await?;
        writer.sync(SyncKind::All).await?;
        writer.close().await?;
        Ok(crc)
    }

    fn section(&mut self) -> &mut Section {
        self.sections.last_mut().expect("a section was begun")
    }

    /// Fills the unfinished page with zeros, if there is one.
    fn fill_page(&mut self) {
        if !self.pending.len().is_multiple_of(PAGE) {
            let end = self.pending.len() / PAGE * PAGE + PAGE_DATA;
            self.pending.resize(end, 0);
            self.end_page();
        }
    }

    fn end_page(&mut self) {
        let start = self.pending.len() / PAGE * PAGE;
        let number = self.pending_page + (start / PAGE) as u64;
        let crc = page_crc(self.seed, number, &self.pending[start..]).to_le_bytes();
        self.checksums.update(&crc);
        self.pending.extend_from_slice(&crc);
    }

    /// Writes the finished pages if they have more than `bytes_max` bytes.
    async fn write_pending(&mut self, bytes_max: usize) -> Result<(), FormatError> {
        let whole = self.pending.len() / PAGE * PAGE;
        if whole > bytes_max {
            let offset = self.pending_page * PAGE as u64;
            self.writer.write(offset, &mut self.pending, whole).await?;
            self.pending_page += (whole / PAGE) as u64;
        }
        Ok(())
    }
}
