//! Arguments of the commands that write points.

use super::collection::CollectionArgs;
use super::maintain::ThresholdArgs;
use super::parse::{parse_filter, whole};
use super::vectors::FormatArgs;
use clap::{ArgGroup, Args};
use std::path::PathBuf;
use vecstore::filter::Filter;
use vecstore::point::PointId;

#[derive(Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// File of vectors (.npy of float32, float16 or uint8; .fvecs; .bvecs; or raw), or a .parquet that
    /// `export` wrote
    pub(crate) vectors: PathBuf,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// File of payloads, a JSON object a line, in the order of the vectors
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Field of the payload that is the point's id; it stays in the payload
    #[arg(long, value_name = "FIELD", requires = "payload", conflicts_with = "points")]
    pub(crate) id_field: Option<String>,
    /// Lines are what `export` writes: {"id": ..., "payload": {...}}
    #[arg(long, requires = "payload")]
    pub(crate) points: bool,
    /// Id of the first vector if ids are not given; later ones count up [default: 0]
    #[arg(long, value_name = "ID", conflicts_with_all = ["id_field", "points"],
        value_parser = whole::<u64>(0..=u64::MAX))]
    pub(crate) first_id: Option<u64>,
    /// Do not seal the last points, and merge nothing [default: seal them; merge everything if most of the
    /// collection is new, or if --segments-max or --vacuum-ratio asks for it]
    #[arg(long)]
    pub(crate) no_optimize: bool,
    /// Merge everything in any case, as `optimize` does
    #[arg(long, conflicts_with = "no_optimize")]
    pub(crate) optimize: bool,
    #[command(flatten)]
    pub(crate) thresholds: ThresholdArgs,
}

#[derive(Args)]
pub(crate) struct Upsert {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// File of points, a JSON object a line [default: standard input]
    pub(crate) points: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) thresholds: ThresholdArgs,
}

#[derive(Args)]
#[command(
    override_usage = "vecstore delete [OPTIONS] <COLLECTION> <IDS...|--filter <JSON>>",
    group(ArgGroup::new("which").required(true).args(["ids", "filter"]))
)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// Ids of the points
    pub(crate) ids: Vec<PointId>,
    /// Which points
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub(crate) filter: Option<Filter>,
}
