//! The conformance battery on monoio, buffered and past the page cache.

use io_core::OpenOptions;
use io_core::testing::Battery;
use io_monoio::MonoioBackend;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let backend = MonoioBackend::default();
    Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .paged("buffered", &backend, &OpenOptions::default())
        .paged("direct", &backend, &OpenOptions::direct())
        .run()
}
