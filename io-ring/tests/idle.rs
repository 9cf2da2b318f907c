//! A ring without operations does nothing at all. One test, alone in its process.
#![cfg(target_os = "linux")]

mod common;

use common::{directory, file_of, options, own, read_and_check, requests, threads_named};
use io_core::{FileSystem, Lane, OpenOptions, PageWrite, PageWriter};
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn its_thread_neither_runs_nor_is_woken() {
    let (directory, backend) = (directory(), own());
    let reader =
        pollster::block_on(backend.open(&file_of(directory.path(), 100), &options())).expect("opens");
    pollster::block_on(read_and_check(&reader, &requests(0..100)));
    let background = OpenOptions::default().with_lane(Lane::Background);
    let writer = pollster::block_on(backend.create(&directory.path().join("written"), &background));
    let writer = writer.expect("creates");
    pollster::block_on(writer.write_pages(&[PageWrite { offset: 0, bytes: &[1; 5000] }])).expect("writes");

    let [thread] = threads_named("io-ring")[..] else { panic!("one ring") };
    let of_thread = |file: &str| {
        std::fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).expect("the thread is there")
    };
    let sleeps = || {
        let status = of_thread("status");
        status.lines().any(|line| line.starts_with("State:\tS"))
    };
    // Nanoseconds on a processor and of waiting for one, and time slices. Then the context switches.
    let did = || {
        let status = of_thread("status");
        let switches: Vec<_> =
            status.lines().filter(|line| line.contains("ctxt_switches")).map(str::to_owned).collect();
        (of_thread("schedstat"), switches)
    };
    // After the last completion, the thread may still be on its way to sleep.
    let before = loop {
        let before = did();
        if sleeps() && before == did() {
            break before;
        }
        std::thread::yield_now();
    };
    // This is longer than any time that the ring waits for.
    let (_never, wait) = channel::<()>();
    assert!(wait.recv_timeout(Duration::from_millis(300)).is_err());
    assert_eq!(did(), before);
    drop((reader, writer));
}
