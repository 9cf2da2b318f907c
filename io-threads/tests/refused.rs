//! A process that the system gives no more threads. One test, alone in its process.
#![cfg(target_os = "linux")]

mod common;

use common::{directory, file_of, open, options, pool, read_and_check, requests, threads};
use io_core::{FileSystem, OpenError, OpenOptions, StartError};
use io_threads::{ThreadsBackend, ThreadsOptions};

/// Bytes of address space that are left for anything but threads. The stack of a thread needs more.
const LEFT: u64 = 1 << 20;

fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is /proc");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a size");
    size.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn without_a_thread_it_does_not_start_and_with_one_it_reads() {
    let directory = directory();
    let path = file_of(directory.path(), 100);
    let backend = pool(8);
    let reader = open(&backend, &path, &options());
    // SAFETY: lowers a limit of this process, which is this test's.
    let lowered = unsafe {
        let current = address_space() + LEFT;
        libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: current, rlim_max: libc::RLIM_INFINITY })
    };
    assert_eq!(lowered, 0);
    let refused = ThreadsBackend::start(&ThreadsOptions::default());
    assert!(matches!(&refused, Err(StartError::Threads { .. })), "{refused:?}");
    let opened = pollster::block_on(ThreadsBackend::default().open(&path, &OpenOptions::default())).map(drop);
    assert!(matches!(&opened, Err(OpenError::Start(StartError::Threads { .. }))), "{opened:?}");
    pollster::block_on(read_and_check(&reader, &requests(0..100)));
    assert_eq!(threads(), 1);
}
