//! Random reads with the page cache empty, partly filled or full: a map, rings, threads, and a map before
//! each of them.
//!
//! `cargo bench -p benches --bench hit_rates` takes about a minute, and eight on a slow disk:
//! `cargo run --release -p benches --bin slow-disk -- run -- cargo bench -p benches --bench hit_rates`.
//!
//! Arguments: the parts to run (`-- skewed`); default: both.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_ROUNDS` | the number of rounds | 5 |
//! | `BENCH_QUICK=1` | shows in seconds that it works | |

use benches::reads::{FIGURES, Issue, Recorder, random_requests};
use benches::report::{Plot, Report, Table};
use benches::ring::BareRing;
use benches::rounds::{Round, Rounds};
use benches::settings::Settings;
use benches::{data_file, make_cold, touch};
use io_core::{DynBackend, Executor, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader};
use io_mmap::{MmapBackend, MmapBefore};
use io_ring::RingBackend;
use io_threads::ThreadsBackend;
use io_tokio_uring::TokioUringBackend;
use rustix::fs::Advice;
use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DEPTH: u32 = 128;
const LEN: u32 = 4096;
/// Percent of the reads that the page cache serves.
const HITS: [usize; 7] = [0, 25, 50, 75, 90, 99, 100];

struct Setup {
    path: PathBuf,
    file_bytes: u64,
    reads: usize,
    rounds: usize,
    backends: [DynBackend; 7],
}

fn main() -> Result<()> {
    let Settings { quick, dir, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 5)?;
    let (file_bytes, reads) = if quick { (32 << 20, 512) } else { (1 << 30, 16_384) };
    let backends = [
        DynBackend::new(MmapBackend::default()),
        DynBackend::new(TokioUringBackend::default()),
        DynBackend::new(RingBackend::default()),
        DynBackend::new(ThreadsBackend::default()),
        DynBackend::new(MmapBefore::new("mmap+tokio-uring", TokioUringBackend::default())),
        DynBackend::new(MmapBefore::new("mmap+ring", RingBackend::default())),
        DynBackend::new(MmapBefore::new("mmap+threads", ThreadsBackend::default())),
    ];
    let setup = Setup { path: data_file(&dir, file_bytes)?, file_bytes, reads, rounds, backends };
    let mut report = Report::new("hit_rates");
    // `cargo bench` adds `--bench`. The other arguments name parts.
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, part) in
        [("rates", Setup::by_hit_rate as fn(&Setup) -> Result<Table>), ("skewed", Setup::skewed)]
    {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            report.table(part(&setup)?);
        }
    }
    report.finish()
}

impl Setup {
    fn by_hit_rate(&self) -> Result<Table> {
        let Self { path, file_bytes, reads, rounds, backends } = self;
        let mut table = Rounds::table("Reads by hit rate", &["batch", "hits %", "contender"], &FIGURES)
            .note(format!(
                "{reads} random reads of {LEN} bytes a round, rounds: {rounds}; one batch after the other, up to {DEPTH} reads in \
                 flight. What is to be hit each reader has read before."
            ))
            .plot(Plot::new("hits %", "reads/s", "contender").pictures(&["batch"]).log())
            .plot(Plot::new("hits %", "CPU us/read", "contender").pictures(&["batch"]).log());
        let pool = random_requests(*file_bytes, LEN, 2 * reads, 0);
        let (hot, cold) = pool.split_at(*reads);
        // Reads page by page, so that the page cache can evict pages without their neighbours.
        make_cold(path)?;
        BareRing::open(path, false, DEPTH, LEN as usize)?.read(hot, |_, _| ())?;
        for batch in [64, *reads] {
            for hits in HITS {
                let mut of_hits = Rounds::default();
                for round in 0..*rounds {
                    let mut random = fastrand::Rng::with_seed(round as u64);
                    let hot = random.choose_multiple(hot.iter().copied(), reads * hits / 100);
                    let cold = random.choose_multiple(cold.iter().copied(), reads - hot.len());
                    let mut requests = [hot.as_slice(), &cold].concat();
                    random.shuffle(&mut requests);
                    for turn in 0..backends.len() {
                        let backend = &backends[(turn + round) % backends.len()];
                        drop_pages(path, &cold)?;
                        let row = [batch.into(), hits.into(), backend.name().into()];
                        // The first read fills the page cache, the second one the page table.
                        let before = [hot.as_slice(), &hot].concat();
                        of_hits.run(round, row, || self.measure(backend, &before, &requests, batch))?;
                    }
                }
                of_hits.add_to(&mut table);
            }
        }
        Ok(table)
    }

    fn skewed(&self) -> Result<Table> {
        const BATCH: usize = 64;
        let title = "Nine of ten reads in an eighth of the pages";
        let mut table = Rounds::table(title, &["contender"], &FIGURES).note(format!(
            "{} random reads of {LEN} bytes a round, {BATCH} a batch, after four times as many like them; of {} MiB, of which the \
             page cache holds what memory there is for it: `slow-disk run --memory-max-mib` caps it.",
            self.reads,
            self.file_bytes >> 21
        ));
        let pool = random_requests(self.file_bytes, LEN, usize::MAX, 0);
        let hot = &pool[..pool.len() / 8];
        let mut rounds = Rounds::default();
        for round in 0..self.rounds {
            for turn in 0..self.backends.len() {
                // Other requests than before, because the last contender left its own in the page cache.
                let mut random = fastrand::Rng::with_seed((round * self.backends.len() + turn) as u64);
                let mut read = || {
                    let of = if random.u32(..10) < 9 { hot } else { &pool };
                    of[random.usize(..of.len())]
                };
                let requests: Vec<_> = (0..5 * self.reads).map(|_| read()).collect();
                let (before, requests) = requests.split_at(4 * self.reads);
                let backend = &self.backends[(turn + round) % self.backends.len()];
                rounds
                    .run(round, [backend.name().into()], || self.measure(backend, before, requests, BATCH))?;
            }
        }
        rounds.add_to(&mut table);
        Ok(table)
    }

    /// Reads batch after batch with one reader. Records `requests`, but not `before`.
    fn measure(
        &self,
        backend: &DynBackend,
        before: &[ReadRequest],
        requests: &[ReadRequest],
        batch: usize,
    ) -> Result<Round> {
        let options = OpenOptions::default().with_queue_depth(DEPTH).with_gap_max(0);
        backend.run(|| async {
            let reader = backend.open(&self.path, &options).await?;
            let control = ReadControl::default();
            for batch in before.chunks(batch) {
                let sink = |_: usize, bytes: &[u8]| {
                    black_box(touch(bytes));
                    ControlFlow::Continue(())
                };
                reader.read_vectors(batch, &control, sink).await?;
            }
            let mut recorder = Recorder::start(requests.len());
            let mut first = 0;
            for batch in requests.chunks(batch) {
                let sink = |index, bytes: &[u8]| {
                    recorder.take(first + index, bytes);
                    ControlFlow::Continue(())
                };
                reader.read_vectors(batch, &control, sink).await?;
                first += batch.len();
            }
            let round = recorder.finish(requests, Issue::Together(batch))?;
            reader.close().await?;
            Ok(round)
        })?
    }
}

/// Evicts these pages from the page cache.
fn drop_pages(path: &Path, pages: &[ReadRequest]) -> Result<()> {
    let file = File::open(path)?;
    for page in pages {
        rustix::fs::fadvise(&file, page.offset, NonZeroU64::new(u64::from(page.len)), Advice::DontNeed)?;
    }
    Ok(())
}
