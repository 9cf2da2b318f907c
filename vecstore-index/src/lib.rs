//! Indexes over vectors. They do no IO: a builder takes scores, and a search is a state machine that is fed with scores and
//! links, wherever those come from.
//!
//! [`graph`] is the only index so far. [`TopK`] is for whoever scores every point instead.

#![forbid(unsafe_code)]

pub mod graph;
mod top_k;

pub use top_k::TopK;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
