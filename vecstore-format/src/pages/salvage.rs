//! Reading what is left of a damaged file.

use super::header::{ENTRIES_AT, Header, layout, page_crc, seed};
use super::{PAGE_DATA, Pages, PagesData, PagesKind};
use crate::FormatError;
use crate::bit_flip::mend;
use io_core::{DynVectorReader, VectorReader};
use std::cell::RefCell;

impl Pages {
    /// Opens a file to save what can be saved: with pages missing at its end or bytes behind it, and pages in
    /// which one bit was flipped. Says what is wrong with the file as a whole.
    ///
    /// # Errors
    /// As [`Pages::open_any`], where no flipped bit of the header explains it.
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

    /// Pages with a flipped bit that was put back.
    #[must_use]
    pub fn mended(&self) -> u64 {
        self.mended.as_ref().map_or(0, |pages| pages.borrow().len() as u64)
    }
}

/// Puts back a flipped bit of a header of this kind. Says whether there was one.
pub(super) fn mend_header(header: &mut [u8], kind: PagesKind) -> bool {
    let sound = |header: &[u8]| Header::decode("".as_ref(), header, kind).is_ok();
    if sound(header) {
        return false;
    }
    // The seed is made of some of its fields, so that one of their bits changes the checksum in two ways:
    // each is tried.
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
