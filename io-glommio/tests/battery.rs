//! The conformance battery on glommio, buffered and past the page cache.

use io_core::OpenOptions;
use io_core::testing::Battery;
use io_glommio::GlommioBackend;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let backend = GlommioBackend::default();
    Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .paged("buffered", &backend, &OpenOptions::default())
        .paged("direct", &backend, &OpenOptions::direct())
        .run()
}
