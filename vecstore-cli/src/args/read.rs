//! Arguments of the commands that print or export points.

use super::collection::CollectionArgs;
use super::parse::{parse_filter, up_to};
use clap::Args;
use std::path::PathBuf;
use vecstore::collection::LIMIT_MAX;
use vecstore::filter::Filter;
use vecstore::point::PointId;

#[derive(Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// Ids of the points
    #[arg(required = true)]
    pub(crate) ids: Vec<PointId>,
    /// Print vectors too
    #[arg(long)]
    pub(crate) with_vector: bool,
}

#[derive(Args)]
pub(crate) struct Scroll {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// Which points
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub(crate) filter: Option<Filter>,
    /// Order by an indexed field of numbers [default: by id]
    #[arg(long, value_name = "FIELD")]
    pub(crate) order_by: Option<String>,
    /// Points to print [default: all]
    #[arg(long, value_name = "N", value_parser = up_to(usize::MAX))]
    pub(crate) limit: Option<usize>,
    /// Begin after the page that printed this token to standard error
    #[arg(long, value_name = "TOKEN")]
    pub(crate) page: Option<String>,
    /// Print vectors too
    #[arg(long)]
    pub(crate) with_vector: bool,
}

#[derive(Args)]
pub(crate) struct Count {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// Which points
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub(crate) filter: Option<Filter>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Facet {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// The field
    pub(crate) field: String,
    /// Which points
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub(crate) filter: Option<Filter>,
    /// Values to print
    #[arg(long, default_value_t = 20, value_parser = up_to(LIMIT_MAX))]
    pub(crate) limit: usize,
    /// Print JSON, a line for each value
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// New file: .npy for the vectors, in the collection's element type, or .parquet for everything
    pub(crate) vectors: PathBuf,
    /// New file for the lines {"id": ..., "payload": {...}}, in the order of the vectors; only with .npy
    pub(crate) points: Option<PathBuf>,
}
