//! A file of pages, each with its checksum: what all parts of a segment but vectors and codes are kept in.
//!
//! ```text
//! page 0:  |magic | version | order | kind | sections | identity | t | zeros | (first_page u64, bytes u64) ... zeros | crc32 |
//!          0      8        12      16     20         24         48  52      56                                       4092
//! page n:  |4092 bytes of a section                                                                               | crc32 |
//! ```
//!
//! A section is a string of bytes, cut into pages of 4092; the last one is filled up with zeros. Sections follow each other.
//! All numbers are little-endian.
//!
//! A page's checksum starts from the seed, which is made of the identity and the kind, xor the number of the page: a page
//! of another file or of another place does not pass. `t` is the crc32 of the checksums of pages 1 and on, so that the
//! header sums up the whole file. Version 1 has no identity and no `t`: its sections are listed from 24 on, and its seed is 0.
//!
//! Whoever reads any byte of a page reads and checks the whole page. Sections that are *pinned* are checked once and
//! then handed out from memory.

use crate::bit_flip::mend;
use crate::error::Error;
use crate::identity::Expected;
use io_core::{
    DynPageWriter, DynVectorReader, FileIdentity, OpenOptions, PageWrite, PageWriter, ReadControl,
    ReadRequest, ReadStats, SyncKind, VectorReader, WriteBehind,
};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

/// Bytes of a page on disk.
pub(crate) const PAGE: usize = 4096;
/// Bytes of a section in a page.
pub(crate) const PAGE_DATA: usize = PAGE - 4;

const MAGIC: [u8; 8] = *b"VECPAGES";
const VERSION: u32 = 2;
/// Files had no identity.
const VERSION_OLDEST: u32 = 1;
const BYTE_ORDER: u32 = 0x0A0B_0C0D;
const IDENTITY_AT: usize = 24;
const CHECKSUMS_CRC_AT: usize = IDENTITY_AT + FileIdentity::BYTES;
const ENTRIES_AT: usize = 56;
const ENTRIES_AT_OLDEST: usize = 24;
const ENTRY: usize = 16;
const SECTIONS_MAX: usize = (PAGE_DATA - ENTRIES_AT) / ENTRY;
/// Pages read by one request when a whole section is read.
const CHUNK_PAGES: u64 = 64;
/// Requests of a batch then. What a header says is there may be far more than the file really holds: memory is taken for no more
/// than this, until its pages have proved to be sound.
const CHUNKS: usize = 64;
/// No section is as long: what is computed of so many bytes does not overflow.
const FILE_BYTES_MAX: u64 = 1 << 48;
/// Bytes collected before they are written.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// What the sections of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PagesKind {
    Graph = 1,
    Ids = 2,
    Payload = 3,
    Fields = 4,
    Deleted = 5,
    Codec = 6,
}

/// What the checksums of a file's pages start from.
fn seed(identity: Option<FileIdentity>, kind: u32) -> u32 {
    identity.map_or(0, |identity| crc(identity.seed(), &kind.to_le_bytes()))
}

fn page_crc(seed: u32, number: u64, data: &[u8]) -> u32 {
    crc(seed ^ number as u32, data)
}

fn crc(initial: u32, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(initial);
    hasher.update(data);
    hasher.finalize()
}

/// Writes a file of pages from front to back, and the header. A file counts once something durable names it, so all of it
/// is synced at once.
pub(crate) struct PagesWriter {
    writer: WriteBehind<Box<dyn DynPageWriter>>,
    kind: PagesKind,
    identity: FileIdentity,
    seed: u32,
    /// The crc32 of the checksums of all finished pages.
    checksums: crc32fast::Hasher,
    sections: Vec<Section>,
    /// Finished pages that are not written yet, then the page under way.
    pending: Vec<u8>,
    /// The number of the first page in `pending`.
    pending_page: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Section {
    first_page: u64,
    bytes: u64,
}

impl Section {
    /// The page that the next section begins with.
    fn end_page(&self) -> u64 {
        self.first_page + self.bytes.div_ceil(PAGE_DATA as u64)
    }
}

impl PagesWriter {
    pub(crate) fn new(writer: Box<dyn DynPageWriter>, kind: PagesKind, identity: FileIdentity) -> Self {
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

    /// Ends the section before, and begins the next. Returns its number.
    pub(crate) async fn begin_section(&mut self) -> Result<usize, Error> {
        assert!(self.sections.len() < SECTIONS_MAX, "more sections than a header page lists");
        self.fill_page();
        let first_page = self.pending_page + (self.pending.len() / PAGE) as u64;
        self.sections.push(Section { first_page, bytes: 0 });
        self.write_pending(PENDING_BYTES_MAX).await?;
        Ok(self.sections.len() - 1)
    }

    /// Appends to the section.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
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

    #[cfg(feature = "internals")]
    pub(crate) fn sections(&self) -> usize {
        self.sections.len()
    }

    /// Bytes written to the section so far: where the next ones begin.
    pub(crate) fn position(&self) -> u64 {
        self.sections.last().expect("a section was begun").bytes
    }

    /// Bytes that still fit the page; a whole page's at the start of one.
    pub(crate) fn room_in_page(&self) -> usize {
        PAGE_DATA - self.pending.len() % PAGE
    }

    /// Goes to the start of a page, leaving zeros, where a record of this many bytes fits one page, does not fit what is
    /// left of this one, and no more than an eighth is wasted.
    pub(crate) async fn align_record(&mut self, bytes: usize) -> Result<(), Error> {
        let room = self.room_in_page();
        if bytes > room && bytes <= PAGE_DATA && room <= PAGE_DATA / 8 {
            self.write(&[0; PAGE_DATA][..room]).await?;
        }
        Ok(())
    }

    /// Writes what is left and the header, and makes the file durable. Its name is not. Returns the checksum of the header.
    pub(crate) async fn finish(mut self) -> Result<u32, Error> {
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

    /// Fills the page under way up with zeros, if there is one.
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

    /// Writes the finished pages if they are more than this.
    async fn write_pending(&mut self, bytes_max: usize) -> Result<(), Error> {
        let whole = self.pending.len() / PAGE * PAGE;
        if whole > bytes_max {
            let offset = self.pending_page * PAGE as u64;
            self.writer.write(offset, &mut self.pending, whole).await?;
            self.pending_page += (whole / PAGE) as u64;
        }
        Ok(())
    }
}

/// What the header of a file says.
#[derive(Clone, Debug)]
struct Header {
    sections: Vec<Section>,
    identity: Option<FileIdentity>,
    seed: u32,
    /// The crc32 of the checksums of the pages behind it, if it says that.
    checksums_crc: Option<u32>,
    /// Its own checksum.
    crc: u32,
}

impl Header {
    /// Bytes of the file.
    fn file_bytes(&self) -> u64 {
        self.sections.last().map_or(1, Section::end_page) * PAGE as u64
    }
}

/// What is the same for all readers of a file: its sections, and their bytes if they are pinned.
#[derive(Clone, Debug)]
pub(crate) struct PagesData {
    path: Arc<Path>,
    header: Header,
    pinned: Option<Arc<Vec<Vec<u8>>>>,
}

impl PagesData {
    /// Bytes of a section.
    pub(crate) fn bytes(&self, section: usize) -> u64 {
        self.header.sections.get(section).map_or(0, |section| section.bytes)
    }

    pub(crate) fn sections(&self) -> usize {
        self.header.sections.len()
    }

    /// Which file it says it is.
    pub(crate) fn identity(&self) -> Option<FileIdentity> {
        self.header.identity
    }

    /// Checks that it is the file that belongs here.
    pub(crate) fn check(&self, expected: &Expected) -> Result<(), Error> {
        expected.check(&self.path, self.header.identity, self.header.crc)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of memory the pinned sections take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.pinned.as_ref().map_or(0, |sections| sections.iter().map(Vec::len).sum())
    }
}

/// A file of pages, open on one core.
pub(crate) struct Pages {
    reader: Box<dyn DynVectorReader>,
    data: PagesData,
    /// In repair, the pages that had a flipped bit which was put back. Otherwise none is.
    mended: Option<RefCell<BTreeSet<u64>>>,
}

/// The cost of a batch that ran to its end, or `Stopped`.
fn ended(outcome: &io_core::ReadOutcome) -> Result<ReadStats, Error> {
    if outcome.stopped { Err(Error::Stopped) } else { Ok(outcome.stats) }
}

impl Pages {
    /// Opens a file, whosever it is, and checks its header.
    pub(crate) async fn open_any(reader: Box<dyn DynVectorReader>, kind: PagesKind) -> Result<Self, Error> {
        let file = reader.file().clone();
        let header = decode_header(&file.path, &read_header(&*reader).await?, kind)?;
        let end = header.file_bytes();
        if end != file.len {
            let reason = format!("{} bytes long, and its sections end at {end}", file.len);
            return Err(Error::damaged(&file.path, None, reason));
        }
        let data = PagesData { path: file.path, header, pinned: None };
        Ok(Self { reader, data, mended: None })
    }

    /// Opens a file that has to be this one, and checks its header.
    pub(crate) async fn open(
        reader: Box<dyn DynVectorReader>,
        kind: PagesKind,
        expected: &Expected,
    ) -> Result<Self, Error> {
        let pages = Self::open_any(reader, kind).await?;
        pages.data.check(expected)?;
        Ok(pages)
    }

    /// Opens a file to save what can be saved: with pages missing at its end or bytes behind it, and pages in which one bit
    /// was flipped. Says what is wrong with the file as a whole.
    pub(crate) async fn salvage(
        reader: Box<dyn DynVectorReader>,
        kind: PagesKind,
    ) -> Result<(Self, Option<String>), Error> {
        let file = reader.file().clone();
        let mut header = read_header(&*reader).await?;
        let mended = mend_header(&mut header, kind).then_some(0).into_iter().collect();
        let header = decode_header(&file.path, &header, kind)?;
        let end = header.file_bytes();
        let note = (end != file.len)
            .then(|| format!("{} is {} bytes long instead of {end}", file.path.display(), file.len));
        let data = PagesData { path: file.path, header, pinned: None };
        Ok((Self { reader, data, mended: Some(RefCell::new(mended)) }, note))
    }

    /// Pages with a flipped bit that was put back.
    pub(crate) fn mended(&self) -> u64 {
        self.mended.as_ref().map_or(0, |pages| pages.borrow().len() as u64)
    }

    /// Opens another reader of a file whose header was read already.
    pub(crate) fn with_data(reader: Box<dyn DynVectorReader>, data: PagesData) -> Self {
        Self { reader, data, mended: None }
    }

    /// Reads all sections into memory, to be handed out from there.
    pub(crate) async fn pin(&mut self) -> Result<(), Error> {
        let mut sections = Vec::with_capacity(self.data.sections());
        for section in 0..self.data.sections() {
            sections.push(self.read_section(section).await?);
        }
        self.data.pinned = Some(Arc::new(sections));
        Ok(())
    }

    pub(crate) fn data(&self) -> &PagesData {
        &self.data
    }

    /// A whole section.
    pub(crate) async fn read_section(&self, number: usize) -> Result<Vec<u8>, Error> {
        let section @ Section { first_page, bytes } = self.section(number)?;
        if let Some(pinned) = &self.data.pinned {
            return Ok(pinned[number].clone());
        }
        let end_page = section.end_page();
        if end_page * PAGE as u64 > self.reader.file().len {
            return Err(Error::damaged(&self.data.path, None, format!("section {number} is cut off")));
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

    /// A whole section as numbers.
    pub(crate) async fn read_array<T: bytemuck::Pod>(&self, section: usize) -> Result<Vec<T>, Error> {
        let bytes = self.read_section(section).await?;
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            let reason = format!(
                "section {section} of {} bytes is no array of {}-byte items",
                bytes.len(),
                size_of::<T>()
            );
            return Err(Error::damaged(&self.data.path, None, reason));
        }
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Reads ranges of bytes of a section in one batch and hands each, as it arrives, to `sink(index, bytes)`.
    ///
    /// A range must not be empty; one that is out of the section is an error that says the file is damaged, since whoever
    /// asks has found it in the file.
    pub(crate) async fn read(
        &self,
        section: usize,
        ranges: &[Range<u64>],
        control: &ReadControl,
        mut sink: impl FnMut(usize, &[u8]) -> Result<(), Error>,
    ) -> Result<ReadStats, Error> {
        let Section { first_page, bytes } = self.section(section)?;
        let data = PAGE_DATA as u64;
        if let Some(range) = ranges.iter().find(|range| range.start >= range.end || range.end > bytes) {
            let reason = format!("bytes {range:?} of section {section} are wanted, which has {bytes}");
            return Err(Error::damaged(&self.data.path, None, reason));
        }
        if let Some(pinned) = &self.data.pinned {
            for (index, range) in ranges.iter().enumerate() {
                sink(index, &pinned[section][range.start as usize..range.end as usize])?;
            }
            return if control.is_stopped() { Err(Error::Stopped) } else { Ok(ReadStats::default()) };
        }
        let pages_of = |range: &Range<u64>| range.start / data..(range.end - 1) / data + 1;
        let mut requests = Vec::with_capacity(ranges.len());
        for range in ranges {
            let pages = pages_of(range);
            let Ok(len) = u32::try_from((pages.end - pages.start) * PAGE as u64) else {
                let reason = format!("bytes {range:?} of section {section} are too many for one record");
                return Err(Error::damaged(&self.data.path, None, reason));
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
        match failed {
            Some(error) => Err(error),
            None => ended(&outcome),
        }
    }

    /// Reads every page and reports each that is damaged, until `damaged` has enough of them; or, if none is by itself, that they
    /// are not those that were written.
    pub(crate) async fn verify(
        &self,
        control: &ReadControl,
        mut damaged: impl FnMut(Error) -> ControlFlow<()>,
    ) -> Result<ReadStats, Error> {
        let pages = self.reader.file().len / PAGE as u64;
        let mut all_checksums = crc32fast::Hasher::new();
        let (mut is_sound, mut stats) = (true, ReadStats::default());
        for (first, requests) in batches(1, pages) {
            let mut checksums = vec![0; batch_pages(&requests) * 4];
            let mut flow = ControlFlow::Continue(());
            let outcome = self
                .reader
                .read_vectors(&requests, control, |chunk, bytes| {
                    for (index, bytes) in bytes.chunks(PAGE).enumerate() {
                        let page = chunk * CHUNK_PAGES as usize + index;
                        checksums[page * 4..][..4].copy_from_slice(&bytes[PAGE_DATA..]);
                        if let Err(error) = self.sound_page(first + page as u64, bytes) {
                            is_sound = false;
                            flow = damaged(error);
                            if flow.is_break() {
                                break;
                            }
                        }
                    }
                    flow
                })
                .await?;
            if flow.is_break() {
                return Ok(stats);
            }
            stats.add(&ended(&outcome)?);
            all_checksums.update(&checksums);
        }
        let found = all_checksums.finalize();
        match self.data.header.checksums_crc {
            Some(stored) if is_sound && found != stored => {
                let reason = format!(
                    "each page is sound, and their checksums come to {found:08x} instead of {stored:08x}: not all are those that were written"
                );
                let _ = damaged(Error::damaged(&self.data.path, None, reason));
            }
            _ => {}
        }
        Ok(stats)
    }

    pub(crate) async fn close(&self) -> Result<(), Error> {
        let closed = self.reader.close().await;
        closed.map_err(|error| io_core::DirectoryError::new("close", &self.data.path, error).into())
    }

    fn section(&self, section: usize) -> Result<Section, Error> {
        self.data.header.sections.get(section).copied().ok_or_else(|| {
            let reason = format!("section {section} is missing: there are {}", self.data.sections());
            Error::damaged(&self.data.path, None, reason)
        })
    }

    /// A page whose checksum matches, as it is or, in repair, with one bit put back.
    fn sound_page<'a>(&self, page: u64, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
        let stored = u32::from_le_bytes(bytes[PAGE_DATA..].try_into().expect("a whole page"));
        let found = page_crc(self.data.header.seed, page, &bytes[..PAGE_DATA]);
        if found == stored {
            return Ok(Cow::Borrowed(bytes));
        }
        if let Some(pages) = &self.mended {
            let mut mended = bytes.to_vec();
            if mend(&mut mended, found) {
                pages.borrow_mut().insert(page);
                return Ok(Cow::Owned(mended));
            }
        }
        let reason = format!("the page's checksum is {found:08x} instead of {stored:08x}");
        Err(Error::damaged(&self.data.path, page * PAGE as u64, reason))
    }
}

/// Requests for the pages from one to another, in batches, each with its first page.
fn batches(first: u64, end: u64) -> impl Iterator<Item = (u64, Vec<ReadRequest>)> {
    (first..end).step_by(CHUNK_PAGES as usize * CHUNKS).map(move |start| {
        let chunks = (start..end).step_by(CHUNK_PAGES as usize).take(CHUNKS);
        let request = |page: u64| {
            ReadRequest::new(page * PAGE as u64, ((end - page).min(CHUNK_PAGES) * PAGE as u64) as u32)
        };
        (start, chunks.map(request).collect())
    })
}

fn batch_pages(requests: &[ReadRequest]) -> usize {
    requests.iter().map(|request| request.len as usize / PAGE).sum()
}

async fn read_header(reader: &dyn DynVectorReader) -> Result<Vec<u8>, Error> {
    let file = reader.file_dyn().clone();
    if file.len < PAGE as u64 {
        let reason = format!("{} bytes are too few even for a header", file.len);
        return Err(Error::damaged(&file.path, None, reason));
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

/// The fields of a header that its checksum starts from, and where it lists the sections.
fn layout(header: &[u8]) -> (Option<FileIdentity>, usize) {
    if header[8..12] == VERSION_OLDEST.to_le_bytes() {
        return (None, ENTRIES_AT_OLDEST);
    }
    let identity = header[IDENTITY_AT..CHECKSUMS_CRC_AT].try_into().expect("an identity's bytes");
    (FileIdentity::from_bytes(identity), ENTRIES_AT)
}

/// Puts back a flipped bit of a header of this kind. Says whether there was one.
fn mend_header(header: &mut [u8], kind: PagesKind) -> bool {
    let sound = |header: &[u8]| decode_header("".as_ref(), header, kind).is_ok();
    if sound(header) {
        return false;
    }
    // The seed is made of some of its fields, so that one of their bits changes the checksum in two ways: each is tried.
    for bit in 0..ENTRIES_AT * 8 {
        header[bit / 8] ^= 1 << (bit % 8);
        if sound(header) {
            return true;
        }
        header[bit / 8] ^= 1 << (bit % 8);
    }
    let found = page_crc(seed(layout(header).0, kind as u32), 0, &header[..PAGE_DATA]);
    mend(header, found) && sound(header)
}

/// What a header says, if it is one of this kind.
fn decode_header(path: &Path, header: &[u8], kind: PagesKind) -> Result<Header, Error> {
    let damaged = |reason: String| Error::damaged(path, None, reason);
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
        return Err(Error::damaged(path, 0, "the checksum of the header does not match"));
    }
    if u32_at(12) == BYTE_ORDER.swap_bytes() {
        return Err(damaged("written big-endian; these files are little-endian".into()));
    }
    if !(VERSION_OLDEST..=VERSION).contains(&version) {
        return Err(Error::Version { path: path.to_owned(), found: version, known: VERSION });
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
    Ok(Header { sections, identity, seed, checksums_crc, crc })
}

/// How a file is opened that is read whole, once.
pub(crate) fn read_once(options: &OpenOptions) -> OpenOptions {
    OpenOptions { access: io_core::AccessPattern::Sequential, ..options.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::testing::MemoryBackend;
    use io_core::{BackendFactory, DynBackend};
    use proptest::prelude::*;

    const PATH: &str = "a.pages";
    const IDENTITY: FileIdentity = FileIdentity { owner: *b"sixteen bytes of", file: 7 };

    fn written(sections: &[Vec<u8>]) -> MemoryBackend {
        written_as(sections, PagesKind::Payload, IDENTITY)
    }

    fn written_as(sections: &[Vec<u8>], kind: PagesKind, identity: FileIdentity) -> MemoryBackend {
        let memory = MemoryBackend::new(1);
        let backend = DynBackend::new(memory.clone());
        backend
            .run(|| async {
                let writer = backend.create(Path::new(PATH), &OpenOptions::default()).await.unwrap();
                let mut pages = PagesWriter::new(writer, kind, identity);
                for (index, section) in sections.iter().enumerate() {
                    assert_eq!(pages.begin_section().await.unwrap(), index);
                    for piece in section.chunks(1000) {
                        pages.write(piece).await.unwrap();
                    }
                    assert_eq!(pages.position(), section.len() as u64);
                }
                pages.finish().await.unwrap();
            })
            .unwrap();
        memory
    }

    async fn open(backend: &DynBackend, kind: PagesKind) -> Result<Pages, Error> {
        Pages::open_any(backend.open(Path::new(PATH), &OpenOptions::default()).await.unwrap(), kind).await
    }

    /// Takes all that is wrong.
    fn all(found: &mut Vec<Error>, error: Error) -> ControlFlow<()> {
        found.push(error);
        ControlFlow::Continue(())
    }

    /// What is wrong with a file of payloads of these bytes, that has to be this one.
    fn problems(bytes: Vec<u8>, expected: &Expected) -> Vec<Error> {
        let memory = MemoryBackend::new(1);
        memory.put(Path::new(PATH), bytes);
        let backend = DynBackend::new(memory);
        backend
            .run(|| async {
                let reader = backend.open(Path::new(PATH), &OpenOptions::default()).await.unwrap();
                match Pages::open(reader, PagesKind::Payload, expected).await {
                    Err(error) => vec![error],
                    Ok(pages) => {
                        let mut found = Vec::new();
                        pages.verify(&ReadControl::default(), |error| all(&mut found, error)).await.unwrap();
                        found
                    }
                }
            })
            .unwrap()
    }

    fn at(bytes: &[u8], offset: usize) -> u32 {
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }

    #[test]
    fn every_page_is_of_this_file_and_none_other() {
        let sections = [vec![1; 9000], vec![2; 10]];
        let own = written(&sections).get(Path::new(PATH)).unwrap();
        let expected = Expected { identity: Some(IDENTITY), header_crc: Some(at(&own, PAGE_DATA)) };
        assert!(problems(own.clone(), &expected).is_empty());
        // As the format says, byte by byte.
        assert_eq!((&own[24..40], &own[40..48]), (&IDENTITY.owner[..], &7u64.to_le_bytes()[..]));
        let initial = crc32fast::hash(&[&own[24..48], &own[16..20]].concat());
        let mut checksums = Vec::new();
        for (number, page) in own.chunks(PAGE).enumerate() {
            assert_eq!(
                at(page, PAGE_DATA),
                crc(initial ^ number as u32, &page[..PAGE_DATA]),
                "page {number}"
            );
            checksums.extend_from_slice(&page[PAGE_DATA..]);
        }
        assert_eq!(at(&own, 48), crc32fast::hash(&checksums[4..]));

        // The same sections, so that nothing but the identity can tell.
        let others = [
            written_as(&sections, PagesKind::Payload, FileIdentity { file: 8, ..IDENTITY }),
            written_as(&sections, PagesKind::Payload, FileIdentity { owner: [1; 16], ..IDENTITY }),
            written_as(&sections, PagesKind::Fields, IDENTITY),
        ];
        for other in others {
            let other = other.get(Path::new(PATH)).unwrap();
            let page_of = |bytes: &[u8], page: usize| bytes[page * PAGE..][..PAGE].to_vec();
            for page in 0..own.len() / PAGE {
                let mut mixed = own.clone();
                mixed[page * PAGE..][..PAGE].copy_from_slice(&page_of(&other, page));
                let found = problems(mixed, &expected);
                assert_eq!(found.len(), 1, "page {page}: {found:?}");
                let is_named = match &found[0] {
                    Error::Damaged { offset: Some(offset), .. } => *offset == (page * PAGE) as u64,
                    Error::Misplaced { .. } | Error::Damaged { .. } => page == 0,
                    _ => false,
                };
                assert!(is_named, "page {page}: {}", found[0]);
            }
            let found = problems(other, &expected);
            assert!(found.len() == 1, "{found:?}");
        }
        // Within the file.
        let mut swapped = own.clone();
        swapped[PAGE..2 * PAGE].copy_from_slice(&own[2 * PAGE..3 * PAGE]);
        assert_eq!(problems(swapped, &expected).len(), 1);
    }

    /// Another file that was written under the same identity: its pages are sound, and yet not those that were written.
    #[test]
    fn the_header_sums_up_the_file() {
        let own = written(&[vec![1; 9000]]).get(Path::new(PATH)).unwrap();
        let other = written(&[vec![2; 9000]]).get(Path::new(PATH)).unwrap();
        let expected = Expected { identity: Some(IDENTITY), header_crc: Some(at(&own, PAGE_DATA)) };
        for page in 1..own.len() / PAGE {
            let mut mixed = own.clone();
            mixed[page * PAGE..][..PAGE].copy_from_slice(&other[page * PAGE..][..PAGE]);
            let found = problems(mixed, &expected);
            assert!(found.len() == 1 && found[0].to_string().contains("not all are those"), "{found:?}");
        }
        let found = problems(other, &expected);
        assert!(found.len() == 1 && found[0].to_string().contains("segment.json lists"), "{found:?}");
    }

    /// Version 1: no identity, and sections listed where it is now.
    #[test]
    fn the_version_before_is_read_and_passes_for_none_of_this() {
        let sections = [vec![1; 9000], vec![2; 10]];
        let mut old = written(&sections).get(Path::new(PATH)).unwrap();
        old[8] = 1;
        old.copy_within(56..56 + 2 * 16, 24);
        old[56..56 + 2 * 16].fill(0);
        for (number, page) in old.chunks_mut(PAGE).enumerate() {
            let crc = crc(number as u32, &page[..PAGE_DATA]);
            page[PAGE_DATA..].copy_from_slice(&crc.to_le_bytes());
        }
        assert!(problems(old.clone(), &Expected::default()).is_empty());
        let found = problems(old.clone(), &Expected { identity: Some(IDENTITY), header_crc: None });
        assert!(matches!(found[..], [Error::Misplaced { .. }]), "{found:?}");
        let memory = MemoryBackend::new(1);
        memory.put(Path::new(PATH), old);
        let backend = DynBackend::new(memory);
        let read = backend
            .run(|| async {
                open(&backend, PagesKind::Payload).await.unwrap().read_section(0).await.unwrap()
            })
            .unwrap();
        assert_eq!(read, sections[0]);
        // And the other way round.
        let new = written(&sections).get(Path::new(PATH)).unwrap();
        let found = problems(new, &Expected::default());
        assert!(matches!(found[..], [Error::Misplaced { .. }]), "{found:?}");
    }

    #[test]
    fn a_flipped_bit_of_a_header_is_put_back_wherever_it_is() {
        let whole = written(&[vec![1; 100]]).get(Path::new(PATH)).unwrap()[..PAGE].to_vec();
        for bit in (0..80 * 8).chain((80 * 8..PAGE_DATA * 8).step_by(997)).chain(PAGE_DATA * 8..PAGE * 8) {
            let mut header = whole.clone();
            header[bit / 8] ^= 1 << (bit % 8);
            assert!(mend_header(&mut header, PagesKind::Payload) && header == whole, "bit {bit}");
        }
        assert!(!mend_header(&mut whole.clone(), PagesKind::Payload));
        let mut garbled = whole;
        garbled[30..40].fill(9);
        assert!(!mend_header(&mut garbled, PagesKind::Payload));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back_pinned_or_not(
            lens in prop::collection::vec(0usize..20_000, 1..5),
            cuts in prop::collection::vec((0.0f64..1.0, 1usize..9000), 1..20),
        ) {
            let sections: Vec<Vec<u8>> = lens
                .iter()
                .map(|&len| (0..len).map(|i| (i * 7 + len) as u8).collect())
                .collect();
            let backend = DynBackend::new(written(&sections));
            backend.run(|| async {
                let mut pages = open(&backend, PagesKind::Payload).await.unwrap();
                for pinned in [false, true] {
                    if pinned {
                        pages.pin().await.unwrap();
                    }
                    for (index, section) in sections.iter().enumerate() {
                        prop_assert_eq!(&pages.read_section(index).await.unwrap(), section);
                        let ranges: Vec<Range<u64>> = cuts
                            .iter()
                            .filter(|_| !section.is_empty())
                            .map(|(at, len)| {
                                let start = (at * section.len() as f64) as u64;
                                start..(start + *len as u64).min(section.len() as u64)
                            })
                            .collect();
                        let mut found = vec![Vec::new(); ranges.len()];
                        let sink = |index: usize, bytes: &[u8]| {
                            found[index] = bytes.to_vec();
                            Ok(())
                        };
                        pages.read(index, &ranges, &ReadControl::default(), sink).await.unwrap();
                        for (range, found) in ranges.iter().zip(&found) {
                            prop_assert_eq!(found, &section[range.start as usize..range.end as usize]);
                        }
                    }
                }
                Ok(())
            }).unwrap()?;
        }
    }

    #[test]
    fn records_do_not_straddle_pages_needlessly() {
        let backend = DynBackend::new(MemoryBackend::new(1));
        backend
            .run(|| async {
                let writer = backend.create(Path::new(PATH), &OpenOptions::default()).await.unwrap();
                let mut pages = PagesWriter::new(writer, PagesKind::Payload, IDENTITY);
                pages.begin_section().await.unwrap();
                let mut starts = Vec::new();
                for len in [2000, 1800, 1000, 3000, 5000, 200] {
                    pages.align_record(len).await.unwrap();
                    starts.push(pages.position());
                    pages.write(&vec![1; len]).await.unwrap();
                }
                // 292 bytes of the first page are left for nothing; 3092 are too many to waste.
                assert_eq!(starts, [0, 2000, 4092, 5092, 8184 + 1908 - 2000, 13_092]);
                pages.finish().await.unwrap();
            })
            .unwrap();
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found_and_named() {
        let sections = [(0..5000).map(|i| i as u8).collect(), vec![9; 10]];
        let whole = written(&sections).get(Path::new(PATH)).unwrap();
        assert_eq!(whole.len(), 4 * PAGE);
        for bit in (0..PAGE * 8)
            .step_by(7)
            .chain(PAGE * 8..(PAGE + 40) * 8)
            .chain((2 * PAGE * 8..whole.len() * 8).step_by(101))
        {
            let memory = MemoryBackend::new(1);
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            memory.put(Path::new(PATH), flipped);
            let backend = DynBackend::new(memory);
            backend
                .run(|| async {
                    let offset = (bit / 8 / PAGE * PAGE) as u64;
                    match open(&backend, PagesKind::Payload).await {
                        Err(error) => assert_eq!(offset, 0, "bit {bit}: {error}"),
                        Ok(pages) => {
                            let mut found = Vec::new();
                            pages
                                .verify(&ReadControl::default(), |error| all(&mut found, error))
                                .await
                                .unwrap();
                            assert_eq!(found.len(), 1, "bit {bit}: {found:?}");
                            let named =
                                matches!(found[0], Error::Damaged { offset: Some(at), .. } if at == offset);
                            assert!(named, "bit {bit}: {}", found[0]);
                            let reads =
                                [pages.read_section(0).await.is_err(), pages.read_section(1).await.is_err()];
                            assert_eq!(reads, [offset < 3 * PAGE as u64, offset == 3 * PAGE as u64]);
                        }
                    }
                })
                .unwrap();
        }
    }

    #[test]
    fn what_is_no_such_file_is_named() {
        let whole = written(&[vec![1; 100]]).get(Path::new(PATH)).unwrap();
        let error = |bytes: Vec<u8>, kind| {
            let memory = MemoryBackend::new(1);
            memory.put(Path::new(PATH), bytes);
            let backend = DynBackend::new(memory);
            let opened = backend.run(|| async { open(&backend, kind).await.map(drop) }).unwrap();
            opened.unwrap_err().to_string()
        };
        assert!(error(whole.clone(), PagesKind::Ids).contains("kind 3 instead of Ids"));
        assert!(error(vec![], PagesKind::Payload).contains("0 bytes are too few"));
        assert!(error(vec![0; PAGE], PagesKind::Payload).contains("it starts with"));
        assert!(error(whole[..PAGE].to_vec(), PagesKind::Payload).contains("its sections end at 8192"));
        let longer = [whole.as_slice(), &[0; PAGE]].concat();
        assert!(error(longer, PagesKind::Payload).contains("12288 bytes long"));
        let mut newer = whole;
        newer[8] = 3;
        let initial = seed(Some(IDENTITY), PagesKind::Payload as u32);
        let crc = page_crc(initial, 0, &newer[..PAGE_DATA]).to_le_bytes();
        newer[PAGE_DATA..PAGE].copy_from_slice(&crc);
        assert!(error(newer, PagesKind::Payload).contains("version 3"));
    }
}
