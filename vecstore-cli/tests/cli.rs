//! The command as a user types it: what it prints, how it ends, what it leaves behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn vecstore(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vecstore")).args(args).current_dir(dir).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Fails unless the command failed with this code and a message that holds all of these.
fn check_failure(output: &Output, code: i32, parts: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// `rows` vectors of 8 components as `.fvecs`, each near the unit vector that its number names.
fn fvecs(dir: &Path, name: &str, rows: usize) -> PathBuf {
    let mut bytes = Vec::new();
    for row in 0..rows {
        bytes.extend(8i32.to_le_bytes());
        for component in 0..8 {
            let value = if row % 8 == component { 1.0f32 } else { row as f32 / 1000.0 };
            bytes.extend(value.to_le_bytes());
        }
    }
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn build_search_and_info() {
    let dir = tempdir();
    fvecs(dir.path(), "base.fvecs", 200);
    fvecs(dir.path(), "queries.fvecs", 8);
    let built = vecstore(dir.path(), &["build", "base.fvecs", "base.vecstore", "--distance", "euclid"]);
    assert!(stdout(&built).contains("200 vectors of 8 x f32, euclid"), "{}", stdout(&built));

    let found = vecstore(dir.path(), &["search", "base.vecstore", "queries.fvecs", "--limit", "1", "--json"]);
    let lines: Vec<serde_json::Value> =
        stdout(&found).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 8);
    for (query, line) in lines.iter().enumerate() {
        // The first eight vectors are the queries.
        assert_eq!(
            (line["query"].as_u64(), line["hits"][0]["id"].as_u64()),
            (Some(query as u64), Some(query as u64))
        );
        assert_eq!(line["hits"][0]["score"].as_f64(), Some(0.0));
    }
    let args = ["search", "base.vecstore", "queries.fvecs", "--exact", "--count", "2", "--limit", "1"];
    assert_eq!(stdout(&vecstore(dir.path(), &args)), "0\t0:0.0000\n1\t1:0.0000\n");

    let info = vecstore(dir.path(), &["info", "base.vecstore", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&stdout(&info)).unwrap();
    assert_eq!(
        (info["count"].as_u64(), info["dim"].as_u64(), info["distance"].as_str()),
        (Some(200), Some(8), Some("euclid"))
    );
    assert!(stdout(&vecstore(dir.path(), &["info", "base.vecstore"])).contains("200 of 8 x f32"));
}

#[test]
fn the_demo_compares_the_backends_and_cleans_up() {
    let dir = tempdir();
    let shown = vecstore(dir.path(), &["demo", "--count", "2000", "--dim", "16", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&stdout(&shown)).unwrap();
    let rows = shown["backends"].as_array().unwrap();
    let skipped = shown["skipped"].as_array().unwrap();
    assert_eq!(rows.len() + skipped.len(), 4, "{shown}");
    for row in rows {
        assert_eq!(row["queries"].as_u64(), Some(1000));
        assert!(row["recall"].as_f64().unwrap() > 0.95, "{row}");
        // 1,000 queries of 20 candidates of 16 floats.
        assert_eq!(row["bytes_wanted"].as_u64(), Some(1000 * 20 * 64));
    }
    let table = stdout(&vecstore(dir.path(), &["demo", "--count", "500", "--dim", "8", "--backend", "mmap"]));
    assert!(table.contains("recall") && table.contains("mmap"), "{table}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the demo left something behind");
}

#[test]
fn mistakes_are_named_and_cost_nothing() {
    let dir = tempdir();
    let run = |args: &[&str]| vecstore(dir.path(), args);
    check_failure(&run(&[]), 2, &["Usage"]);
    check_failure(&run(&["search"]), 2, &["SEGMENT", "QUERIES"]);
    check_failure(&run(&["demo", "--backend", "uring"]), 2, &["uring", "mmap"]);
    check_failure(&run(&["demo", "--distance", "l2"]), 2, &["cosine, dot, euclid"]);
    check_failure(&run(&["demo", "--vectors", "x.npy"]), 2, &["--queries"]);
    check_failure(&run(&["demo", "--cores", "0"]), 2, &["--cores"]);
    check_failure(&run(&["demo", "--ef", "0"]), 1, &["ef is 0"]);
    check_failure(&run(&["demo", "--m", "1", "--count", "100"]), 1, &["m is 1"]);
    check_failure(&run(&["demo", "--queue-depth", "0"]), 1, &["queue_depth is 0"]);
    check_failure(&run(&["build", "missing.npy", "out"]), 1, &["missing.npy", "No such file"]);
    check_failure(&run(&["build", "x.raw", "out", "--format", "raw"]), 2, &["--dim", "--element"]);
    check_failure(&run(&["info", "."]), 1, &["not a segment"]);
    check_failure(&run(&["info", "nowhere"]), 1, &["nowhere", "No such file"]);

    fvecs(dir.path(), "base.fvecs", 50);
    std::fs::write(dir.path().join("wide.fvecs"), [3i32.to_le_bytes(), [0; 4], [0; 4], [0; 4]].concat())
        .unwrap();
    stdout(&run(&["build", "base.fvecs", "base"]));
    check_failure(&run(&["build", "base.fvecs", "base"]), 1, &["base exists already"]);
    check_failure(&run(&["search", "base", "wide.fvecs"]), 1, &["3 components", "have 8"]);
    check_failure(&run(&["search", "base", "base.fvecs", "--direct"]), 1, &["page cache"]);
    check_failure(
        &run(&["demo", "--vectors", "base.fvecs", "--queries", "wide.fvecs"]),
        1,
        &["wide.fvecs", "3", "8"],
    );
    let mut left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["base", "base.fvecs", "wide.fvecs"]);
}

/// Sends SIGINT to a build under way, with `kill`, as a terminal does.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_a_build_and_leaves_nothing() {
    let dir = tempdir();
    fvecs(dir.path(), "base.fvecs", 100_000);
    let mut child = Command::new(env!("CARGO_BIN_EXE_vecstore"))
        .args(["build", "base.fvecs", "base.vecstore", "--ef-construct", "2000", "--m", "64"])
        .current_dir(dir.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The build has begun when its directory is there; the handler is installed before.
    while std::fs::read_dir(dir.path()).unwrap().count() < 2 {
        std::thread::yield_now();
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the input is left");
}

#[test]
fn output_that_nobody_reads_is_no_error() {
    let dir = tempdir();
    fvecs(dir.path(), "base.fvecs", 5000);
    stdout(&vecstore(dir.path(), &["build", "base.fvecs", "base"]));
    let command = format!("{} search base base.fvecs | head -n 1", env!("CARGO_BIN_EXE_vecstore"));
    let output = Command::new("sh").args(["-c", &command]).current_dir(dir.path()).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
