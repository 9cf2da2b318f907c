//! Manifests.

use super::crafted;
use crate::common::collections::{Model, backend, open, quiet};
use crate::family::{
    DIR, contents, family, on_disk, point, problems, put, read_tree, repaired, schema, with,
};
use io_core::testing::SimulatedDisk;
use serde_json::{Value, json};
use std::path::Path;
use vecstore::collection::{Collection, Durability, SearchRequest};
use vecstore::error::Error;

#[test]
fn a_manifest_that_says_the_impossible_is_refused() {
    let family = family();
    let tree = family.tree();
    let top = u64::MAX;
    let segments = |count: u64| {
        let segment = |number| json!({"number": number, "id": format!("{:032x}", number)});
        Value::from((1..=count).map(segment).collect::<Vec<_>>())
    };
    type Craft<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let set =
        |name: &'static str, value: Value| -> Craft<'_> { Box::new(move |all| all[name] = value.clone()) };
    let second = |name: &'static str, value: Value| -> Craft<'_> {
        Box::new(move |all| all["segments"][1][name] = value.clone())
    };
    let cases: Vec<(Craft<'_>, &str)> = vec![
        (set("log_first", json!(top)), "log_first is 18446744073709551615"),
        (set("log_first", json!(top / 2 + 1)), "log_first is 9223372036854775808"),
        (set("log_first", json!(0)), "log_first is 0"),
        (set("seq_first", json!(0)), "seq_first is 0"),
        (set("seq_first", json!(top)), "seq_first is 18446744073709551615"),
        (set("number_next", json!(top)), "number_next is 18446744073709551615"),
        (set("log_first", json!(1000)), "it lists log 3, and calls it done with"),
        (
            Box::new(|all| {
                all["log_first"] = json!(1000);
                all["logs"] = json!([]);
            }),
            "calls log 3 done with",
        ),
        (Box::new(|all| all["logs"].as_array_mut().unwrap().reverse()), "out of order"),
        (Box::new(|all| all["logs"][1] = all["logs"][0].clone()), "out of order"),
        (Box::new(|all| all["logs"][1]["number"] = json!(top)), "no log has a number above"),
        (Box::new(|all| all["logs"][1]["salt"] = json!(1)), "log-000004.wal is log 4 of collection"),
        (set("logs", json!([])), "no log with writes in it"),
        (second("number", json!(1)), "segment 1 twice"),
        (Box::new(|all| all["segments"][1] = all["segments"][0].clone()), "segment 1 twice"),
        (Box::new(|all| all["segments"][1]["id"] = all["segments"][0]["id"].clone()), "of another one"),
        (
            Box::new(|all| all["segments"][1]["deleted"] = all["segments"][0]["deleted"].clone()),
            "for two segments",
        ),
        (second("number", json!(70)), "of number 70, and number_next"),
        (Box::new(|all| all["segments"][0]["deleted"] = json!(70)), "of number 70, and number_next"),
        (Box::new(|all| _ = all["segments"][0].as_object_mut().unwrap().remove("deleted")), "only a salt"),
        (
            Box::new(|all| _ = all["segments"][0].as_object_mut().unwrap().remove("deleted_salt")),
            "without a salt",
        ),
        (Box::new(|all| _ = all["segments"][0].as_object_mut().unwrap().remove("id")), "an old version"),
        (Box::new(|all| _ = all.as_object_mut().unwrap().remove("id")), "as it must not be"),
        (set("version", json!(2)), "as it must not be"),
        (set("id", json!("00000000000000000000000000000000")), "is no id"),
        (
            set("id", json!("11111111111111111111111111111111")),
            "of collection 11111111111111111111111111111111",
        ),
        (
            Box::new(|all| {
                all["number_next"] = json!(100_001);
                all["segments"] = segments(100_000);
            }),
            "it lists 100000 segments; 4096 are the most",
        ),
    ];
    for (craft, reason) in cases {
        let disk = on_disk(&with(tree, Path::new("MANIFEST"), &crafted(tree, "MANIFEST", craft)));
        let before = (disk.operations(), read_tree(&disk, Path::new(DIR)));
        let error = open(&disk, DIR).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
        // Opening did not look for every listed file, and removed none.
        assert!(disk.operations() - before.0 < 1000, "{reason}: {} operations", disk.operations() - before.0);
        assert_eq!(read_tree(&disk, Path::new(DIR)), before.1, "{reason}");
        let found: Vec<String> = problems(&disk).iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|found| found.contains(reason)), "{reason}: {found:?}");
        let (report, repaired) = repaired(&disk);
        let known = family.ours.0.iter().flat_map(|(_, model)| model.values()).collect::<Vec<_>>();
        assert!(repaired.values().all(|point| known.contains(&point)), "{reason}: {report:?}");
        // Losses and doubts are reported.
        let is_said = (report.more_lost || report.points_lost > 0) && !report.notes.is_empty();
        assert!(repaired == family.ours.last().1 || is_said, "{reason}: {report:?}");
    }
}

/// If its numbers are used up, a collection refuses what it could not keep, and says why.
#[test]
fn used_up_numbers_are_told_before_anything_is_acknowledged() {
    let disk = SimulatedDisk::new(1);
    let collection = Collection::create(&backend(&disk), Path::new(DIR), &schema(), &quiet()).unwrap();
    let mut kept = Model::new();
    put(&collection, &mut kept, 0..20, 0);
    collection.optimize(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let tree = read_tree(&disk, Path::new(DIR));
    let last = u64::MAX / 2;
    let told = |error: &Error| {
        error.to_string().contains("no numbers left") && error.to_string().contains("`repair`")
    };
    for (name, left) in [
        ("seq_first", 0),
        ("seq_first", 2),
        ("log_first", 0),
        ("log_first", 1),
        ("number_next", 0),
        ("number_next", 1),
    ] {
        let manifest = crafted(&tree, "MANIFEST", |all| all[name] = json!(last - left));
        let disk = on_disk(&with(&tree, Path::new("MANIFEST"), &manifest));
        let mut model = kept.clone();
        let mut refused = 0;
        for round in 0..4 {
            let collection =
                open(&disk, DIR).unwrap_or_else(|error| panic!("{name}, {left}, {round}: {error}"));
            let new = point(100 + round, 1);
            match collection.upsert(vec![new.clone()], Durability::Synced).wait() {
                Ok(_) => _ = model.insert(new.id, new),
                Err(error) => {
                    assert!(told(&error), "{name}, {left}: {error}");
                    refused += 1;
                }
            }
            match collection.optimize(|_| {}).wait() {
                Ok(_) => {}
                Err(error) => {
                    assert!(told(&error), "{name}, {left}: {error}");
                    refused += 1;
                }
            }
            assert_eq!(contents(&collection).unwrap(), model, "{name}, {left}");
            collection.close().unwrap();
            assert!(problems(&disk).is_empty(), "{name}, {left}");
        }
        assert!(refused > 0, "{name}, {left}");
        // In a new collection, numbers start from the beginning.
        assert_eq!(repaired(&disk).1, model, "{name}, {left}");
    }
}

/// Two segments with the same points give an error wherever it shows, and no panic.
#[test]
fn segments_that_overlap_are_an_error() {
    let family = family();
    let mut tree = family.ours.0[2].0.clone();
    // Without its file of deleted points, the first segment still has the points that the second one
    // replaced.
    let manifest = crafted(&tree, "MANIFEST", |all| {
        let segment = all["segments"][0].as_object_mut().unwrap();
        segment.remove("deleted");
        segment.remove("deleted_salt");
    });
    tree.insert("MANIFEST".into(), manifest);
    tree.retain(|path, _| !path.to_str().unwrap().contains("deleted-"));
    let disk = on_disk(&tree);
    let found: Vec<String> = problems(&disk).iter().map(ToString::to_string).collect();
    assert!(found.len() == 1 && found[0].contains("is also in segment 1"), "{found:?}");
    let collection = open(&disk, DIR).unwrap();
    let overlap = |error: Error| assert!(matches!(error, Error::Overlap { .. }), "{error}");
    overlap(collection.optimize(|_| {}).wait().unwrap_err());
    overlap(contents(&collection).unwrap_err());
    let request = SearchRequest { limit: 100, ..SearchRequest::new(vec![1.0, 55.0, 3.0]) };
    overlap(collection.search(request).wait().unwrap_err());
    collection.close().unwrap();
    let (_, found) = repaired(&disk);
    assert!(
        found.values().all(|found| family
            .ours
            .0
            .iter()
            .any(|(_, model)| model.get(&found.id) == Some(found)))
    );
}
