//! An immutable segment: a directory of files, its part in memory, and readers of the rest.
//!
//! ```text
//! segment-NUMBER/  segment.json   what it is          ids.pages        ids, and the points of ids
//!                  vectors.vec    original vectors    payload.pages    payloads
//!                  codes.vec      codes               fields.pages     indexes of payload fields
//!                  codec.pages    the codec's model   deleted-*.pages  which points are deleted
//!
//! its index:       graph.pages    HNSW                linked.vec       links with codes of points
//!                  cells.pages    where cells are     cells.vec        codes of cells
//! ```
//!
//! | module | concern |
//! |---|---|
//! | `info` | `segment.json` |
//! | `data` | the part in memory, which all cores share, and loading it |
//! | `index` | the index, as far as it is in memory |
//! | `linked` | records of links with codes |
//! | `reader` | the open files, of one core |
//! | `placement` | how a file is opened |
//! | `codec` | the codec of the schema |

mod codec;
mod data;
mod index;
mod info;
mod linked;
mod placement;
mod reader;

pub(crate) use codec::{code_record_bytes, trained_codec, untrained_codec};
pub(crate) use data::{CodesData, SegmentData, load_records};
pub(crate) use index::{GraphIndex, IndexData};
pub(crate) use info::SegmentInfo;
pub(crate) use linked::{LinkedData, linked_layout};
pub(crate) use reader::SegmentReader;

pub(crate) const SEGMENT_JSON: &str = "segment.json";
pub(crate) const VECTORS: &str = "vectors.vec";
pub(crate) const CODES: &str = "codes.vec";
pub(crate) const CODEC: &str = "codec.pages";
pub(crate) const GRAPH: &str = "graph.pages";
pub(crate) const LINKED: &str = "linked.vec";
pub(crate) const CELLS: &str = "cells.pages";
pub(crate) const CELL_CODES: &str = "cells.vec";
pub(crate) const IDS: &str = "ids.pages";
pub(crate) const PAYLOAD: &str = "payload.pages";
pub(crate) const FIELDS: &str = "fields.pages";

/// The number of a file in its identity. Files of pages have 0, because their kind tells them apart.
pub(crate) fn file_number(name: &str) -> u64 {
    match name {
        VECTORS => 1,
        CODES => 2,
        LINKED => 3,
        CELL_CODES => 4,
        _ => 0,
    }
}
