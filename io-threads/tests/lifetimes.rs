//! Futures, threads and runtimes that end while the threads read for them. And what needs no thread.

mod common;

#[path = "../../io-core/tests/support/lifetimes.rs"]
mod shared;

#[cfg(target_os = "linux")]
use common::{Stalled, file_of, open, poll_once, read_and_check, requests};
use common::{directory, own};
use io_core::{FileSystem, OpenOptions, PageWriter, SyncKind};
#[cfg(target_os = "linux")]
use std::pin::pin;

#[test]
#[cfg(target_os = "linux")]
fn bytes_in_the_page_cache_need_no_thread() {
    let (directory, backend) = (directory(), own());
    let populated = OpenOptions::default().with_gap_max(0).with_populate(true);
    let reader = open(&backend, &file_of(directory.path(), 100), &populated);
    let _stalled = Stalled::new(&backend);
    let all = requests(0..100);
    let read = poll_once(pin!(read_and_check(&reader, &all)));
    assert!(read.is_ready(), "the thread is held");
}

#[test]
fn the_file_is_closed_once_its_handle_is_and_a_writer_then_fails() {
    let (directory, backend) = (directory(), own());
    let path = directory.path().join("file");
    let writer = pollster::block_on(backend.create(&path, &OpenOptions::default())).expect("creates");
    #[cfg(target_os = "linux")]
    let open_ones = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("there is /proc");
        let files = descriptors.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        files.filter(|file| *file == path).count()
    };
    #[cfg(target_os = "linux")]
    assert_eq!(open_ones(), 1);
    pollster::block_on(writer.close()).expect("closes");
    #[cfg(target_os = "linux")]
    assert_eq!(open_ones(), 0);
    pollster::block_on(writer.close()).expect("closes again");
    pollster::block_on(writer.sync(SyncKind::All)).expect_err("it is closed");
}
