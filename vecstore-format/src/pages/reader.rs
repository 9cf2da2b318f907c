//! Reads sections.

use super::batches::{CHUNK_PAGES, batch_pages, batches};
use super::header::{Header, Section, page_crc};
use super::{PAGE, PAGE_DATA, PagesData, PagesKind};
use crate::bit_flip::mend;
use crate::{Expected, FormatError};
use io_core::{DirectoryError, DynVectorReader, ReadControl, ReadOutcome, ReadRequest, VectorReader};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// A file of pages, open on one core.
pub struct Pages {
    pub(super) reader: Box<dyn DynVectorReader>,
    pub(super) data: PagesData,
    /// In repair, the pages in which a flipped bit was put back. `None` outside of repair.
    pub(super) mended: Option<RefCell<BTreeSet<u64>>>,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("data", &self.data).finish_non_exhaustive()
    }
}

impl Pages {
    /// Opens a file of any identity, and checks its header.
    ///
    /// # Errors
    /// [`FormatError::Damaged`]; [`FormatError::Version`]; [`FormatError::Read`].
    pub async fn open_any(reader: Box<dyn DynVectorReader>, kind: PagesKind) -> Result<Self, FormatError> {
        let file = reader.file().clone();
        let header = Header::decode(&file.path, &Header::read(&*reader).await?, kind)?;
        let end = header.file_bytes();
        if end != file.len {
            let reason = format!("{} bytes long, and its sections end at {end}", file.len);
            return Err(FormatError::damaged(&file.path, None, reason));
        }
        let data = PagesData { path: file.path, header, pinned: None };
        Ok(Self { reader, data, mended: None })
    }

    /// Opens a file, and checks its header and that it is the expected file.
    ///
    /// # Errors
    /// As [`Pages::open_any`]; [`FormatError::Misplaced`].
    pub async fn open(
        reader: Box<dyn DynVectorReader>,
        kind: PagesKind,
        expected: &Expected,
    ) -> Result<Self, FormatError> {
        let pages = Self::open_any(reader, kind).await?;
        pages.data.check(expected)?;
        Ok(pages)
    }

    /// Opens another reader of a file whose header is known.
    #[must_use]
    pub fn with_data(reader: Box<dyn DynVectorReader>, data: PagesData) -> Self {
        Self { reader, data, mended: None }
    }

    /// Reads all sections into memory. Later reads are served from there.
    ///
    /// # Errors
    /// As [`Pages::read_section`].
    pub async fn pin(&mut self) -> Result<(), FormatError> {
        let mut sections = Vec::with_capacity(self.data.sections());
        for section in 0..self.data.sections() {
            sections.push(self.read_section(section).await?);
        }
        self.data.pinned = Some(Arc::new(sections));
        Ok(())
    }

    /// The state in memory, for other readers of the file.
    #[must_use]
    pub fn data(&self) -> &PagesData {
        &self.data
    }

    /// Reads a whole section.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there is no such section, if it is cut off, or if one of its pages does
    /// not match its checksum; [`FormatError::Read`].
    pub async fn read_section(&self, number: usize) -> Result<Vec<u8>, FormatError> {
        let section @ Section { first_page, bytes } = self.section(number)?;
        if let Some(pinned) = &self.data.pinned {
            return Ok(pinned[number].clone());
        }
        let end_page = section.end_page();
        if end_page * PAGE as u64 > self.reader.file().len {
            return Err(FormatError::damaged(&self.data.path, None, format!("section {number} is cut off")));
        }
        let mut target = Vec::new();
        for (first, requests) in batches(first_page, end_page) {
            let start = target.len();
            target.resize((start + batch_pages(&requests) * PAGE_DATA).min(bytes as usize), 0);
            let mut damage = None;
            self.reader
                .read_vectors(&requests, &ReadControl::default(), |chunk, bytes| {
                    for (index, bytes) in bytes.chunks(PAGE).enumerate() {
                        let page = chunk * CHUNK_PAGES as usize + index;
                        let bytes = match self.sound_page(first + page as u64, bytes) {
                            Ok(bytes) => bytes,
                            Err(error) => {
                                damage = Some(error);
                                return ControlFlow::Break(());
                            }
                        };
                        let rest = &mut target[start + page * PAGE_DATA..];
                        let taken = rest.len().min(PAGE_DATA);
                        rest[..taken].copy_from_slice(&bytes[..taken]);
                    }
                    ControlFlow::Continue(())
                })
                .await?;
            if let Some(damage) = damage {
                return Err(damage);
            }
        }
        target.shrink_to_fit();
        Ok(target)
    }

    /// Reads a whole section as numbers.
    ///
    /// # Errors
    /// As [`Pages::read_section`]; [`FormatError::Damaged`] if its length is not a multiple of theirs.
    pub async fn read_array<T: bytemuck::Pod>(&self, section: usize) -> Result<Vec<T>, FormatError> {
        let bytes = self.read_section(section).await?;
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            let reason = format!(
                "section {section} of {} bytes is no array of {}-byte items",
                bytes.len(),
                size_of::<T>()
            );
            return Err(FormatError::damaged(&self.data.path, None, reason));
        }
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Reads ranges of bytes of a section in one batch. It passes each, as it arrives, to
    /// `sink(index, bytes)`.
    ///
    /// An empty range, or one beyond the section, means that the file is damaged, because callers take ranges
    /// from the file itself. Ranges are checked before any IO. An error of the sink ends the batch and is
    /// returned.
    ///
    /// # Errors
    /// As [`Pages::read_section`]; the error of the sink.
    pub async fn read(
        &self,
        section: usize,
        ranges: &[Range<u64>],
        control: &ReadControl,
        mut sink: impl FnMut(usize, &[u8]) -> Result<(), FormatError>,
    ) -> Result<ReadOutcome, FormatError> {
        let Section { first_page, bytes } = self.section(section)?;
        let data = PAGE_DATA as u64;
        if let Some(range) = ranges.iter().find(|range| range.start >= range.end || range.end > bytes) {
            let reason = format!("bytes {range:?} of section {section} are wanted, which has {bytes}");
            return Err(FormatError::damaged(&self.data.path, None, reason));
        }
        if let Some(pinned) = &self.data.pinned {
            for (index, range) in ranges.iter().enumerate() {
                sink(index, &pinned[section][range.start as usize..range.end as usize])?;
            }
            let mut outcome = ReadOutcome::new();
            (outcome.delivered, outcome.end) = (ranges.len(), control.end());
            return Ok(outcome);
        }
        let pages_of = |range: &Range<u64>| range.start / data..(range.end - 1) / data + 1;
        let mut requests = Vec::with_capacity(ranges.len());
        for range in ranges {
            let pages = pages_of(range);
            let Ok(len) = u32::try_from((pages.end - pages.start) * PAGE as u64) else {
                let reason = format!("bytes {range:?} of section {section} are too many for one record");
                return Err(FormatError::damaged(&self.data.path, None, reason));
            };
            requests.push(ReadRequest::new((first_page + pages.start) * PAGE as u64, len));
        }
        let mut failed = None;
        let mut joined = Vec::new();
        let outcome = self
            .reader
            .read_vectors(&requests, control, |index, bytes| {
                let (range, pages) = (&ranges[index], pages_of(&ranges[index]));
                let start = (range.start - pages.start * data) as usize;
                let len = (range.end - range.start) as usize;
                let mut deliver = || {
                    let sound = |page, bytes| self.sound_page(first_page + pages.start + page, bytes);
                    if bytes.len() == PAGE {
                        return sink(index, &sound(0, bytes)?[start..start + len]);
                    }
                    joined.clear();
                    for (page, bytes) in bytes.chunks(PAGE).enumerate() {
                        joined.extend_from_slice(&sound(page as u64, bytes)?[..PAGE_DATA]);
                    }
                    sink(index, &joined[start..start + len])
                };
                match deliver() {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })
            .await?;
        failed.map_or(Ok(outcome), Err)
    }

    /// Waits for everything in flight and closes the file.
    ///
    /// # Errors
    /// The system's error on closing.
    pub async fn close(&self) -> Result<(), FormatError> {
        let closed = self.reader.close().await;
        Ok(closed.map_err(|error| DirectoryError::new("close", &self.data.path, error))?)
    }

    fn section(&self, section: usize) -> Result<Section, FormatError> {
        self.data.header.sections.get(section).copied().ok_or_else(|| {
            let reason = format!("section {section} is missing: there are {}", self.data.sections());
            FormatError::damaged(&self.data.path, None, reason)
        })
    }

    /// Whether the bytes are as likely those of another page of the file. The number of a page is part of the
    /// initial value of its checksum, and a flipped bit there has the effect of one in the first four bytes.
    fn is_of_another_page(&self, page: u64, data: &[u8], stored: u32) -> bool {
        let Header { seed, .. } = self.data.header;
        let pages = self.data.header.file_bytes() / PAGE as u64;
        let mut others = (0..32).map(|bit| page ^ 1 << bit).filter(|&other| other < pages);
        others.any(|other| page_crc(seed, other, data) == stored)
    }

    /// The data of a page whose checksum matches. In repair, one flipped bit may be put back.
    pub(super) fn sound_page<'a>(&self, page: u64, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, FormatError> {
        let stored = u32::from_le_bytes(bytes[PAGE_DATA..].try_into().expect("a whole page"));
        let found = page_crc(self.data.header.seed, page, &bytes[..PAGE_DATA]);
        if found == stored {
            return Ok(Cow::Borrowed(bytes));
        }
        if let Some(pages) = &self.mended {
            let mut mended = bytes.to_vec();
            if !self.is_of_another_page(page, &bytes[..PAGE_DATA], stored) && mend(&mut mended, found) {
                pages.borrow_mut().insert(page);
                return Ok(Cow::Owned(mended));
            }
        }
        let reason = format!("the page's checksum is {found:08x} instead of {stored:08x}");
        Err(FormatError::damaged(&self.data.path, page * PAGE as u64, reason))
    }
}
