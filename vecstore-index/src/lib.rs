//! Indexes over vectors. They do no IO. A builder takes scores. A search is a state machine that its driver
//! feeds with scores and links, from memory or from disk.
//!
//! [`graph`] is the only index so far. [`TopK`] serves callers that score every point instead.

#![forbid(unsafe_code)]

pub mod graph;
mod top_k;

pub use top_k::TopK;

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
