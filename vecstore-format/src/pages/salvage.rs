//! Reads what is left of a damaged file.

use super::header::{ENTRIES_AT, Header, layout, page_crc, seed};
use super::{PAGE_DATA, Pages, PagesData, PagesKind};
use crate::FormatError;
use crate::bit_flip::mend;
use io_core::{DynVectorReader, VectorReader};
use std::cell::RefCell;

impl Pages {
    /// Opens a damaged file for repair. Pages may be missing at its end, bytes may follow it, and pages may
    /// have one flipped bit. Also returns what is wrong with the file as a whole.
    ///
    /// # Errors
    /// As [`Pages::open_any`], if no flipped bit of the header explains it.
    pub async fn salvage(
        reader: Box<dyn DynVectorReader>,
        kind: PagesKind,
    ) -> Result<(Self, Option<String>), FormatError> {
        let file = reader.file().clone();
        let mut header = Header::read(&*reader).await?;
        let mended = mend_header(&mut header, kind).then_some(0).into_iter().collect();
        let header = Header::decode(&file.path, &header, kind)?;
        let end = header.file_bytes();
        let note = (end != file.len)
            .then(|| format!("{} is {} bytes long instead of {end}", file.path.display(), file.len));
        let data = PagesData { path: file.path, header, pinned: None };
        Ok((Self { reader, data, mended: Some(RefCell::new(mended)) }, note))
    }

    /// The number of pages in which a flipped bit was put back.
    #[must_use]
    pub fn mended(&self) -> u64 {
        self.mended.as_ref().map_or(0, |pages| pages.borrow().len() as u64)
    }
}

/// Puts back a flipped bit of a header of this kind. Returns true if there was one.
pub(super) fn mend_header(header: &mut [u8], kind: PagesKind) -> bool {
    let sound = |header: &[u8]| Header::decode("".as_ref(), header, kind).is_ok();
    if sound(header) {
        return false;
    }
    // Some fields also determine the seed, so a flipped bit of them changes the checksum twice. Each bit is
    // therefore tried.
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
