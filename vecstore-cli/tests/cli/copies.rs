//! Snapshots, exports and repairs.

use crate::common::{check_failure, stdout, tempdir, vecstore, walk};
use crate::packages::packages;
use serde_json::Value;

#[test]
fn snapshots_exports_and_repairs_hold_everything() {
    let temp = tempdir();
    let dir = temp.path();
    let run = |args: &[&str]| vecstore(dir, args);
    packages(dir);
    let everything = stdout(&run(&["scroll", "packages", "--with-vector"]));
    assert_eq!(stdout(&run(&["snapshot", "packages", "snap"])), "snapshot in snap\n");
    assert_eq!(stdout(&run(&["delete", "packages", "--filter", "{}"])), "200 points deleted\n");
    stdout(&run(&["restore", "snap", "restored"]));
    for copy in ["snap", "restored"] {
        assert_eq!(stdout(&run(&["scroll", copy, "--with-vector"])), everything);
    }
    assert_eq!(stdout(&run(&["export", "restored", "out.npy", "out.jsonl"])), "exported 200 points\n");
    stdout(&run(&["create", "again", "--dim", "8", "--distance", "euclid"]));
    stdout(&run(&["import", "again", "out.npy", "--payload", "out.jsonl", "--points", "--no-optimize"]));
    assert_eq!(stdout(&run(&["scroll", "again", "--with-vector"])), everything);

    #[cfg(feature = "parquet")]
    {
        assert_eq!(stdout(&run(&["export", "restored", "out.parquet"])), "exported 200 points\n");
        stdout(&run(&["create", "parquet", "--dim", "8", "--distance", "euclid"]));
        stdout(&run(&["import", "parquet", "out.parquet", "--no-optimize"]));
        assert_eq!(stdout(&run(&["scroll", "parquet", "--with-vector"])), everything);
        check_failure(
            &run(&["import", "parquet", "out.jsonl.parquet"]),
            1,
            &["out.jsonl.parquet", "No such file"],
        );
        let whole = std::fs::read(dir.join("out.parquet")).unwrap();
        for damaged in [&b"nothing of the kind"[..], &whole[..whole.len() / 2], &whole[whole.len() / 2..]] {
            std::fs::write(dir.join("no.parquet"), damaged).unwrap();
            check_failure(&run(&["import", "parquet", "no.parquet"]), 1, &["vecstore: ", "no.parquet: "]);
        }
    }
    #[cfg(not(feature = "parquet"))]
    check_failure(&run(&["export", "restored", "out.parquet"]), 1, &["out.parquet", "--features parquet"]);
    check_failure(&run(&["export", "restored", "half.npy"]), 1, &["half.npy", "also name a file"]);
    assert!(!dir.join("half.npy").exists());

    // A flipped bit is found, named and put back. Larger damage loses the point.
    let vectors = walk(&dir.join("restored")).into_iter().find(|path| path.ends_with("vectors.vec")).unwrap();
    let whole = std::fs::read(&vectors).unwrap();
    let damage = |bits: u8| {
        let mut bytes = whole.clone();
        bytes[4096 + 3] ^= bits;
        std::fs::write(&vectors, bytes).unwrap();
    };
    damage(1);
    let verified = run(&["verify", "restored"]);
    check_failure(&verified, 4, &["1 problem;", "repair"]);
    assert!(String::from_utf8_lossy(&verified.stdout).contains("record 0 at offset 4096"));
    for (bits, to, lost) in [(1, "mended-json", 0), (3, "repaired-json", 1)] {
        damage(bits);
        let repaired = run(&["repair", "restored", to, "--json"]);
        assert_eq!(repaired.status.code(), Some(if lost == 0 { 0 } else { 4 }));
        let mut report: Value = serde_json::from_slice(&repaired.stdout).unwrap();
        let notes = report.as_object_mut().unwrap().remove("notes").unwrap();
        assert!(notes[0].as_str().unwrap().contains("vectors.vec"), "{notes}");
        let expected = serde_json::json!({
            "points": 200 - lost, "points_lost": lost, "payloads_lost": 0, "writes_lost": 0, "more_lost": false,
        });
        assert_eq!(report, expected);
    }
    for (bits, to, saved, lost) in [(1, "mended", 200, 0), (3, "repaired", 199, 1)] {
        damage(bits);
        let repaired = run(&["repair", "restored", to]);
        if lost == 0 {
            let said = "segment-000001/vectors.vec: a flipped bit of a vector was put back\n";
            assert!(stdout(&repaired).contains(said));
        } else {
            check_failure(&repaired, 4, &[to, "may be incomplete", "keep the damaged collection"]);
        }
        let printed = String::from_utf8_lossy(&repaired.stdout);
        let last = format!(
            "{saved} points saved to {to}; {lost} point{}, 0 payloads and 0 writes of the log known to be lost\n",
            if lost == 1 { "" } else { "s" }
        );
        assert!(printed.ends_with(&last), "{printed}");
    }
    assert_eq!(stdout(&run(&["scroll", "mended", "--with-vector"])), everything);
    assert!(stdout(&run(&["verify", "repaired"])).contains("0 problems"));

    // If no file has the schema, it must be given.
    for path in walk(&dir.join("restored")) {
        if path.ends_with("MANIFEST") || path.ends_with("segment.json") {
            std::fs::write(path, "{}").unwrap();
        }
    }
    check_failure(
        &run(&["repair", "restored", "anew"]),
        1,
        &["its schema", "MANIFEST", "with --schema FILE"],
    );
    // A schema that its vectors contradict is refused before anything is written.
    std::fs::write(dir.join("schema.json"), r#"{"dim": 4, "distance": "euclid"}"#).unwrap();
    check_failure(
        &run(&["repair", "restored", "anew", "--schema", "schema.json"]),
        1,
        &[
            "the schema says dim 4 and element f32, and /",
            "/vectors.vec, whose header is whole, says dim 8 and element f32: correct the schema\n",
        ],
    );
    assert!(!dir.join("anew").exists());
    for log in walk(&dir.join("restored")).iter().filter(|path| path.extension().is_some_and(|e| e == "wal"))
    {
        std::fs::remove_file(log).unwrap();
    }
    std::fs::write(dir.join("schema.json"), r#"{"dim": 8, "distance": "euclid"}"#).unwrap();
    let repaired = run(&["repair", "restored", "anew", "--schema", "schema.json"]);
    let printed = String::from_utf8_lossy(&repaired.stdout);
    assert!(
        printed.contains("199 points saved to anew") && printed.ends_with(", and perhaps more\n"),
        "{printed}"
    );
    assert!(
        printed.contains("/restored: no log is there; if there was one, its writes are lost\n"),
        "{printed}"
    );
    assert!(
        printed.contains(": all segments were used, each with") && !printed.contains(".wal"),
        "{printed}"
    );
}
