//! Bytes in and out: the containers and encodings of an embedded vector store on disk, over any [`io_core`]
//! backend.
//!
//! | module | what it is |
//! |---|---|
//! | [`vector_file`] | a file of records of one length: vectors, or codes of vectors |
//! | [`pages`] | a file of sections, in pages that each have a checksum |
//! | [`log`] | a write-ahead log: records, its end after a crash, salvage of a damaged one |
//! | [`checked_json`] | JSON with a checksum in its last line |
//! | [`postings`], [`offsets`], [`table`], [`links`], [`perfect_hash`] | encodings inside sections |
//! | [`bit_flip`] | finding a flipped bit by its effect on a checksum |
//!
//! A checksum covers every byte that is read. It starts from the [`FileIdentity`] of its file, so bytes of
//! another file or another place do not pass. `FORMAT.md` in this crate describes the files byte by byte.
//!
//! This crate does not know what a collection is. Its user decides which files exist and which of them count.
//! The crate does IO through `io-core` only, and blocks only where [`io_core::Directory`] does.

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

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
