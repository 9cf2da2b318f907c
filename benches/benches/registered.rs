//! What registered files and buffers, and completions worked on by the waiting thread, bring a bare ring:
//! `cargo bench -p benches --bench registered`. It decides what `io-ring` uses.
//!
//! Environment: `BENCH_DIR` (the disk that is measured), `BENCH_QUICK=1` (seconds: shows that it works, not how fast).

#![allow(clippy::print_stdout, reason = "a bench reports on the standard output")]

use benches::ring::{BareOptions, BareRing};
use benches::rounds::{Round, Rounds};
use benches::{cpu_time, data_file, make_warm, touch};
use io_core::{BackendFactory, OpenOptions, ReadControl, ReadRequest, VectorReader};
use io_ring::{RingBackend, RingOptions};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DEPTH: u32 = 32;

const VARIANTS: [(&str, BareOptions); 6] = [
    ("plain", BareOptions { defer_taskrun: false, registered_file: false, registered_buffers: false }),
    ("DEFER_TASKRUN", BareOptions { defer_taskrun: true, registered_file: false, registered_buffers: false }),
    (
        "registered file",
        BareOptions { defer_taskrun: false, registered_file: true, registered_buffers: false },
    ),
    (
        "registered buffers",
        BareOptions { defer_taskrun: false, registered_file: false, registered_buffers: true },
    ),
    (
        "both registered",
        BareOptions { defer_taskrun: false, registered_file: true, registered_buffers: true },
    ),
    ("all", BareOptions { defer_taskrun: true, registered_file: true, registered_buffers: true }),
];

fn main() -> Result<()> {
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let dir =
        std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), Into::into);
    let file_bytes = if quick { 32 << 20 } else { 1 << 30 };
    let path = data_file(&dir, file_bytes)?;
    let (rounds, reads) = if quick { (1, 64) } else { (12, 16_384) };
    for (what, direct) in [("O_DIRECT", true), ("warm page cache", false)] {
        if !direct {
            make_warm(&path)?;
        }
        println!("\n{what}: {reads} random reads of 4 KiB a round, depth {DEPTH}; ratio: to the plain ring");
        let mut table = Rounds::new(&["reads/s", "CPU ns/read"]);
        for round in 0..rounds {
            let mut random = fastrand::Rng::with_seed(round as u64);
            let requests: Vec<_> =
                (0..reads).map(|_| ReadRequest::new(random.u64(0..file_bytes / 4096) * 4096, 4096)).collect();
            let mut sums = Vec::new();
            // Who goes first pays for the round's requests being new.
            for at in 0..VARIANTS.len() {
                let (name, options) = VARIANTS[(at + round) % VARIANTS.len()];
                table.run(round, name, 1, || {
                    let (round, sum) = read(&path, direct, options, &requests)?;
                    sums.push(sum);
                    Ok(round)
                });
            }
            if sums.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err("two variants read different bytes".into());
            }
        }
        table.print()?;
    }
    io_rings(&path, file_bytes, rounds, reads)
}

/// The same through `io-ring`, with and without buffers registered: what they save there.
fn io_rings(path: &Path, file_bytes: u64, rounds: usize, reads: usize) -> Result<()> {
    let start = |registered_bytes_max| {
        RingBackend::start(&RingOptions { registered_bytes_max, ..RingOptions::default() })
    };
    let contenders = [("io-ring, none registered", start(0)?), ("io-ring", start(32 << 20)?)];
    for (len, reads) in [(4096, reads), (65_536, reads / 8)] {
        println!("\nio-ring, O_DIRECT: {reads} random reads of {len} bytes a round, depth {DEPTH}");
        let mut table = Rounds::new(&["reads/s", "CPU ns/read"]);
        for round in 0..rounds {
            let mut random = fastrand::Rng::with_seed(round as u64);
            let place =
                |_| ReadRequest::new(random.u64(0..file_bytes / u64::from(len)) * u64::from(len), len);
            let requests: Vec<_> = (0..reads).map(place).collect();
            let mut sums = Vec::new();
            for at in 0..contenders.len() {
                let (name, backend) = &contenders[(at + round) % contenders.len()];
                table.run(round, name, 1, || {
                    let (round, sum) = read_through(backend, path, &requests)?;
                    sums.push(sum);
                    Ok(round)
                });
            }
            if sums.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err("two rings read different bytes".into());
            }
        }
        table.print()?;
    }
    Ok(())
}

fn read_through(backend: &RingBackend, path: &Path, requests: &[ReadRequest]) -> Result<(Round, u64)> {
    let options = OpenOptions { direct: true, queue_depth: DEPTH, gap_max: 0, ..OpenOptions::default() };
    backend.run(|| async {
        let reader = backend.open(path, &options).await?;
        let (mut sum, cpu, started) = (0u64, cpu_time(), Instant::now());
        let control = ReadControl::default();
        let read = reader.read_vectors(requests, &control, |_, bytes| {
            sum = sum.wrapping_add(touch(bytes));
            ControlFlow::Continue(())
        });
        read.await?;
        let elapsed = started.elapsed();
        let cpu = (cpu_time() - cpu).as_nanos() as f64 / requests.len() as f64;
        reader.close().await?;
        Ok((Round::rate(requests.len() as f64, elapsed).with(cpu), sum))
    })?
}

fn read(path: &Path, direct: bool, options: BareOptions, requests: &[ReadRequest]) -> Result<(Round, u64)> {
    let mut ring = BareRing::open_with(path, direct, DEPTH, 4096, options)?;
    let (cpu, started) = (cpu_time(), Instant::now());
    let sum = ring.read(requests)?;
    let elapsed = started.elapsed();
    let cpu = (cpu_time() - cpu).as_nanos() as f64 / requests.len() as f64;
    Ok((Round::rate(requests.len() as f64, elapsed).with(cpu), sum))
}
