//! Indexes over vectors. They do no IO. A builder takes scores. A search is a state machine that its driver
//! feeds with scores and links, from memory or from disk.
//!
//! [`graph`] leads from point to point, and [`cells`] are groups of near points. [`TopK`] serves callers that
//! score every point instead.

#![forbid(unsafe_code)]

pub mod cells;
pub mod graph;
mod pool;
mod top_k;

pub use top_k::TopK;

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
