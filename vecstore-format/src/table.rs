//! Tables of fixed-size entries in a section of pages. No entry straddles a page, so one page read finds any
//! entry.

use crate::FormatError;
use crate::pages::{PAGE_DATA, PagesWriter};
use std::ops::Range;

/// The number of entries that fit a page.
#[must_use]
pub const fn per_page(entry_bytes: usize) -> usize {
    PAGE_DATA / entry_bytes
}

/// The place of an entry in its section, in bytes.
#[must_use]
pub fn entry_range(index: u64, entry_bytes: usize) -> Range<u64> {
    let per_page = per_page(entry_bytes) as u64;
    let start = index / per_page * PAGE_DATA as u64 + index % per_page * entry_bytes as u64;
    start..start + entry_bytes as u64
}

/// The place in the section of all entries of a page, in a table of `count` entries.
#[must_use]
pub fn page_range(page: u64, count: u64, entry_bytes: usize) -> Range<u64> {
    let per_page = per_page(entry_bytes) as u64;
    let entries = (count - page * per_page).min(per_page);
    let start = page * PAGE_DATA as u64;
    start..start + entries * entry_bytes as u64
}

/// Length in bytes of the section of a table with `count` entries. It saturates where no file can hold them.
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

/// The number of entries in a section of `section_bytes` bytes.
#[must_use]
pub fn entries(section_bytes: u64, entry_bytes: usize) -> u64 {
    let data = PAGE_DATA as u64;
    section_bytes / data * per_page(entry_bytes) as u64 + section_bytes % data / entry_bytes as u64
}

/// Writes a section from an iterator of entries.
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
