//! What the command says of a backend that chooses between others, also in a sandbox that refuses io_uring.

use crate::common::{fvecs, said, stdout, tempdir, vecstore};
use serde_json::Value;
use std::path::Path;

/// The backend's line of `info`.
fn backend_of(dir: &Path, backend: &str) -> String {
    let shown = stdout(&vecstore(dir, &["info", "c", "--backend", backend]));
    shown.lines().find(|line| line.starts_with("backend ")).expect("a line for the backend").to_owned()
}

/// Makes a collection through `auto` in this directory, and looks at what is said. Returns what was taken,
/// and why.
fn use_auto(dir: &Path) -> (String, String) {
    fvecs(dir, "vectors.fvecs", 100);
    stdout(&vecstore(dir, &["create", "c", "--dim", "8", "--backend", "auto"]));
    assert_eq!(backend_of(dir, "auto"), "backend     auto, with no segment to read");
    stdout(&vecstore(dir, &["import", "c", "vectors.fvecs", "--backend", "auto"]));
    let found = stdout(&vecstore(dir, &["search", "c", "vectors.fvecs", "--backend", "mmap+auto"]));
    assert_eq!(found.lines().count(), 100);

    let info = stdout(&vecstore(dir, &["info", "c", "--backend", "auto", "--json"]));
    let info: Value = serde_json::from_str(&info).unwrap();
    let of = |name: &str| info["backend"]["choice"][name].as_str().expect("a text").to_owned();
    assert_eq!(info["backend"]["name"], "auto");
    let (taken, reason) = (of("taken"), of("reason"));
    let says = format!("takes {taken}: {reason}");
    for backend in ["auto", "mmap+auto"] {
        assert!(backend_of(dir, backend).ends_with(&format!("; {says}")), "{says}");
    }
    let demo = ["demo", "--count", "500", "--dim", "8", "--backend", "auto"];
    let table = stdout(&vecstore(dir, &demo));
    assert!(table.lines().any(|line| line == format!("auto {says}")), "{table}");
    let row: Value =
        serde_json::from_str(&stdout(&vecstore(dir, &[&demo[..], &["--json"]].concat()))).unwrap();
    assert_eq!(row["backends"][0]["choice"], info["backend"]["choice"]);
    let advise = ["advise", "--path", ".", "--backend", "auto", "--size-mib", "16", "--seconds", "5"];
    let advice = stdout(&vecstore(dir, &advise));
    assert!(advice.lines().any(|line| line == format!("auto {says}")), "{advice}");
    (taken, reason)
}

#[test]
fn a_backend_that_does_not_choose_says_only_what_it_is() {
    let temp = tempdir();
    let dir = temp.path();
    fvecs(dir, "vectors.fvecs", 100);
    stdout(&vecstore(dir, &["create", "c", "--dim", "8"]));
    stdout(&vecstore(dir, &["import", "c", "vectors.fvecs"]));
    assert!(backend_of(dir, "threads").starts_with("backend     threads (a pool of threads, buffered, "));
    let info = stdout(&vecstore(dir, &["info", "c", "--backend", "threads", "--json"]));
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["backend"]["name"], "threads");
    assert_eq!(info["backend"]["choice"], Value::Null);
}

#[cfg(target_os = "linux")]
#[test]
fn auto_says_what_it_took_and_why_in_a_sandbox_and_outside() {
    // Whether this machine allows io_uring.
    let outside = tempdir();
    let (taken, reason) = use_auto(outside.path());
    let ring = vecstore(outside.path(), &["count", "c", "--backend", "ring"]);
    assert_eq!(taken, if ring.status.success() { "ring" } else { "threads" }, "{reason}");

    // A thread of its own, whose commands inherit the sandbox.
    let sandboxed = std::thread::spawn(|| {
        io_core::testing::refuse_io_uring();
        let temp = tempdir();
        let (taken, reason) = use_auto(temp.path());
        assert_eq!(taken, "threads");
        let ring = vecstore(temp.path(), &["count", "c", "--backend", "ring"]);
        assert_eq!((ring.status.code(), said(&ring).contains(&reason)), (Some(1), true), "{}", said(&ring));
    });
    sandboxed.join().unwrap();
}
