//! Constants of the layout.

use vecstore_format::table::per_page;

/// Sections of a field.
pub(super) const SECTIONS: usize = 4;
/// Bytes of an entry of the table of numbers.
pub(super) const NUMBER_ENTRY: usize = 12;
/// Entries of a page of the table of numbers.
pub(crate) const NUMBERS_PER_PAGE: usize = per_page(NUMBER_ENTRY);
