//! Reads batches and a session over memory, for counting instructions: what a read costs besides the disk.
//!
//! ```text
//! cargo build --release -p io-core --example instructions
//! valgrind --tool=callgrind target/release/examples/instructions ROUNDS [metered]
//! ```
//!
//! A round is one batch of 256 reads, and a session of as many. Two runs with different `ROUNDS` give the
//! instructions of a read: divide the difference by the reads that one run makes more.

use io_core::testing::MemoryBackend;
use io_core::{
    Completion, Executor, FileSession, FileSystem, Meter, OpenOptions, ReadControl, ReadRequest, VectorReader,
};
use std::ops::ControlFlow;
use std::path::Path;

const READS: u64 = 256;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: u64 = arguments.next().map_or(1, |rounds| rounds.parse().expect("a number of rounds"));
    let meter = (arguments.next().as_deref() == Some("metered")).then(Meter::new);
    let backend = MemoryBackend::new(1);
    backend.put(Path::new("vectors"), vec![7; READS as usize * 8192]);
    let requests: Vec<_> = (0..READS).map(|read| ReadRequest::new(read * 8192, 400)).collect();
    let run = backend.run(|| async {
        let options = OpenOptions::default().with_gap_max(0);
        let reader = backend.open(Path::new("vectors"), &options).await.expect("the file was put there");
        let control = ReadControl::new();
        let control = meter.iter().fold(control, |control, meter| control.with_meter(meter.clone()));
        let mut bytes_read = 0;
        for _ in 0..rounds {
            let sink = |_, bytes: &[u8]| {
                bytes_read += bytes.len() as u64;
                ControlFlow::Continue(())
            };
            reader.read_vectors(&requests, &control, sink).await.expect("memory has no errors");
            let mut session = reader.session(control.clone());
            requests.iter().zip(0..).for_each(|(&request, tag)| session.submit(tag, request));
            while let Some(Completion { bytes, .. }) = session.next().await {
                bytes_read += bytes.expect("memory has no errors").len() as u64;
            }
        }
        bytes_read
    });
    let reads = 2 * READS * rounds;
    assert_eq!(run.expect("the executor starts"), 400 * reads);
    if let Some(meter) = meter {
        assert_eq!(meter.counters().completed, reads);
    }
}
