//! The command line.

use crate::error::CliError;
use clap::{Args, Parser, Subcommand, ValueEnum};
use io_core::{ElementType, OpenOptions};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use vecstore::backends::BackendKind;
use vecstore::distance::Distance;
use vecstore::hnsw::HnswParams;
use vecstore::pool::PoolOptions;
use vecstore::segment::{BuildParams, SearchParams};

/// Vector search over data larger than memory: codes and graph in memory, originals on disk, read in batches through a
/// backend of your choice.
#[derive(Parser)]
#[command(name = "vecstore", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 backends disagree, 130 interrupted";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Search the same segment through every backend and compare what each did
    #[command(
        after_help = "Examples:\n  vecstore demo\n  vecstore demo --backend monoio --direct --cores 1\n  \
        vecstore demo --vectors base.fvecs --queries query.fvecs --truth groundtruth.npy"
    )]
    Demo(Demo),
    /// Build a segment from a file of vectors
    #[command(after_help = "Examples:\n  vecstore build glove.npy glove.vecstore --distance cosine\n  \
        vecstore build base.fvecs base.vecstore --m 32 --ef-construct 256\n  \
        vecstore build vectors.bin v.vecstore --format raw --dim 768 --element f32")]
    Build(Build),
    /// Search a segment and print what was found
    #[command(after_help = "Examples:\n  vecstore search glove.vecstore queries.npy --limit 5\n  \
        vecstore search glove.vecstore queries.npy --ef 256 --json\n  \
        vecstore search glove.vecstore queries.npy --exact --count 10")]
    Search(Search),
    /// Say what a segment holds, after checking its files
    #[command(after_help = "Example:\n  vecstore info glove.vecstore")]
    Info(Info),
}

#[derive(Args)]
pub(crate) struct Demo {
    /// File of vectors to index (.npy, .fvecs, .bvecs) [default: clustered vectors from a fixed seed]
    #[arg(long, value_name = "FILE", requires = "queries")]
    pub(crate) vectors: Option<PathBuf>,
    /// File of queries
    #[arg(long, value_name = "FILE", requires = "vectors")]
    pub(crate) queries: Option<PathBuf>,
    /// Exact neighbours of each query, best first, as a 2-d int32 .npy [default: found by exact search for up to 100
    /// queries]
    #[arg(long, value_name = "FILE", requires = "vectors")]
    pub(crate) truth: Option<PathBuf>,
    /// Vectors to make when no file is given
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub(crate) count: u32,
    /// Their dimension
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) dim: u32,
    /// Where the segment is built and removed again; its disk is the one that is measured
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
pub(crate) struct Build {
    /// File of vectors (.npy of float32, float16 or uint8; .fvecs; .bvecs; or raw)
    pub(crate) input: PathBuf,
    /// The segment to make: a directory that does not exist yet
    pub(crate) segment: PathBuf,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) graph: GraphArgs,
    /// Backend to write through
    #[arg(long, default_value = "mmap", value_name = "NAME")]
    pub(crate) backend: BackendKind,
    /// Write past the page cache (O_DIRECT)
    #[arg(long)]
    pub(crate) direct: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Search {
    /// The segment
    pub(crate) segment: PathBuf,
    /// File of queries, of the segment's dimension
    pub(crate) queries: PathBuf,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Queries to run, from the first [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<usize>,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    /// Read and score every vector instead of searching
    #[arg(long)]
    pub(crate) exact: bool,
    #[command(flatten)]
    pub(crate) io: IoArgs,
    /// Backend to read through
    #[arg(long, default_value = "mmap", value_name = "NAME")]
    pub(crate) backend: BackendKind,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Info {
    /// The segment
    pub(crate) segment: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a file of vectors is to be read, where its name does not say it.
#[derive(Args)]
pub(crate) struct FormatArgs {
    /// Format of the input [default: by its extension]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatName>,
    /// Components of a vector; for raw files
    #[arg(long, required_if_eq("format", "raw"))]
    pub(crate) dim: Option<usize>,
    /// Type of the components; for raw files
    #[arg(long, value_enum, required_if_eq("format", "raw"))]
    pub(crate) element: Option<ElementName>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FormatName {
    Npy,
    Fvecs,
    Bvecs,
    Raw,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ElementName {
    F32,
    F16,
    U8,
}

impl ElementName {
    pub(crate) fn element(self) -> ElementType {
        match self {
            Self::F32 => ElementType::F32,
            Self::F16 => ElementType::F16,
            Self::U8 => ElementType::U8,
        }
    }
}

#[derive(Args)]
pub(crate) struct GraphArgs {
    /// cosine, dot or euclid
    #[arg(long, default_value = "cosine")]
    pub(crate) distance: Distance,
    /// Links of a point on each upper level of the graph; twice as many on the lowest
    #[arg(long, default_value_t = 16)]
    pub(crate) m: usize,
    /// Candidates among which a new point's links are chosen
    #[arg(long, default_value_t = 128)]
    pub(crate) ef_construct: usize,
    /// Same seed, same graph
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

impl GraphArgs {
    pub(crate) fn params(&self, direct: bool) -> BuildParams {
        BuildParams {
            distance: self.distance,
            hnsw: HnswParams { m: self.m, ef_construct: self.ef_construct, seed: self.seed },
            open: OpenOptions { direct, ..OpenOptions::default() },
        }
    }
}

#[derive(Args)]
pub(crate) struct SearchArgs {
    /// Hits wanted for each query
    #[arg(long, default_value_t = 10)]
    pub(crate) limit: usize,
    /// Candidates the graph search keeps; more find more and take longer
    #[arg(long, default_value_t = 128)]
    pub(crate) ef: usize,
    /// Candidates read from disk and rescored, for each hit wanted
    #[arg(long, default_value_t = 2.0)]
    pub(crate) oversampling: f32,
    /// Rank by the codes alone and read nothing from disk
    #[arg(long)]
    pub(crate) no_rescore: bool,
}

impl SearchArgs {
    pub(crate) fn params(&self, exact: bool) -> Result<SearchParams, CliError> {
        let params = SearchParams {
            limit: self.limit,
            ef: self.ef,
            oversampling: self.oversampling,
            rescore: !self.no_rescore,
            exact,
        };
        params.check()?;
        Ok(params)
    }
}

#[derive(Args)]
pub(crate) struct IoArgs {
    /// Threads, each with an executor of its own [default: as many as the machine has cores]
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<NonZeroUsize>,
    /// Queries under way at once on each core
    #[arg(long, value_name = "N", default_value = "4")]
    pub(crate) lanes: NonZeroUsize,
    /// Read past the page cache (O_DIRECT); mmap cannot
    #[arg(long)]
    pub(crate) direct: bool,
    /// Reads in flight at once on each core
    #[arg(long, value_name = "N", default_value_t = OpenOptions::default().queue_depth)]
    pub(crate) queue_depth: u32,
}

impl IoArgs {
    pub(crate) fn options(&self) -> Result<PoolOptions, CliError> {
        let open =
            OpenOptions { direct: self.direct, queue_depth: self.queue_depth, ..OpenOptions::default() };
        open.check().map_err(vecstore::segment::SegmentError::from)?;
        let default = PoolOptions::default();
        Ok(PoolOptions { cores: self.cores.unwrap_or(default.cores), lanes: self.lanes, open })
    }
}

/// `--backend` of the demo.
#[derive(Clone, Debug)]
pub(crate) enum BackendChoice {
    All,
    One(BackendKind),
}

impl std::str::FromStr for BackendChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "all" {
            return Ok(Self::All);
        }
        name.parse().map(Self::One).map_err(|error: vecstore::backends::UnknownBackend| error.to_string())
    }
}

impl BackendChoice {
    pub(crate) fn kinds(&self) -> Vec<BackendKind> {
        match self {
            Self::All => BackendKind::all().to_vec(),
            Self::One(kind) => vec![*kind],
        }
    }
}
