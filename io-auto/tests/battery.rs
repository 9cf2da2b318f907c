//! The conformance battery on the backend that is taken here, buffered and past the page cache.

use io_auto::AutoBackend;
use io_core::testing::Battery;
use io_core::{Lane, OpenOptions};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let backend = AutoBackend::default();
    let background = OpenOptions::default().with_lane(Lane::Background);
    Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .paged("buffered", &backend, &OpenOptions::default())
        .paged("direct", &backend, &OpenOptions::direct())
        .send("buffered", &backend, &OpenOptions::default())
        .send("direct", &backend, &OpenOptions::direct())
        .paged("buffered, in the background", &backend, &background)
        .run()
}
