//! The conformance battery on memory maps.

use io_core::OpenOptions;
use io_core::testing::Battery;
use io_mmap::MmapBackend;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .any("mapped", &MmapBackend::default(), &OpenOptions::default())
        .run()
}
