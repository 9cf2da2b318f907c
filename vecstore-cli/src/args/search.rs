//! Arguments of a search and its reads.

use super::collection::CollectionArgs;
use super::parse::{json_problem, parse_filter, parse_part, parse_within, up_to, whole};
use super::vectors::FormatArgs;
use clap::{ArgGroup, Args};
use io_core::OpenOptions;
use std::path::PathBuf;
use vecstore::collection::{CollectionOptions, LIMIT_MAX, Rescore, SearchParams};
use vecstore::filter::Filter;

#[derive(Args)]
#[command(
    override_usage = "vecstore search [OPTIONS] <COLLECTION> <QUERIES|--vector <JSON>>",
    group(ArgGroup::new("what").required(true).args(["queries", "vector"]))
)]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// File of queries, of the collection's dimension
    pub(crate) queries: Option<PathBuf>,
    /// One query, as a JSON array
    #[arg(long, value_name = "JSON", value_parser = parse_vector)]
    pub(crate) vector: Option<Query>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// Queries to run, from the first [default: all]
    #[arg(long, value_name = "N", conflicts_with = "vector")]
    pub(crate) count: Option<usize>,
    /// Which points may be found
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub(crate) filter: Option<Filter>,
    /// Only hits with at least this score (cosine, dot) or at most this distance (euclid)
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub(crate) threshold: Option<f32>,
    /// Leave out the best N hits
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = whole::<usize>(0..=LIMIT_MAX as u64))]
    pub(crate) offset: usize,
    /// Print payloads too; implies --json
    #[arg(long)]
    pub(crate) with_payload: bool,
    /// Print vectors too; implies --json
    #[arg(long)]
    pub(crate) with_vector: bool,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    /// Prove that no other point is nearer, instead of searching the graph
    #[arg(long)]
    pub(crate) exact: bool,
    #[command(flatten)]
    pub(crate) io: IoArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A query from the command line.
#[derive(Clone)]
pub(crate) struct Query(pub(crate) Vec<f32>);

fn parse_vector(text: &str) -> Result<Query, String> {
    serde_json::from_str(text).map(Query).map_err(|error| json_problem("a vector", "[0.5, 0.25]", &error))
}

#[derive(Args)]
pub(crate) struct SearchArgs {
    /// Hits wanted for each query
    #[arg(long, default_value_t = 10, value_parser = up_to(LIMIT_MAX))]
    pub(crate) limit: usize,
    /// Candidates that the graph walk keeps; more find more, and take longer
    #[arg(long, default_value_t = 128, value_parser = up_to(LIMIT_MAX))]
    pub(crate) ef: usize,
    /// Candidates ranked by their vectors, for each hit wanted [default: what the codes need]
    #[arg(long, value_name = "TIMES", value_parser = parse_oversampling)]
    pub(crate) oversampling: Option<f32>,
    /// The most candidates ranked by their vectors, if codes leave the hits undecided [default: what the
    /// codes need]
    #[arg(long, value_name = "CANDIDATES")]
    pub(crate) candidates_max: Option<usize>,
    /// Which candidates are ranked by their vectors: all, never, or undecided[=PART]. undecided reads only
    /// vectors that the codes leave open. PART (above 0, up to 1) scales the error bounds
    #[arg(long, value_name = "WHICH", default_value = "all", value_parser = parse_rescore)]
    pub(crate) rescore: Rescore,
    /// Score each point instead of walking the graph if at most this many points of a segment are left
    #[arg(long, value_name = "POINTS", default_value_t = SearchParams::default().scan_max)]
    pub(crate) scan_max: u64,
    /// The same for this part of the segment's points, from 0 to 1
    #[arg(long, value_name = "PART", default_value_t = SearchParams::default().scan_ratio, value_parser = parse_part::<f32>)]
    pub(crate) scan_ratio: f32,
}

impl SearchArgs {
    pub(crate) fn params(&self, exact: bool) -> SearchParams {
        SearchParams {
            ef: self.ef,
            oversampling: self.oversampling,
            candidates_max: self.candidates_max,
            rescore: self.rescore,
            exact,
            scan_max: self.scan_max,
            scan_ratio: self.scan_ratio,
        }
    }
}

fn parse_rescore(text: &str) -> Result<Rescore, String> {
    match text.split_once('=') {
        None if text == "all" => Ok(Rescore::All),
        None if text == "never" => Ok(Rescore::Never),
        None if text == "undecided" => Ok(Rescore::Undecided { part: 1.0 }),
        Some(("undecided", part)) => match part.parse() {
            Ok(part) if part > 0.0 && part <= 1.0 => Ok(Rescore::Undecided { part }),
            _ => Err(format!("{part:?} is no part of an error: above 0, up to 1")),
        },
        _ => Err("use all, never or undecided[=PART]".to_owned()),
    }
}

fn parse_oversampling(text: &str) -> Result<f32, String> {
    parse_within(text, 1.0..=1000.0, "it must be from 1 to 1000")
}

#[derive(Args)]
pub(crate) struct IoArgs {
    /// Threads, each with an executor of its own [default: as many as the machine has cores]
    #[arg(long, value_name = "N", value_parser = up_to(CollectionOptions::CORES_MAX))]
    pub(crate) cores: Option<usize>,
    /// Queries at once on each core
    #[arg(long, value_name = "N", default_value = "4", value_parser = up_to(CollectionOptions::READS_PER_CORE_MAX))]
    pub(crate) reads_per_core: usize,
    /// Read cold parts with O_DIRECT, past the page cache; not with mmap
    #[arg(long)]
    pub(crate) direct: bool,
    /// Reads in flight for each file, on each core
    #[arg(long, value_name = "N", default_value_t = OpenOptions::default().queue_depth,
        value_parser = whole::<u32>(1..=4096))]
    pub(crate) queue_depth: u32,
}

impl IoArgs {
    pub(crate) fn options(&self) -> CollectionOptions {
        let open = OpenOptions::default().with_direct(self.direct).with_queue_depth(self.queue_depth);
        let default = CollectionOptions::default();
        CollectionOptions {
            open,
            cores: self.cores.unwrap_or(default.cores),
            reads_per_core: self.reads_per_core,
            ..default
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        let options = self.options();
        options.cores * options.reads_per_core
    }
}
