//! A process that has no descriptor left.

use std::fs::File;

/// Lowers the process's limit of descriptors, and takes all that are left. Each file gives one back.
pub(crate) fn take_descriptors() -> Vec<File> {
    // SAFETY: lowers a limit of this process, which is this test's.
    let lowered =
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur: 64, rlim_max: 64 }) };
    assert_eq!(lowered, 0);
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    assert!(taken.len() > 10);
    taken
}
