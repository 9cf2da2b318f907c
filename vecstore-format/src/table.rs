//! Tables of entries of one size in a section of pages: none straddles a page, so one is found with one page
//! read.

use crate::FormatError;
use crate::pages::{PAGE_DATA, PagesWriter};
use std::ops::Range;

/// How many entries of this size fit a page.
#[must_use]
pub const fn per_page(entry_bytes: usize) -> usize {
    PAGE_DATA / entry_bytes
}

/// Where an entry lies in its section.
#[must_use]
pub fn entry_range(index: u64, entry_bytes: usize) -> Range<u64> {
    let per_page = per_page(entry_bytes) as u64;
    let start = index / per_page * PAGE_DATA as u64 + index % per_page * entry_bytes as u64;
    start..start + entry_bytes as u64
}

/// Where the entries of a page lie in its section, of a table of so many entries.
#[must_use]
pub fn page_range(page: u64, count: u64, entry_bytes: usize) -> Range<u64> {
    let per_page = per_page(entry_bytes) as u64;
    let entries = (count - page * per_page).min(per_page);
    let start = page * PAGE_DATA as u64;
    start..start + entries * entry_bytes as u64
}

/// Bytes of the section of a table of so many entries; the most there is for more than any file can hold.
#[must_use]
pub fn section_bytes(count: u64, entry_bytes: usize) -> u64 {
    let per_page = per_page(entry_bytes) as u64;
    match count.checked_sub(1) {
        Some(last) => (last / per_page)
            .saturating_mul(PAGE_DATA as u64)
            .saturating_add((last % per_page + 1) * entry_bytes as u64),
        None => 0,
    }
}

/// How many entries a section of so many bytes has.
#[must_use]
pub fn entries(section_bytes: u64, entry_bytes: usize) -> u64 {
    let data = PAGE_DATA as u64;
    section_bytes / data * per_page(entry_bytes) as u64 + section_bytes % data / entry_bytes as u64
}

/// Writes a section of entries, given one after the other.
///
/// # Errors
/// [`FormatError::Write`].
pub async fn write_table<const N: usize>(
    pages: &mut PagesWriter,
    entries: impl Iterator<Item = [u8; N]>,
) -> Result<(), FormatError> {
    pages.begin_section().await?;
    for (index, entry) in entries.enumerate() {
        let gap = entry_range(index as u64, N).start - pages.position();
        pages.write(&[0; PAGE_DATA][..gap as usize]).await?;
        pages.write(&entry).await?;
    }
    Ok(())
}
