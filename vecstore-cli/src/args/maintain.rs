//! Arguments of the commands that maintain a collection, and the thresholds of sealing and merging.

use super::collection::CollectionArgs;
use super::parse::{parse_part, whole};
use clap::Args;
use std::path::PathBuf;
use vecstore::collection::CollectionOptions;

#[derive(Args)]
pub(crate) struct Maintain {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Optimize {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    #[command(flatten)]
    pub(crate) segments: SegmentArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct FromTo {
    #[command(flatten)]
    pub(crate) from: CollectionArgs,
    /// A directory that does not exist yet
    pub(crate) to: PathBuf,
}

#[derive(Args)]
pub(crate) struct Repair {
    #[command(flatten)]
    pub(crate) paths: FromTo,
    /// The schema, as JSON, if the damaged collection has lost it
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The largest segment that merging makes.
#[derive(Args)]
pub(crate) struct SegmentArgs {
    /// The most points of a segment that merging makes
    #[arg(long, value_name = "POINTS", default_value_t = CollectionOptions::default().segment_points_max,
        value_parser = whole::<u32>(1..))]
    pub(crate) segment_points_max: u32,
}

impl SegmentArgs {
    pub(crate) fn options(&self) -> CollectionOptions {
        CollectionOptions { segment_points_max: self.segment_points_max, ..CollectionOptions::default() }
    }
}

/// Thresholds of sealing and merging while the collection is written.
#[derive(Args)]
#[command(next_help_heading = "Sealing and merging")]
pub(crate) struct ThresholdArgs {
    /// Points in memory that are sealed into a segment
    #[arg(long, value_name = "POINTS", default_value_t = CollectionOptions::default().seal_points,
        value_parser = whole::<usize>(1..))]
    pub(crate) seal_points: usize,
    /// Bytes of vectors, codes and payloads in memory that are sealed, even if points are few
    #[arg(long, value_name = "BYTES", default_value_t = CollectionOptions::default().seal_bytes,
        value_parser = whole::<usize>(1..))]
    pub(crate) seal_bytes: usize,
    /// Bytes of log after which points in memory are sealed; each replacement of a point adds to them
    #[arg(long, value_name = "BYTES", default_value_t = CollectionOptions::default().seal_log_bytes)]
    pub(crate) seal_log_bytes: u64,
    /// Merge the smallest segments if there are more than this
    #[arg(long, value_name = "N", default_value_t = CollectionOptions::default().segments_max,
        value_parser = whole::<usize>(1..))]
    pub(crate) segments_max: usize,
    /// Write a segment again if more than this part of its points is deleted, from 0 to 1
    #[arg(long, value_name = "PART", default_value_t = CollectionOptions::default().vacuum_ratio, value_parser = parse_part::<f64>)]
    pub(crate) vacuum_ratio: f64,
    #[command(flatten)]
    pub(crate) segments: SegmentArgs,
}

impl ThresholdArgs {
    pub(crate) fn options(&self) -> CollectionOptions {
        CollectionOptions {
            seal_points: self.seal_points,
            seal_bytes: self.seal_bytes,
            seal_log_bytes: self.seal_log_bytes,
            segments_max: self.segments_max,
            vacuum_ratio: self.vacuum_ratio,
            ..self.segments.options()
        }
    }
}
