//! Threads that keep their executor leave nothing behind. The test has a process of its own, because it
//! counts all descriptors.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a skip must be seen")]

use io_core::{Executor, with_causes};
use io_glommio::GlommioBackend;
use std::collections::BTreeSet;
use std::sync::mpsc::sync_channel;

/// Runs an executor on a thread of that name. Returns the thread's id.
fn run(name: &str) -> Result<std::thread::ThreadId, String> {
    let backend = GlommioBackend::default();
    let (done, ended) = sync_channel(1);
    let work = move || {
        let ran = backend.run(|| async { std::thread::current().id() });
        done.send(ran.map_err(|refused| with_causes(&refused).to_string())).unwrap();
    };
    backend.spawn_thread(name.to_owned(), Box::new(work)).unwrap();
    ended.recv().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn executors_that_start_again_and_again_leave_nothing_open() {
    if let Err(refused) = run("a") {
        eprintln!("skipped: {refused}");
        return;
    }
    // A thread may not be idle yet when the next work comes. Another thread then starts, with the descriptors
    // of its executor.
    let (mut threads, mut others) = (BTreeSet::new(), BTreeSet::new());
    let before = descriptors();
    for _ in 0..100 {
        threads.insert(format!("{:?}", run("a").unwrap()));
        others.insert(format!("{:?}", run("b").unwrap()));
    }
    assert!(threads.is_disjoint(&others), "work of two names on one thread");
    assert!(threads.len() + others.len() < 20, "{threads:?} {others:?}");
    assert!(descriptors() < before + 150, "{} descriptors, {before} before", descriptors());
}

#[test]
fn work_that_panics_ends_its_thread_and_no_other_work() {
    let (dropped, panicked) = sync_channel::<()>(1);
    let work = move || {
        let _dropped = dropped;
        panic!("a test of a panic");
    };
    GlommioBackend::default().spawn_thread("c".to_owned(), Box::new(work)).unwrap();
    assert!(panicked.recv().is_err());
    assert!(run("c").is_ok() || run("a").is_err());
}
