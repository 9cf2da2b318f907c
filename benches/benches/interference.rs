//! The latency of searches while a collection is optimized or written to, beside that of an idle collection.
//!
//! `cargo bench -p benches --bench interference`. On a slow disk the effect shows:
//! `cargo run --release -p benches --bin slow-disk -- run -- cargo bench -p benches --bench interference`.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_BACKENDS` | only these backends, as `mmap,ring` | all |
//! | `BENCH_ROUNDS` | the number of rounds | 3 |
//! | `BENCH_QUICK=1` | shows in seconds that it works | |
//!
//! The backend `ring-without-lanes` is the ring with all operations in one lane.

use benches::cpu_time;
use benches::data::{Error, variable};
use benches::disk::DiskCounts;
use benches::report::{Cell, Plot, Report, Table};
use benches::without_lanes::WithoutLanes;
use io_core::{DynBackend, FileSystem, OpenOptions, StopFlag, with_causes};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vecstore::backends::BackendKind;
use vecstore::collection::{
    BuildStage, Collection, CollectionOptions, Durability, Hit, OptimizeProgress, SearchRequest,
};
use vecstore::dataset::Clustered;
use vecstore::input::VectorSource;
use vecstore::point::Point;
use vecstore::schema::Schema;

const DIM: usize = 384;
const SEGMENTS: usize = 3;
/// Each client searches at its own fixed pace, even if the search before is late.
const CLIENTS: usize = 2;
const PACE: Duration = Duration::from_millis(40);
/// Points of a write. Each write is synced.
const WRITE_POINTS: usize = 64;

const RING_WITHOUT_LANES: &str = "ring-without-lanes";

/// A backend under a name.
struct Contender {
    name: String,
    backend: DynBackend,
}

impl Contender {
    fn named(name: &str) -> Result<Self, Error> {
        let backend = if name == RING_WITHOUT_LANES {
            DynBackend::new(WithoutLanes("ring".parse::<BackendKind>()?.backend()))
        } else {
            name.parse::<BackendKind>()?.backend()
        };
        Ok(Self { name: name.to_owned(), backend })
    }
}

struct Setup {
    points: usize,
    seconds: Duration,
    rounds: usize,
    contenders: Vec<Contender>,
    dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Result<Self, Error> {
        let quick = variable("BENCH_QUICK").is_some();
        let contenders = match variable("BENCH_BACKENDS") {
            Some(names) => names.split(',').map(Contender::named).collect::<Result<_, _>>()?,
            None => {
                let names = BackendKind::plain().iter().map(|kind| kind.name()).chain([RING_WITHOUT_LANES]);
                names.map(Contender::named).collect::<Result<_, _>>()?
            }
        };
        let rounds = match variable("BENCH_ROUNDS") {
            Some(rounds) => rounds.parse()?,
            None => {
                if quick {
                    1
                } else {
                    3
                }
            }
        };
        let dir = variable("BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_owned());
        Ok(Self {
            points: if quick { 3000 } else { 60_000 },
            seconds: Duration::from_secs(if quick { 1 } else { 15 }),
            rounds,
            contenders,
            dir: tempfile::tempdir_in(dir)?,
        })
    }

    /// The collection that every round begins with. Its files never change, so a copy consists of links.
    fn original(&self) -> PathBuf {
        self.dir.path().join("original")
    }
}

/// The work beside the searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// One stage of optimizing.
    Optimizing(BuildStage),
    /// The first second with the new segment.
    Optimized,
    Upserts,
}

/// Resources used up to a moment.
#[derive(Clone, Copy)]
struct Usage {
    at: Instant,
    cpu: Duration,
    disk: DiskCounts,
}

impl Usage {
    fn now(dir: &Path) -> Self {
        Self { at: Instant::now(), cpu: cpu_time(), disk: DiskCounts::of(dir).unwrap_or_default() }
    }
}

/// The times at which each kind of work began.
struct Marks {
    dir: PathBuf,
    marks: Mutex<Vec<(Option<Beside>, Usage)>>,
}

impl Marks {
    fn new(dir: &Path) -> Arc<Self> {
        Arc::new(Self { dir: dir.to_owned(), marks: Mutex::default() })
    }

    /// Marks the start of this work. `None` if nothing is measured.
    fn begin(&self, beside: Option<Beside>) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.last().is_none_or(|(last, _)| *last != beside) {
            marks.push((beside, Usage::now(&self.dir)));
        }
    }
}

/// The time a search was due, and the delay until it completed.
type Sample = (Instant, Duration);

/// All periods of a round with the same work.
#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    wall: Duration,
    cpu: Duration,
    disk_reads: u64,
    disk_written: u64,
}

impl Measured {
    fn of(marks: &Marks, samples: &[Sample], which: impl Fn(Beside) -> bool) -> Self {
        let marks = marks.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut measured = Self::default();
        for pair in marks.windows(2) {
            let [(beside, from), (_, to)] = pair else { unreachable!("windows of two") };
            if !beside.is_some_and(&which) {
                continue;
            }
            measured.wall += to.at - from.at;
            measured.cpu += to.cpu - from.cpu;
            let disk = to.disk.since(from.disk);
            measured.disk_reads += disk.reads;
            measured.disk_written += disk.bytes_written;
            let within = samples.iter().filter(|(due, _)| (from.at..to.at).contains(due));
            measured.latencies.extend(within.map(|(_, latency)| latency));
        }
        measured.latencies.sort_unstable();
        measured
    }

    /// In milliseconds.
    fn quantile(&self, part: f64) -> f64 {
        let count = self.latencies.len();
        let rank = (count as f64 * part).ceil() as usize;
        self.latencies[rank.clamp(1, count) - 1].as_secs_f64() * 1e3
    }
}

/// The queries, and their hits before and after the segments are merged.
struct Searches {
    queries: Vec<Vec<f32>>,
    before: Vec<Vec<Hit>>,
    after: Vec<Vec<Hit>>,
}

fn request(query: &[f32]) -> SearchRequest {
    SearchRequest::new(query.to_vec())
}

fn hits_of_all(collection: &Collection, queries: &[Vec<f32>]) -> Result<Vec<Vec<Hit>>, Error> {
    let found = collection.search_batch(queries.iter().map(|query| request(query)).collect()).wait()?;
    Ok(found.into_iter().map(|found| found.hits).collect())
}

/// Searches at a fixed pace until the work has ended. The hits of each search must be among `expected`.
fn search_beside(
    collection: &Collection,
    queries: &[Vec<f32>],
    expected: &[&[Vec<Hit>]],
    beside: impl FnOnce() -> Result<(), Error>,
) -> Result<Vec<Sample>, Error> {
    let (next, ended, begun) = (AtomicUsize::new(0), AtomicBool::new(false), Instant::now());
    let client = |client: usize| {
        let mut samples = Vec::new();
        let mut due = begun + PACE * client as u32 / CLIENTS as u32;
        while !ended.load(Relaxed) {
            pause(due.saturating_duration_since(Instant::now()));
            let query = next.fetch_add(1, Relaxed) % queries.len();
            let found = collection.search(request(&queries[query])).wait();
            let found = found.map_err(|error| with_causes(&error).to_string())?;
            // Measured from the due time, because a client that comes during a slow search waits too.
            samples.push((due, due.elapsed()));
            if !expected.iter().any(|hits| hits[query] == found.hits) {
                return Err(format!("query {query} found {:?}, not {:?}", found.hits, expected[0][query]));
            }
            due += PACE;
        }
        Ok(samples)
    };
    std::thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        let done = beside();
        ended.store(true, Relaxed);
        let mut samples = Vec::new();
        for client in clients {
            samples.extend(client.join().expect("a client does not panic")?);
        }
        done.map(|()| samples)
    })
}

#[expect(clippy::disallowed_methods, reason = "a pace is kept by the clock; these threads have no executor")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Opens for searches that read from the disk, with the page cache bypassed or empty. It optimizes in the
/// background only if asked, and never merges then, because a merge may change the hits.
fn open(backend: &DynBackend, dir: &Path, background: bool) -> Result<Collection, Error> {
    for file in files_below(dir)? {
        benches::make_cold(&file)?;
    }
    let open = OpenOptions::default().with_direct(!backend.name().starts_with("mmap"));
    let options =
        CollectionOptions { open, background, segments_max: usize::MAX, ..CollectionOptions::default() };
    Ok(Collection::open(backend, dir, &options)?)
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// A copy of the original collection in a new directory.
fn copy(setup: &Setup, backend: &DynBackend) -> Result<tempfile::TempDir, Error> {
    let dir = tempfile::tempdir_in(setup.dir.path())?;
    Collection::restore(backend, &setup.original(), &dir.path().join("c"), &StopFlag::new())?;
    Ok(dir)
}

/// Makes the original collection. Finds the hits of the queries in it, and in the single segment that a merge
/// makes.
fn prepare(setup: &Setup) -> Result<Searches, Error> {
    let Contender { backend, .. } = setup.contenders.first().ok_or("no backend")?;
    let mut vectors = Clustered::new(setup.points, DIM, 7);
    let queries = vectors.queries(setup.points / 30);
    let options = CollectionOptions { background: false, ..CollectionOptions::default() };
    let made = setup.dir.path().join("made");
    let collection = Collection::create(backend, &made, &Schema::new(DIM as u32), &options)?;
    let mut id = 0;
    for _ in 0..SEGMENTS {
        for _ in 0..setup.points / SEGMENTS / 1000 {
            collection.upsert(points(&mut vectors, 1000, &mut id)?, Durability::Written).wait()?;
        }
        collection.seal(|_| {}).wait()?;
    }
    collection.snapshot(&setup.original()).wait()?;
    let before = hits_of_all(&collection, &queries)?;
    collection.optimize(|_| {}).wait()?;
    let after = hits_of_all(&collection, &queries)?;
    collection.close()?;
    fs::remove_dir_all(made)?;
    Ok(Searches { queries, before, after })
}

/// The next `count` points, numbered from `id` on.
fn points(vectors: &mut Clustered, count: usize, id: &mut u64) -> Result<Vec<Point>, Error> {
    let rows = vectors.next_rows(count)?.to_f32();
    let points = rows.chunks_exact(DIM).zip(*id..).map(|(row, id)| Point::new(id, row.to_vec()));
    *id += count as u64;
    Ok(points.collect())
}

/// Measures idle, then optimizing, and then upserts in another copy.
fn round(
    setup: &Setup,
    backend: &DynBackend,
    searches: &Searches,
) -> Result<(Arc<Marks>, Vec<Sample>), Error> {
    let Searches { queries, before, after } = searches;
    let marks = Marks::new(setup.dir.path());

    let dir = copy(setup, backend)?;
    let collection = open(backend, &dir.path().join("c"), false)?;
    marks.begin(Some(Beside::Nothing));
    let mut samples = search_beside(&collection, queries, &[before], || {
        pause(setup.seconds);
        Ok(())
    })?;
    let told = Arc::clone(&marks);
    let progress = move |progress: OptimizeProgress| told.begin(Some(Beside::Optimizing(progress.stage)));
    marks.begin(Some(Beside::Optimizing(BuildStage::Reading)));
    samples.extend(search_beside(&collection, queries, &[before, after], || {
        let merged = collection.optimize(progress).wait()?.segments_after;
        marks.begin(Some(Beside::Optimized));
        pause(Duration::from_secs(1));
        marks.begin(None);
        if merged == 1 { Ok(()) } else { Err(format!("{merged} segments are left").into()) }
    })?);
    collection.close()?;

    let dir = copy(setup, backend)?;
    let collection = open(backend, &dir.path().join("c"), true)?;
    // These points lie elsewhere, so hits stay the same. They are more than a disk takes in the time.
    let mut elsewhere = Clustered::new(1_000_000, DIM, 8);
    let mut id = setup.points as u64;
    marks.begin(Some(Beside::Upserts));
    let begun = Instant::now();
    samples.extend(search_beside(&collection, queries, &[before], || {
        while begun.elapsed() < setup.seconds {
            collection.upsert(points(&mut elsewhere, WRITE_POINTS, &mut id)?, Durability::Synced).wait()?;
        }
        marks.begin(None);
        Ok(())
    })?);
    collection.close()?;
    Ok((marks, samples))
}

fn main() -> Result<(), Error> {
    let setup = Setup::new()?;
    let searches = prepare(&setup)?;
    // Each round runs all contenders, so that other work of the machine affects all of them.
    let mut rounds: Vec<Vec<_>> = setup.contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..setup.rounds {
        for (Contender { backend, .. }, rounds) in setup.contenders.iter().zip(&mut rounds) {
            rounds.push(round(&setup, backend, &searches)?);
        }
    }
    let title = format!(
        "Searches beside other work: {} points of dimension {DIM} in {SEGMENTS} segments",
        setup.points
    );
    let mut table = Table::new(
        title,
        &[
            "contender",
            "beside",
            "seconds",
            "searches",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "max ms",
            "p99 / quiet",
            "cores busy",
            "reads/s",
            "MB/s written",
        ],
    )
    .note(format!(
        "{CLIENTS} clients, each with a search every {} ms, whatever became of the one before; a search lasts from when it \
         was due. *quiet*: the p99 beside nothing, of the same round.",
        PACE.as_millis()
    ))
    .plot(Plot::new("beside", "p99 ms", "contender").log());
    for (Contender { name, .. }, rounds) in setup.contenders.iter().zip(&rounds) {
        add_rows(&mut table, name, rounds);
    }
    let mut report = Report::new("interference");
    report.table(table);
    report.finish()
}

fn add_rows(table: &mut Table, contender: &str, rounds: &[(Arc<Marks>, Vec<Sample>)]) {
    let of = |which: &dyn Fn(Beside) -> bool| -> Vec<Measured> {
        rounds.iter().map(|(marks, samples)| Measured::of(marks, samples, which)).collect()
    };
    let quiet = of(&|beside| beside == Beside::Nothing);
    add_row(table, contender, "nothing", &quiet, &quiet);
    let optimizing = of(&|beside| matches!(beside, Beside::Optimizing(_) | Beside::Optimized));
    add_row(table, contender, "optimizing", &optimizing, &quiet);
    for (name, which) in [
        ("- reading", Beside::Optimizing(BuildStage::Reading)),
        ("- index", Beside::Optimizing(BuildStage::Index)),
        ("- writing", Beside::Optimizing(BuildStage::Writing)),
        ("- a second after", Beside::Optimized),
        ("upserts", Beside::Upserts),
    ] {
        add_row(table, contender, name, &of(&|beside| beside == which), &quiet);
    }
}

/// Only rounds with searches count.
fn add_row(table: &mut Table, contender: &str, name: &str, rounds: &[Measured], quiet: &[Measured]) {
    let pairs: Vec<_> = rounds.iter().zip(quiet).filter(|(round, _)| !round.latencies.is_empty()).collect();
    if pairs.is_empty() {
        return;
    }
    let each = |value: &dyn Fn(&Measured) -> f64| Cell::spread(pairs.iter().map(|(round, _)| value(round)));
    let ratios = pairs.iter().map(|(round, quiet)| round.quantile(0.99) / quiet.quantile(0.99));
    table.row([
        contender.into(),
        name.into(),
        each(&|round| round.wall.as_secs_f64()),
        each(&|round| round.latencies.len() as f64),
        each(&|round| round.quantile(0.5)),
        each(&|round| round.quantile(0.9)),
        each(&|round| round.quantile(0.99)),
        each(&|round| round.quantile(1.0)),
        Cell::spread(ratios),
        each(&|round| round.cpu.as_secs_f64() / round.wall.as_secs_f64()),
        each(&|round| round.disk_reads as f64 / round.wall.as_secs_f64()),
        each(&|round| round.disk_written as f64 / 1e6 / round.wall.as_secs_f64()),
    ]);
}
