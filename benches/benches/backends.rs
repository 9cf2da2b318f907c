//! Random reads through every backend, beside fio, a bare ring and a plain loop over a map, in paired rounds.
//! `cargo bench -p benches --bench backends` takes about ten minutes.
//!
//! It measures vectors of several sizes and several depths, with the page cache bypassed, cold and warm. The
//! file is kept for the next run. Setting up rings and opening files is not measured.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_BACKENDS` | only these backends, as `mmap,ring` | all |
//! | `BENCH_ROUNDS` | the number of rounds | 5 |
//! | `BENCH_QUICK=1` | shows in seconds that it works, measures nothing | |

use benches::data::variable;
use benches::reads::{FIGURES, Issue, Recorder, random_requests};
use benches::report::{Plot, Report};
use benches::ring::BareRing;
use benches::rounds::{Round, Rounds};
use benches::settings::Settings;
use benches::{data_file, fio, make_cold, make_warm, map};
use io_core::{DynBackend, Executor, FileSystem, OpenOptions, ReadControl, ReadRequest, VectorReader};
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;
use vecstore::backends::BackendKind;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const CONTENDER: [&str; 4] = ["page cache", "bytes", "depth", "contender"];
/// The most reads of one contender in one round.
const READS_MAX: usize = 1 << 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    /// `O_DIRECT`.
    Past,
    Cold,
    Warm,
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Past => "O_DIRECT",
            Self::Cold => "cold",
            Self::Warm => "warm",
        })
    }
}

#[derive(Clone, Copy)]
struct Case {
    cache: Cache,
    len: u32,
    depth: usize,
}

enum Contender {
    BareRing,
    Fio,
    PlainLoop,
    /// Reads batches of `depth` requests, and announces each batch to the kernel.
    Mmap(DynBackend),
    /// Gets all requests at once and keeps `depth` of them in flight.
    Ring(DynBackend),
}

impl Contender {
    fn name(&self) -> &'static str {
        match self {
            Self::BareRing => "bare ring",
            Self::Fio => "fio",
            Self::PlainLoop => "plain loop",
            Self::Mmap(backend) | Self::Ring(backend) => backend.name(),
        }
    }

    fn takes_part(&self, case: Case) -> bool {
        match self {
            Self::BareRing | Self::Fio | Self::Ring(_) => true,
            Self::Mmap(_) => case.cache != Cache::Past,
            // At any depth, it waits for one page after the other.
            Self::PlainLoop => case.cache == Cache::Warm || case.cache == Cache::Cold && case.depth == 1,
        }
    }
}

struct Setup {
    path: PathBuf,
    file_bytes: u64,
    /// The time that a contender reads in each round, about.
    time: Duration,
    rounds: usize,
    contenders: Vec<Contender>,
}

fn main() -> Result<()> {
    let Settings { quick, dir, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 5)?;
    let file_bytes = if quick { 32 << 20 } else { 1 << 30 };
    let kinds = match variable("BENCH_BACKENDS") {
        Some(names) => names.split(',').map(str::parse).collect::<std::result::Result<Vec<_>, _>>()?,
        None => BackendKind::plain().to_vec(),
    };
    let mut contenders = vec![Contender::BareRing];
    if fio::is_there() {
        contenders.push(Contender::Fio);
    }
    contenders.push(Contender::PlainLoop);
    contenders.extend(kinds.iter().map(|kind| {
        if kind.maps() { Contender::Mmap(kind.backend()) } else { Contender::Ring(kind.backend()) }
    }));
    let setup = Setup {
        path: data_file(&dir, file_bytes)?,
        file_bytes,
        time: Duration::from_millis(if quick { 5 } else { 200 }),
        rounds,
        contenders,
    };
    let mut table = Rounds::table("Random reads", &CONTENDER, &FIGURES)
        .note(format!(
            "A file of {} MiB, rounds: {rounds}; of each contender as many reads a round as take it {:?}, at most {READS_MAX}. \
             Every cache line is touched; the bytes are checked.",
            file_bytes >> 20,
            setup.time
        ))
        .note(
            "*cold*: the page cache is dropped before each contender; *warm*: everything is in it, and in the page table of maps. \
             CPU is that of all threads, the kernel's ring workers included. A read lasts from when there were fewer than `depth` \
             in flight until its bytes were touched; a map's from when its batch of `depth` was begun. *disk/wanted*: what the \
             kernel read from the disk for this process.",
        )
        .plot(Plot::new("depth", "reads/s", "contender").pictures(&["page cache", "bytes"]).log())
        .plot(Plot::new("depth", "p99 us", "contender").pictures(&["page cache", "bytes"]).log());
    if !fio::is_there() {
        table = table.note("fio is not installed: left out.");
    }
    let (lens, depths): (&[u32], &[usize]) =
        if quick { (&[512, 3072], &[1, 8]) } else { (&[512, 3072, 4096, 16_384], &[1, 8, 32, 128]) };
    // A new file is warm already. Without this, a disk without read-ahead would take minutes to warm it.
    make_warm(&setup.path)?;
    for cache in [Cache::Warm, Cache::Past, Cache::Cold] {
        if cache == Cache::Past {
            make_cold(&setup.path)?;
        }
        for &len in lens {
            for &depth in depths {
                setup.measure(Case { cache, len, depth })?.add_to(&mut table);
            }
        }
    }
    let mut report = Report::new("backends");
    report.table(table);
    report.finish()
}

impl Setup {
    fn measure(&self, case: Case) -> Result<Rounds> {
        let Case { cache, len, depth } = case;
        let contenders: Vec<_> =
            self.contenders.iter().filter(|contender| contender.takes_part(case)).collect();
        let reads: Vec<_> =
            contenders.iter().map(|contender| self.reads(contender, case)).collect::<Result<_>>()?;
        let mut rounds = Rounds::default();
        for round in 0..self.rounds {
            let requests = random_requests(self.file_bytes, len, READS_MAX, round as u64);
            // The order rotates, so that no contender always runs after the same one.
            for turn in 0..contenders.len() {
                let at = (turn + round) % contenders.len();
                let name = contenders[at].name();
                let row = [cache.to_string().into(), u64::from(len).into(), depth.into(), name.into()];
                let requests = &requests[..reads[at].min(requests.len())];
                rounds.run(round, row, || self.run(contenders[at], case, requests, round as u64))?;
            }
        }
        Ok(rounds)
    }

    /// The number of reads that take a contender about its time.
    fn reads(&self, contender: &Contender, case: Case) -> Result<usize> {
        if matches!(contender, Contender::Fio) {
            // fio gets a duration instead.
            return Ok(0);
        }
        let seed = self.rounds as u64;
        let few = random_requests(self.file_bytes, case.len, 4 * case.depth.max(16), seed);
        let rate = self.run(contender, case, &few, seed)?.figure(0).unwrap_or_default();
        Ok(((rate * self.time.as_secs_f64()) as usize).clamp(case.depth, READS_MAX))
    }

    fn run(&self, contender: &Contender, case: Case, requests: &[ReadRequest], seed: u64) -> Result<Round> {
        let Case { cache, len, depth } = case;
        let (direct, populate) = (cache == Cache::Past, cache == Cache::Warm);
        if cache == Cache::Cold {
            make_cold(&self.path)?;
        }
        match contender {
            Contender::BareRing => {
                let mut ring = BareRing::open(&self.path, direct, depth as u32, len as usize)?;
                let mut recorder = Recorder::start(requests.len());
                ring.read(requests, |index, bytes| recorder.take(index, bytes))?;
                recorder.finish(requests, Issue::InOrder(depth))
            }
            Contender::Fio => fio::random_reads(&self.path, len, depth, direct, self.time, seed),
            Contender::PlainLoop => {
                let map = map::open(&self.path, populate)?;
                let mut recorder = Recorder::start(requests.len());
                for (index, request) in requests.iter().enumerate() {
                    recorder.take(index, &map[request.offset as usize..][..len as usize]);
                }
                recorder.finish(requests, Issue::Together(1))
            }
            Contender::Mmap(backend) => {
                let options = OpenOptions::default().with_populate(populate);
                self.through(backend, &options, requests, depth, Issue::Together(depth))
            }
            Contender::Ring(backend) => {
                let options =
                    OpenOptions::default().with_direct(direct).with_queue_depth(depth as u32).with_gap_max(0);
                self.through(backend, &options, requests, requests.len(), Issue::ByOffset(depth))
            }
        }
    }

    /// Reads in batches of this many requests.
    fn through(
        &self,
        backend: &DynBackend,
        options: &OpenOptions,
        requests: &[ReadRequest],
        batch: usize,
        issue: Issue,
    ) -> Result<Round> {
        backend.run(|| async {
            let reader = backend.open(&self.path, options).await?;
            let control = ReadControl::default();
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
            let round = recorder.finish(requests, issue)?;
            reader.close().await?;
            Ok(round)
        })?
    }
}
