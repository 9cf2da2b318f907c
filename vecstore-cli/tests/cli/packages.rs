//! The collection of most tests.

use crate::common::{fvecs, stdout, vecstore};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Payloads for `rows` vectors, with ids.
pub(crate) fn payloads(dir: &Path, name: &str, rows: usize) {
    let line =
        |row: usize| format!("{{\"key\": {}, \"kind\": \"k{}\", \"n\": {row}}}\n", row + 1000, row % 4);
    std::fs::write(dir.join(name), (0..rows).map(line).collect::<String>()).unwrap();
}

/// A collection of 200 points with ids from 1000 on.
pub(crate) fn packages(dir: &Path) {
    fvecs(dir, "base.fvecs", 200);
    payloads(dir, "base.jsonl", 200);
    let create = [
        "create",
        "packages",
        "--dim",
        "8",
        "--distance",
        "euclid",
        "--tenant",
        "kind:keyword",
        "--index",
        "n:integer",
    ];
    assert_eq!(stdout(&vecstore(dir, &create)), "created packages\n");
    let import = ["import", "packages", "base.fvecs", "--payload", "base.jsonl", "--id-field", "key"];
    assert!(stdout(&vecstore(dir, &import)).contains("imported 200 points"));
}

pub(crate) const OF_K1: &str = r#"{"must": [{"key": "kind", "match": {"value": "k1"}}]}"#;
