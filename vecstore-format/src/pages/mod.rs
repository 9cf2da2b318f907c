//! A file of sections, in pages that each have a checksum.
//!
//! ```text
//! page 0:  |magic|version|order|kind|sections|identity|t |zeros|(first_page u64, bytes u64)...|zeros|crc32|
//!          0     8       12    16   20       24       48 52    56                                   4092
//! page n:  |4092 bytes of a section                                                                |crc32|
//! ```
//!
//! A section is a string of bytes, cut into pages of 4092. Zeros fill its last page. Sections follow each
//! other. All numbers are little-endian.
//!
//! A page's checksum starts from the seed xor the number of the page. The identity and the kind make the
//! seed, so that a page of another file or another place does not pass. `t` is the crc32 of the checksums of
//! pages 1 and on: the header sums up the whole file. Version 1 has no identity and no `t`. Its sections are
//! listed from 24 on, and its seed is 0.
//!
//! A read of any byte reads and checks the whole page. *Pinned* sections are checked once, and then handed
//! out from memory.

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

/// What the sections of a file are.
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
    /// Which points are deleted.
    Deleted = 5,
    /// What a codec learned.
    Codec = 6,
}

#[cfg(test)]
mod tests;
