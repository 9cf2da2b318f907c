//! The conformance battery on threads, buffered and past the page cache. It also runs on a single thread,
//! which is always busy.

use io_core::testing::Battery;
use io_core::{Lane, OpenOptions};
use io_threads::{ThreadsBackend, ThreadsOptions};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let backend = ThreadsBackend::default();
    let one = ThreadsOptions::default().with_threads_max(1);
    let one = ThreadsBackend::start(&one).expect("a thread starts");
    let background = OpenOptions::default().with_lane(Lane::Background);
    Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .paged("buffered", &backend, &OpenOptions::default())
        .paged("direct", &backend, &OpenOptions::direct())
        .send("buffered", &backend, &OpenOptions::default())
        .send("direct", &backend, &OpenOptions::direct())
        .paged("buffered, one thread", &one, &OpenOptions::default())
        .paged("direct, one thread", &one, &OpenOptions::direct())
        .paged("buffered, in the background", &backend, &background)
        .run()
}
