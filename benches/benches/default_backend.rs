//! Searches with the command's default options, through each backend that its default may lead to.
//!
//! ```sh
//! cargo bench -p benches --bench default_backend -- prepare    # makes the collection, in a minute
//! cargo bench -p benches --bench default_backend
//! target/release/slow-disk run --read-ahead-kb 128 --memory-max-mib 256 -- \
//!     cargo bench -p benches --bench default_backend
//! ```
//!
//! The last table says how far each contender is behind the best one where it is furthest behind. Over all
//! disks, the smallest figure of a contender counts. `auto` leads to `ring` or `threads`, and `mmap+auto` to
//! a map before one of them. So the smaller figure of the two counts for it.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_KEEP` | the directory of the collection | `target/tmp` |
//! | `BENCH_BACKENDS` | other contenders, as `mmap,ring` | those of the default |
//! | `BENCH_ROUNDS` | the number of rounds | 3 |
//! | `BENCH_QUICK=1` | shows in seconds that it works | |

use benches::data::variable;
use benches::disk::DiskCounts;
use benches::kept::{kept, largest_file, only_prepare};
use benches::report::{Cell, Report, Table};
use benches::rounds::{Round, Rounds};
use benches::settings::Settings;
use benches::{cpu_time, make_cold, make_warm, memory, spread};
use io_core::StopFlag;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, Hit, SearchRequest};
use vecstore::dataset::Clustered;
use vecstore::input::VectorSource;
use vecstore::point::Point;
use vecstore::schema::Schema;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DIM: usize = 768;
const SEED: u64 = 17;
/// The default of today comes first. The others are compared with it.
const CONTENDERS: &str = "mmap,ring,threads,mmap+ring,mmap+threads";

/// The page cache at the first search that counts.
const COLD: &str = "cold";
const USED: &str = "in use";

struct Setup {
    dir: PathBuf,
    vectors: PathBuf,
    queries: Vec<Vec<f32>>,
    rounds: usize,
    kinds: Vec<BackendKind>,
}

fn main() -> Result<()> {
    memory::give_back_when_freed();
    let Settings { quick, dir, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 3)?;
    let points = if quick { 2000 } else { 100_000 };
    let name = format!("default-backend-{points}x{DIM}");
    let kept = kept(env!("CARGO_TARGET_TMPDIR"), &name, |dir| make(dir, points))?;
    if only_prepare() {
        return Ok(());
    }
    let names = variable("BENCH_BACKENDS").unwrap_or_else(|| CONTENDERS.to_owned());
    let kinds = names.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?;
    let dir = tempfile::tempdir_in(dir)?;
    let collection = dir.path().join("collection");
    Collection::restore(&BackendKind::Mmap.backend(), &kept, &collection, &StopFlag::new())?;
    let vectors = largest_file(&collection)?;
    let queries = Clustered::new(points, DIM, SEED).queries(if quick { 40 } else { 600 });
    let (searches, furthest) = measure(&Setup { dir: collection, vectors, queries, rounds, kinds }, points)?;
    let mut report = Report::new("default_backend");
    report.table(searches);
    report.table(furthest);
    report.finish()
}

/// Makes one segment with the default schema: codes, graph and ids in memory, vectors on disk.
fn make(dir: &Path, points: usize) -> Result<()> {
    let options = CollectionOptions { background: false, cores: 0, ..CollectionOptions::default() };
    let schema = Schema::new(DIM as u32);
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

fn measure(setup: &Setup, points: usize) -> Result<(Table, Table)> {
    let title = format!("Searches of {points} x {DIM} f32 with the command's default options");
    let figures = ["searches/s", "CPU us/search", "disk reads/search"];
    let mut table = Rounds::table(title, &["page cache", "at once", "contender"], &figures)
        .note(format!(
            "{} searches, one after the other or as many at once as the command runs. *{COLD}*: the page cache has nothing of \
             the vectors at first. *{USED}*: it has what memory there is for it, and as many other searches came before.",
            setup.queries.len() / 2
        ))
        .note("Every contender reads through the page cache, as the command does without `--direct`.");
    // Of each contender, its searches a second over those of the fastest, in each state.
    let mut of_the_best: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut expected: Option<Vec<Vec<Hit>>> = None;
    for cache in [COLD, USED] {
        for at_once in ["one", "all"] {
            let mut rounds = Rounds::default();
            let mut rates: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for round in 0..setup.rounds {
                for turn in 0..setup.kinds.len() {
                    // The first contender stays first in the table. In later rounds the order rotates.
                    let kind = setup.kinds[(turn + round) % setup.kinds.len()];
                    rounds.run(round, [cache.into(), at_once.into(), kind.name().into()], || {
                        let (measured, hits) = run(setup, kind, cache, at_once == "all")?;
                        rates.entry(kind.name()).or_default().extend(measured.figure(0));
                        match expected.get_or_insert_with(|| hits.clone()) == &hits {
                            true => Ok(measured),
                            false => Err("it found other points than the contenders before".into()),
                        }
                    })?;
                }
            }
            rounds.add_to(&mut table);
            let medians = rates.into_iter().map(|(name, rates)| (name, spread(rates.into_iter()).1));
            let medians: Vec<_> = medians.collect();
            let best = medians.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
            for (name, rate) in medians {
                of_the_best.entry(name).or_default().push(rate / best);
            }
        }
    }
    let columns = ["contender", "of the best, at least"];
    let mut furthest = Table::new("Where each contender is furthest behind", &columns).note(
        "Searches a second over those of the fastest contender, medians of the rounds, in the state where that is least. The \
         default should have the largest such figure over all disks.",
    );
    for kind in &setup.kinds {
        let least = of_the_best.get(kind.name()).into_iter().flatten().copied().fold(1.0, f64::min);
        furthest.row([Cell::from(kind.name()), Cell::from(least)]);
    }
    Ok((table, furthest))
}

/// Searches for the second half of the queries. Returns the cost and the hits.
fn run(setup: &Setup, kind: BackendKind, cache: &str, all_at_once: bool) -> Result<(Round, Vec<Vec<Hit>>)> {
    let options = CollectionOptions { read_only: true, ..CollectionOptions::default() };
    let collection = Collection::open(&kind.backend(), &setup.dir, &options)?;
    let search = |queries: &[Vec<f32>]| -> Result<Vec<Vec<Hit>>> {
        let requests = queries.iter().map(|query| SearchRequest::new(query.clone()));
        let found = if all_at_once {
            collection.search_batch(requests.collect()).wait()?
        } else {
            requests
                .map(|request| collection.search(request).wait())
                .collect::<std::result::Result<_, _>>()?
        };
        Ok(found.into_iter().map(|found| found.hits).collect())
    };
    let (before, counted) = setup.queries.split_at(setup.queries.len() / 2);
    if cache == COLD {
        make_cold(&setup.vectors)?;
    } else {
        make_warm(&setup.vectors)?;
        search(before)?;
    }
    let (disk, cpu, started) = (DiskCounts::of(&setup.dir), cpu_time(), Instant::now());
    let hits = search(counted)?;
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
    let disk = DiskCounts::of(&setup.dir).zip(disk).map(|(now, before)| now.since(before));
    collection.close()?;
    let count = counted.len() as f64;
    let round = Round::rate(count, elapsed)
        .with(cpu.as_secs_f64() * 1e6 / count)
        .with(disk.map(|disk| disk.reads as f64 / count));
    Ok((round, hits))
}
