//! Indexes of payload fields of an immutable segment.
//!
//! `fields.pages` has four sections for each indexed field, in the order of their names:
//!
//! | section | terms (keyword, bool, UUID) | numbers (integer, float, datetime) |
//! |---|---|---|
//! | 0 | u64: points, distinct terms, points with a value | u64: points, entries, points with a value |
//! | 1 | postings: the points with a value | the same |
//! | 2 | dictionary: groups of terms, sorted | sorted table (number u64, point u32) |
//! | 3 | the postings of each term, concatenated | empty |
//!
//! ```text
//! group:  |group_bytes u32|terms u32| for each term:
//!         |term_len u32|term|count u32|postings_start u64|postings_len u32|
//! ```
//!
//! A group has about the size of a page. Entries of the table are ordered by number, then by the id of their
//! point. Memory holds the points with a value, and the first term of each group or the first number of each
//! page. Finding a term takes one read of the dictionary and one of the postings. Finding a range of numbers
//! takes one read of its pages.

mod data;
mod dictionary;
mod layout;
mod read;
mod write;

pub(crate) use data::FieldsData;
pub(crate) use layout::NUMBERS_PER_PAGE;
pub(crate) use read::FieldsReader;
pub(crate) use write::{FieldBuilder, write_fields};
