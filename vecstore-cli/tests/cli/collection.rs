//! A collection from its creation to its upkeep.

use crate::common::{check_failure, fvecs, stdout, tempdir, vecstore};
use crate::packages::{OF_K1, json_lines, packages};
use serde_json::Value;

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
    let proven = json_lines(&run(&[&exact[..], &["--json"]].concat()));
    assert!(proven.iter().all(|line| line["proven"] == true) && found[0].get("proven").is_none());
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
    let printed = stdout(&run(&["defragment", "packages"]));
    let (_, pages) = printed.split_once("\npages touched, over all values of kind: before ").unwrap();
    assert!(pages.contains(", after ") && pages.ends_with(")\n"), "{printed}");
    assert!(stdout(&run(&["optimize", "packages"])).contains("1 segment became 1"));
    assert!(
        stdout(&run(&["verify", "packages"]))
            .ends_with("; points checked: 150 in segments, 0 in logs; 0 problems\n")
    );
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
