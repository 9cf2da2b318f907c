//! The conformance battery in a sandbox that refuses io_uring, as Docker's default profile does.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod common;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use io_auto::AutoBackend;
    use io_core::OpenOptions;
    use io_core::testing::{Battery, refuse_io_uring};
    use std::path::Path;

    // All threads of the process inherit it, since there is no other thread yet.
    refuse_io_uring();
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(common::taken(common::open_and_read(&common::file_of(&directory))), "threads");
    let backend = AutoBackend::default();
    Battery::new(Path::new(env!("CARGO_TARGET_TMPDIR")))
        .paged("refused, buffered", &backend, &OpenOptions::default())
        .paged("refused, direct", &backend, &OpenOptions::direct())
        .run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}
