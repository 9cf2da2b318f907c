//! The conformance battery on memory maps, on maps before other backends, and on traces of real files.

use io_core::OpenOptions;
use io_core::testing::{Battery, TracedBackend};
use io_mmap::MmapBackend;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory to test in");
    let battery = Battery::new(root.path());
    let traced = TracedBackend::new(MmapBackend::default(), root.path()).expect("the directory can be read");
    let battery = battery
        .any("mapped", &MmapBackend::default(), &OpenOptions::default())
        .send("mapped", &MmapBackend::default(), &OpenOptions::default())
        .any("traced", &traced, &OpenOptions::default());
    before_others(battery, root.path()).run()
}

#[cfg(target_os = "linux")]
fn before_others(battery: Battery, root: &Path) -> Battery {
    use io_core::SendBackend;
    use io_mmap::MmapBefore;

    let tokio_uring = MmapBefore::new("mmap+tokio-uring", io_tokio_uring::TokioUringBackend::default());
    let ring = MmapBefore::new("mmap+ring", io_ring::RingBackend::default());
    let may_move = MmapBefore::new("mmap+ring", SendBackend::new(io_ring::RingBackend::default()));
    let traced =
        TracedBackend::new(io_ring::RingBackend::default(), root).expect("the directory can be read");
    let populated = OpenOptions::default().with_populate(true);
    battery
        .any("unknown", &tokio_uring, &OpenOptions::default())
        .any("unknown", &ring, &OpenOptions::default())
        .any("known", &ring, &populated)
        .send("unknown", &may_move, &OpenOptions::default())
        .any("traced", &traced, &OpenOptions::default())
}

#[cfg(not(target_os = "linux"))]
fn before_others(battery: Battery, _root: &Path) -> Battery {
    battery
}
