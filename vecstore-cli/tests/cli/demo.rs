//! The demo.

use crate::common::{check_failure, fvecs, stdout, tempdir, vecstore};
use serde_json::Value;
use vecstore::backends::BackendKind;

#[test]
fn the_demo_compares_the_backends_and_cleans_up() {
    let dir = tempdir();
    let shown = vecstore(dir.path(), &["demo", "--count", "2000", "--dim", "16", "--json"]);
    let shown: Value = serde_json::from_str(&stdout(&shown)).unwrap();
    let rows = shown["backends"].as_array().unwrap();
    let skipped = shown["skipped"].as_array().unwrap();
    assert_eq!(rows.len() + skipped.len(), BackendKind::plain().len(), "{shown}");
    for row in rows {
        assert_eq!(row["queries"].as_u64(), Some(1000));
        assert!(row["recall"].as_f64().unwrap() > 0.95, "{row}");
        // 1,000 queries of 20 candidates. The codes' bounds skip some, the same ones through each backend.
        let scored = row["vectors_scored"].as_u64();
        assert!(scored.is_some_and(|scored| (1000 * 10..1000 * 20).contains(&scored)), "{row}");
        assert_eq!(scored, rows[0]["vectors_scored"].as_u64());
    }
    let table = stdout(&vecstore(dir.path(), &["demo", "--count", "500", "--dim", "8", "--backend", "mmap"]));
    assert!(table.contains("recall") && table.contains("mmap"), "{table}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the demo left something behind");
}

#[test]
fn a_demo_of_no_vectors_says_so() {
    let temp = tempdir();
    let dir = temp.path();
    fvecs(dir, "queries.fvecs", 1);
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 8), }");
    std::fs::write(dir.join("zero.npy"), [b"\x93NUMPY\x01\x00v\x00", header.as_bytes()].concat()).unwrap();
    let demo = ["demo", "--vectors", "zero.npy", "--queries", "queries.fvecs"];
    check_failure(&vecstore(dir, &demo), 1, &["vecstore: zero.npy: holds no vectors\n"]);
}
