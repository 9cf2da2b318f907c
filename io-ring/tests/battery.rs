//! The conformance battery on the ring, buffered and past the page cache. It also runs on a ring so small
//! that it is always full.

use io_core::OpenOptions;
use io_core::testing::Battery;
use io_ring::{RingBackend, RingOptions};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let backend = RingBackend::default();
    let mut battery = Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .paged("buffered", &backend, &OpenOptions::default())
        .paged("direct", &backend, &OpenOptions::direct())
        .send("buffered", &backend, &OpenOptions::default())
        .send("direct", &backend, &OpenOptions::direct());
    // If the system refuses io_uring, the cases of the process's ring report it.
    if let Ok(small) = RingBackend::start(
        &RingOptions::default()
            .with_entries(1)
            .with_in_flight_max(3)
            .with_workers_max(1)
            .with_registered_bytes_max(8192),
    ) {
        battery = battery.paged("buffered, always full", &small, &OpenOptions::default()).paged(
            "direct, always full",
            &small,
            &OpenOptions::direct(),
        );
    }
    let background = OpenOptions::default().with_lane(io_core::Lane::Background);
    battery.paged("buffered, in the background", &backend, &background).run()
}
