//! Pages, files, segments, logs and manifests in wrong places. They come from a sister collection made by the
//! same calls, from another segment, from a copy with its own history, or from an earlier time. Each is sound
//! by itself, and each is found. Then crafted manifests and files: their checksums are right, and their
//! content is impossible.

use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, StopFlag};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use vecstore::collection::{
    Collection, CollectionOptions, Durability, RecordParts, RepairReport, ScrollRequest, SearchParams,
    SearchRequest, Selection,
};
use vecstore::error::{Error, FormatError};
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::Quantization;
use vecstore::schema::Schema;

const DIR: &str = "/c";
/// Bytes of a page, and of a sector of a log.
const PAGE: usize = 4096;
const SECTOR: usize = 512;

type Model = BTreeMap<PointId, Point>;
/// The files of a collection, by their relative paths.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, reads_per_core: 1, background: false, ..CollectionOptions::default() }
}

fn backend(disk: &SimulatedDisk) -> DynBackend {
    DynBackend::new(disk.clone())
}

fn open(disk: &SimulatedDisk, dir: &str) -> Result<Collection, Error> {
    Collection::open(&backend(disk), Path::new(dir), &options())
}

/// A trained codec, so that the segment has its file.
fn schema() -> Schema {
    let schema = Schema { quantization: Quantization::Rotated2, ..Schema::new(3) };
    schema.tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer)
}

/// Points of different collections with one id have equal lengths, and different vectors and payloads.
fn point(id: u64, shift: u64) -> Point {
    let text = char::from(b'a' + shift as u8).to_string().repeat(200);
    let payload = json!({"t": format!("t{}", (id + shift) % 4), "n": id * 10 + shift, "text": text});
    let vector = vec![1.0, id as f32, 3.0 + shift as f32];
    let own = if id.is_multiple_of(5) { PointId::Uuid(u128::from(id)) } else { PointId::Num(id) };
    Point { id: own, ..Point::new(0, vector) }.with_payload(payload)
}

fn read_tree(disk: &SimulatedDisk, dir: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        for entry in disk.list(&dir.join(&below)).unwrap() {
            let path = below.join(entry.name);
            if entry.is_dir {
                waiting.push(path);
            } else if !path.ends_with("LOCK") {
                tree.insert(path.clone(), disk.read(&dir.join(path)).unwrap());
            }
        }
    }
    tree
}

fn on_disk(tree: &Tree) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let dir = Path::new(DIR);
    disk.create_dir(dir).unwrap();
    let dirs: BTreeSet<&Path> = tree.keys().filter_map(|path| path.parent()).collect();
    for below in dirs.into_iter().filter(|below| *below != Path::new("")) {
        disk.create_dir(&dir.join(below)).unwrap();
    }
    for (path, bytes) in tree {
        disk.write(&dir.join(path), bytes).unwrap();
    }
    disk
}

/// The content of a collection, read in several ways that must agree.
fn contents(collection: &Collection) -> Result<Model, Error> {
    let request = ScrollRequest { limit: 10_000, with: RecordParts::ALL, ..ScrollRequest::default() };
    let point = |record: vecstore::collection::Record| Point {
        id: record.id,
        vector: record.vector.unwrap(),
        payload: record.payload.unwrap(),
    };
    let model: Model =
        collection.scroll(request).wait()?.records.into_iter().map(point).map(|p| (p.id, p)).collect();
    assert_eq!(collection.count(None).wait()?, model.len() as u64);
    let by_field =
        ScrollRequest { limit: 10_000, order_by: Some("n".to_owned()), ..ScrollRequest::default() };
    let in_order: Vec<PointId> =
        collection.scroll(by_field).wait()?.records.into_iter().map(|record| record.id).collect();
    let mut expected: Vec<&Point> = model.values().filter(|point| point.payload.contains_key("n")).collect();
    expected.sort_by_key(|point| (point.payload["n"].as_u64(), point.id));
    assert_eq!(in_order, expected.into_iter().map(|point| point.id).collect::<Vec<_>>());
    let retrieved = collection.retrieve(model.keys().copied().collect(), RecordParts::NOTHING).wait()?;
    assert_eq!(retrieved.records.len(), model.len());
    let params = SearchParams { exact: true, ..SearchParams::default() };
    for point in model.values().step_by(29) {
        let request = SearchRequest { limit: 1, params, ..SearchRequest::new(point.vector.clone()) };
        collection.search(request).wait()?;
    }
    Ok(model)
}

fn read(disk: &SimulatedDisk) -> Result<Model, Error> {
    contents(&open(disk, DIR)?)
}

fn problems(disk: &SimulatedDisk) -> Vec<Error> {
    Collection::verify(&backend(disk), Path::new(DIR), &StopFlag::new()).unwrap().problems
}

/// The states of a collection, each as files and points.
#[derive(Default)]
struct History(Vec<(Tree, Model)>);

impl History {
    fn push(&mut self, disk: &SimulatedDisk, dir: &str, model: &Model) {
        self.0.push((read_tree(disk, Path::new(dir)), model.clone()));
    }

    fn last(&self) -> &(Tree, Model) {
        self.0.last().unwrap()
    }
}

fn put(collection: &Collection, model: &mut Model, ids: impl Iterator<Item = u64>, shift: u64) {
    let points: Vec<Point> = ids.map(|id| point(id, shift)).collect();
    model.extend(points.iter().map(|point| (point.id, point.clone())));
    collection.upsert(points, Durability::Synced).wait().unwrap();
}

/// Creates a collection with one segment.
fn begun(disk: &SimulatedDisk, shift: u64) -> (Collection, Model) {
    let collection = Collection::create(&backend(disk), Path::new(DIR), &schema(), &options()).unwrap();
    let mut model = Model::new();
    put(&collection, &mut model, 0..60, shift);
    collection.optimize(|_| {}).wait().unwrap();
    (collection, model)
}

/// Continues with deleted points, a second segment, and two logs.
fn gone_on(disk: &SimulatedDisk, dir: &str, collection: Collection, mut model: Model, shift: u64) -> History {
    let mut history = History::default();
    history.push(disk, dir, &model);
    let gone: Vec<PointId> = (0..6).map(|id| point(id, shift).id).collect();
    model.retain(|id, _| !gone.contains(id));
    collection.delete(Selection::Ids(gone), Durability::Synced).wait().unwrap();
    put(&collection, &mut model, 50..90, shift);
    collection.close().unwrap();
    history.push(disk, dir, &model);
    let collection = open(disk, dir).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    history.push(disk, dir, &model);
    put(&collection, &mut model, 100..101, shift);
    for id in 80..95 {
        put(&collection, &mut model, id..id + 1, shift + 1);
    }
    collection.close().unwrap();
    history.push(disk, dir, &model);
    let collection = open(disk, dir).unwrap();
    for id in 40..55 {
        put(&collection, &mut model, id..id + 1, shift + 1);
        if id == 47 {
            history.push(disk, dir, &model);
        }
    }
    collection.close().unwrap();
    history.push(disk, dir, &model);
    history
}

/// A collection, and others whose parts are put into its place.
struct Family {
    ours: History,
    sister: History,
    /// A snapshot from the time of the first segment, restored and then changed.
    copy: History,
}

fn family() -> Family {
    let disk = SimulatedDisk::new(1);
    let (collection, model) = begun(&disk, 0);
    collection.snapshot(Path::new("/snapshot")).wait().unwrap();
    Collection::restore(&backend(&disk), Path::new("/snapshot"), Path::new("/copy"), &StopFlag::new())
        .unwrap();
    let ours = gone_on(&disk, DIR, collection, model.clone(), 0);
    let copy = gone_on(&disk, "/copy", open(&disk, "/copy").unwrap(), model, 7);
    let disk = SimulatedDisk::new(1);
    let (collection, model) = begun(&disk, 3);
    let sister = gone_on(&disk, DIR, collection, model, 3);
    let names = |history: &History| history.last().0.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&sister));
    assert_eq!(names(&ours), names(&copy));
    assert_eq!(ours.last().0.len(), 20, "{:?}", names(&ours));
    assert!(problems(&on_disk(&ours.last().0)).is_empty());
    assert_eq!(read(&on_disk(&ours.last().0)).unwrap(), ours.last().1);
    Family { ours, sister, copy }
}

impl Family {
    fn tree(&self) -> &Tree {
        &self.ours.last().0
    }

    /// Trees to take parts from, with their names.
    fn donors(&self) -> Vec<(String, Tree)> {
        let mut donors = vec![
            ("sister".to_owned(), self.sister.last().0.clone()),
            ("copy".to_owned(), self.copy.last().0.clone()),
        ];
        let (_, older) = self.ours.0.split_last().unwrap();
        donors.extend(
            older.iter().enumerate().map(|(index, (tree, _))| (format!("older {index}"), tree.clone())),
        );
        // The two segments in each other's place.
        let swapped = |path: &Path| {
            let name = path.to_str().unwrap();
            let other =
                |from: &str, to: &str| Some(PathBuf::from(format!("{to}{}", name.strip_prefix(from)?)));
            other("segment-000001", "segment-000002").or_else(|| other("segment-000002", "segment-000001"))
        };
        let own = self.tree().iter().filter_map(|(path, bytes)| Some((swapped(path)?, bytes.clone())));
        donors.push(("the other segment".to_owned(), own.collect()));
        donors
    }

    /// Checks that the mixture is noticed and gives no wrong answer. A replaced end of the last log looks
    /// like a write in progress, so opening may cut it off.
    fn check(&self, tree: &Tree, is_end_of_log: bool, context: &str) -> Vec<Error> {
        let disk = on_disk(tree);
        let found = problems(&disk);
        assert!(!found.is_empty(), "{context}: not found");
        if let Ok(found) = read(&disk) {
            let (states, expected) = (&self.ours.0, &self.ours.last().1);
            let is_shorter = is_end_of_log
                && found
                    .iter()
                    .all(|(id, point)| expected.get(id) == Some(point) || states[3].1.get(id) == Some(point));
            assert!(found == *expected || is_shorter, "{context}: wrong data");
        }
        found
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}

/// Fails unless the finding says that the file is another one, and which.
fn assert_misplaced(found: &[Error], path: &Path, context: &str) {
    let path = Path::new(DIR).join(path);
    let is_named = |error: &Error| matches!(error, Error::Format(FormatError::Misplaced { path: wrong, .. }) if *wrong == path);
    assert!(found.iter().any(is_named), "{context}: {found:?}");
}

#[test]
fn a_page_of_another_file_is_found() {
    let family = family();
    let mut cases = 0;
    for (name, donor) in family.donors() {
        for (path, own) in family.tree() {
            let Some(other) = donor.get(path) else { continue };
            let block = if is_log(path) { SECTOR } else { PAGE };
            let last_log = path == Path::new("log-000004.wal");
            for start in (0..own.len().min(other.len())).step_by(block) {
                let (own_end, other_end) = ((start + block).min(own.len()), (start + block).min(other.len()));
                if own[start..own_end] == other[start..other_end] {
                    continue;
                }
                let mixed = [&own[..start], &other[start..other_end], &own[own_end..]].concat();
                let tree = with(family.tree(), path, &mixed);
                let context = format!("block at {start} of {} from {name}", path.display());
                family.check(&tree, last_log, &context);
                cases += 1;
            }
        }
    }
    assert!(cases > 250, "{cases}");
}

fn with(tree: &Tree, path: &Path, bytes: &[u8]) -> Tree {
    let mut tree = tree.clone();
    tree.insert(path.to_owned(), bytes.to_vec());
    tree
}

#[test]
fn a_file_or_two_of_another_collection_are_found() {
    let family = family();
    let mut cases = 0;
    for (name, donor) in family.donors() {
        let differs = |path: &&PathBuf| donor.get(*path).is_some_and(|other| *other != family.tree()[*path]);
        let paths: Vec<&PathBuf> = family.tree().keys().filter(differs).collect();
        for (index, first) in paths.iter().enumerate() {
            for second in &paths[..=index] {
                if first.parent() != second.parent() || name.starts_with("older") && is_log(first) {
                    continue;
                }
                let mut tree = family.tree().clone();
                for path in [first, second] {
                    tree.insert(path.to_path_buf(), donor[*path].clone());
                }
                let context = format!("{} and {} from {name}", first.display(), second.display());
                let found = family.check(&tree, false, &context);
                if first.parent() != Some(Path::new("")) || is_log(first) && is_log(second) {
                    assert_misplaced(&found, first, &context);
                }
                cases += 1;
            }
        }
    }
    assert!(cases > 150, "{cases}");
}

/// Every file of a segment in the place of every other one of it.
#[test]
fn files_of_a_segment_that_changed_places_are_found() {
    let family = family();
    let own = |path: &&PathBuf| path.starts_with("segment-000001");
    for path in family.tree().keys().filter(own) {
        for other in family.tree().keys().filter(own).filter(|other| *other != path) {
            let tree = with(family.tree(), path, &family.tree()[other]);
            let found = family.check(&tree, false, &format!("{} is {}", path.display(), other.display()));
            let name = Path::new(DIR).join(path).display().to_string();
            assert!(found.iter().any(|error| error.to_string().contains(&name)), "{name}: {found:?}");
        }
    }
}

/// Whole segments, logs and manifests, alone and combined, of another collection and of another time.
#[test]
fn larger_parts_of_another_collection_are_found() {
    let family = family();
    let group = |path: &Path| match path.to_str().unwrap() {
        "MANIFEST" => 0,
        name if name.starts_with("log-") => 1,
        name if name.starts_with("segment-000001") => 2,
        _ => 3,
    };
    let mut cases = 0;
    for (name, donor) in family.donors().into_iter().filter(|(name, _)| name != "the other segment") {
        for groups in 1..15u32 {
            let is_taken = |path: &Path| groups & 1 << group(path) != 0;
            let own = family.tree().iter().filter(|(path, _)| !is_taken(path));
            let tree: Tree = own
                .chain(donor.iter().filter(|(path, _)| is_taken(path)))
                .map(|(path, bytes)| (path.clone(), bytes.clone()))
                .collect();
            // A manifest with the logs that it lists is the collection of its time. Other files may come from
            // an unfinished run.
            if tree == *family.tree() || name.starts_with("older") && groups & 3 == 3 {
                continue;
            }
            // The older copy of the last log has its own test below.
            if name == "older 4" {
                continue;
            }
            family.check(&tree, false, &format!("groups {groups:04b} from {name}"));
            cases += 1;
        }
    }
    assert!(cases > 50, "{cases}");
}

/// Every earlier manifest, when segments hold all writes since.
#[test]
fn an_older_manifest_is_found_and_nothing_is_removed_for_it() {
    let disk = SimulatedDisk::new(1);
    let (collection, model) = begun(&disk, 0);
    let mut manifests = vec![read_tree(&disk, Path::new(DIR))];
    let history = gone_on(&disk, DIR, collection, model, 0);
    manifests.extend(history.0.iter().map(|(tree, _)| tree.clone()));
    let collection = open(&disk, DIR).unwrap();
    collection.seal(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let (tree, manifest) = (read_tree(&disk, Path::new(DIR)), Path::new("MANIFEST"));
    assert_eq!(tree.keys().filter(|path| is_log(path)).count(), 0);
    let mut found = 0;
    for older in manifests.iter().map(|older| &older[manifest]).filter(|older| **older != tree[manifest]) {
        let mixed = with(&tree, manifest, older);
        let disk = on_disk(&mixed);
        assert!(!problems(&disk).is_empty(), "{}", String::from_utf8_lossy(older));
        assert!(read(&disk).is_err());
        assert_eq!(read_tree(&disk, Path::new(DIR)), mixed, "opening removed something");
        // With the right manifest, the collection is complete again.
        disk.write(&Path::new(DIR).join(manifest), &tree[manifest]).unwrap();
        assert_eq!(read(&disk).unwrap(), history.last().1);
        found += 1;
    }
    assert!(found >= 4, "{found}");
}

/// The one undetectable case: an earlier state of the last log, if nothing else was written since.
#[test]
fn an_older_copy_of_the_last_log_is_the_collection_of_that_time() {
    let family = family();
    let log = Path::new("log-000004.wal");
    let (older, expected) = &family.ours.0[4];
    let disk = on_disk(&with(family.tree(), log, &older[log]));
    assert!(problems(&disk).is_empty());
    assert_eq!(read(&disk).unwrap(), *expected);
}

fn repaired(disk: &SimulatedDisk) -> (RepairReport, Model) {
    let target = Path::new("/repaired");
    let report =
        Collection::repair(&backend(disk), Path::new(DIR), target, Some(&schema()), &StopFlag::new())
            .unwrap();
    let verified = Collection::verify(&backend(disk), target, &StopFlag::new()).unwrap();
    assert!(verified.problems.is_empty(), "{:?}", verified.problems);
    (report, contents(&open(disk, "/repaired").unwrap()).unwrap())
}

/// Repair takes nothing from other collections, and reports the resulting loss.
#[test]
fn repair_leaves_out_what_is_of_another_collection() {
    let family = family();
    let expected = &family.ours.last().1;
    for (name, donor) in family.donors().into_iter().filter(|(name, _)| !name.starts_with("older")) {
        for path in family.tree().keys().filter(|path| !path.ends_with("MANIFEST")) {
            let Some(other) = donor.get(path).filter(|other| **other != family.tree()[path]) else {
                continue;
            };
            let (report, found) = repaired(&on_disk(&with(family.tree(), path, other)));
            let context = format!("{} from {name}: {report:?}", path.display());
            let without_payload =
                |id: &PointId| found[id].payload.is_empty() && found[id].vector == expected[id].vector;
            let earlier = |id: &PointId| {
                let states = family.ours.0.iter();
                states.filter_map(|(_, model)| model.get(id)).any(|point| *point == found[id])
            };
            let deleted_is_back =
                |id: &PointId| report.notes.iter().any(|note| note.contains("may be back")) && earlier(id);
            for id in found.keys() {
                let is_right = expected.get(id) == Some(&found[id])
                    || report.writes_lost + u64::from(report.more_lost) > 0 && earlier(id)
                    || deleted_is_back(id)
                    || expected.contains_key(id) && report.payloads_lost > 0 && without_payload(id);
                assert!(is_right, "point {id}: {context}");
            }
            let gone = expected.keys().filter(|id| !found.contains_key(id)).count() as u64;
            assert!(gone <= report.points_lost + report.writes_lost || report.more_lost, "{context}");
            let is_made_anew = ["codes.vec", "codec.pages", "graph.pages", "fields.pages"];
            assert!(
                !report.notes.is_empty() || is_made_anew.iter().any(|name| path.ends_with(name)),
                "{context}"
            );
        }
    }
}

/// Repair can tell the owner of a file without a manifest and without `segment.json`, by the files that
/// belong together.
#[test]
fn repair_without_a_manifest_leaves_out_files_of_another_segment() {
    let family = family();
    let donor = &family.sister.last().0;
    for json in [false, true] {
        for name in ["vectors.vec", "payload.pages"] {
            let path = Path::new("segment-000002").join(name);
            let mut tree = with(family.tree(), &path, &donor[&path]);
            tree.insert("MANIFEST".into(), b"{}".to_vec());
            if json {
                tree.insert("segment-000002/segment.json".into(), b"{}".to_vec());
            }
            let (report, found) = repaired(&on_disk(&tree));
            let wrong = found.values().filter(|point| {
                !family.ours.0.iter().any(|(_, model)| {
                    model.get(&point.id).is_some_and(|own| {
                        own.vector == point.vector
                            && (point.payload.is_empty() || point.payload == own.payload)
                    })
                })
            });
            assert_eq!(wrong.count(), 0, "{name}: {report:?}");
            assert!(report.points_lost + report.payloads_lost > 0, "{name}: {report:?}");
        }
    }
}

/// A JSON file of the collection after a change, with a right checksum.
fn crafted(tree: &Tree, path: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = &tree[Path::new(path)];
    let text = std::str::from_utf8(bytes).unwrap();
    let mut value: Value = serde_json::from_str(text.rsplit_once("\ncrc32 ").unwrap().0).unwrap();
    change(&mut value);
    let text = format!("{value:#}\n");
    format!("{text}crc32 {:08x}\n", crc32fast::hash(text.as_bytes())).into_bytes()
}

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

#[test]
fn a_log_with_writes_and_an_impossible_number_is_refused() {
    let family = family();
    for number in [u64::MAX, u64::MAX / 2 + 1, u64::MAX / 2] {
        let name = format!("log-{number}.wal");
        let tree = with(family.tree(), Path::new(&name), &family.tree()[Path::new("log-000004.wal")]);
        let disk = on_disk(&tree);
        let error = open(&disk, DIR).unwrap_err();
        assert!(matches!(error, Error::Format(FormatError::Misplaced { .. })), "{error}");
        assert_misplaced(&problems(&disk), Path::new(&name), "a log with writes");
        assert!(read_tree(&disk, Path::new(DIR)).contains_key(Path::new(&name)));
        let (_, found) = repaired(&disk);
        assert_eq!(found, family.ours.last().1);
    }
}

/// If its numbers are used up, a collection refuses what it could not keep, and says why.
#[test]
fn used_up_numbers_are_told_before_anything_is_acknowledged() {
    let disk = SimulatedDisk::new(1);
    let collection = Collection::create(&backend(&disk), Path::new(DIR), &schema(), &options()).unwrap();
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

/// The remains of an attempt to begin a log are not in the manifest. Opening for writing removes them.
#[test]
fn a_log_that_was_never_begun_is_removed() {
    let family = family();
    // A log of the same collection, with a salt that the manifest does not list.
    let log = &family.copy.last().0[Path::new("log-000004.wal")];
    let sister = &family.sister.last().0[Path::new("log-000004.wal")];
    // None, a part or all of its header, and room behind it.
    let room = [&log[..64], &[0; 5000]].concat();
    for left in [&log[..0], &log[..30], &log[..64], &sister[..64], &room] {
        let disk = on_disk(&with(family.tree(), Path::new("log-000005.wal"), left));
        let verified = Collection::verify(&backend(&disk), Path::new(DIR), &StopFlag::new()).unwrap();
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        assert!(
            verified.notes.iter().any(|note| note.contains("log-000005.wal: it was created and never begun"))
        );
        let collection = open(&disk, DIR).unwrap();
        assert!(!read_tree(&disk, Path::new(DIR)).contains_key(Path::new("log-000005.wal")));
        let mut model = family.ours.last().1.clone();
        assert_eq!(contents(&collection).unwrap(), model);
        put(&collection, &mut model, 200..201, 0);
        collection.close().unwrap();
        assert_eq!(read(&disk).unwrap(), model);
        let (report, found) = repaired(&disk);
        assert_eq!((found, report.more_lost, report.notes), (model, false, vec![]));
    }
    // With records in it, it is not such a remainder.
    for left in [&log[..], sister] {
        let disk = on_disk(&with(family.tree(), Path::new("log-000005.wal"), left));
        assert_misplaced(&problems(&disk), Path::new("log-000005.wal"), "a log with writes");
        assert!(matches!(open(&disk, DIR).unwrap_err(), Error::Format(FormatError::Misplaced { .. })));
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

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn crc(initial: u32, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new_with_initial(initial);
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}

/// Corrects all checksums of a file for the identity in its header, as FORMAT.md describes. Returns the
/// header's checksum.
fn sealed(bytes: &mut [u8]) -> u32 {
    if bytes.starts_with(b"VECTFILE") {
        let seed = crc32fast::hash(&bytes[56..80]);
        let (count, stride) = (u32_at(bytes, 24) as usize, u32_at(bytes, 32) as usize);
        let (per_block, block) = (u32_at(bytes, 36) as usize, u32_at(bytes, 40) as usize);
        let table = bytes.len() - 4 * count;
        for record in 0..count {
            let at = PAGE + record / per_block * block + record % per_block * stride;
            let crc = crc(seed ^ record as u32, &bytes[at..at + stride]);
            bytes[table + 4 * record..][..4].copy_from_slice(&crc);
        }
        let crc_of_table = crc(seed, &bytes[table..]);
        bytes[44..48].copy_from_slice(&crc_of_table);
        let header = crc(0, &bytes[..80]);
        bytes[80..84].copy_from_slice(&header);
        return u32_at(bytes, 80);
    }
    let seed = crc32fast::hash(&[&bytes[24..48], &bytes[16..20]].concat());
    let mut checksums = Vec::new();
    for (number, page) in bytes.chunks_mut(PAGE).enumerate().skip(1) {
        let crc = crc(seed ^ number as u32, &page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc);
        checksums.extend_from_slice(&crc);
    }
    bytes[48..52].copy_from_slice(&crc(0, &checksums));
    let header = crc(seed, &bytes[..PAGE - 4]);
    bytes[PAGE - 4..PAGE].copy_from_slice(&header);
    u32_at(bytes, PAGE - 4)
}

/// A collection with other bytes in a file of a segment, and with right checksums.
fn forged(tree: &Tree, path: &Path, bytes: &[u8]) -> Tree {
    let mut bytes = bytes.to_vec();
    let header = sealed(&mut bytes);
    let mut tree = with(tree, path, &bytes);
    let json = path.parent().unwrap().join("segment.json");
    let name = path.file_name().unwrap().to_str().unwrap();
    if !name.starts_with("deleted-") {
        let listed = crafted(&tree, json.to_str().unwrap(), |all| all["files"][name] = json!(header));
        tree.insert(json, listed);
    }
    tree
}

#[test]
fn forging_is_done_right() {
    let family = family();
    for path in family.tree().keys().filter(|path| path.starts_with("segment-000001")) {
        if !path.ends_with("segment.json") {
            let bytes = &family.tree()[path];
            assert_eq!(forged(family.tree(), path, bytes)[path], *bytes, "{}", path.display());
        }
    }
}

/// The content of another collection under our identity. Only comparing the files reveals it.
#[test]
fn a_file_of_other_contents_with_the_right_checksums_is_found() {
    let family = family();
    let donor = &family.sister.last().0;
    let cases = [
        ("vectors.vec", "the codes of point 0 are not those of its vector"),
        ("codes.vec", "the codes of point 0 are not those of its vector"),
        ("payload.pages", "the index of field n does not hold the values of the payloads"),
        ("fields.pages", "the index of field n does not hold the values of the payloads"),
    ];
    for (name, reason) in cases {
        let path = Path::new("segment-000001").join(name);
        let mut bytes = donor[&path].clone();
        let identity = if name.ends_with(".vec") { 56..80 } else { 24..48 };
        bytes[identity.clone()].copy_from_slice(&family.tree()[&path][identity]);
        let found = problems(&on_disk(&forged(family.tree(), &path, &bytes)));
        assert!(found.iter().any(|error| error.to_string().contains(reason)), "{name}: {found:?}");
        assert!(found.iter().all(|error| !error.to_string().contains("checksum")), "{name}: {found:?}");
    }
}

/// Any content with right checksums gives an answer or an error, and no panic.
#[test]
fn hostile_contents_with_the_right_checksums_never_panic() {
    let family = family();
    let paths: Vec<&PathBuf> = family
        .tree()
        .keys()
        .filter(|path| path.to_str().unwrap().starts_with("segment-") && !path.ends_with("segment.json"))
        .collect();
    let no_panic = |error: &Error, context: &str| {
        let text = error.to_string();
        assert!(!matches!(error, Error::WorkerLost | Error::Panicked { .. }), "{context}: {text}");
    };
    let (mut refused, mut answered) = (0, 0);
    for seed in 0..150 {
        let mut random = fastrand::Rng::with_seed(seed);
        let path = paths[random.usize(..paths.len())];
        let mut bytes = family.tree()[path].clone();
        // Changes all bytes but those that identify the file and tell its length.
        let first = if path.extension().unwrap() == "vec" {
            PAGE
        } else {
            PAGE * random.usize(1..bytes.len() / PAGE)
        };
        let is_dense = random.bool();
        for _ in 0..random.usize(1..8) {
            let at = first + random.usize(..(bytes.len() - first).min(if is_dense { 60 } else { PAGE - 4 }));
            let any = random.u8(..);
            bytes[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, any]).unwrap();
        }
        let context = format!("seed {seed}, {}", path.display());
        let disk = on_disk(&forged(family.tree(), path, &bytes));
        for problem in problems(&disk) {
            no_panic(&problem, &context);
        }
        let used = || {
            let collection = open(&disk, DIR)?;
            let request = ScrollRequest { limit: 1000, with: RecordParts::ALL, ..ScrollRequest::default() };
            collection.scroll(request.clone()).wait()?;
            collection.scroll(ScrollRequest { order_by: Some("n".to_owned()), ..request }).wait()?;
            collection.search(SearchRequest::new(vec![1.0, 30.0, 3.0])).wait()?;
            collection.facet("t".to_owned(), None, 10).wait()?;
            collection.optimize(|_| {}).wait()?;
            collection.close()
        };
        match used() {
            Ok(()) => answered += 1,
            Err(error) => {
                no_panic(&error, &context);
                refused += 1;
            }
        }
        let repaired =
            Collection::repair(&backend(&disk), Path::new(DIR), Path::new("/r"), None, &StopFlag::new());
        if let Err(error) = repaired {
            no_panic(&error, &context);
        }
    }
    assert!(refused > 20 && answered > 20, "{refused} {answered}");
}

/// The offset and the length of a section in a file of pages.
fn section(bytes: &[u8], section: usize) -> (usize, usize) {
    let at = 56 + section * 16;
    (u32_at(bytes, at) as usize * PAGE, u32_at(bytes, at + 8) as usize)
}

/// Replaces a section that is, and stays, shorter than a page.
fn set_section(bytes: &mut [u8], number: usize, content: &[u8]) {
    let (start, _) = section(bytes, number);
    bytes[start..start + PAGE - 4].fill(0);
    bytes[start..start + content.len()].copy_from_slice(content);
    bytes[56 + number * 16 + 8..][..8].copy_from_slice(&(content.len() as u64).to_le_bytes());
}

/// The faults of a collection. Opening it or using its indexes must also be an error.
fn refused(tree: &Tree, use_indexes: impl Fn(&Collection) -> Vec<Error>) -> Vec<String> {
    let disk = on_disk(tree);
    let errors = match open(&disk, DIR) {
        Ok(collection) => use_indexes(&collection),
        Err(error) => vec![error],
    };
    for error in &errors {
        assert!(matches!(error, Error::Format(FormatError::Damaged { .. })), "{error}");
    }
    problems(&disk).iter().map(ToString::to_string).collect()
}

/// Postings of a term that name a missing point.
#[test]
fn an_index_of_points_that_are_not_there_is_an_error() {
    let family = family();
    let path = Path::new("segment-000001/fields.pages");
    let mut bytes = family.tree()[path].clone();
    // The fields are n and t, so t has sections 4 to 7. The first of its four terms has 15 points.
    let (postings, _) = section(&bytes, 7);
    bytes[postings + 14] = 0x7F;
    let tree = forged(family.tree(), path, &bytes);
    let found = refused(&tree, |collection| {
        let filter = Some(vecstore::filter::Filter::must(vecstore::filter::Condition::matches("t", "t0")));
        let search = SearchRequest { filter: filter.clone(), ..SearchRequest::new(vec![1.0, 30.0, 3.0]) };
        let scroll = ScrollRequest { filter: filter.clone(), ..ScrollRequest::default() };
        vec![
            collection.search(search).wait().unwrap_err(),
            collection.scroll(scroll).wait().unwrap_err(),
            collection.count(filter).wait().unwrap_err(),
            collection.facet("t".to_owned(), None, 10).wait().unwrap_err(),
        ]
    });
    assert!(found.len() == 1 && found[0].contains("the postings of a term are none"), "{found:?}");
}

/// Files with too few sections, at any placement.
#[test]
fn a_missing_section_is_an_error() {
    let family = family();
    let all = ["vectors", "codes", "graph", "payload", "ids", "indexes"];
    for placement in ["cold", "cached", "pinned"] {
        let placed = crafted(family.tree(), "MANIFEST", |manifest| {
            manifest["schema"]["placement"] = all.iter().map(|part| (*part, placement)).collect();
        });
        let tree = with(family.tree(), Path::new("MANIFEST"), &placed);
        assert_eq!(read(&on_disk(&tree)).unwrap(), family.ours.last().1);
        for name in ["graph.pages", "ids.pages", "payload.pages", "fields.pages", "codec.pages"] {
            let path = Path::new("segment-000001").join(name);
            let sections = u32_at(&tree[&path], 20);
            for left in 0..sections {
                let mut bytes = tree[&path].clone();
                let end = section(&bytes, left as usize).0;
                bytes.truncate(end);
                bytes[20..24].copy_from_slice(&left.to_le_bytes());
                bytes[56 + left as usize * 16..PAGE - 4].fill(0);
                let found = refused(&forged(&tree, &path, &bytes), |collection| {
                    panic!("{name} with {left} sections, {placement}: opened: {:?}", contents(collection))
                });
                assert!(found.iter().any(|found| found.contains(name)), "{name}: {found:?}");
            }
        }
    }
}

/// Bytes behind the postings. If ignored, some deleted points would be back.
#[test]
fn postings_that_go_on_behind_their_count_are_an_error() {
    let family = family();
    let path = family.tree().keys().find(|path| path.to_str().unwrap().contains("1/deleted-")).unwrap();
    let mut bytes = family.tree()[path].clone();
    let (meta, _) = section(&bytes, 0);
    let count = u32_at(&bytes, meta + 8);
    assert!(count > 1);
    bytes[meta + 8..meta + 12].copy_from_slice(&(count - 1).to_le_bytes());
    let found = refused(&forged(family.tree(), path, &bytes), |_| panic!("opened"));
    assert!(found.len() == 1 && found[0].contains("its postings are none"), "{found:?}");
}

/// Indexes that hold all values but do not find them.
#[test]
fn an_index_in_the_wrong_order_or_without_points_is_found() {
    let disk = SimulatedDisk::new(1);
    let collection = Collection::create(&backend(&disk), Path::new(DIR), &schema(), &options()).unwrap();
    // Points with one number are in the order of their ids. A few points have no number.
    let numbered = |id: u64| match id % 10 {
        9 => Point::new(id, vec![1.0, id as f32, 2.0]).with_payload(json!({"t": format!("t{}", id % 4)})),
        _ => Point::new(id, vec![1.0, id as f32, 2.0])
            .with_payload(json!({"t": format!("t{}", id % 4), "n": id / 20})),
    };
    collection.upsert((0..60).map(numbered).collect(), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    collection.close().unwrap();
    let tree = read_tree(&disk, Path::new(DIR));
    assert!(problems(&on_disk(&tree)).is_empty());
    let path = Path::new("segment-000001/fields.pages");
    let whole = &tree[path];
    let content = |number: usize| {
        let (start, len) = section(whole, number);
        whole[start..start + len].to_vec()
    };
    // An entry has 12 bytes, and each number has 18. Terms of 22 bytes follow the 8 of the group's header.
    let (numbers, group) = (content(2), content(6));
    assert_eq!((numbers.len(), group.len()), (54 * 12, 8 + 4 * 22));
    let swapped = |entries: [usize; 2]| {
        let mut swapped: Vec<&[u8]> = numbers.chunks(12).collect();
        swapped.swap(entries[0], entries[1]);
        swapped.concat()
    };
    let groups = |groups: &[&[usize]]| -> Vec<u8> {
        let mut all = Vec::new();
        for terms in groups {
            all.extend((8 + terms.len() as u32 * 22).to_le_bytes());
            all.extend((terms.len() as u32).to_le_bytes());
            terms.iter().for_each(|term| all.extend_from_slice(&group[8 + term * 22..][..22]));
        }
        all
    };
    assert_eq!(groups(&[&[0, 1, 2, 3]]), group);
    let present: Vec<u32> = content(1).iter().map(|&delta| u32::from(delta)).collect();
    assert_eq!(present.len(), 54);
    let mut fewer = content(0);
    fewer[16..24].copy_from_slice(&10u64.to_le_bytes());
    let cases = [
        ("numbers in the wrong order", vec![(2, swapped([10, 30]))]),
        ("points of a number in the wrong order", vec![(2, swapped([20, 21]))]),
        ("terms in the wrong order", vec![(6, groups(&[&[1, 0, 2, 3]]))]),
        ("a term in the wrong group", vec![(6, groups(&[&[0, 3], &[1, 2]]))]),
        ("groups in the wrong order", vec![(6, groups(&[&[2, 3], &[0, 1]]))]),
        ("too few points with a value", vec![(0, fewer), (1, content(1)[..10].to_vec())]),
    ];
    for (what, sections) in cases {
        let mut bytes = whole.clone();
        for (number, content) in &sections {
            set_section(&mut bytes, *number, content);
        }
        let found = problems(&on_disk(&forged(&tree, path, &bytes)));
        let is_told = found.len() == 1 && found[0].to_string().contains("index of field");
        assert!(is_told, "{what}: {found:?}");
    }
}

/// Corrects the checksums of a log's records.
fn sealed_log(log: &mut [u8]) {
    let salt: [u8; 8] = log[16..24].try_into().unwrap();
    let (mut at, mut previous) = (64, u32_at(log, 60).to_le_bytes());
    while at + 32 <= log.len() && u32_at(log, at + 24) != 0 {
        let end = at + 32 + u32_at(log, at) as usize;
        log[at + 28..at + 32].copy_from_slice(&previous);
        let mut hashed = log[at..end].to_vec();
        hashed[4..8].copy_from_slice(&salt[4..]);
        previous = crc(u32_at(&salt, 0), &hashed);
        log[at + 4..at + 8].copy_from_slice(&previous);
        at = end;
    }
}

/// Records with right checksums and impossible points. `verify` finds what opening refuses.
#[test]
fn a_log_with_impossible_points_is_found() {
    let family = family();
    let path = Path::new("log-000004.wal");
    let whole = &family.tree()[path];
    let mut again = whole.clone();
    sealed_log(&mut again);
    assert_eq!(again, *whole);
    let payload = whole.windows(2).position(|bytes| bytes == b"{\"").unwrap();
    let payload_len = u32_at(whole, payload - 4) as usize;
    let text = std::str::from_utf8(&whole[payload..payload + payload_len]).unwrap();
    let swapped = text.replace("\"n\"", "\"?\"").replace("\"t\"", "\"n\"").replace("\"?\"", "\"t\"");
    let no_json = text.replace('{', "[");
    let not_a_number = [text.as_bytes(), &1f32.to_le_bytes(), &f32::NAN.to_le_bytes()].concat();
    let infinite = [text.as_bytes(), &f32::NEG_INFINITY.to_le_bytes()].concat();
    let cases = [
        (swapped.as_bytes(), "in field n, which is indexed as integer"),
        (no_json.as_bytes(), "its payload is no JSON object"),
        (&not_a_number[..], "component 1 is NaN"),
        (&infinite[..], "component 0 is -inf"),
    ];
    for (record, reason) in cases {
        let mut log = whole.clone();
        log[payload..payload + record.len()].copy_from_slice(record);
        sealed_log(&mut log);
        let disk = on_disk(&with(family.tree(), path, &log));
        let found = problems(&disk);
        let error = open(&disk, DIR).map(drop).unwrap_err().to_string();
        assert!(error.contains("log-000004.wal") && error.contains(reason), "{reason}: {error}");
        assert!(found.len() == 1 && found[0].to_string() == error, "{reason}: {found:?}");
    }
}

/// Vectors that are not finite, and their codes.
#[test]
fn a_vector_that_is_not_finite_is_found() {
    let family = family();
    let path = Path::new("segment-000001/vectors.vec");
    let mut bytes = family.tree()[path].clone();
    bytes[PAGE..PAGE + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let found = problems(&on_disk(&forged(family.tree(), path, &bytes)));
    let is_told = |error: &Error| error.to_string().contains("the vector of point 0 is not finite");
    assert!(found.iter().any(is_told), "{found:?}");
}
