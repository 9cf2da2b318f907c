//! An embedded vector store for data larger than memory, over any [`io_core`] backend.
//!
//! This version has immutable segments: built once from vectors, then searched. Codes (int8) and the graph (HNSW) are in
//! memory; the originals stay on disk and are read in one batch a query to rank the best candidates.
//!
//! * [`segment`]: build, open and search a segment, generic over the backend.
//! * [`pool`]: an executor a core; hand queries in from any thread.
//! * [`backends`]: the backends of this build, by name.
//! * [`input`]: vectors from files.
//!
//! ```
//! use std::sync::Arc;
//! use vecstore::backends::BackendKind;
//! use vecstore::dataset::Clustered;
//! use vecstore::pool::{Pool, PoolOptions};
//! use vecstore::segment::{BuildParams, SearchParams, SegmentData, build_segment};
//! use io_core::{BackendFactory, OpenOptions, StopFlag};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("demo.vecstore");
//! let backend = BackendKind::all()[0].backend();
//! let mut vectors = Clustered::new(1000, 16, 1);
//! build_segment(&backend, &mut vectors, &path, &BuildParams::default(), &|_| {}, &StopFlag::new())?;
//!
//! let options = OpenOptions::default();
//! let data = backend.run(|| SegmentData::load(&backend, &path, &options))??;
//! let pool = Pool::start(&backend, &Arc::new(data), &PoolOptions::default())?;
//! let query = vectors.queries(1).remove(0);
//! let found = pool.search_blocking(query, SearchParams { limit: 3, ..SearchParams::default() })?;
//! assert_eq!(found.hits.len(), 3);
//! pool.close()?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]

pub mod backends;
mod checked_json;
pub mod collection;
pub mod dataset;
pub mod distance;
mod element;
pub mod error;
pub mod field;
pub mod filter;
mod filtering;
pub mod hnsw;
mod immutable;
pub mod input;
pub mod kernels;
mod log;
mod mutable;
mod pages;
pub mod point;
pub mod pool;
pub mod quantization;
mod rng;
pub mod schema;
pub mod segment;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
