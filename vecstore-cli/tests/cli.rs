//! The command from the view of a user: its output, its exit status, and the files it leaves.

mod common;

use common::{check_failure, end, fvecs, is_empty, stdout, tempdir, vecstore, wait_for_writer, walk};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn json_lines(output: &Output) -> Vec<Value> {
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Payloads for `rows` vectors, with ids.
fn payloads(dir: &Path, name: &str, rows: usize) {
    let line =
        |row: usize| format!("{{\"key\": {}, \"kind\": \"k{}\", \"n\": {row}}}\n", row + 1000, row % 4);
    std::fs::write(dir.join(name), (0..rows).map(line).collect::<String>()).unwrap();
}

/// A collection of 200 points with ids from 1000 on.
fn packages(dir: &Path) {
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

const OF_K1: &str = r#"{"must": [{"key": "kind", "match": {"value": "k1"}}]}"#;

#[test]
fn a_collection_from_the_shell() {
    let temp = tempdir();
    let dir = temp.path();
    let run = |args: &[&str]| vecstore(dir, args);
    packages(dir);
    fvecs(dir, "queries.fvecs", 8);

    let found = json_lines(&run(&["search", "packages", "queries.fvecs", "--limit", "1", "--json"]));
    assert_eq!(found.len(), 8);
    for (query, line) in found.iter().enumerate() {
        // The first eight vectors are the queries.
        let (number, hit) = (line["query"].as_u64().unwrap(), &line["hits"][0]);
        assert_eq!(
            (number, hit["id"].as_u64(), hit["score"].as_f64()),
            (query as u64, Some(query as u64 + 1000), Some(0.0))
        );
    }
    let exact = ["search", "packages", "queries.fvecs", "--exact", "--count", "2", "--limit", "1"];
    assert_eq!(stdout(&run(&exact)), "0\t1000:0.0000\n1\t1001:0.0000\n");
    let vector = ["search", "packages", "--vector", "[1,0,0,0,0,0,0,0]", "--filter", OF_K1, "--with-payload"];
    let found = json_lines(&run(&vector));
    assert!(found[0]["hits"].as_array().unwrap().iter().all(|hit| hit["payload"]["kind"] == "k1"));
    let far = ["search", "packages", "--vector", "[1,0,0,0,0,0,0,0]", "--threshold", "0.001"];
    assert_eq!(stdout(&run(&far)), "0\t1000:0.0000\n");

    assert_eq!(stdout(&run(&["count", "packages", "--filter", OF_K1])), "50\n");
    assert_eq!(stdout(&run(&["count", "packages", "--filter", OF_K1, "--json"])), "{\"count\":50}\n");
    assert_eq!(stdout(&run(&["facet", "packages", "kind", "--limit", "1"])), "50\t\"k0\"\n");
    let values = json_lines(&run(&["facet", "packages", "kind", "--limit", "2", "--json"]));
    assert_eq!(values, ["k0", "k1"].map(|kind| serde_json::json!({ "count": 50, "value": kind })));
    let got = json_lines(&run(&["get", "packages", "1007", "--with-vector"]));
    assert_eq!((got[0]["id"].as_u64(), got[0]["vector"].as_array().unwrap().len()), (Some(1007), 8));
    check_failure(
        &run(&["get", "packages", "1", "1001"]),
        1,
        &["no point of the collection has these ids: 1\n"],
    );

    let scrolled = run(&["scroll", "packages", "--limit", "3", "--order-by", "n", "--filter", OF_K1]);
    let ids: Vec<_> = json_lines(&scrolled).iter().map(|line| line["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1001, 1005, 1009]);
    let message = String::from_utf8(scrolled.stderr).unwrap();
    let token = message.trim().rsplit(' ').next().unwrap();
    let next = ["scroll", "packages", "--limit", "1", "--order-by", "n", "--filter", OF_K1, "--page", token];
    assert_eq!(json_lines(&run(&next))[0]["id"].as_u64(), Some(1013));
    assert_eq!(json_lines(&run(&["scroll", "packages"])).len(), 200);

    assert_eq!(stdout(&run(&["delete", "packages", "1000", "1001", "7"])), "2 points deleted\n");
    assert_eq!(stdout(&run(&["delete", "packages", "--filter", OF_K1])), "49 points deleted\n");
    std::fs::write(dir.join("new.jsonl"), "{\"id\": \"67e55044-10b1-426f-9247-bb680e5fe0c8\", \"vector\": [9,9,9,9,9,9,9,9], \"payload\": {\"kind\": \"new\"}}\n\n").unwrap();
    assert_eq!(stdout(&run(&["upsert", "packages", "new.jsonl"])), "1 point\n");
    let info: Value = serde_json::from_str(&stdout(&run(&["info", "packages", "--json"]))).unwrap();
    assert_eq!((info["points"].as_u64(), info["points_in_memory"].as_u64()), (Some(150), Some(1)));
    assert!(stdout(&run(&["info", "packages"])).contains("150, 1 of them in memory"));

    let report: Value = serde_json::from_str(&stdout(&run(&["defragment", "packages", "--json"]))).unwrap();
    // The deletion of so many has had the segment vacuumed already.
    assert_eq!((report["sealed"].as_u64(), report["vacuumed"].as_u64()), (Some(1), Some(0)));
    assert_eq!(report["defragment"], serde_json::json!(["kind"]));
    assert!(report["after"]["pages_touched"].as_u64() >= report["after"]["pages_least"].as_u64());
    assert!(stdout(&run(&["optimize", "packages"])).contains("1 segment became 1"));
    assert!(stdout(&run(&["verify", "packages"])).ends_with("150 points of segments compared: 0 problems\n"));
}

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
            stdout(&repaired);
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
    std::fs::write(dir.join("schema.json"), r#"{"dim": 8, "distance": "euclid"}"#).unwrap();
    let repaired = run(&["repair", "restored", "anew", "--schema", "schema.json"]);
    let printed = String::from_utf8_lossy(&repaired.stdout);
    assert!(
        printed.contains("199 points saved to anew") && printed.ends_with(", and perhaps more\n"),
        "{printed}"
    );
}

#[test]
fn the_demo_compares_the_backends_and_cleans_up() {
    let dir = tempdir();
    let shown = vecstore(dir.path(), &["demo", "--count", "2000", "--dim", "16", "--json"]);
    let shown: Value = serde_json::from_str(&stdout(&shown)).unwrap();
    let rows = shown["backends"].as_array().unwrap();
    let skipped = shown["skipped"].as_array().unwrap();
    assert_eq!(rows.len() + skipped.len(), 5, "{shown}");
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
fn mistakes_are_named_and_cost_nothing() {
    let temp = tempdir();
    let dir = temp.path();
    let run = |args: &[&str]| vecstore(dir, args);
    check_failure(&run(&[]), 2, &["Usage"]);
    check_failure(&run(&["search"]), 2, &["COLLECTION"]);
    check_failure(&run(&["demo", "--backend", "uring"]), 2, &["uring", "mmap"]);
    check_failure(&run(&["demo", "--distance", "l2"]), 2, &["cosine, dot, euclid"]);
    check_failure(&run(&["demo", "--vectors", "x.npy"]), 2, &["--queries"]);
    check_failure(&run(&["demo", "--cores", "0"]), 2, &["--cores"]);
    check_failure(&run(&["demo", "--count", "100", "--ef", "0"]), 2, &["--ef", "1..=1048576"]);
    check_failure(
        &run(&["demo", "--count", "100", "--rescore", "some"]),
        2,
        &["--rescore", "all, never or undecided[=PART]"],
    );
    check_failure(
        &run(&["demo", "--count", "100", "--rescore", "undecided=2"]),
        2,
        &["--rescore", "above 0, up to 1"],
    );
    check_failure(&run(&["demo", "--m", "1", "--count", "100"]), 2, &["--m", "2..=1024"]);
    check_failure(&run(&["demo", "--count", "100", "--queue-depth", "0"]), 2, &["--queue-depth", "1..=4096"]);
    check_failure(&run(&["create", "x"]), 2, &["--dim"]);
    check_failure(&run(&["create", "x", "--dim", "0"]), 1, &["dim is 0"]);
    check_failure(&run(&["create", "x", "--dim", "3", "--index", "a"]), 2, &["FIELD:KIND"]);
    check_failure(&run(&["create", "x", "--dim", "3", "--index", "a:text"]), 2, &["\"text\"", "keyword"]);
    check_failure(
        &run(&["create", "x", "--dim", "3", "--place", "codes=disk"]),
        2,
        &["cold, cached, pinned"],
    );
    let twice = ["create", "x", "--dim", "3", "--index", "a:keyword", "--index", "a:integer"];
    check_failure(&run(&twice), 2, &["field a is given twice"]);
    let twice = ["create", "x", "--dim", "3", "--index", "a:keyword", "--tenant", "a:keyword"];
    check_failure(&run(&twice), 2, &["field a is given twice"]);
    let twice = ["create", "x", "--dim", "3", "--place", "codes=cold", "--place", "codes=pinned"];
    check_failure(&run(&twice), 2, &["--place codes=... is given twice"]);
    check_failure(&run(&["search", "x"]), 2, &["<QUERIES|--vector <JSON>>"]);
    check_failure(&run(&["delete", "x"]), 2, &["<IDS|--filter <JSON>>"]);
    check_failure(&run(&["import", "x", "y.npy", "--raw-dim", "3"]), 2, &["--format"]);
    check_failure(&run(&["import", "x", "y.npy", "--vacuum-ratio", "2"]), 2, &["from 0 to 1"]);
    check_failure(&run(&["import", "x", "y.npy", "--seal-points", "0"]), 2, &["--seal-points"]);
    std::fs::write(dir.join("schema.json"), r#"{"dim": 3, "indices": {}}"#).unwrap();
    check_failure(&run(&["create", "x", "--schema", "schema.json"]), 1, &["schema.json", "indices"]);
    check_failure(&run(&["info", "."]), 1, &["is no collection"]);
    check_failure(&run(&["info", "nowhere"]), 1, &["nowhere", "No such file"]);
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1, "mistakes left something behind");

    packages(dir);
    let before = stdout(&run(&["scroll", "packages", "--with-vector"]));
    check_failure(&run(&["create", "packages", "--dim", "3"]), 1, &["packages exists already"]);
    check_failure(&run(&["import", "packages", "missing.npy"]), 1, &["missing.npy", "No such file"]);
    check_failure(
        &run(&["import", "packages", "x.raw", "--format", "raw"]),
        2,
        &["--raw-dim", "--raw-element"],
    );
    std::fs::write(dir.join("wide.fvecs"), [3i32.to_le_bytes(), [0; 4], [0; 4], [0; 4]].concat()).unwrap();
    check_failure(&run(&["import", "packages", "wide.fvecs"]), 1, &["3 components", "have 8"]);
    let largest = u64::MAX.to_string();
    let import = ["import", "packages", "base.fvecs", "--first-id", &largest];
    check_failure(&run(&import), 2, &["--first-id", "choose a smaller one"]);
    check_failure(&run(&["import", "packages", "x.parquet", "--first-id", "1"]), 1, &["leave", "--first-id"]);
    check_failure(&run(&["search", "packages", "wide.fvecs"]), 1, &["3 components", "dimension is 8"]);
    check_failure(&run(&["search", "packages", "base.fvecs", "--direct"]), 1, &["page cache"]);
    check_failure(&run(&["count", "packages", "--filter", "{"]), 2, &["EOF"]);
    let unknown = r#"{"must": [{"key": "x", "match": {"value": 1}}]}"#;
    check_failure(&run(&["count", "packages", "--filter", unknown]), 1, &["field x has no index", "kind, n"]);
    check_failure(&run(&["scroll", "packages", "--order-by", "kind"]), 1, &["have an order"]);
    check_failure(&run(&["scroll", "packages", "--page", "x"]), 1, &["page token \"x\""]);
    check_failure(&run(&["get", "packages", "x"]), 2, &["\"x\" is no point id"]);
    std::fs::write(dir.join("bad.jsonl"), "{\"id\": 5, \"vector\": [1, 2]}\n").unwrap();
    check_failure(&run(&["upsert", "packages", "bad.jsonl"]), 1, &["point 5", "2 components"]);
    std::fs::write(dir.join("bad.jsonl"), "{\"id\": 5}\n").unwrap();
    check_failure(&run(&["upsert", "packages", "bad.jsonl"]), 1, &["bad.jsonl", "line 1", "vector"]);
    // The good lines before a bad one are written, as the message says. Writing the same point again changes
    // nothing.
    let line = json_lines(&run(&["get", "packages", "1003", "--with-vector"]))[0].to_string();
    std::fs::write(dir.join("bad.jsonl"), format!("{line}\n{}\nbad\n", line.replace("1003", "5003")))
        .unwrap();
    check_failure(
        &run(&["upsert", "packages", "bad.jsonl"]),
        1,
        &["line 3", "the first 2 lines are written"],
    );
    assert_eq!(stdout(&run(&["delete", "packages", "5003"])), "1 point deleted\n");
    payloads(dir, "short.jsonl", 3);
    let short = ["import", "packages", "base.fvecs", "--payload", "short.jsonl", "--id-field", "nope"];
    check_failure(&run(&short), 1, &["short.jsonl", "line 1", "no field nope", "nothing was imported"]);
    check_failure(&run(&["facet", "packages", "x"]), 1, &["vecstore: field x has no index", "kind, n"]);
    check_failure(&run(&["snapshot", "packages", "packages"]), 1, &["packages exists already"]);
    check_failure(&run(&["restore", "nowhere", "x"]), 1, &["nowhere"]);
    check_failure(&run(&["export", "packages", "base.fvecs", "x"]), 1, &["base.fvecs", "exists already"]);
    assert_eq!(stdout(&run(&["scroll", "packages", "--with-vector"])), before, "a mistake changed something");
}

/// JSON has no infinite numbers, and null would hide that there is a score.
#[test]
fn infinite_scores_are_numbers_in_json() {
    let temp = tempdir();
    let dir = temp.path();
    let run = |args: &[&str]| vecstore(dir, args);
    stdout(&run(&["create", "c", "--dim", "2", "--distance", "dot"]));
    let points = "{\"id\": 1, \"vector\": [3e38, 3e38]}\n{\"id\": 2, \"vector\": [1, 1]}\n{\"id\": 3, \"vector\": [-3e38, -3e38]}\n";
    std::fs::write(dir.join("points.jsonl"), points).unwrap();
    stdout(&run(&["upsert", "c", "points.jsonl"]));
    let found = json_lines(&run(&["search", "c", "--vector", "[3, 3]", "--json"]));
    let scores: Vec<_> =
        found[0]["hits"].as_array().unwrap().iter().map(|hit| hit["score"].as_f64()).collect();
    let largest = f64::from(f32::MAX);
    assert_eq!(scores, [Some(largest), Some(6.0), Some(-largest)]);
    assert_eq!(stdout(&run(&["search", "c", "--vector", "[3, 3]"])), "0\t1:inf 2:6.0000 3:-inf\n");
}

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

/// Endless input and too long lines are refused at a limit. Memory is limited too, so that a command that
/// reads on fails without taking the machine's memory.
#[cfg(target_os = "linux")]
#[test]
fn endless_input_is_refused_at_a_limit() {
    let temp = tempdir();
    let dir = temp.path();
    packages(dir);
    let run = |command: &str| {
        let limited =
            format!("ulimit -v 6000000; {}", command.replace("vecstore", env!("CARGO_BIN_EXE_vecstore")));
        Command::new("sh").args(["-c", &limited]).current_dir(dir).output().unwrap()
    };
    let limit = "more than 33554432 bytes";
    let line = format!("line 1: it has {limit}");
    check_failure(&run("vecstore upsert packages /dev/zero"), 1, &["/dev/zero", &line]);
    check_failure(&run("vecstore upsert packages < /dev/zero"), 1, &["standard input", &line]);
    check_failure(&run("vecstore import packages base.fvecs --payload /dev/zero"), 1, &["/dev/zero", &line]);
    check_failure(&run("vecstore create x --schema /dev/zero"), 1, &["/dev/zero", limit]);
    check_failure(&run("vecstore repair packages x --schema /dev/zero"), 1, &["/dev/zero", limit]);
    check_failure(&run("vecstore count packages --filter @/dev/zero"), 2, &["/dev/zero", limit]);
    // The longest line allowed, and one byte more. The line's end does not count.
    let padded = |bytes: usize| format!("{}{}", " ".repeat(bytes - 2), "{}");
    let good = "{\"id\": 7, \"vector\": [1,2,3,4,5,6,7,8]}\n";
    for (bytes, said) in [(32 << 20, "line 2: missing field"), ((32 << 20) + 1, "line 2: it has more than")] {
        std::fs::write(dir.join("long.jsonl"), format!("{good}{}\n", padded(bytes))).unwrap();
        check_failure(&run("vecstore upsert packages long.jsonl"), 1, &["long.jsonl", said]);
    }
    // Deeply nested values, and tables that claim to be long.
    let deep = format!("{{\"id\": 1, \"vector\": [1], \"payload\": {{\"a\": {}", "[".repeat(1 << 20));
    std::fs::write(dir.join("deep.jsonl"), &deep).unwrap();
    check_failure(&run("vecstore upsert packages deep.jsonl"), 1, &["line 1", "recursion limit"]);
    std::fs::write(dir.join("filter.json"), "{\"must\": [".repeat(1 << 18)).unwrap();
    check_failure(&run("vecstore count packages --filter @filter.json"), 2, &["filter.json"]);
    let sparse = |name: &str, descr: &str, rows: u64, columns: u64| {
        let header = format!(
            "{:<117}\n",
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}")
        );
        let bytes = [b"\x93NUMPY\x01\x00", &118u16.to_le_bytes()[..], header.as_bytes()].concat();
        std::fs::write(dir.join(name), bytes).unwrap();
        let file = std::fs::File::options().write(true).open(dir.join(name)).unwrap();
        file.set_len(128 + rows * columns * 4).unwrap();
    };
    sparse("queries.npy", "<f4", 5 << 27, 8);
    check_failure(
        &run("vecstore search packages queries.npy"),
        1,
        &["queries.npy", "671088640 queries", "at most 33554432"],
    );
    stdout(&run("vecstore search packages queries.npy --count 2"));
    sparse("truth.npy", "<i4", 5 << 27, 8);
    let demo = "vecstore demo --vectors base.fvecs --queries base.fvecs --truth truth.npy";
    check_failure(&run(demo), 1, &["truth.npy", "21474836480 bytes", "at most 268435456"]);
}

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

/// Whatever ends an upsert, the lines before it are written, and the command says how many.
#[test]
fn an_upsert_that_ends_early_says_how_far_it_came() {
    let temp = tempdir();
    let dir = temp.path();
    let run = |args: &[&str]| vecstore(dir, args);
    let good: String = (0..600).map(|id| format!("{{\"id\": {id}, \"vector\": [1, {id}]}}\n")).collect();
    let bad: [(&[u8], &str); 4] = [
        (b"{\"id\": \xFF}", "line 601: invalid utf-8"),
        (&[b' '; (32 << 20) + 1], "line 601: it has more than 33554432 bytes"),
        (b"{\"id\": 7,", "line 601: EOF while parsing"),
        (b"{\"id\": 7, \"vector\": [1]}", "from line 513 on: point 7: a vector of 1 components"),
    ];
    for (line, said) in bad {
        stdout(&run(&["create", "c", "--dim", "2"]));
        std::fs::write(dir.join("points.jsonl"), [good.as_bytes(), line, b"\n"].concat()).unwrap();
        let written = if said.starts_with("from") { 512 } else { 600 };
        let lines = format!("{written} lines are written");
        check_failure(&run(&["upsert", "c", "points.jsonl"]), 1, &["points.jsonl", said, &lines]);
        assert_eq!(stdout(&run(&["count", "c"])), format!("{written}\n"), "{said}");
        std::fs::remove_dir_all(dir.join("c")).unwrap();
    }
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
    let said =
        ["base.jsonl: line 600:", "512 of 1000 points are in the collection", "run the same command again"];
    check_failure(&run(&import), 1, &said);
    assert_eq!(stdout(&run(&["count", "c"])), "512\n");
    // The error gives the place in the file of what the collection refuses.
    std::fs::write(dir.join("base.jsonl"), lines.replace("\"n\": 300}", "\"n\": \"many\"}")).unwrap();
    let said = ["base.fvecs: in vectors 256 to 511: point 1300: field n", "256 of 1000 points"];
    check_failure(&run(&import), 1, &said);
    assert_eq!(stdout(&run(&["count", "c"])), "512\n");
    std::fs::write(dir.join("base.jsonl"), lines.clone() + "{}\n").unwrap();
    let output = run(&import);
    check_failure(&output, 1, &["more than 1000 lines", "all 1000 points are in the collection"]);
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

/// While one process writes, others get an error that names it.
#[test]
fn a_second_writer_is_told_who_is_first() {
    let temp = tempdir();
    packages(temp.path());
    let mut first = Command::new(env!("CARGO_BIN_EXE_vecstore"))
        .args(["upsert", "packages"])
        .current_dir(temp.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_writer(&mut first, &temp.path().join("packages"));
    let holder = format!("process {}", first.id());
    check_failure(&vecstore(temp.path(), &["count", "packages"]), 1, &["in use", &holder]);
    check_failure(&vecstore(temp.path(), &["optimize", "packages"]), 1, &["in use", &holder]);
    assert!(end(first, "an upsert without lines").status.success());
    assert_eq!(stdout(&vecstore(temp.path(), &["count", "packages"])), "200\n");
}

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
    fails(&["--path", "nowhere"], 1, &["nowhere: cannot make a directory here", "No such file"]);
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

#[test]
fn output_that_nobody_reads_is_no_error() {
    let temp = tempdir();
    let dir = temp.path();
    fvecs(dir, "base.fvecs", 5000);
    stdout(&vecstore(dir, &["create", "c", "--dim", "8"]));
    stdout(&vecstore(dir, &["import", "c", "base.fvecs", "--no-optimize"]));
    let command = format!("{} search c base.fvecs | head -n 1", env!("CARGO_BIN_EXE_vecstore"));
    let output = Command::new("sh").args(["-c", &command]).current_dir(dir).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A limit that is enough for the files open now, but not for those that may be open later.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_open_files_below_the_bound_is_told() {
    let temp = tempdir();
    let dir = temp.path();
    packages(dir);
    let with_limit = |limit: u32| {
        let command = format!("ulimit -n {limit} && exec \"$0\" info packages --json");
        Command::new("sh")
            .args(["-c", &command, env!("CARGO_BIN_EXE_vecstore")])
            .current_dir(dir)
            .output()
            .unwrap()
    };
    let few = with_limit(64);
    let max = json_lines(&few)[0]["open_files"]["max"].as_u64().unwrap();
    let told = String::from_utf8_lossy(&few.stderr);
    assert!(told.contains("ulimit -n") && told.contains(&max.to_string()) && told.contains("64"), "{told}");
    // The command raises its soft limit to the hard limit, so the soft limit alone gives no warning.
    let raised = Command::new("sh")
        .args(["-c", "ulimit -S -n 64 && exec \"$0\" info packages", env!("CARGO_BIN_EXE_vecstore")])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(stdout(&raised).contains("open files"));
    assert_eq!(String::from_utf8_lossy(&raised.stderr), "");
}
