//! Walks over a file: each page names the next four. 64 walks run at once, and each waits for its own pages.
//! `cargo bench -p benches --bench walks` takes about a minute.
//!
//! A session adds the next four pages of a walk as soon as that walk has its last four. Waves read the pages
//! of all walks as one batch, and so wait for the slowest walk. The bare ring knows all its pages from the
//! start, which is the limit. Everything bypasses the page cache.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_BACKENDS` | only these backends, as `ring,monoio` | all but memory maps |
//! | `BENCH_ROUNDS` | the number of rounds | 7 |
//! | `BENCH_QUICK=1` | shows in seconds that it works, measures nothing | |

use benches::data::variable;
use benches::reads::random_requests;
use benches::report::Report;
use benches::ring::BareRing;
use benches::rounds::{Round, Rounds};
use benches::settings::Settings;
use benches::{cpu_time, data_file, data_word, make_cold};
use io_core::{
    Completion, DynBackend, Executor, FileSession, FileSystem, OpenOptions, ReadControl, ReadRequest,
    VectorReader,
};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use vecstore::backends::BackendKind;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PAGE: u64 = 4096;
const WALKS: u64 = 64;
/// Pages that one page names.
const NAMED: usize = 4;
const DEPTH: u32 = 64;

#[derive(Clone, Copy)]
enum Way {
    Session,
    Waves,
}

struct Setup {
    path: PathBuf,
    pages: u64,
    /// Steps of a walk, each with [`NAMED`] pages.
    steps: u64,
}

fn main() -> Result<()> {
    let Settings { quick, dir, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 7)?;
    let file_bytes: u64 = if quick { 32 << 20 } else { 1 << 30 };
    let kinds = match variable("BENCH_BACKENDS") {
        Some(names) => names.split(',').map(str::parse).collect::<std::result::Result<Vec<_>, _>>()?,
        None => BackendKind::plain().iter().copied().filter(|kind| !kind.maps()).collect(),
    };
    let setup = Setup {
        path: data_file(&dir, file_bytes)?,
        pages: file_bytes / PAGE,
        steps: if quick { 4 } else { 32 },
    };
    make_cold(&setup.path)?;
    let mut measured = Rounds::default();
    for round in 0..rounds {
        measured.run(round, ["bare ring".into(), "all known".into()], || setup.bare_ring(round as u64))?;
        for kind in &kinds {
            for (way, name) in [(Way::Session, "session"), (Way::Waves, "waves")] {
                let run = || setup.walks(&kind.backend(), way, round as u64);
                measured.run(round, [kind.name().into(), name.into()], run)?;
            }
        }
    }
    let reads = WALKS * setup.steps * NAMED as u64;
    let mut table = Rounds::table("Walks", &["contender", "pages"], &["reads/s", "CPU us/read"]).note(format!(
        "{WALKS} walks at once, {NAMED} pages a step, {reads} reads of {PAGE} bytes a round, O_DIRECT, at most {DEPTH} in flight; \
         rounds: {rounds}. *all known*: random pages, known from the start. *session*: a walk goes on when it has its pages. \
         *waves*: one batch for each step of all walks."
    ));
    measured.add_to(&mut table);
    let mut report = Report::new("walks");
    report.table(table);
    report.finish()
}

/// One walk. It expands the page with the smallest first word of each four.
struct Walk {
    number: u64,
    smallest: u64,
    /// The pages of this step.
    pages: Vec<ReadRequest>,
    missing: usize,
    steps_left: u64,
}

impl Walk {
    fn new(number: u64, steps: u64) -> Self {
        Self { number, smallest: number, pages: Vec::new(), missing: 0, steps_left: steps }
    }

    /// Names the pages of the next step, of a file of so many. None when the walk is over.
    fn step(&mut self, file_pages: u64) -> &[ReadRequest] {
        self.pages.clear();
        if self.steps_left > 0 {
            let mut random = fastrand::Rng::with_seed(self.smallest ^ (self.number << 32));
            let page = |_| ReadRequest::new(random.u64(..file_pages) * PAGE, PAGE as u32);
            self.pages.extend((0..NAMED).map(page));
            (self.steps_left, self.missing, self.smallest) = (self.steps_left - 1, NAMED, u64::MAX);
        }
        &self.pages
    }

    /// Takes a page of this step. Returns whether it was the last.
    ///
    /// # Panics
    /// If the bytes are not the file's.
    fn take(&mut self, at: usize, page: &[u8]) -> bool {
        let word = u64::from_le_bytes(page[..8].try_into().expect("8 bytes"));
        assert_eq!(page.len() as u64, PAGE);
        assert_eq!(word, data_word(self.pages[at].offset / 8), "wrong bytes of {:?}", self.pages[at]);
        self.smallest = self.smallest.min(word);
        self.missing -= 1;
        self.missing == 0
    }
}

impl Setup {
    fn bare_ring(&self, seed: u64) -> Result<Round> {
        let reads = WALKS as usize * self.steps as usize * NAMED;
        let requests = random_requests(self.pages * PAGE, PAGE as u32, reads, seed);
        let mut ring = BareRing::open(&self.path, true, DEPTH, PAGE as usize)?;
        let (cpu, started) = (cpu_time(), Instant::now());
        let mut read = 0;
        ring.read(&requests, |_, _| read += 1)?;
        Ok(figures(read, cpu, started))
    }

    fn walks(&self, backend: &DynBackend, way: Way, seed: u64) -> Result<Round> {
        backend.run(|| async {
            let options = OpenOptions::direct().with_queue_depth(DEPTH).with_gap_max(0);
            let reader = backend.open(&self.path, &options).await?;
            let mut walks: Vec<_> =
                (0..WALKS).map(|walk| Walk::new(seed * WALKS + walk, self.steps)).collect();
            let (cpu, started) = (cpu_time(), Instant::now());
            let reads = match way {
                Way::Session => self.by_session(&reader, &mut walks).await?,
                Way::Waves => self.by_waves(&reader, &mut walks).await?,
            };
            let round = figures(reads, cpu, started);
            reader.close().await?;
            Ok(round)
        })?
    }

    async fn by_session(&self, reader: &impl VectorReader, walks: &mut [Walk]) -> Result<u64> {
        let mut session = reader.session(ReadControl::default());
        let step = |session: &mut dyn FileSession, number: usize, walk: &mut Walk| {
            for (at, &request) in walk.step(self.pages).iter().enumerate() {
                session.submit((number * NAMED + at) as u64, request);
            }
        };
        for (number, walk) in walks.iter_mut().enumerate() {
            step(&mut session, number, walk);
        }
        let mut reads = 0;
        while let Some(Completion { tag, bytes, .. }) = session.next().await {
            let (number, at) = (tag as usize / NAMED, tag as usize % NAMED);
            reads += 1;
            if walks[number].take(at, &bytes?) {
                step(&mut session, number, &mut walks[number]);
            }
        }
        Ok(reads)
    }

    async fn by_waves(&self, reader: &impl VectorReader, walks: &mut [Walk]) -> Result<u64> {
        let (mut reads, mut wave) = (0, Vec::new());
        loop {
            wave.clear();
            walks.iter_mut().for_each(|walk| wave.extend_from_slice(walk.step(self.pages)));
            if wave.is_empty() {
                return Ok(reads);
            }
            reads += wave.len() as u64;
            let sink = |index: usize, bytes: &[u8]| {
                walks[index / NAMED].take(index % NAMED, bytes);
                ControlFlow::Continue(())
            };
            reader.read_vectors(&wave, &ReadControl::default(), sink).await?;
        }
    }
}

fn figures(reads: u64, cpu: Duration, started: Instant) -> Round {
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
    Round::rate(reads as f64, elapsed).with(cpu.as_secs_f64() * 1e6 / reads as f64)
}
