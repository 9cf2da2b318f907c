//! Advice, and what it was measured from.

use crate::common::{check_failure, fvecs, is_empty, stdout, tempdir, vecstore};
use crate::packages::json_lines;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn advise(dir: &Path, more: &[&str]) -> Output {
    let common = ["advise", "--path", ".", "--seconds", "5", "--size-mib", "16"];
    vecstore(dir, &[&common, more].concat())
}

/// Everything that is not skipped was measured, and the depth follows from the figures.
#[test]
fn advice_follows_from_what_was_measured() {
    let temp = tempdir();
    let found =
        json_lines(&advise(temp.path(), &["--json", "--data-gib", "64", "--memory-gib", "16"])).remove(0);
    assert!(is_empty(temp.path()), "the measured file is left");
    let in_order = |spread: &Value| {
        let [min, median, max] = ["min", "median", "max"].map(|name| spread[name].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{spread}");
        median
    };
    let (advice, measured) = (&found["advice"], &found["measured"]);
    let ways = measured["reads"].as_array().unwrap();
    let skipped = measured["skipped"].as_array().unwrap();
    assert!(ways.iter().any(|way| way["backend"] == "mmap"));
    assert!(skipped.iter().any(|way| way["backend"] == "mmap" && way["direct"] == true), "{skipped:?}");
    for way in ways {
        let cold = way["cold"].as_array().unwrap();
        let depths: Vec<_> = cold.iter().map(|at| at["queue_depth"].as_u64()).collect();
        let rates: Vec<_> = cold.iter().map(|at| in_order(&at["reads_per_second"])).collect();
        if way["backend"] == "mmap" {
            assert_eq!(depths, [None]);
        } else {
            assert_eq!(depths, [1, 2, 4, 8, 16, 32, 64, 128].map(Some));
        }
        assert_eq!(way["warm_reads_per_second"].is_null(), way["direct"] == true);
        if way["backend"] == advice["backend"] && way["direct"] == advice["direct"] {
            let best = rates.iter().copied().fold(0.0, f64::max);
            let enough = rates.iter().position(|rate| *rate >= 0.95 * best).unwrap();
            assert_eq!(advice["queue_depth"].as_u64(), depths[enough]);
        }
        let writes = measured["writes"].as_array().unwrap();
        let writes = writes.iter().find(|writes| writes["backend"] == way["backend"]).unwrap();
        in_order(&writes["durable_writes_per_second"]);
        in_order(&writes["sequential_mib_per_second"]);
    }
    // 64 GiB of f32 with 8 GiB of room: int8 codes take 16 GiB, rotated4 8, the graph 2.67, and rotated2 with
    // it 6.67.
    assert_eq!(
        (&advice["quantization"], &advice["placement"]["codes"]),
        (&"rotated2".into(), &"pinned".into())
    );
}

/// The recommended commands work as printed.
#[test]
fn advice_is_in_the_words_of_the_command() {
    let temp = tempdir();
    let dir = temp.path();
    let said = stdout(&advise(dir, &["--backend", "mmap"]));
    assert!(said.contains("Take mmap, through the page cache."), "{said}");
    assert!(said.contains("Give the size of yours with --data-gib"), "{said}");
    let line = |start: &str| {
        let line = said.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{said}"));
        line.replace("NAME", "c").replace("QUERIES", "q.fvecs").replace("--dim N", "--dim 8")
    };
    let run = |line: &str| vecstore(dir, &line.split(' ').skip(1).collect::<Vec<_>>());
    stdout(&run(&line("vecstore create")));
    fvecs(dir, "q.fvecs", 1);
    stdout(&run(&line("vecstore search")));
}

#[test]
fn advice_that_cannot_be_given_says_why() {
    let temp = tempdir();
    let dir = temp.path();
    let fails = |args: &[&str], code, parts: &[&str]| {
        check_failure(&vecstore(dir, &[&["advise"], args].concat()), code, parts);
    };
    fails(&["--path", "nowhere"], 1, &["there is no directory /", "/nowhere; make it first\n"]);
    fails(&["--path", ".", "--seconds", "4"], 2, &["--seconds", "5..=3600"]);
    fails(&["--path", ".", "--data-gib", "0"], 2, &["--data-gib", "more than 0"]);
    fails(&[], 2, &["--path <DIR>"]);
    if cfg!(target_os = "linux") {
        fails(&["--path", "/proc"], 1, &["/proc: cannot make a directory here"]);
        let (most, needed) = (u32::MAX.to_string(), (u64::from(u32::MAX) + 33).to_string());
        fails(&["--path", ".", "--size-mib", &most], 1, &["MiB are free", &needed, "--size-mib"]);
    }
    assert!(is_empty(dir));
}
