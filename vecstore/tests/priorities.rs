//! Background work computes on low-priority threads, and no other thread has a low priority. The test has its
//! own process, because it looks at all threads.

#![cfg(target_os = "linux")]

use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use std::collections::BTreeSet;
use std::path::Path;
use vecstore::collection::{Collection, CollectionOptions, Durability};
use vecstore::point::Point;
use vecstore::schema::Quantization;
use vecstore::schema::Schema;

/// The name and the niceness in a thread's `stat` file.
fn name_and_nice(stat: &str) -> (String, i32) {
    let (start, rest) = stat.rsplit_once(')').unwrap();
    let name = start.split_once('(').unwrap().1.trim_end_matches(|letter: char| letter.is_ascii_digit());
    // proc(5): niceness is the 19th field. Two fields come before the parenthesis.
    (name.to_owned(), rest.split_whitespace().nth(16).unwrap().parse().unwrap())
}

/// The threads of a collection.
fn threads() -> BTreeSet<(String, i32)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end during the look.
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
    stats.map(|stat| name_and_nice(&stat)).filter(|(name, _)| name.starts_with("vecstore-")).collect()
}

fn own_nice() -> i32 {
    name_and_nice(&std::fs::read_to_string("/proc/thread-self/stat").unwrap()).1
}

#[test]
fn threads_that_nobody_waits_for_run_after_the_others() {
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let backend = DynBackend::new(SimulatedDisk::new(2));
    let schema = Schema { quantization: Quantization::ALL[3], ..Schema::new(4) };
    let collection = Collection::create(&backend, Path::new("/c"), &schema, &options).unwrap();
    let points = (0..100).map(|id| Point::new(id, vec![id as f32, 1.0, 2.0, 3.0])).collect();
    collection.upsert(points, Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let usual = own_nice();
    let lower = (usual + 10).min(19);
    // The kernel keeps 15 characters of a name.
    let expected = [
        ("vecstore-core-", usual),
        ("vecstore-writer", usual),
        ("vecstore-optimi", lower),
        ("vecstore-build-", lower),
    ];
    let expected: BTreeSet<_> = expected.map(|(name, nice)| (name.to_owned(), nice)).into();
    assert_eq!(threads(), expected);
    // If background work had used rayon's own threads, the optimizer would have started them with its
    // priority.
    assert_eq!(rayon::broadcast(|_| own_nice()), vec![usual; rayon::current_num_threads()]);
}
