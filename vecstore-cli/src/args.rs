//! The command line.

use crate::error::CliError;
use crate::text;
use clap::builder::RangedU64ValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use io_core::{OpenOptions, StopFlag};
use std::collections::BTreeSet;
use std::num::{NonZeroUsize, ParseFloatError};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use vecstore::backends::BackendKind;
use vecstore::collection::{CollectionOptions, LIMIT_MAX, Rescore, SearchParams};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::filter::Filter;
use vecstore::point::PointId;
use vecstore::schema::ElementType;
use vecstore::schema::{
    DIM_MAX, Distance, EF_CONSTRUCT_MAX, HnswParams, M_MAX, Placement, Quantization, Schema,
};

/// An embedded vector store for data larger than memory: points with payloads, filters and durable writes, read in batches
/// through a backend of your choice.
#[derive(Parser)]
#[command(name = "vecstore", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 backends disagree, 4 damage found, 5 not everything could be read, 130 interrupted";

const FILTERS: &str = "Filters are JSON, or @FILE:\n  '{\"must\": [{\"key\": \"section\", \"match\": {\"value\": \"utils\"}}]}'\n  \
'{\"must\": [{\"key\": \"size\", \"range\": {\"gte\": 10, \"lt\": 20}}], \"must_not\": [{\"has_id\": [1, 2]}]}'";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Search the same collection through every backend and compare what each did
    #[command(
        after_help = "Examples:\n  vecstore demo\n  vecstore demo --backend monoio --direct --cores 1\n  \
        vecstore demo --vectors base.fvecs --queries query.fvecs --truth groundtruth.npy"
    )]
    Demo(Demo),
    /// Measure a disk through every backend, and say which to take, how, and why
    #[command(after_help = "Examples:\n  vecstore advise --path /data\n  \
        vecstore advise --path . --data-gib 200 --memory-gib 32 --vector-bytes 1536")]
    Advise(Advise),
    /// Create an empty collection
    #[command(after_help = "Examples:\n  vecstore create notes --dim 384 --tenant user:keyword\n  \
        vecstore create packages --dim 384 --element f16 --index section:keyword --index installed_size:integer\n  \
        vecstore create packages --schema schema.json")]
    Create(Create),
    /// Put vectors of a file, and payloads of another one, into a collection
    #[command(
        after_help = "Examples:\n  vecstore import packages debian.npy --payload debian.jsonl --id-field id\n  \
        vecstore import glove glove.npy\n  vecstore import copy points.npy --payload points.jsonl --points"
    )]
    Import(Import),
    /// Put points in, given as JSON lines of id, vector and payload
    #[command(
        after_help = "Example:\n  echo '{\"id\": 1, \"vector\": [0.1, 0.2], \"payload\": {\"user\": \"ann\"}}' | vecstore upsert notes"
    )]
    Upsert(Upsert),
    /// Delete points
    #[command(after_help = FILTERS)]
    Delete(Delete),
    /// Search a collection and print what was found
    #[command(after_help = FILTERS)]
    Search(Search),
    /// Print points by their ids
    Get(Get),
    /// Print points in order, as JSON lines
    #[command(after_help = FILTERS)]
    Scroll(Scroll),
    /// Count points
    #[command(after_help = FILTERS)]
    Count(Count),
    /// Print the most frequent values of an indexed field
    #[command(after_help = FILTERS)]
    Facet(Facet),
    /// Seal what is in memory, merge segments and leave deleted points out
    Optimize(Optimize),
    /// Optimize, and tell how well the points of each tenant lie together before and after
    Defrag(Optimize),
    /// Copy a collection as it is now; files are shared by hard links where possible
    Snapshot(FromTo),
    /// Make a collection from a snapshot, which stays
    Restore(FromTo),
    /// Read every byte of a collection and check it
    Verify(Maintain),
    /// Put what is intact of a damaged collection into a new one, and say what is lost
    Repair(Repair),
    /// Write all points as vectors (.npy) and JSON lines, or as one Parquet file
    #[command(
        after_help = "Examples:\n  vecstore export notes notes.npy notes.jsonl\n  vecstore export notes notes.parquet"
    )]
    Export(Export),
    /// Say what a collection holds and what it takes
    Info(Maintain),
}

/// Which collection, through which backend.
#[derive(Args)]
pub(crate) struct CollectionArgs {
    /// Directory of the collection
    pub(crate) collection: PathBuf,
    /// Backend to read and write through
    #[arg(long, value_name = "NAME", default_value = default_backend())]
    pub(crate) backend: BackendKind,
}

fn default_backend() -> &'static str {
    BackendKind::all().first().map_or("", |kind| kind.name())
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
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=DIM_MAX as i64))]
    pub(crate) dim: u32,
    /// Where the collection is made and removed again; its disk is the one that is measured
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
    /// Directory on the disk to measure; a file is made there, and removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) path: PathBuf,
    /// Time to measure for, about; the file is made before
    #[arg(long, default_value_t = 110, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) seconds: u64,
    /// Size of the file; more than the disk's own cache tells more
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..))]
    pub(crate) size_mib: u32,
    /// Bytes of a vector: its components times 4 for f32
    #[arg(long, value_name = "BYTES", default_value_t = 3072, value_parser = clap::value_parser!(u32).range(4..=262_144))]
    pub(crate) vector_bytes: u32,
    /// Size of the vectors that will be stored [default: four times the memory]
    #[arg(long, value_name = "GIB", value_parser = parse_gib)]
    pub(crate) data_gib: Option<f64>,
    /// Memory that they may be kept in, and all else [default: what the machine has, or the container]
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

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["dim", "schema"])))]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// The whole schema, as JSON, instead of the other options
    #[arg(long, value_name = "FILE", conflicts_with_all = ["element", "distance", "quantization", "index", "tenant", "place"])]
    pub(crate) schema: Option<PathBuf>,
    /// Components of a vector
    #[arg(long)]
    pub(crate) dim: Option<u32>,
    /// Type of the components
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) element: ElementName,
    #[command(flatten)]
    pub(crate) graph: GraphArgs,
    /// Index a payload field: NAME:KIND, of keyword, integer, float, bool, datetime, uuid. May be repeated
    #[arg(long, value_name = "FIELD:KIND", value_parser = parse_index)]
    pub(crate) index: Vec<(String, FieldKind)>,
    /// Index a payload field whose points are to lie together on disk. May be repeated: sorted by the first one first
    #[arg(long, value_name = "FIELD:KIND", value_parser = parse_index)]
    pub(crate) tenant: Vec<(String, FieldKind)>,
    /// Where a part is: vectors, codes, graph, payload, ids or indexes = cold, cached or pinned. May be repeated
    #[arg(long, value_name = "PART=PLACE", value_parser = parse_place)]
    pub(crate) place: Vec<(Part, Placement)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    Vectors,
    Codes,
    Graph,
    Payload,
    Ids,
    Indexes,
}

impl Create {
    pub(crate) fn schema(&self) -> Result<Schema, CliError> {
        if let Some(path) = &self.schema {
            return read_schema(path, &StopFlag::new());
        }
        let mut schema = Schema {
            distance: self.graph.distance,
            element: self.element.element(),
            hnsw: self.graph.params(),
            quantization: self.graph.quantization,
            ..Schema::new(self.dim.unwrap_or(0))
        };
        let mut fields = BTreeSet::new();
        if let Some((field, _)) =
            self.index.iter().chain(&self.tenant).find(|(field, _)| !fields.insert(field))
        {
            return Err(CliError::Usage(format!(
                "field {field} is given twice; name each once: --tenant, which indexes it too, or --index"
            )));
        }
        for (field, kind) in &self.index {
            schema = schema.index(field, *kind);
        }
        for (field, kind) in &self.tenant {
            schema = schema.tenant(field, *kind);
        }
        let mut parts = BTreeSet::new();
        for &(part, place) in &self.place {
            if !parts.insert(part) {
                let name =
                    part.to_possible_value().map_or_else(String::new, |part| part.get_name().to_owned());
                return Err(CliError::Usage(format!("--place {name}=... is given twice; give it one place")));
            }
            let placement = &mut schema.placement;
            *match part {
                Part::Vectors => &mut placement.vectors,
                Part::Codes => &mut placement.codes,
                Part::Graph => &mut placement.graph,
                Part::Payload => &mut placement.payload,
                Part::Ids => &mut placement.ids,
                Part::Indexes => &mut placement.indexes,
            } = place;
        }
        Ok(schema)
    }
}

/// A schema from a file of JSON.
pub(crate) fn read_schema(path: &Path, stop: &StopFlag) -> Result<Schema, CliError> {
    let failed = |problem: String| CliError::File { path: path.to_owned(), problem };
    let text = text::read(path, stop).map_err(|problem| match stop.is_stopped() {
        true => Error::Stopped.into(),
        false => failed(problem),
    })?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

fn parse_index(text: &str) -> Result<(String, FieldKind), String> {
    let (field, kind) = text.rsplit_once(':').ok_or("give FIELD:KIND, such as section:keyword")?;
    let kind = serde_json::from_value(kind.into())
        .map_err(|_| format!("{kind:?} is none of keyword, integer, float, bool, datetime, uuid"))?;
    Ok((field.to_owned(), kind))
}

fn parse_place(text: &str) -> Result<(Part, Placement), String> {
    let (part, place) = text.split_once('=').ok_or("give PART=PLACE, such as codes=cold")?;
    let part = Part::from_str(part, false)
        .map_err(|_| format!("{part:?} is none of vectors, codes, graph, payload, ids, indexes"))?;
    let place = serde_json::from_value(place.into())
        .map_err(|_| format!("{place:?} is none of cold, cached, pinned"))?;
    Ok((part, place))
}

#[derive(Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// File of vectors (.npy of float32, float16 or uint8; .fvecs; .bvecs; or raw), or a .parquet that `export` wrote
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
    /// Id of the first vector, where ids are not given; those that follow count up [default: 0]
    #[arg(long, value_name = "ID", conflicts_with_all = ["id_field", "points"])]
    pub(crate) first_id: Option<u64>,
    /// Leave what fits in memory to the log [default: seal it; merge everything where most of the collection is new, or
    /// --segments-max or --vacuum-ratio asks for it]
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
#[command(group(ArgGroup::new("which").required(true).args(["ids", "filter"])))]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// Ids of the points
    pub(crate) ids: Vec<PointId>,
    /// Which points
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub(crate) filter: Option<Filter>,
}

#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["queries", "vector"])))]
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
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<usize>,
    /// Which points may be found
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub(crate) filter: Option<Filter>,
    /// Only hits with at least this score (cosine, dot) or at most this distance (euclid)
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub(crate) threshold: Option<f32>,
    /// Leave the best so many out
    #[arg(long, default_value_t = 0, value_parser = RangedU64ValueParser::<usize>::new().range(0..=LIMIT_MAX as u64))]
    pub(crate) offset: usize,
    /// Print payloads too; implies --json
    #[arg(long)]
    pub(crate) with_payload: bool,
    /// Print vectors too; implies --json
    #[arg(long)]
    pub(crate) with_vector: bool,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    /// Read and score every vector on disk instead of searching
    #[arg(long)]
    pub(crate) exact: bool,
    #[command(flatten)]
    pub(crate) io: IoArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

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
    /// Begin after the page that ended with this token, which is printed to standard error
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
}

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
    /// The schema, as JSON, for where the damaged collection does not say it any more
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) at: CollectionArgs,
    /// File for the vectors, which must not exist yet: .npy in the collection's element type, or .parquet for everything
    pub(crate) vectors: PathBuf,
    /// With .npy: file for ids and payloads, which must not exist yet: {"id": ..., "payload": {...}}, in the order of the vectors
    pub(crate) points: Option<PathBuf>,
}

/// A query from the command line.
#[derive(Clone)]
pub(crate) struct Query(pub(crate) Vec<f32>);

fn parse_vector(text: &str) -> Result<Query, String> {
    serde_json::from_str(text).map(Query).map_err(|error| error.to_string())
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    let read;
    let text = match text.strip_prefix('@') {
        Some(path) => {
            read = text::read(Path::new(path), &StopFlag::new())
                .map_err(|problem| format!("{path}: {problem}"))?;
            &read
        }
        None => text,
    };
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// How a file of vectors is to be read, where its name does not say it.
#[derive(Args)]
pub(crate) struct FormatArgs {
    /// Format of the input [default: by its extension]
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatName>,
    /// Components of a vector; for raw files
    #[arg(long = "raw-dim", value_name = "DIM", requires = "format", required_if_eq("format", "raw"))]
    pub(crate) raw_dim: Option<usize>,
    /// Type of the components; for raw files
    #[arg(long = "raw-element", value_enum, requires = "format", required_if_eq("format", "raw"))]
    pub(crate) raw_element: Option<ElementName>,
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
    #[arg(long, default_value_t = 16, value_parser = RangedU64ValueParser::<usize>::new().range(2..=M_MAX as u64))]
    pub(crate) m: usize,
    /// Candidates among which a new point's links are chosen
    #[arg(long, default_value_t = 128, value_parser = up_to(EF_CONSTRUCT_MAX))]
    pub(crate) ef_construct: usize,
    /// Same seed, same graph
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Codes that search scores instead of vectors: int8, int8_global[=QUANTILE], int4, product[=COMPRESSION], binary,
    /// rotated4, rotated2, rotated1
    #[arg(long, value_name = "METHOD", default_value_t = Quantization::default())]
    pub(crate) quantization: Quantization,
}

impl GraphArgs {
    pub(crate) fn params(&self) -> HnswParams {
        HnswParams { m: self.m, ef_construct: self.ef_construct, seed: self.seed }
    }
}

#[derive(Args)]
pub(crate) struct SearchArgs {
    /// Hits wanted for each query
    #[arg(long, default_value_t = 10, value_parser = up_to(LIMIT_MAX))]
    pub(crate) limit: usize,
    /// Candidates the graph search keeps; more find more and take longer
    #[arg(long, default_value_t = 128, value_parser = up_to(LIMIT_MAX))]
    pub(crate) ef: usize,
    /// Candidates read from disk and rescored, for each hit wanted [default: what the codes need]
    #[arg(long, value_name = "TIMES", value_parser = parse_oversampling)]
    pub(crate) oversampling: Option<f32>,
    /// Candidates rescored at most, where codes leave undecided which points are the hits [default: what the codes need]
    #[arg(long, value_name = "CANDIDATES")]
    pub(crate) candidates_max: Option<usize>,
    /// Which candidates are ranked by their vectors: all, never (codes alone decide, and nothing is read), or undecided[=PART]: only
    /// those that codes cannot tell whether they are hits, PART of the error they may have taken for it, above 0, up to 1
    #[arg(long, value_name = "WHICH", default_value = "all", value_parser = parse_rescore)]
    pub(crate) rescore: Rescore,
    /// Where a filter, or deletions of more than half, leave no more points of a segment than this, score each of them instead of
    /// walking the graph
    #[arg(long, value_name = "POINTS", default_value_t = SearchParams::default().scan_max)]
    pub(crate) scan_max: u64,
    /// The same where it leaves no more than this part of them, from 0 to 1
    #[arg(long, value_name = "PART", default_value_t = SearchParams::default().scan_ratio, value_parser = parse_part::<f32>)]
    pub(crate) scan_ratio: f32,
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

#[derive(Args)]
pub(crate) struct IoArgs {
    /// Threads, each with an executor of its own [default: as many as the machine has cores]
    #[arg(long, value_name = "N", value_parser = up_to(CollectionOptions::CORES_MAX))]
    pub(crate) cores: Option<usize>,
    /// Queries under way at once on each core
    #[arg(long, value_name = "N", default_value = "4", value_parser = up_to(CollectionOptions::LANES_MAX))]
    pub(crate) lanes: usize,
    /// Read past the page cache (O_DIRECT) what is placed cold; mmap cannot
    #[arg(long)]
    pub(crate) direct: bool,
    /// Reads in flight at once on each core
    #[arg(long, value_name = "N", default_value_t = OpenOptions::default().queue_depth,
        value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) queue_depth: u32,
}

impl IoArgs {
    pub(crate) fn options(&self) -> CollectionOptions {
        let open =
            OpenOptions { direct: self.direct, queue_depth: self.queue_depth, ..OpenOptions::default() };
        let default = CollectionOptions::default();
        CollectionOptions { open, cores: self.cores.unwrap_or(default.cores), lanes: self.lanes, ..default }
    }

    pub(crate) fn in_flight(&self) -> usize {
        let options = self.options();
        options.cores * options.lanes
    }
}

/// How large a segment may be made.
#[derive(Args)]
pub(crate) struct SegmentArgs {
    /// Points of a segment that merging makes, at most
    #[arg(long, value_name = "POINTS", default_value_t = CollectionOptions::default().segment_points_max,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) segment_points_max: u32,
}

impl SegmentArgs {
    pub(crate) fn options(&self) -> CollectionOptions {
        CollectionOptions { segment_points_max: self.segment_points_max, ..CollectionOptions::default() }
    }
}

/// What makes the collection seal and merge while it is written.
#[derive(Args)]
#[command(next_help_heading = "Sealing and merging")]
pub(crate) struct ThresholdArgs {
    /// Points in memory that are sealed into a segment
    #[arg(long, value_name = "POINTS", default_value_t = at_least_one(CollectionOptions::default().seal_points))]
    pub(crate) seal_points: NonZeroUsize,
    /// Bytes of vectors, their codes and payloads in memory that are sealed, however few the points
    #[arg(long, value_name = "BYTES", default_value_t = at_least_one(CollectionOptions::default().seal_bytes))]
    pub(crate) seal_bytes: NonZeroUsize,
    /// Bytes of log after which what is in memory is sealed: points replaced over and over add to them
    #[arg(long, value_name = "BYTES", default_value_t = CollectionOptions::default().seal_log_bytes)]
    pub(crate) seal_log_bytes: u64,
    /// Segments above which the smallest are merged
    #[arg(long, value_name = "N", default_value_t = at_least_one(CollectionOptions::default().segments_max))]
    pub(crate) segments_max: NonZeroUsize,
    /// Part of a segment's points, from 0 to 1, above which it is written anew if so many are deleted
    #[arg(long, value_name = "PART", default_value_t = CollectionOptions::default().vacuum_ratio, value_parser = parse_part::<f64>)]
    pub(crate) vacuum_ratio: f64,
    #[command(flatten)]
    pub(crate) segments: SegmentArgs,
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

fn parse_part<T: FromStr<Err = ParseFloatError> + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    parse_within(text, T::from(0)..=T::from(1), "it must be from 0 to 1")
}

fn parse_oversampling(text: &str) -> Result<f32, String> {
    parse_within(text, 1.0..=1000.0, "it must be from 1 to 1000")
}

fn parse_within<T: FromStr<Err = ParseFloatError> + PartialOrd>(
    text: &str,
    range: RangeInclusive<T>,
    wrong: &str,
) -> Result<T, String> {
    let number: T = text.parse().map_err(|error: ParseFloatError| error.to_string())?;
    if range.contains(&number) { Ok(number) } else { Err(wrong.to_owned()) }
}

/// From 1 to `max`.
fn up_to(max: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=max as u64)
}

impl ThresholdArgs {
    pub(crate) fn options(&self) -> CollectionOptions {
        CollectionOptions {
            seal_points: self.seal_points.get(),
            seal_bytes: self.seal_bytes.get(),
            seal_log_bytes: self.seal_log_bytes,
            segments_max: self.segments_max.get(),
            vacuum_ratio: self.vacuum_ratio,
            ..self.segments.options()
        }
    }
}

/// `--backend` of the demo.
#[derive(Clone, Debug)]
pub(crate) enum BackendChoice {
    All,
    One(BackendKind),
}

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "all" {
            return Ok(Self::All);
        }
        name.parse()
            .map(Self::One)
            .map_err(|error: vecstore::backends::UnknownBackendError| error.to_string())
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
