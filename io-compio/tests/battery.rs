//! The conformance battery on compio, buffered and past the page cache.

use io_compio::CompioBackend;
use io_core::testing::Battery;
use io_core::{LocalBoxFuture, OpenOptions};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let backend = CompioBackend::default();
    Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .paged("buffered", &backend, &OpenOptions::default())
        .paged("direct", &backend, &OpenOptions::direct())
        .executor("buffered", &backend, &OpenOptions::default(), own_runtime)
        .executor("direct", &backend, &OpenOptions::direct(), own_runtime)
        .run()
}

/// Runs a future in this runtime, started without the backend, as a user may do.
fn own_runtime(main: LocalBoxFuture<'static, ()>) {
    compio_runtime::Runtime::new().expect("starts").block_on(main);
}
