//! Bytes in and out: the containers and encodings that an embedded vector store keeps on disk, over any
//! [`io_core`] backend.
//!
//! | module | what it is |
//! |---|---|
//! | [`vector_file`] | a file of records of one length: vectors, or codes of vectors |
//! | [`pages`] | a file of sections, in pages that each have a checksum |
//! | [`log`] | a write-ahead log: records, its end after a crash, what is left of a damaged one |
//! | [`checked_json`] | JSON with a checksum in its last line |
//! | [`postings`], [`offsets`], [`table`], [`links`], [`perfect_hash`] | what sections hold |
//! | [`bit_flip`] | a flipped bit, found by what it does to a checksum |
//!
//! Every byte that is read is covered by a checksum. A checksum starts from the [`FileIdentity`] of its file,
//! so that bytes of another file or another place do not pass. `FORMAT.md` in this crate describes the files
//! byte by byte.
//!
//! This crate does not know what a collection is: which files there are, and which of them count, is up to
//! its user. It does IO through `io-core` only, and blocks only where [`io_core::Directory`] does.

#![forbid(unsafe_code)]

pub mod bit_flip;
pub mod checked_json;
mod crc;
mod element;
mod error;
mod expected;
mod file_identity;
pub mod links;
pub mod log;
pub mod offsets;
pub mod pages;
pub mod perfect_hash;
mod point_id;
pub mod postings;
mod random_id;
pub mod table;
pub mod vector_file;

pub use element::{Element, ElementType, UnknownElementError};
pub use error::FormatError;
pub use expected::Expected;
pub use file_identity::FileIdentity;
pub use point_id::{PointId, PointIdError};
pub use random_id::{RandomId, random_u64};

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
