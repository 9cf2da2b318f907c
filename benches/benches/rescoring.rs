//! Quantized search with rescoring, through every backend and a map whose faults block. The disk holds more
//! than memory.
//!
//! ```sh
//! cargo bench -p benches --bench rescoring -- prepare    # makes the collection; needs much memory
//! target/release/slow-disk run --memory-max-mib 512 -- cargo bench -p benches --bench rescoring
//! ```
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_KEEP` | the directory of the collection | `target/tmp` |
//! | `BENCH_BACKENDS` | only these backends, as `mmap,ring` | all |
//! | `BENCH_ROUNDS` | the number of rounds | 3 |
//! | `BENCH_QUICK=1` | shows in seconds that it works | |

use benches::data::variable;
use benches::disk::DiskCounts;
use benches::kept::{kept, largest_file, only_prepare};
use benches::one_by_one::OneByOne;
use benches::report::{Plot, Report};
use benches::rounds::{Round, Rounds};
use benches::settings::Settings;
use benches::{cpu_time, fio, make_cold, memory};
use io_core::{DynBackend, FileSystem, OpenOptions, StopFlag};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, Hit, SearchRequest};
use vecstore::dataset::Clustered;
use vecstore::input::VectorSource;
use vecstore::point::Point;
use vecstore::schema::Quantization;
use vecstore::schema::{Placement, Schema};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DIM: usize = 768;
const SEED: u64 = 11;
/// As in the published table: the number of vectors read for each hit.
const OVERSAMPLING: [usize; 2] = [1, 4];
const LIMIT: usize = 10;
/// The most reads in flight for each thread. Two threads then keep the most parallel disk busy.
const QUEUE_DEPTH: u32 = 128;
/// The blocking contender runs only one search in this many, because it is slow.
const BLOCKING_PART: usize = 5;
/// Concurrent searches of each thread.
const READS_PER_CORE: usize = 8;

struct Setup {
    dir: PathBuf,
    points: usize,
    queries: Vec<Vec<f32>>,
    rounds: usize,
    quick: bool,
}

/// The contenders. The others are compared with the first one.
fn contenders() -> Result<Vec<(String, DynBackend)>> {
    let blocking = ("mmap, blocking".to_owned(), DynBackend::new(OneByOne(BackendKind::Mmap.backend())));
    let kinds: Vec<BackendKind> = match variable("BENCH_BACKENDS") {
        Some(names) => names.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?,
        None => BackendKind::plain().to_vec(),
    };
    let named = |kind: BackendKind| match kind {
        BackendKind::Mmap => ("mmap, WILLNEED".to_owned(), kind.backend()),
        _ => (kind.name().to_owned(), kind.backend()),
    };
    Ok(std::iter::once(blocking).chain(kinds.into_iter().map(named)).collect())
}

fn main() -> Result<()> {
    memory::give_back_when_freed();
    let Settings { quick, dir, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 3)?;
    let points = if quick { 2000 } else { 500_000 };
    let name = format!("rescoring-{points}x{DIM}");
    let kept = kept(env!("CARGO_TARGET_TMPDIR"), &name, |dir| make(dir, points))?;
    if only_prepare() {
        return Ok(());
    }
    let dir = tempfile::tempdir_in(dir)?;
    let collection = dir.path().join("collection");
    Collection::restore(&BackendKind::Mmap.backend(), &kept, &collection, &StopFlag::new())?;
    let queries = Clustered::new(points, DIM, SEED).queries(if quick { 20 } else { 1000 });
    let setup = Setup { dir: collection, points, queries, rounds, quick };
    let mut report = Report::new("rescoring");
    report.table(measure(&setup)?);
    report.finish()
}

/// Makes one segment, with codes and ids in memory and vectors on disk.
fn make(dir: &Path, points: usize) -> Result<()> {
    let mut schema = Schema::new(DIM as u32);
    schema.quantization = Quantization::Binary;
    schema.placement.ids = Placement::Pinned;
    let options = CollectionOptions { background: false, cores: 0, ..CollectionOptions::default() };
    let collection = Collection::create(&BackendKind::Mmap.backend(), dir, &schema, &options)?;
    let mut vectors = Clustered::new(points, DIM, SEED);
    for first in (0..points).step_by(1000) {
        let rows = vectors.next_rows(1000)?.to_f32();
        let points = rows.chunks_exact(DIM).zip(first as u64..).map(|(row, id)| Point::new(id, row.to_vec()));
        collection.upsert(points.collect(), Durability::Written).wait()?;
    }
    collection.optimize(|_| {}).wait()?;
    Ok(collection.close()?)
}

fn measure(setup: &Setup) -> Result<benches::report::Table> {
    let title = format!(
        "Rescoring: {} searches of {} x {DIM} f32, binary codes in memory, {LIMIT} hits wanted",
        setup.queries.len(),
        setup.points
    );
    let contender = ["oversampling", "threads", "contender"];
    let figures = ["searches/s", "seconds", "reads/search", "disk reads/s", "of fio", "CPU %", "MB/s"];
    let mut table = Rounds::table(title, &contender, &figures)
        .note(
            "Everything of the vectors' file is dropped from the page cache before each run; rings read past it. *of fio*: \
             reads of the disk a second, of what fio reaches with 4 KiB, 128 deep, in the same round.",
        )
        .note(format!(
            "{READS_PER_CORE} searches at once a thread. A thread over the map that blocks has one read in flight, so it is as \
             many times slower as the disk's parallelism is more than the threads; it does a fifth of the searches."
        ))
        .plot(Plot::new("threads", "searches/s", "contender").pictures(&["oversampling"]));
    let (contenders, vectors) = (contenders()?, largest_file(&setup.dir)?);
    let threads: &[usize] = if setup.quick { &[2] } else { &[2, 4, 8] };
    for oversampling in OVERSAMPLING {
        let mut expected: Option<Vec<Vec<Hit>>> = None;
        for &threads in threads {
            let mut rounds = Rounds::default();
            for round in 0..setup.rounds {
                let fio = reads_of_fio(setup, &vectors, round)?;
                for at in 0..contenders.len() {
                    // The first contender stays first in the table. In later rounds the order rotates.
                    let at = if round == 0 { at } else { (at + round) % contenders.len() };
                    let (name, backend) = &contenders[at];
                    let contender = [oversampling.into(), threads.into(), name.as_str().into()];
                    rounds.run(round, contender, || {
                        let queries = setup.queries.len() / if at == 0 { BLOCKING_PART } else { 1 };
                        let queries = &setup.queries[..queries];
                        let (measured, hits) =
                            run(setup, backend, &vectors, queries, oversampling, threads, fio)?;
                        let expected = expected.get_or_insert_with(|| hits.clone());
                        if expected.len() < hits.len() {
                            expected.extend_from_slice(&hits[expected.len()..]);
                        }
                        match hits.iter().zip(&*expected).position(|(hits, expected)| hits != expected) {
                            None => Ok(measured),
                            Some(query) => Err(format!(
                                "query {query} found {:?} instead of what {} found: {:?}",
                                hits[query], contenders[0].0, expected[query]
                            )
                            .into()),
                        }
                    })?;
                }
            }
            rounds.add_to(&mut table);
        }
    }
    Ok(table)
}

/// The reads a second that fio gets from the disk.
fn reads_of_fio(setup: &Setup, vectors: &Path, round: usize) -> Result<Option<f64>> {
    if !fio::is_there() {
        return Ok(None);
    }
    let time = Duration::from_millis(if setup.quick { 200 } else { 2000 });
    Ok(fio::random_reads(vectors, 4096, 128, true, time, round as u64)?.figure(0))
}

/// All searches, on this many threads, with the vectors evicted from the page cache.
fn run(
    setup: &Setup,
    backend: &DynBackend,
    vectors: &Path,
    queries: &[Vec<f32>],
    oversampling: usize,
    threads: usize,
    fio: Option<f64>,
) -> Result<(Round, Vec<Vec<Hit>>)> {
    let direct = !backend.name().starts_with("mmap");
    let options = CollectionOptions {
        open: OpenOptions::default().with_direct(direct).with_queue_depth(QUEUE_DEPTH),
        cores: threads,
        reads_per_core: READS_PER_CORE,
        read_only: true,
        ..CollectionOptions::default()
    };
    let collection = Collection::open(backend, &setup.dir, &options)?;
    let searches: Vec<SearchRequest> = queries
        .iter()
        .map(|query| {
            let mut request = SearchRequest::new(query.clone());
            request.limit = LIMIT;
            request.params.oversampling = Some(oversampling as f32);
            request
        })
        .collect();
    make_cold(vectors)?;
    let (disk, cpu, started) = (DiskCounts::of(&setup.dir), cpu_time(), Instant::now());
    let found = collection.search_batch(searches).wait()?;
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    let disk = DiskCounts::of(&setup.dir).zip(disk).map(|(now, before)| now.since(before));
    collection.close()?;
    let count = queries.len() as f64;
    let rate = disk.map(|disk| disk.reads as f64 / elapsed);
    let round = Round::new(count / elapsed)
        .with(elapsed)
        .with(disk.map(|disk| disk.reads as f64 / count))
        .with(rate)
        .with(rate.zip(fio).map(|(rate, fio)| rate / fio))
        .with(100.0 * cpu / elapsed)
        .with(disk.map(|disk| disk.bytes_read as f64 / 1e6 / elapsed));
    Ok((round, found.into_iter().map(|found| found.hits).collect()))
}
