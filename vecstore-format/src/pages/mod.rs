//! A file of sections, in pages with a checksum each.
//!
//! ```text
//! page 0:  |magic|version|order|kind|sections|identity|t |zeros|(first_page u64, bytes u64)...|zeros|crc32|
//!          0     8       12    16   20       24       48 52    56                                   4092
//! page n:  |4092 bytes of a section                                                                |crc32|
//! ```
//!
//! A section is a sequence of bytes, cut into pages of 4092. Zeros fill its last page. Sections follow each
//! other. All numbers are little-endian.
//!
//! The checksum of a page starts from the seed xor the number of the page. The seed comes from the identity
//! and the kind, so a page of another file or another place does not pass. `t` is the crc32 of the checksums
//! of all pages from 1 on, so the header covers the whole file. Version 1 has no identity and no `t`. It
//! lists its sections from 24 on, and its seed is 0.
//!
//! A read of any byte reads and checks the whole page. *Pinned* sections are checked once, and then served
//! from memory.

mod batches;
mod data;
mod header;
mod reader;
mod salvage;
mod verify;
mod writer;

pub use data::PagesData;
pub use reader::Pages;
pub use writer::PagesWriter;

/// Bytes of a page on disk.
const PAGE: usize = 4096;
/// Bytes of a section in a page.
pub const PAGE_DATA: usize = PAGE - 4;

/// What a file's sections hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagesKind {
    /// The links of a graph.
    Graph = 1,
    /// Ids of points.
    Ids = 2,
    /// Payloads.
    Payload = 3,
    /// Indexes of fields.
    Fields = 4,
    /// Numbers of deleted points.
    Deleted = 5,
    /// The parameters that a codec learned.
    Codec = 6,
    /// Where the cells of an index are.
    Cells = 7,
}

#[cfg(test)]
mod tests;
