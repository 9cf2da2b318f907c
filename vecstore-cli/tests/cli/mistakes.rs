//! Mistakes of a user.

use crate::common::{check_failure, stdout, tempdir, vecstore};
use crate::packages::{json_lines, packages, payloads};

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
    for (given, said) in [
        ("--dim=0", "invalid value '0' for '--dim <DIM>': 0 is not in 1..=65520\n"),
        ("--dim=abc", "abc is not in 1..=65520\n"),
        ("--m=1", "1 is not in 2..=1024\n"),
    ] {
        check_failure(&run(&["create", "x", given]), 2, &[said]);
    }
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
    check_failure(
        &run(&["import", "x", "y.npy", "--seal-points", "0"]),
        2,
        &["--seal-points", ": 0 is not in 1..\n"],
    );
    let first = ["import", "x", "y.npy", "--first-id=-1"];
    check_failure(&run(&first), 2, &[": -1 is not in 0..=18446744073709551615\n"]);
    let filter = ["count", "x", "--filter"];
    let example = r#"a filter is JSON, such as {"must": [{"key": "section", "match": {"value": "utils"}}]}: expected value"#;
    check_failure(&run(&[&filter[..], &["section=utils"]].concat()), 2, &[example]);
    check_failure(&run(&[&filter[..], &["@"]].concat()), 2, &["@ needs the path of a file"]);
    let vector = ["search", "x", "--vector", "abc"];
    check_failure(&run(&vector), 2, &["a vector is JSON, such as [0.5, 0.25]: expected value"]);
    let both = ["search", "x", "--vector", "[1]", "--count", "1"];
    check_failure(&run(&both), 2, &["'--vector <JSON>' cannot be used with '--count <N>'"]);
    std::fs::write(dir.join("schema.json"), r#"{"dim": 3, "indices": {}}"#).unwrap();
    check_failure(&run(&["create", "x", "--schema", "schema.json"]), 1, &["schema.json", "indices"]);
    check_failure(&run(&["info", "."]), 1, &["is no collection"]);
    for command in [
        &["info", "nowhere"][..],
        &["count", "nowhere"],
        &["upsert", "nowhere"],
        &["verify", "nowhere"],
        &["repair", "nowhere", "x"],
        &["restore", "nowhere", "x"],
    ] {
        let said = ["there is no collection /", "/nowhere; `vecstore create` makes one\n"];
        check_failure(&run(command), 1, &said);
        let on_file: Vec<&str> =
            command.iter().map(|word| if *word == "nowhere" { "schema.json" } else { word }).collect();
        check_failure(&run(&on_file), 1, &["schema.json is a file; give the directory of a collection\n"]);
    }
    check_failure(&run(&["create", "schema.json", "--dim", "3"]), 1, &["schema.json exists already"]);
    for command in [&["create", "no/x", "--dim", "3"][..], &["demo", "--count", "100", "--dir", "no"]] {
        check_failure(&run(command), 1, &["there is no directory /", "/no; make it first\n"]);
    }
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
    check_failure(
        &run(&["search", "packages", "wide.fvecs"]),
        1,
        &["wide.fvecs: its queries have 3 components, and the collection's dimension is 8\n"],
    );
    check_failure(&run(&["import", "packages", "."]), 1, &[".: is a directory; give a file of vectors\n"]);
    check_failure(&run(&["import", "packages", "-"]), 1, &["-: vectors come from regular files"]);
    check_failure(&run(&["upsert", "packages", "-"]), 2, &["leave POINTS out to read standard input"]);
    check_failure(&run(&["search", "packages", "base.fvecs", "--direct"]), 1, &["page cache"]);
    check_failure(&run(&["count", "packages", "--filter", "{"]), 2, &["EOF"]);
    let unknown = r#"{"must": [{"key": "x", "match": {"value": 1}}]}"#;
    check_failure(&run(&["count", "packages", "--filter", unknown]), 1, &["field x has no index", "kind, n"]);
    check_failure(&run(&["scroll", "packages", "--order-by", "kind"]), 1, &["have an order"]);
    check_failure(&run(&["scroll", "packages", "--page", "x"]), 1, &["page token \"x\""]);
    check_failure(&run(&["get", "packages", "x"]), 2, &["\"x\" is no point id"]);
    std::fs::write(dir.join("bad.jsonl"), "{\"id\": 5, \"vector\": [1, 2]}\n").unwrap();
    check_failure(
        &run(&["upsert", "packages", "bad.jsonl"]),
        1,
        &["bad.jsonl: line 1: point 5: a vector of 2 components", "\nnothing is written\n"],
    );
    std::fs::write(dir.join("bad.jsonl"), "\u{FEFF}{\"id\": 5}\n").unwrap();
    check_failure(
        &run(&["upsert", "packages", "bad.jsonl"]),
        1,
        &["line 1: it begins with a byte order mark: remove it\n"],
    );
    std::fs::write(dir.join("bad.jsonl"), "{\"id\": 5}\n").unwrap();
    check_failure(&run(&["upsert", "packages", "bad.jsonl"]), 1, &["bad.jsonl", "line 1", "vector"]);
    std::fs::write(dir.join("bad.jsonl"), " [8, [1, 2, 3, 4, 5, 6, 7, 8]]\n").unwrap();
    check_failure(&run(&["upsert", "packages", "bad.jsonl"]), 1, &["bad.jsonl", "line 1", "JSON object"]);
    let points = ["import", "packages", "base.fvecs", "--payload", "bad.jsonl", "--points"];
    check_failure(&run(&points), 1, &["bad.jsonl", "line 1", "JSON object"]);
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
    let export = |vectors: &str, points: &str| run(&["export", "packages", vectors, points]);
    std::fs::write(dir.join("base.npy"), "").unwrap();
    check_failure(&export("base.npy", "x"), 1, &["base.npy: exists already"]);
    check_failure(&export("x.txt", "y"), 1, &["x.txt: vectors are written as .npy"]);
    check_failure(&export("x.npy", "./x.npy"), 1, &["x.npy: the two files are the same: give two names\n"]);
    for copy in [&["snapshot", "packages", "no/x"][..], &["export", "packages", "x.npy", "no/x"]] {
        check_failure(&run(copy), 1, &["there is no directory /", "/no; make it first\n"]);
    }
    assert_eq!(stdout(&run(&["scroll", "packages", "--with-vector"])), before, "a mistake changed something");
}

/// The usage names the arguments in the order in which they are given.
#[test]
fn the_collection_comes_first() {
    let temp = tempdir();
    let usage = |command: &str| stdout(&vecstore(temp.path(), &[command, "--help"]));
    let search = "\nUsage: vecstore search [OPTIONS] <COLLECTION> <QUERIES|--vector <JSON>>\n";
    assert!(usage("search").contains(search));
    let delete = "\nUsage: vecstore delete [OPTIONS] <COLLECTION> <IDS...|--filter <JSON>>\n";
    assert!(usage("delete").contains(delete));
}
