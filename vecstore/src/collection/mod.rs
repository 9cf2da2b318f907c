//! Collections: writing, finding, changing and keeping points.
//!
//! ```text
//! any thread: Collection ──┬── writes ──> writer thread: log, state, manifest
//!                          ├── reads ───> core 0, core 1, ...: an executor each, with readers of its own
//!                          └── optimize ─> optimizer thread: new segments, installed by the writer
//! ```
//!
//! | module | concern |
//! |---|---|
//! | `handle` | the handle of an open collection, which any thread may use; starting its threads |
//! | `shared` | what its threads share |
//! | `open` | creating and opening, recovery from the log |
//! | `writer` | all changes, one at a time |
//! | `cores` | the threads that read |
//! | `optimizer` | sealing, merging, vacuum, defragmentation; `plan` chooses the next step |
//! | `reader` | reading on one core; `search`, `retrieve` and `scroll` are the reads |
//! | `disk_search`, `exact` | the best points of the segments: by a walk, and with a proof |
//! | `state` | the content at one moment, and the version that a read keeps |
//! | `manifest`, `files` | the list of a collection's files, and their names |
//! | `prepare` | checking and encoding writes |
//! | `counters`, `events` | what monitoring sees |
//! | `pending` | the future of an operation |

mod cores;
mod counters;
mod decide;
mod disk_search;
mod events;
mod exact;
mod files;
mod handle;
mod info;
mod locality;
mod manifest;
mod open;
mod open_files;
mod optimizer;
mod options;
mod overlap;
mod pending;
mod plan;
mod prepare;
mod reader;
mod repair;
mod request;
mod retrieve;
mod scroll;
mod search;
mod select;
mod shared;
mod snapshot;
mod staging;
mod state;
#[cfg(test)]
mod tests;
mod ties;
mod verify;
mod writer;

pub use crate::build::BuildStage;
pub use counters::CollectionCounters;
pub use handle::Collection;
pub use info::{CollectionInfo, SegmentSummary};
pub use locality::Locality;
pub use open::{CutOff, OpenReport};
pub use open_files::OpenFiles;
pub use optimizer::{OptimizeProgress, OptimizeReport};
pub use options::CollectionOptions;
pub use pending::Pending;
pub use reader::CollectionReader;
pub use repair::RepairReport;
pub use request::{
    Durability, FacetCount, Hit, LIMIT_MAX, PayloadChange, Record, RecordParts, Rescore, Retrieved,
    ScrollPage, ScrollRequest, SearchParams, SearchRequest, SearchResult, SearchStats, Selection,
    WriteSummary,
};
pub use verify::VerifyReport;

/// Functions for the fuzz targets.
#[cfg(feature = "internals")]
pub(crate) mod fuzzing {
    /// Decodes a manifest.
    pub(crate) fn manifest(path: &std::path::Path, bytes: &[u8]) {
        let _ = super::manifest::Manifest::decode(path, bytes);
    }
}
