//! Logs with a doubtful end.

use crate::common::{check_failure, fvecs, stdout, tempdir, vecstore, walk};
use crate::packages::packages;

/// Bytes at the end of a log that are not a record: every command reports them, and commands that write keep
/// them.
#[test]
fn what_recovery_leaves_out_is_told_by_every_command() {
    let temp = tempdir();
    let dir = temp.path();
    let run = |args: &[&str]| vecstore(dir, args);
    packages(dir);
    fvecs(dir, "queries.fvecs", 1);
    let line = "{\"id\": 7, \"vector\": [1,2,3,4,5,6,7,8], \"payload\": {\"kind\": \"k1\"}}\n";
    std::fs::write(dir.join("one.jsonl"), line).unwrap();
    stdout(&run(&["upsert", "packages", "one.jsonl"]));
    let of_kind = |kind: &str| {
        walk(&dir.join("packages")).into_iter().find(|path| path.extension().is_some_and(|e| e == kind))
    };
    let log = of_kind("wal").unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.extend(b"no record");
    let tells = |args: &[&str]| {
        let output = run(args);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {message}");
        for part in ["vecstore: ", "packages/log-", ".wal: 9 bytes", "left out", ".torn"] {
            assert!(message.contains(part), "{args:?}: {part:?} is not in {message:?}");
        }
    };
    std::fs::write(&log, &bytes).unwrap();
    tells(&["count", "packages"]);
    tells(&["info", "packages"]);
    tells(&["info", "packages", "--json"]);
    tells(&["search", "packages", "queries.fvecs"]);
    tells(&["get", "packages", "7"]);
    tells(&["scroll", "packages", "--limit", "1"]);
    tells(&["facet", "packages", "kind"]);
    tells(&["export", "packages", "out.npy", "out.jsonl"]);
    assert_eq!(
        (std::fs::read(&log).unwrap(), of_kind("torn")),
        (bytes.clone(), None),
        "reading changed something"
    );
    check_failure(&run(&["verify", "packages"]), 4, &["1 problem;"]);
    std::fs::write(&log, &bytes[..bytes.len() - 9]).unwrap();
    let writers: [&[&str]; 7] = [
        &["snapshot", "packages", "snap"],
        &["upsert", "packages", "one.jsonl"],
        &["delete", "packages", "8"],
        &["import", "packages", "queries.fvecs", "--first-id", "9", "--no-optimize"],
        &["optimize", "packages"],
        &["defragment", "packages"],
        &["import", "packages", "queries.fvecs", "--first-id", "9"],
    ];
    for args in writers {
        // The log may have been sealed by then.
        let log = of_kind("wal").unwrap_or_else(|| {
            stdout(&run(&["upsert", "packages", "one.jsonl"]));
            of_kind("wal").unwrap()
        });
        let damaged = [std::fs::read(&log).unwrap(), b"no record".to_vec()].concat();
        std::fs::write(&log, &damaged).unwrap();
        tells(args);
        let copy = of_kind("torn").unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), damaged, "{args:?}");
        let verified = run(&["verify", "packages"]);
        check_failure(&verified, 4, &["1 problem;"]);
        assert!(
            String::from_utf8_lossy(&verified.stdout).contains(copy.file_name().unwrap().to_str().unwrap())
        );
        std::fs::remove_file(copy).unwrap();
        let after = run(&["count", "packages"]);
        assert!(after.status.success() && after.stderr.is_empty(), "{after:?}");
        stdout(&run(&["verify", "packages"]));
    }
}
