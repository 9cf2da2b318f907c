//! An immutable segment: a directory of files built once from vectors, searched through any backend.
//!
//! ```text
//! NAME/
//!   segment.json   what the segment holds and how it was built            (manifest.rs)
//!   vectors.vec    the originals, as they were given: an io-core vector file; read while searching
//!   codes.part     int8 codes and their parameters; in memory             (component.rs)
//!   graph.part     the HNSW graph; in memory                              (component.rs)
//! ```
//!
//! The directory appears under its name only when it is whole and durable. A segment built through one backend opens
//! through every other.

mod build;
mod component;
mod error;
mod manifest;
mod open;
mod search;

pub use build::{BuildParams, BuildProgress, BuildStage, build_segment};
pub use error::SegmentError;
pub use manifest::Manifest;
pub use open::{OpenSegment, SegmentData};
pub use search::{Hit, SearchParams, SearchResult, SearchStats};

const MANIFEST: &str = "segment.json";
const VECTORS: &str = "vectors.vec";
const CODES: &str = "codes.part";
const GRAPH: &str = "graph.part";
