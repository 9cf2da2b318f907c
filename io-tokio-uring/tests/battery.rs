//! The conformance battery on tokio-uring, buffered and past the page cache.

use io_core::OpenOptions;
use io_core::testing::Battery;
use io_tokio_uring::TokioUringBackend;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let backend = TokioUringBackend::default();
    Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .paged("buffered", &backend, &OpenOptions::default())
        .paged("direct", &backend, &OpenOptions::direct())
        .run()
}
