//! Arguments of the commands that measure.

use super::collection::BackendChoice;
use super::parse::whole;
use super::schema::GraphArgs;
use super::search::{IoArgs, SearchArgs};
use clap::Args;
use std::num::ParseFloatError;
use std::path::PathBuf;
use vecstore::schema::DIM_MAX;

#[derive(Args)]
pub(crate) struct Demo {
    /// File of vectors to index (.npy, .fvecs, .bvecs) [default: clustered vectors from a fixed seed]
    #[arg(long, value_name = "FILE", requires = "queries")]
    pub(crate) vectors: Option<PathBuf>,
    /// File of queries
    #[arg(long, value_name = "FILE", requires = "vectors")]
    pub(crate) queries: Option<PathBuf>,
    /// Exact neighbours of each query, best first, as a 2-d int32 .npy [default: found by exact search for up
    /// to 100 queries]
    #[arg(long, value_name = "FILE", requires = "vectors")]
    pub(crate) truth: Option<PathBuf>,
    /// Vectors to make when no file is given
    #[arg(long, default_value_t = 50_000, value_parser = whole::<u32>(100..=10_000_000))]
    pub(crate) count: u32,
    /// Their dimension
    #[arg(long, default_value_t = 128, value_parser = whole::<u32>(1..=DIM_MAX as u64))]
    pub(crate) dim: u32,
    /// Directory for the collection, which is removed again; its disk is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) graph: GraphArgs,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    #[command(flatten)]
    pub(crate) io: IoArgs,
    /// `all`, or one of the backends of this build
    #[arg(long, default_value = "all", value_name = "NAME")]
    pub(crate) backend: BackendChoice,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Advise {
    /// Directory on the disk to measure, for a file that is removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) path: PathBuf,
    /// Time to measure, about; making the file is not counted
    #[arg(long, default_value_t = 110, value_parser = whole::<u64>(5..=3600))]
    pub(crate) seconds: u64,
    /// Size of the file, better larger than the disk's own cache
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = whole::<u32>(16..))]
    pub(crate) size_mib: u32,
    /// Bytes of a vector: its components times 4 for f32
    #[arg(long, value_name = "BYTES", default_value_t = 3072, value_parser = whole::<u32>(4..=262_144))]
    pub(crate) vector_bytes: u32,
    /// Size of the vectors that will be stored [default: four times the memory]
    #[arg(long, value_name = "GIB", value_parser = parse_gib)]
    pub(crate) data_gib: Option<f64>,
    /// Memory for these vectors and everything else [default: that of the machine or container]
    #[arg(long, value_name = "GIB", value_parser = parse_gib)]
    pub(crate) memory_gib: Option<f64>,
    /// `all`, or one of the backends of this build
    #[arg(long, default_value = "all", value_name = "NAME")]
    pub(crate) backend: BackendChoice,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_gib(text: &str) -> Result<f64, String> {
    let gib: f64 = text.parse().map_err(|error: ParseFloatError| error.to_string())?;
    if gib > 0.0 && gib.is_finite() { Ok(gib) } else { Err("it must be more than 0".to_owned()) }
}
