//! Searches within tenants, before and after a tenant's points lie together. The disk holds more than memory.
//!
//! ```sh
//! cargo bench -p benches --bench defragmentation -- prepare    # makes the collections; needs much memory
//! target/release/slow-disk run --memory-max-mib 128 -- cargo bench -p benches --bench defragmentation
//! ```
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_KEEP` | the directory of the collections | `target/tmp` |
//! | `BENCH_BACKENDS` | only these backends, as `mmap,ring` | `mmap,ring` |
//! | `BENCH_ROUNDS` | the number of rounds | 3, about 8 minutes |
//! | `BENCH_QUICK=1` | shows in seconds that it works | |

use benches::data::variable;
use benches::disk::DiskCounts;
use benches::kept::{kept, only_prepare};
use benches::report::{Plot, Report, Table};
use benches::rounds::{Round, Rounds};
use benches::settings::Settings;
use benches::{cpu_time, make_cold, memory};
use io_core::{DynBackend, OpenOptions, StopFlag};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, Hit, SearchRequest};
use vecstore::dataset::Clustered;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter};
use vecstore::input::VectorSource;
use vecstore::point::{Point, PointId};
use vecstore::schema::HnswParams;
use vecstore::schema::Quantization;
use vecstore::schema::{Placement, Schema};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DIM: usize = 768;
const SEED: u64 = 13;
/// Concurrent searches.
const CLIENTS: usize = 8;
/// Different searches of a cell. They repeat.
const SEARCHES: usize = 400;
const PAGE: f64 = 4096.0;
/// Gaps up to this are read over. On a network drive, a short request takes as long as a long one.
const GAP_MAX: u32 = 32 << 10;

/// Tenants of one size. Both kinds are fields of the same points, and a large tenant consists of ten small
/// ones. One order on disk therefore keeps the points of either together.
struct Tenants {
    field: &'static str,
    points: usize,
}

const LARGE: Tenants = Tenants { field: "large", points: 400 };
const SMALL: Tenants = Tenants { field: "small", points: 40 };

/// A row of the published table: the tenants, per mille of them that are searched, and searches a second
/// before and after.
const GRID: [(&Tenants, usize, f64, f64); 4] = [
    (&SMALL, 25, 1.5, 304.0),
    (&LARGE, 25, 56.0, 490.0),
    (&LARGE, 250, 3.3, 490.0),
    (&LARGE, 1000, 2.7, 95.0),
];

const LAYOUTS: [&str; 2] = ["before", "after"];

struct Contender {
    name: String,
    backend: DynBackend,
    direct: bool,
}

fn contenders() -> Result<Vec<Contender>> {
    let names = variable("BENCH_BACKENDS").unwrap_or_else(|| "mmap,ring".to_owned());
    let mut contenders = Vec::new();
    for name in names.split(',') {
        let kind: BackendKind = name.parse()?;
        // Both contenders share it, because a ring keeps its buffers and memory is scarce.
        let backend = kind.backend();
        let contender = |name, direct| Contender { name, backend: backend.clone(), direct };
        contenders.push(contender(name.to_owned(), false));
        if !kind.maps() {
            contenders.push(contender(format!("{name}, past the page cache"), true));
        }
    }
    Ok(contenders)
}

struct Setup {
    points: usize,
    rounds: usize,
    /// Time of each measurement, after as long a warm-up.
    time: Duration,
}

fn main() -> Result<()> {
    memory::give_back_when_freed();
    let Settings { quick, dir, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 3)?;
    let time = Duration::from_millis(if quick { 100 } else { 3000 });
    let setup = Setup { points: if quick { 4000 } else { 200_000 }, rounds, time };
    let kept = LAYOUTS.map(|layout| {
        let name = format!("tenants-{}x{DIM}-{layout}", setup.points);
        kept(env!("CARGO_TARGET_TMPDIR"), &name, |dir| make(dir, setup.points, layout == LAYOUTS[1]))
    });
    let [before, after] = kept;
    let kept = [before?, after?];
    if only_prepare() {
        return Ok(());
    }
    let dir = tempfile::tempdir_in(dir)?;
    let mut table = Rounds::table(
        format!("Defragmentation: searches within tenants among {} x {DIM} f32, codes on disk", setup.points),
        &["tenants", "hot %", "contender", "layout"],
        &["searches/s", "disk pages/search", "of the least", "disk reads/search", "CPU %", "recall@10", "published"],
    )
    .note(format!(
        "Vectors and binary codes on disk, the rest in memory. {CLIENTS} searches at once, each within one of the tenants \
         that are hot, spread evenly; each of the tenant's codes is scored, and 16 vectors a hit are read. *Least*: pages of 4 KiB \
         that all codes and vectors of the tenant fill. Below 1 is what the page cache held or rescoring left out. *ratio* is \
         to before, of the same contender and round."
    ))
    .plot(Plot::new("layout", "searches/s", "contender").pictures(&["tenants", "hot %"]).log());
    let places = LAYOUTS.map(|layout| dir.path().join(layout));
    for (kept, place) in kept.iter().zip(&places) {
        Collection::restore(&BackendKind::Mmap.backend(), kept, place, &StopFlag::new())?;
    }
    let contenders = contenders()?;
    for cell in GRID {
        measure(&setup, cell, &kept, &places, &contenders, &mut table)?;
    }
    let mut report = Report::new("defragmentation");
    report.table(table);
    report.finish()
}

/// Makes one segment. Searches within a tenant score each of its points, so the graph need not be good.
fn make(dir: &Path, points: usize, defragment: bool) -> Result<()> {
    let mut schema = Schema::new(DIM as u32);
    schema.quantization = Quantization::Binary;
    schema.hnsw = HnswParams { m: 4, ef_construct: 8, seed: 0 };
    schema.placement.codes = Placement::Cold;
    schema.placement.graph = Placement::Cold;
    schema.placement.ids = Placement::Pinned;
    for Tenants { field, .. } in [LARGE, SMALL] {
        schema.indexes.insert(field.to_owned(), FieldKind::Keyword);
        if defragment {
            schema.defragment.push(field.to_owned());
        }
    }
    let options = CollectionOptions { background: false, cores: 0, ..CollectionOptions::default() };
    let collection = Collection::create(&BackendKind::Mmap.backend(), dir, &schema, &options)?;
    let mut vectors = Clustered::new(points, DIM, SEED);
    for first in (0..points).step_by(1000) {
        let rows = vectors.next_rows(1000)?.to_f32();
        let points = rows.chunks_exact(DIM).zip(first..).map(|(row, id)| {
            let tenant = |tenants: &Tenants| (id % (points / tenants.points)).to_string();
            let payload = serde_json::json!({ LARGE.field: tenant(&LARGE), SMALL.field: tenant(&SMALL) });
            Point::new(id as u64, row.to_vec()).with_payload(payload)
        });
        collection.upsert(points.collect(), Durability::Written).wait()?;
    }
    collection.optimize(|_| {}).wait()?;
    Ok(collection.close()?)
}

/// Searches within the hot tenants, in random order.
fn searches(setup: &Setup, tenants: &Tenants, per_mille: usize) -> Vec<SearchRequest> {
    let count = setup.points / tenants.points;
    let hot = (count * per_mille / 1000).max(1);
    let mut random = fastrand::Rng::with_seed(SEED);
    let queries = Clustered::new(setup.points, DIM, SEED).queries(SEARCHES);
    let search = |query| {
        let tenant = random.usize(..hot) * (count / hot);
        let condition = Condition::matches(tenants.field, tenant.to_string());
        SearchRequest { filter: Some(Filter::must(condition)), ..SearchRequest::new(query) }
    };
    queries.into_iter().map(search).collect()
}

fn open(dir: &Path, backend: &DynBackend, direct: bool) -> Result<Collection> {
    let options = CollectionOptions {
        open: OpenOptions::default().with_direct(direct).with_gap_max(GAP_MAX),
        read_only: true,
        ..CollectionOptions::default()
    };
    Ok(Collection::open(backend, dir, &options)?)
}

/// The hits when all vectors of the tenants are read, which both layouts share. Also the number of pages that
/// a tenant's codes and vectors fill, on average.
fn truth(kept: &[PathBuf; 2], searches: &[SearchRequest], field: &str) -> Result<(Vec<Vec<Hit>>, f64)> {
    let mut truths = Vec::new();
    for dir in kept {
        let collection = open(dir, &BackendKind::Mmap.backend(), false)?;
        let mut searches = searches.to_vec();
        searches.iter_mut().for_each(|search| search.params.exact = true);
        let found = collection.search_batch(searches).wait()?;
        let hits: Vec<_> = found.into_iter().map(|found| found.hits).collect();
        let locality = collection.locality(field.to_owned()).wait()?;
        truths.push((hits, locality.pages_least as f64 / locality.values as f64));
        collection.close()?;
    }
    let (after, before) = (truths.remove(1), truths.remove(0));
    match before.0.iter().zip(&after.0).position(|(before, after)| before != after) {
        None => Ok(after),
        Some(search) => Err(format!(
            "search {search} within {field} tenants finds {:?} before and {:?} after",
            before.0[search], after.0[search]
        )
        .into()),
    }
}

fn measure(
    setup: &Setup,
    (tenants, per_mille, before, after): (&Tenants, usize, f64, f64),
    kept: &[PathBuf; 2],
    places: &[PathBuf; 2],
    contenders: &[Contender],
    table: &mut Table,
) -> Result<()> {
    let searches = searches(setup, tenants, per_mille);
    let (truth, least) = truth(kept, &searches, tenants.field)?;
    // The first hits found by any contender, by layout and search.
    let expected: [Expected; 2] = Default::default();
    let mut rounds: Vec<Rounds> = contenders.iter().map(|_| Rounds::default()).collect();
    for round in 0..setup.rounds {
        for turn in 0..contenders.len() {
            let at = (turn + round) % contenders.len();
            let contender = &contenders[at];
            for (layout, published) in [before, after].into_iter().enumerate() {
                let row = [
                    (setup.points / tenants.points).into(),
                    (per_mille as f64 / 10.0).into(),
                    contender.name.as_str().into(),
                    LAYOUTS[layout].into(),
                ];
                rounds[at].run(round, row, || {
                    let run = run(setup, contender, &places[layout], &searches, &expected[layout])?;
                    let per_search = |count: u64| count as f64 / run.searches;
                    let pages = run.disk.map(|disk| per_search(disk.bytes_read) / PAGE);
                    Ok(Round::new(run.searches / run.elapsed)
                        .with(pages)
                        .with(pages.map(|pages| pages / least))
                        .with(run.disk.map(|disk| per_search(disk.reads)))
                        .with(100.0 * run.cpu / run.elapsed)
                        .with(recall(&expected[layout], &truth))
                        .with(published))
                })?;
            }
        }
    }
    rounds.into_iter().for_each(|rounds| rounds.add_to(table));
    Ok(())
}

/// The first hits of each search. It keeps nothing else, because memory is scarce.
struct Expected(Vec<OnceLock<Vec<Hit>>>);

impl Default for Expected {
    fn default() -> Self {
        Self(vec![OnceLock::new(); SEARCHES])
    }
}

impl Expected {
    /// Fails if a search found other hits than before.
    fn compare(&self, search: usize, hits: &[Hit]) -> Result<()> {
        let expected = self.0[search].get_or_init(|| hits.to_vec());
        if hits == expected {
            return Ok(());
        }
        let what = format!("search {search} found {hits:?} instead of what another run did: {expected:?}");
        Err(what.into())
    }
}

/// The recall of all searches that ran. A search finds the same each time.
fn recall(found: &Expected, truth: &[Vec<Hit>]) -> f64 {
    let (mut right, mut all) = (0, 0);
    for (found, truth) in found.0.iter().zip(truth) {
        let Some(hits) = found.get() else { continue };
        let ids: Vec<PointId> = truth.iter().map(|hit| hit.id).collect();
        right += hits.iter().filter(|hit| ids.contains(&hit.id)).count();
        all += ids.len();
    }
    right as f64 / all as f64
}

/// The work done in the measured time.
struct Run {
    searches: f64,
    elapsed: f64,
    cpu: f64,
    disk: Option<DiskCounts>,
}

/// Searches for a while to warm up, and then as long again.
fn run(
    setup: &Setup,
    contender: &Contender,
    dir: &Path,
    searches: &[SearchRequest],
    expected: &Expected,
) -> Result<Run> {
    let collection = open(dir, &contender.backend, contender.direct)?;
    drop_caches(dir)?;
    let next = AtomicUsize::new(0);
    search_for(setup.time, &collection, searches, &next, expected)?;
    let (disk, cpu, started) = (DiskCounts::of(dir), cpu_time(), Instant::now());
    let measured = search_for(setup.time, &collection, searches, &next, expected)?;
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    let disk = DiskCounts::of(dir).zip(disk).map(|(now, before)| now.since(before));
    collection.close()?;
    Ok(Run { searches: measured as f64, elapsed, cpu, disk })
}

/// Each client starts its next search when the last one ended. Returns how many searches completed.
fn search_for(
    time: Duration,
    collection: &Collection,
    searches: &[SearchRequest],
    next: &AtomicUsize,
    expected: &Expected,
) -> Result<usize> {
    let started = Instant::now();
    let client = || {
        let mut count = 0;
        while started.elapsed() < time {
            let search = next.fetch_add(1, Relaxed) % searches.len();
            let found = collection.search(searches[search].clone()).wait()?;
            expected.compare(search, &found.hits)?;
            count += 1;
        }
        Ok(count)
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).sum()
    })
}

/// Evicts a collection's files from the page cache.
fn drop_caches(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            drop_caches(&path)?;
        } else {
            make_cold(&path)?;
        }
    }
    Ok(())
}
