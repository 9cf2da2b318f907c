//! Random reads through every backend and its baseline, in paired rounds: `cargo bench -p benches --bench backends`.
//!
//! Environment: `BENCH_DIR` (where the data file lives; that disk is measured), `BENCH_QUICK=1` (seconds instead of
//! minutes: shows that it works, not how fast).

#![allow(clippy::print_stdout, reason = "a bench reports on the standard output")]

use benches::ring::BareRing;
use benches::{cpu_time, data_file, make_cold, make_warm, map, spread, touch};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use io_core::{BackendFactory, DynBackend, OpenOptions, ReadControl, ReadRequest, VectorReader};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What one contender did in one round.
#[derive(Clone, Copy)]
struct Sample {
    wall: Duration,
    cpu: Duration,
    bytes_read: u64,
    sum: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Cache {
    Direct,
    Cold,
    Warm,
}

struct Case {
    cache: Cache,
    len: u32,
    depth: u32,
}

struct Setup {
    path: PathBuf,
    file_bytes: u64,
    rounds: usize,
    reads: usize,
}

fn main() -> Result<()> {
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let dir =
        std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), Into::into);
    let file_bytes = if quick { 32 << 20 } else { 1 << 30 };
    let path = data_file(&dir, file_bytes)?;
    let setup =
        Setup { path, file_bytes, rounds: if quick { 1 } else { 7 }, reads: if quick { 64 } else { 4096 } };
    println!(
        "{} reads a round (an eighth at depth 1), {} rounds, a file of {} MiB; ratio: to the baseline of the same round",
        setup.reads,
        setup.rounds,
        file_bytes >> 20
    );
    rings(&setup)?;
    maps(&setup)
}

fn rings(setup: &Setup) -> Result<()> {
    let backends = [
        DynBackend::new(io_tokio_uring::TokioUringBackend::default()),
        DynBackend::new(io_glommio::GlommioBackend::default()),
        DynBackend::new(io_monoio::MonoioBackend::default()),
    ];
    let mut table = Report::new();
    for cache in [Cache::Direct, Cache::Cold, Cache::Warm] {
        for len in [4096, 3072] {
            for depth in [1, 8, 32, 128] {
                let case = Case { cache, len, depth };
                let mut contenders: Vec<Contender<'_>> =
                    vec![("bare ring", Box::new(|requests| bare(setup, &case, requests)))];
                for backend in &backends {
                    contenders.push((
                        backend.name(),
                        Box::new(|requests| through(backend, setup, &case, requests)),
                    ));
                }
                table.measure(setup, &case, &mut contenders)?;
            }
        }
    }
    println!("\n{}", table.table.trim_fmt());
    Ok(())
}

fn maps(setup: &Setup) -> Result<()> {
    let backend = io_mmap::MmapBackend::default();
    let options = OpenOptions::default();
    let open = || backend.run(|| async { backend.open(&setup.path, &options).await });
    // Warm means that the page tables are filled too, so both keep their map; cold ones are mapped anew in each round.
    let (map, reader) = (map::open(&setup.path)?, open()??);
    let mut table = Report::new();
    for cache in [Cache::Cold, Cache::Warm] {
        for len in [4096, 3072] {
            let case = Case { cache, len, depth: 32 };
            let mut contenders: Vec<Contender<'_>> = match cache {
                Cache::Warm => vec![
                    ("plain loop", Box::new(|requests| looped(&map, requests))),
                    ("mmap", Box::new(|requests| backend.run(|| read_batch(&reader, requests))?)),
                ],
                _ => vec![
                    ("plain loop", Box::new(|requests| looped(&map::open(&setup.path)?, requests))),
                    (
                        "mmap",
                        Box::new(|requests| {
                            let reader = open()??;
                            backend.run(|| read_batch(&reader, requests))?
                        }),
                    ),
                ],
            };
            if cache == Cache::Warm {
                make_warm(&setup.path)?;
                for round in 0..setup.rounds {
                    let requests = random_requests(setup, len, setup.reads, round as u64);
                    for (_, read) in &contenders {
                        read(&requests)?;
                    }
                }
            }
            table.measure(setup, &case, &mut contenders)?;
        }
    }
    println!("\n{}", table.table.trim_fmt());
    Ok(())
}

fn looped(map: &memmap2::Mmap, requests: &[ReadRequest]) -> Result<Sample> {
    timed(requests, || Ok(map::read(map, requests)))
}

/// A name, and what runs one round.
type Contender<'a> = (&'a str, Box<dyn Fn(&[ReadRequest]) -> Result<Sample> + 'a>);

struct Report {
    table: Table,
}

impl Report {
    fn new() -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header([
            "case",
            "len",
            "depth",
            "contender",
            "reads/s",
            "(min..max)",
            "ratio",
            "(min..max)",
            "CPU us/read",
            "read/wanted",
        ]);
        Self { table }
    }

    /// Runs the rounds, each with all contenders one after the other, the first of them being the baseline.
    fn measure(&mut self, setup: &Setup, case: &Case, contenders: &mut [Contender<'_>]) -> Result<()> {
        let reads = if case.depth == 1 { setup.reads / 8 } else { setup.reads };
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
        for round in 0..setup.rounds {
            let requests = random_requests(setup, case.len, reads, round as u64);
            // Everybody is first once, so that nobody always finds the disk as another one left it.
            for turn in 0..contenders.len() {
                let at = (turn + round) % contenders.len();
                match case.cache {
                    Cache::Cold => make_cold(&setup.path)?,
                    Cache::Warm if turn == 0 && round == 0 => make_warm(&setup.path)?,
                    Cache::Warm | Cache::Direct => {}
                }
                samples[at].push((contenders[at].1)(&requests)?);
            }
            let baseline = samples[0][round].sum;
            for (contender, samples) in contenders.iter().zip(&samples) {
                assert_eq!(
                    samples[round].sum, baseline,
                    "{} read other bytes than the baseline",
                    contender.0
                );
            }
        }
        for ((name, _), own) in contenders.iter().zip(&samples) {
            let rates = spread(own.iter().map(|sample| reads as f64 / sample.wall.as_secs_f64()));
            let ratios = own
                .iter()
                .zip(&samples[0])
                .map(|(own, base)| base.wall.as_secs_f64() / own.wall.as_secs_f64());
            let ratios = spread(ratios);
            let cpu = spread(own.iter().map(|sample| sample.cpu.as_secs_f64() * 1e6 / reads as f64));
            let wanted = (reads as u64 * u64::from(case.len)) as f64;
            let case_name = match case.cache {
                Cache::Direct => "O_DIRECT",
                Cache::Cold => "cold",
                Cache::Warm => "warm",
            };
            self.table.add_row([
                case_name.to_owned(),
                case.len.to_string(),
                case.depth.to_string(),
                (*name).to_owned(),
                format!("{:.0}", rates.1),
                format!("{:.0}..{:.0}", rates.0, rates.2),
                format!("{:.2}", ratios.1),
                format!("{:.2}..{:.2}", ratios.0, ratios.2),
                format!("{:.2}", cpu.1),
                format!("{:.2}", own[0].bytes_read as f64 / wanted),
            ]);
        }
        for column in [1, 2, 4, 6, 8, 9] {
            if let Some(column) = self.table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Ok(())
    }
}

/// Vectors of `len` bytes, packed one after another; each read once at most.
fn random_requests(setup: &Setup, len: u32, reads: usize, seed: u64) -> Vec<ReadRequest> {
    let mut random = fastrand::Rng::with_seed(seed);
    let vectors = setup.file_bytes / u64::from(len);
    let mut chosen = std::collections::HashSet::with_capacity(reads);
    while chosen.len() < reads {
        chosen.insert(random.u64(..vectors));
    }
    let mut requests: Vec<_> =
        chosen.into_iter().map(|vector| ReadRequest::new(vector * u64::from(len), len)).collect();
    // A hash set has an order of its own.
    requests.sort_unstable_by_key(|request| request.offset);
    random.shuffle(&mut requests);
    requests
}

fn timed(requests: &[ReadRequest], read: impl FnOnce() -> Result<u64>) -> Result<Sample> {
    let (wall, cpu) = (Instant::now(), cpu_time());
    let sum = read()?;
    let (wall, cpu) = (wall.elapsed(), cpu_time() - cpu);
    let bytes_read = requests.iter().map(|request| u64::from(request.len)).sum();
    Ok(Sample { wall, cpu, bytes_read, sum })
}

fn bare(setup: &Setup, case: &Case, requests: &[ReadRequest]) -> Result<Sample> {
    let mut ring = BareRing::open(&setup.path, case.cache == Cache::Direct, case.depth, case.len as usize)?;
    timed(requests, || Ok(ring.read(requests)?))
}

/// One batch through a backend; starting its executor and opening the file are not counted.
fn through(backend: &DynBackend, setup: &Setup, case: &Case, requests: &[ReadRequest]) -> Result<Sample> {
    // No merging across gaps: everybody reads the same ranges.
    let options = OpenOptions {
        direct: case.cache == Cache::Direct,
        queue_depth: case.depth,
        gap_max: 0,
        ..OpenOptions::default()
    };
    backend.run(|| async {
        let reader = backend.open(&setup.path, &options).await?;
        let sample = read_batch(&reader, requests).await?;
        reader.close().await?;
        Ok(sample)
    })?
}

async fn read_batch<R: VectorReader>(reader: &R, requests: &[ReadRequest]) -> Result<Sample> {
    let mut sum = 0u64;
    let (wall, cpu) = (Instant::now(), cpu_time());
    let outcome = reader
        .read_vectors(requests, &ReadControl::default(), |_index, bytes| {
            sum = sum.wrapping_add(touch(bytes));
            ControlFlow::Continue(())
        })
        .await?;
    let (wall, cpu) = (wall.elapsed(), cpu_time() - cpu);
    Ok(Sample { wall, cpu, bytes_read: outcome.stats.bytes_read, sum })
}
