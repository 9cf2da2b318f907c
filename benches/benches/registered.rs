//! The gain for a bare ring from registered files and buffers, from completions run by the waiting thread,
//! and from reads submitted one by one. `cargo bench -p benches --bench registered`. The results decide what
//! `io-ring` uses.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | `target/tmp` |
//! | `BENCH_ROUNDS` | the number of rounds | 12 |
//! | `BENCH_QUICK=1` | shows in seconds that it works, measures nothing | |

use benches::reads::{FIGURES, Issue, Recorder, random_requests};
use benches::report::{Report, Table};
use benches::ring::{BareOptions, BareRing};
use benches::rounds::Rounds;
use benches::settings::Settings;
use benches::{data_file, make_warm};
use io_core::{Executor, FileSystem, OpenOptions, ReadControl, VectorReader};
use io_ring::{RingBackend, RingOptions};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const DEPTHS: [u32; 2] = [8, 32];
const IO_RING_DEPTH: u32 = 32;

const PLAIN: BareOptions = BareOptions {
    defer_taskrun: false,
    registered_file: false,
    registered_buffers: false,
    one_by_one: false,
};

const VARIANTS: [(&str, BareOptions); 7] = [
    ("plain", PLAIN),
    ("DEFER_TASKRUN", BareOptions { defer_taskrun: true, ..PLAIN }),
    ("registered file", BareOptions { registered_file: true, ..PLAIN }),
    ("registered buffers", BareOptions { registered_buffers: true, ..PLAIN }),
    ("both registered", BareOptions { registered_file: true, registered_buffers: true, ..PLAIN }),
    (
        "all",
        BareOptions {
            defer_taskrun: true,
            registered_file: true,
            registered_buffers: true,
            one_by_one: false,
        },
    ),
    ("submitted one by one", BareOptions { one_by_one: true, ..PLAIN }),
];

fn main() -> Result<()> {
    let Settings { quick, dir, rounds } = Settings::new(env!("CARGO_TARGET_TMPDIR"), 12)?;
    let file_bytes = if quick { 32 << 20 } else { 1 << 30 };
    let path = data_file(&dir, file_bytes)?;
    let reads = if quick { 64 } else { 16_384 };
    let title = format!("{reads} random reads of 4 KiB a round");
    let mut table = Rounds::table(title, &["page cache", "depth", "contender"], &FIGURES);
    for (cache, direct, depth) in [("O_DIRECT", true), ("warm", false)]
        .into_iter()
        .flat_map(|(cache, direct)| DEPTHS.map(|depth| (cache, direct, depth)))
    {
        if !direct {
            make_warm(&path)?;
        }
        let mut of_cache = Rounds::default();
        for round in 0..rounds {
            let requests = random_requests(file_bytes, 4096, reads, round as u64);
            // The first variant of a round pays for the new requests, so the order rotates.
            for at in 0..VARIANTS.len() {
                let (name, options) = VARIANTS[(at + round) % VARIANTS.len()];
                of_cache.run(round, [cache.into(), u64::from(depth).into(), name.into()], || {
                    let mut ring = BareRing::open_with(&path, direct, depth, 4096, options)?;
                    let mut recorder = Recorder::start(reads);
                    ring.read(&requests, |index, bytes| recorder.take(index, bytes))?;
                    recorder.finish(&requests, Issue::InOrder(depth as usize))
                })?;
            }
        }
        of_cache.add_to(&mut table);
    }
    let mut report = Report::new("registered");
    report.table(table);
    report.table(io_rings(&path, file_bytes, rounds, reads)?);
    report.finish()
}

/// The same through `io-ring`, with and without registered buffers.
fn io_rings(path: &Path, file_bytes: u64, rounds: usize, reads: usize) -> Result<Table> {
    let start = |registered_bytes_max| {
        RingBackend::start(&RingOptions::default().with_registered_bytes_max(registered_bytes_max))
    };
    let registered = RingOptions::default().registered_bytes_max;
    let contenders = [("none registered", start(0)?), ("registered", start(registered)?)];
    let title = format!("Random reads through io-ring, O_DIRECT, depth {IO_RING_DEPTH}");
    let mut table = Rounds::table(title, &["bytes", "reads", "buffers"], &FIGURES);
    let options = OpenOptions::default().with_direct(true).with_queue_depth(IO_RING_DEPTH).with_gap_max(0);
    for (len, reads) in [(4096, reads), (65_536, reads / 8)] {
        let mut of_len = Rounds::default();
        for round in 0..rounds {
            let requests = random_requests(file_bytes, len, reads, round as u64);
            for at in 0..contenders.len() {
                let (name, backend) = &contenders[(at + round) % contenders.len()];
                let contender = [u64::from(len).into(), requests.len().into(), (*name).into()];
                of_len.run(round, contender, || {
                    backend.run(|| async {
                        let reader = backend.open(path, &options).await?;
                        let mut recorder = Recorder::start(requests.len());
                        let control = ReadControl::default();
                        let read = reader.read_vectors(&requests, &control, |index, bytes| {
                            recorder.take(index, bytes);
                            ControlFlow::Continue(())
                        });
                        read.await?;
                        let round = recorder.finish(&requests, Issue::ByOffset(IO_RING_DEPTH as usize))?;
                        reader.close().await?;
                        Ok(round)
                    })?
                })?;
            }
        }
        of_len.add_to(&mut table);
    }
    Ok(table)
}
