//! Imports: how they write, end early, and merge.

use crate::common::{check_failure, fvecs, stdout, tempdir, vecstore};
use crate::packages::{json_lines, packages, payloads};
use std::path::Path;

/// Many long lines are written in batches of bounded length.
#[test]
fn long_payloads_are_written_in_small_batches() {
    let temp = tempdir();
    let dir = temp.path();
    std::fs::write(dir.join("schema.json"), r#"{"dim": 8, "payload_bytes_max": 16777216}"#).unwrap();
    stdout(&vecstore(dir, &["create", "c", "--schema", "schema.json"]));
    fvecs(dir, "base.fvecs", 20);
    let text = "x".repeat(3 << 20);
    let line = |row: usize| format!("{{\"row\": {row}, \"text\": \"{text}\"}}\n");
    std::fs::write(dir.join("long.jsonl"), (0..20).map(line).collect::<String>()).unwrap();
    let import = ["import", "c", "base.fvecs", "--payload", "long.jsonl", "--no-optimize"];
    assert!(stdout(&vecstore(dir, &import)).contains("imported 20 points"));
    assert_eq!(stdout(&vecstore(dir, &["count", "c"])), "20\n");
    // A batch is full after 16 MiB, which is six lines.
    let log = std::fs::read(dir.join("c/log-000001.wal")).unwrap();
    let (mut points, mut at) = (Vec::new(), 64);
    let u32_at = |at: usize| u32::from_le_bytes(log[at..at + 4].try_into().unwrap());
    while at < log.len() {
        let (len, kind) = (u32_at(at) as usize, u32_at(at + 24));
        points.extend((kind == 1).then(|| u32_at(at + 32)));
        at += 32 + len;
    }
    assert_eq!(points, [6, 6, 6, 2]);
}

/// Number of a collection's segments, and of its points in memory.
fn segments(dir: &Path, collection: &str) -> (usize, u64) {
    let info = &json_lines(&vecstore(dir, &["info", collection, "--json"]))[0];
    (info["segments"].as_array().unwrap().len(), info["points_in_memory"].as_u64().unwrap())
}

#[test]
fn an_import_that_ends_early_says_how_far_it_came_and_goes_on() {
    let temp = tempdir();
    let dir = temp.path();
    let run = |args: &[&str]| vecstore(dir, args);
    fvecs(dir, "base.fvecs", 1000);
    payloads(dir, "base.jsonl", 1000);
    let lines = std::fs::read_to_string(dir.join("base.jsonl")).unwrap();
    let import = ["import", "c", "base.fvecs", "--payload", "base.jsonl", "--id-field", "key"];
    stdout(&run(&["create", "c", "--dim", "8", "--index", "n:integer"]));

    // Two batches of 256 are written when line 600 is read.
    std::fs::write(dir.join("base.jsonl"), lines.replace("\"n\": 599}", "\"n\": 599")).unwrap();
    let said = [
        "base.jsonl: line 600:",
        "\n512 of 1000 points are in the collection; correct the file, then run the same command again: ids stay",
    ];
    check_failure(&run(&import), 1, &said);
    assert_eq!(stdout(&run(&["count", "c"])), "512\n");
    // The error gives the place in the file of what the collection refuses.
    std::fs::write(dir.join("base.jsonl"), lines.replace("\"n\": 300}", "\"n\": \"many\"}")).unwrap();
    let said = ["base.fvecs: in vector 300: point 1300: field n", "256 of 1000 points"];
    check_failure(&run(&import), 1, &said);
    assert_eq!(stdout(&run(&["count", "c"])), "512\n");
    std::fs::write(dir.join("base.jsonl"), lines.clone() + "{}\n").unwrap();
    let output = run(&import);
    check_failure(
        &output,
        1,
        &["more than 1000 lines", "the files do not belong together\n1000 points are stored\n"],
    );
    assert!(!String::from_utf8_lossy(&output.stderr).contains("again"), "it would fail again: {output:?}");
    // Empty lines at the end do not count.
    std::fs::write(dir.join("base.jsonl"), lines + "\n  \n").unwrap();
    assert!(stdout(&run(&import)).contains("imported 1000 points"));
    assert_eq!(stdout(&run(&["count", "c"])), "1000\n");
    assert_eq!(segments(dir, "c"), (1, 0));
}

/// A small import does not rewrite a large collection.
#[test]
fn an_import_merges_only_where_that_is_worth_it() {
    let temp = tempdir();
    let dir = temp.path();
    packages(dir);
    fvecs(dir, "few.fvecs", 10);
    let import = |first_id: &str, more: &[&str]| {
        let args = [&["import", "packages", "few.fvecs", "--first-id", first_id], more].concat();
        stdout(&vecstore(dir, &args))
    };
    assert_eq!(segments(dir, "packages"), (1, 0));
    assert!(import("5000", &[]).contains("\nsealed"));
    assert_eq!(segments(dir, "packages"), (2, 0));
    import("6000", &["--no-optimize"]);
    assert_eq!(segments(dir, "packages"), (2, 10));
    // A third segment is one too many, so the two smallest are merged.
    assert!(import("7000", &["--segments-max", "2"]).contains("\nsealed"));
    assert_eq!(segments(dir, "packages"), (2, 0));
    import("8000", &[]);
    assert_eq!(segments(dir, "packages"), (3, 0));
    import("9000", &["--optimize", "--segment-points-max", "150"]);
    // The segment of 200 points is above the limit and stays. The others are merged.
    assert_eq!(segments(dir, "packages"), (2, 0));
    assert_eq!(stdout(&vecstore(dir, &["count", "packages"])), "250\n");
    // A replaced point is a deleted point of its segment.
    assert!(import("1000", &[]).contains("\nsealed"));
    assert!(import("1010", &["--vacuum-ratio", "0.05"]).contains("\nsealed"));
    assert_eq!(segments(dir, "packages"), (4, 0));
    let info = &json_lines(&vecstore(dir, &["info", "packages", "--json"]))[0];
    let deleted =
        info["segments"].as_array().unwrap().iter().map(|segment| segment["deleted"].as_u64().unwrap());
    assert_eq!(deleted.sum::<u64>(), 0);
    assert_eq!(stdout(&vecstore(dir, &["count", "packages"])), "250\n");
}
