//! vecstore as one of those that `benches/peers/disk.py` compares: builds a collection, or searches as it is
//! told to, line by line.

use benches::cpu_time;
use benches::data::Vectors;
use clap::Parser;
use io_core::OpenOptions;
use serde::Deserialize;
use serde_json::json;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, Rescore, SearchRequest};
use vecstore::input::{Format, VectorInput, VectorSource};
use vecstore::point::Point;
use vecstore::schema::Quantization;
use vecstore::schema::{Placement, Schema};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const LIMIT: usize = 10;
/// Points of a write.
const BATCH: usize = 1000;

#[derive(Parser)]
enum Args {
    /// Makes a collection of one segment, of the vectors of a file
    Build { collection: PathBuf, vectors: PathBuf, quantization: Quantization },
    /// Says `started`, opens the collection at the first line, answers every other one, which says what to
    /// search, with a line of JSON
    Search(Opening),
}

#[derive(clap::Args)]
struct Opening {
    backend: BackendKind,
    collection: PathBuf,
    /// A file of vectors.
    queries: String,
}

#[derive(Deserialize)]
struct Wanted {
    setting: Setting,
    /// Queries under way at once.
    threads: usize,
    first: usize,
    last: usize,
    seconds: f64,
}

#[derive(Deserialize)]
struct Setting {
    ef: usize,
    oversampling: f32,
    /// Of the bounds of codes, where only vectors that decide are read.
    part: Option<f32>,
}

fn main() -> Result<()> {
    match Args::parse() {
        Args::Build { collection, vectors, quantization } => build(&collection, &vectors, quantization),
        Args::Search(opening) => answer_all(&opening),
    }
}

fn build(collection: &Path, vectors: &Path, quantization: Quantization) -> Result<()> {
    let mut vectors = VectorInput::open(vectors, Format::by_extension(vectors)?)?;
    let mut schema = Schema { quantization, ..Schema::new(u32::try_from(vectors.dim())?) };
    schema.placement.ids = Placement::Pinned;
    schema.placement.graph = Placement::Pinned;
    schema.placement.codes = Placement::Pinned;
    let options = CollectionOptions { background: false, ..CollectionOptions::default() };
    let made = Collection::create(&BackendKind::Mmap.backend(), collection, &schema, &options)?;
    let mut ids = 0..;
    for _ in 0..vectors.count().div_ceil(BATCH as u64) {
        let rows = vectors.next_rows(BATCH)?.to_f32();
        let points =
            rows.chunks_exact(vectors.dim()).zip(&mut ids).map(|(row, id)| Point::new(id, row.to_vec()));
        made.upsert(points.collect(), Durability::Written).wait()?;
    }
    made.optimize(|_| {}).wait()?;
    Ok(made.close()?)
}

fn answer_all(opening: &Opening) -> Result<()> {
    let queries = Vectors::read(&opening.queries).map_err(|error| format!("{}: {error}", opening.queries))?;
    let mut lines = io::stdin().lock().lines();
    answer("started")?;
    if lines.next().transpose()?.is_none() {
        return Ok(());
    }
    let mut opened = open(opening, 1)?;
    answer("loaded")?;
    let mut threads = 1;
    for line in lines {
        let wanted: Wanted = serde_json::from_str(&line?)?;
        if wanted.threads != threads {
            opened.close()?;
            threads = wanted.threads;
            opened = open(opening, threads)?;
        }
        answer(&search(&opened, &queries, &wanted)?)?;
    }
    Ok(opened.close()?)
}

fn open(args: &Opening, threads: usize) -> Result<Collection> {
    let cores = threads.min(std::thread::available_parallelism()?.get());
    let options = CollectionOptions {
        open: OpenOptions::default().with_direct(!args.backend.maps()),
        cores,
        reads_per_core: threads.div_ceil(cores),
        read_only: true,
        ..CollectionOptions::default()
    };
    Ok(Collection::open(&args.backend.backend(), &args.collection, &options)?)
}

fn answer(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Batches are large enough that waiting for the last query of each costs little.
fn search(collection: &Collection, queries: &Vectors, wanted: &Wanted) -> Result<String> {
    let (started, cpu) = (Instant::now(), cpu_time());
    let queries: Vec<_> = queries.iter().take(wanted.last).skip(wanted.first).collect();
    let mut ids = Vec::new();
    for batch in queries.chunks(4 * wanted.threads) {
        let requests = batch.iter().map(|query| {
            let mut request = SearchRequest::new(query.to_vec());
            request.limit = LIMIT;
            request.params.ef = wanted.setting.ef;
            request.params.oversampling = Some(wanted.setting.oversampling);
            if let Some(part) = wanted.setting.part {
                request.params.rescore = Rescore::Undecided { part };
            }
            request
        });
        for found in collection.search_batch(requests.collect()).wait()? {
            ids.push(found.hits.into_iter().map(|hit| hit.id).collect::<Vec<_>>());
        }
        if started.elapsed().as_secs_f64() > wanted.seconds {
            break;
        }
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    Ok(json!({ "seconds": seconds, "cpu": cpu, "ids": ids }).to_string())
}
