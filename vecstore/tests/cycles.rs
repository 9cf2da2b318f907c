//! Opening and closing collections repeatedly leaks nothing. Opening with too few descriptors fails with a
//! clear error. The test has its own process, because it counts descriptors, threads and memory.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a skip must be seen")]

use io_core::{Executor, with_causes};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, SearchRequest};
use vecstore::error::Error;
use vecstore::point::Point;
use vecstore::schema::Schema;

const CYCLES: usize = 300;
/// A backend may keep threads with their executors. It starts another one if the last is still busy, which is
/// rare. Once in ten cycles would be too often.
const THREADS_MORE: usize = CYCLES / 10;
/// A kept executor has a few descriptors. Each cycle runs several executors, so a leak would leave more.
const DESCRIPTORS_MORE: usize = CYCLES / 2;
/// Bytes that allocators and caches may take.
const BYTES_MORE: usize = 32 << 20;
/// Bytes that a kept executor takes for its buffers.
const THREAD_BYTES: usize = 12 << 20;

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() }
}

#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    bytes: usize,
}

fn held() -> Held {
    let count = |dir| std::fs::read_dir(dir).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: usize = resident.trim().trim_end_matches(" kB").parse().unwrap();
    Held { descriptors: count("/proc/self/fd"), threads: count("/proc/self/task"), bytes: kilobytes << 10 }
}

fn cycle(kind: BackendKind, dir: &Path, read_only: bool) -> Result<(), Error> {
    let collection = Collection::open(&kind.backend(), dir, &CollectionOptions { read_only, ..options() })?;
    assert_eq!(collection.search(SearchRequest::new(vec![1.0, 1.0])).wait()?.hits.len(), 10);
    collection.close()
}

fn stays_level(kind: BackendKind, dir: &Path) {
    for n in 0..20 {
        cycle(kind, dir, n % 2 == 0).unwrap();
    }
    let before = held();
    for n in 0..CYCLES {
        cycle(kind, dir, n % 2 == 0).unwrap();
    }
    // Threads that reported their end may not have exited yet.
    let level = |now: Held| {
        now.descriptors <= before.descriptors + DESCRIPTORS_MORE
            && now.threads <= before.threads + THREADS_MORE
            && now.bytes
                <= before.bytes + BYTES_MORE + THREAD_BYTES * now.threads.saturating_sub(before.threads)
    };
    let level = (0..100_000).any(|_| {
        std::thread::yield_now();
        level(held())
    });
    assert!(level, "{kind}: {before:?} before {CYCLES} cycles, {:?} after", held());
}

/// Tries each number of free descriptors, from none to enough. No call hangs.
fn says_that_descriptors_are_too_few(kind: BackendKind, dir: &Path) {
    let usual = getrlimit(Resource::Nofile);
    let mut messages = Vec::new();
    let enough = (0..100).find(|more| {
        let current = Some(held().descriptors as u64 + more);
        setrlimit(Resource::Nofile, Rlimit { current, ..usual }).unwrap();
        let optimized = Collection::open(&kind.backend(), dir, &options()).and_then(|collection| {
            collection.optimize(|_| {}).wait()?;
            collection.search(SearchRequest::new(vec![1.0, 1.0])).wait()?;
            collection.close()
        });
        setrlimit(Resource::Nofile, usual).unwrap();
        match optimized {
            Ok(()) => true,
            Err(error) => {
                messages.push(with_causes(&error).to_string());
                false
            }
        }
    });
    assert!(enough.is_some(), "{kind}: {messages:?}");
    // A runtime may panic if it cannot start. The error then says that a thread ended.
    let told = |message: &&String| message.contains("ulimit -n");
    assert!(messages.iter().filter(told).count() >= messages.len() / 2, "{kind}: {messages:?}");
    cycle(kind, dir, false).unwrap();
}

#[test]
fn opening_and_closing_leaves_nothing_behind() {
    for &kind in BackendKind::all() {
        if let Err(refused) = kind.backend().run(async || ()) {
            eprintln!("{kind}: skipped: {refused}");
            continue;
        }
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("c");
        let collection = Collection::create(&kind.backend(), &dir, &Schema::new(2), &options()).unwrap();
        let points = (0..20).map(|id| Point::new(id, vec![id as f32, 1.0])).collect();
        collection.upsert(points, Durability::Synced).wait().unwrap();
        collection.optimize(|_| {}).wait().unwrap();
        collection.close().unwrap();
        stays_level(kind, &dir);
        says_that_descriptors_are_too_few(kind, &dir);
    }
}
