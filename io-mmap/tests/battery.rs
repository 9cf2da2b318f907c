//! The conformance battery on memory maps, and on maps before other backends.

use io_core::OpenOptions;
use io_core::testing::Battery;
use io_mmap::MmapBackend;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let battery = Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR"))).any(
        "mapped",
        &MmapBackend::default(),
        &OpenOptions::default(),
    );
    before_others(battery).run()
}

#[cfg(target_os = "linux")]
fn before_others(battery: Battery) -> Battery {
    use io_mmap::MmapBefore;

    let tokio_uring =
        MmapBefore::new("mmap before tokio-uring", io_tokio_uring::TokioUringBackend::default());
    let ring = MmapBefore::new("mmap before ring", io_ring::RingBackend::default());
    let populated = OpenOptions { populate: true, ..OpenOptions::default() };
    battery
        .any("unknown", &tokio_uring, &OpenOptions::default())
        .any("unknown", &ring, &OpenOptions::default())
        .any("known", &ring, &populated)
}

#[cfg(not(target_os = "linux"))]
fn before_others(battery: Battery) -> Battery {
    battery
}
