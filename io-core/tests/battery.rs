//! The conformance battery on the in-memory backend, and on a trace of it. It checks the driver, and the
//! battery itself.

use io_core::OpenOptions;
use io_core::testing::{Battery, MemoryBackend, TracedBackend};
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory to trace");
    let mut battery = Battery::new(root.path());
    for seed in 1..=3 {
        battery = battery
            .paged(&format!("buffered, seed {seed}"), &MemoryBackend::new(seed), &OpenOptions::default())
            .paged(&format!("direct, seed {seed}"), &MemoryBackend::new(seed), &OpenOptions::direct());
    }
    let traced = TracedBackend::new(MemoryBackend::new(4), root.path()).expect("the directory can be read");
    battery
        .paged("traced", &traced, &OpenOptions::default())
        .paged("traced, direct", &traced, &OpenOptions::direct())
        .run()
}
