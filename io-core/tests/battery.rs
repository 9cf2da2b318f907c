//! The conformance battery on the in-memory backend: it checks the driver, and the battery itself.

use io_core::OpenOptions;
use io_core::testing::{Battery, MemoryBackend};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut battery = Battery::new(dir);
    for seed in 1..=3 {
        battery = battery
            .paged(&format!("buffered, seed {seed}"), &MemoryBackend::new(seed), &OpenOptions::default())
            .paged(&format!("direct, seed {seed}"), &MemoryBackend::new(seed), &OpenOptions::direct());
    }
    battery.run()
}
