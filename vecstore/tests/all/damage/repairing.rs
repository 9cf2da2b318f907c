//! Repair saves what is not damaged, and says what is lost.

use super::{file, garble, lost, repair, repair_garbled, repair_with, with_file};
use crate::common::collections::{Model, backend, quiet};
use crate::samples::{DIR, contents, files, large_sample, opened_contents, point, sample};
use io_core::testing::SimulatedDisk;
use io_core::{Directory, LockKind, StopFlag};
use std::path::Path;
use vecstore::collection::{Collection, Durability};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};

#[test]
fn repair_of_a_sound_collection_loses_nothing_and_says_nothing() {
    let disk = SimulatedDisk::new(5);
    let expected = large_sample(&disk);
    let (report, found) = repair(&disk);
    assert_eq!((lost(&report), report.more_lost, &report.notes[..]), ((0, 0, 0), false, &[][..]));
    assert_eq!(found, expected);
}

/// A flip anywhere loses nothing. The notes only say that it was put back. Parts that repair rebuilds are not
/// read.
#[test]
fn a_flipped_bit_loses_nothing() {
    let disk = SimulatedDisk::new(12);
    let expected = large_sample(&disk);
    for path in files(&disk, Path::new(DIR)) {
        let whole = disk.read(&path).unwrap();
        // Headers and small files are tested more densely.
        let (small, bits) = (whole.len().min(100) * 8, whole.len() * 8);
        for bit in (0..small).step_by(23).chain((small..bits).step_by(bits / 37 + 1)) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (report, found) = repair(&with_file(&disk, &path, &flipped));
            let context = format!("bit {bit} of {}: {report:?}", path.display());
            assert!(found == expected, "{context}");
            assert_eq!((lost(&report), report.more_lost), ((0, 0, 0), false), "{context}");
            assert!(report.notes.iter().all(|note| note.contains("put back")), "{context}");
        }
    }
}

/// 1200 points with number ids, in one segment.
fn numbers(disk: &SimulatedDisk) -> Model {
    let collection =
        Collection::create(&backend(disk), Path::new(DIR), &crate::new_schema(3), &quiet()).unwrap();
    let points = (0..1200).map(|id| Point { id: PointId::Num(id), ..point(id) }).collect();
    collection.upsert(points, Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    let all = contents(&collection);
    collection.close().unwrap();
    all
}

#[test]
fn a_cut_file_loses_only_what_was_behind_the_cut() {
    const PAGE: usize = 4096;
    let disk = SimulatedDisk::new(13);
    let expected = numbers(&disk);
    for path in files(&disk, Path::new(DIR)) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let whole = disk.read(&path).unwrap();
        let step = if name.ends_with(".pages") { PAGE / 2 } else { whole.len() / 13 + 1 };
        for len in (0..whole.len()).step_by(step).chain([whole.len().saturating_sub(1)]) {
            let (report, found) = repair(&with_file(&disk, &path, &whole[..len]));
            let context = format!("{name} of {len} bytes: {report:?}");
            let points_lost = match &*name {
                // Records have 12 bytes, so a page has 341.
                "vectors.vec" => {
                    let (pages, rest) = (len.saturating_sub(PAGE) / PAGE, len.saturating_sub(PAGE) % PAGE);
                    1200 - (pages * 341 + (rest / 12).min(341)).min(1200)
                }
                // The table by point begins on the third page, with 511 ids a page.
                "ids.pages" => 1200 - ((len / PAGE).saturating_sub(2) * 511).min(1200),
                _ => 0,
            };
            // The last page has the offsets of payloads. Payloads can be found without it, but only if all
            // other pages are there.
            let payloads_lost =
                if name == "payload.pages" && len < whole.len() / PAGE * PAGE - PAGE { 1200 } else { 0 };
            assert_eq!(lost(&report), (points_lost as u64, payloads_lost, 0), "{context}");
            assert_eq!(found.len(), 1200 - points_lost, "{context}");
            let other = found.iter().filter(|(id, point)| expected[id] != **point);
            assert_eq!(other.count() as u64, payloads_lost, "{context}");
            let unnoted = ["codes.vec", "fields.pages", "LOCK"].contains(&&*name)
                || crate::index_files().contains(&&*name);
            assert_eq!(report.notes.is_empty(), unnoted, "{context}");
        }
        let longer = [&whole[..], &[7; 5000]].concat();
        let (report, found) = repair(&with_file(&disk, &path, &longer));
        assert!(found == expected && lost(&report) == (0, 0, 0), "{name}: {report:?}");
    }
}

#[test]
fn ids_are_saved_from_wherever_they_are() {
    const PAGE: usize = 4096;
    let disk = SimulatedDisk::new(14);
    let expected = numbers(&disk);
    // Pages: header and numbers; 3 by point; 4 in order; the hash; 4 by slot; then pages of no UUIDs.
    let (table, sorted, slots) = (2 * PAGE..5 * PAGE, 5 * PAGE..9 * PAGE, 10 * PAGE..14 * PAGE);
    for ranges in [&[table.clone()][..], &[table.clone(), sorted.clone()], &[table, slots.clone()]] {
        let (report, found) = repair_garbled(&disk, "ids.pages", ranges.to_vec());
        assert_eq!((lost(&report), found == expected), ((0, 0, 0), true), "{ranges:?}: {report:?}");
    }
    let (report, found) = repair_garbled(&disk, "ids.pages", [2 * PAGE..3 * PAGE, sorted, slots]);
    assert_eq!((lost(&report), found.len()), ((511, 0, 0), 689), "{report:?}");
    assert!(found.iter().all(|(id, point)| expected[id] == *point));
}

#[test]
fn headers_are_made_anew_and_what_files_held_is_counted() {
    let disk = SimulatedDisk::new(15);
    let expected = large_sample(&disk);
    let (report, found) = repair_garbled(&disk, "segment-000001/vectors.vec", std::iter::once(0..60));
    assert_eq!((lost(&report), found == expected), ((0, 0, 0), true), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("made anew")), "{:?}", report.notes);
    let (report, found) = repair_garbled(&disk, "segment-000001/segment.json", std::iter::once(5..50));
    assert_eq!((lost(&report), found == expected), ((0, 0, 0), true), "{report:?}");
    // 16 of 200 points are deleted and one was changed. The logs replace ten more, which cannot be told
    // without their ids.
    let (live, gone) = (200 - 16 - 1, 200 - 16 - 1 - 10);
    for (name, points_lost) in [("vectors.vec", gone), ("ids.pages", live)] {
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        copy.remove_file(&file(&disk, &format!("segment-000001/{name}"))).unwrap();
        let (report, found) = repair(&copy);
        assert_eq!((lost(&report), report.more_lost), ((points_lost, 0, 0), false), "{name}: {report:?}");
        assert_eq!(found.len() as u64, expected.len() as u64 - gone, "{name}");
        assert!(found.iter().all(|(id, point)| expected[id] == *point), "{name}");
    }
    // Nothing tells the number of points then.
    for path in files(&disk, Path::new(DIR)).iter().filter(|path| path.to_str().unwrap().contains("-000001/"))
    {
        disk.remove_file(path).unwrap();
    }
    let (report, found) = repair(&disk);
    assert_eq!((report.more_lost, found.len() as u64), (true, expected.len() as u64 - gone), "{report:?}");
}

/// For any damage, saved points are correct, and all others are counted or reported as uncountable.
#[test]
fn nothing_is_lost_without_a_word() {
    let disk = SimulatedDisk::new(17);
    let expected = large_sample(&disk);
    let all = files(&disk, Path::new(DIR));
    let (mut sound, mut damaged) = (0, 0);
    for seed in 0..400u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % below.max(1)
        };
        let copy = disk.crash(disk.history_len(), SimulatedDisk::KEEP_ALL);
        for _ in 0..1 + random(4) {
            let path = &all[random(all.len())];
            let mut bytes = copy.read(path).unwrap_or_default();
            match random(8) {
                0 => bytes.truncate(random(bytes.len())),
                1 => bytes.extend((0..random(5000)).map(|i| i as u8)),
                2 => bytes.clear(),
                _ => {
                    let start = random(bytes.len());
                    let end = (start + 1 + random(300)).min(bytes.len());
                    for byte in &mut bytes[start..end] {
                        *byte = random(256) as u8;
                    }
                }
            }
            copy.write(path, &bytes).unwrap();
        }
        let (report, found) = repair(&copy);
        let context = format!("seed {seed}: {report:?}");
        let without_payload = |id: &PointId| {
            found.get(id).is_some_and(|point| point.payload.is_empty() && point.vector == expected[id].vector)
        };
        let wrong: Vec<&PointId> = expected.keys().filter(|id| found.get(id) != expected.get(id)).collect();
        let payloads = wrong.iter().filter(|id| without_payload(id)).count() as u64;
        assert!(payloads <= report.payloads_lost, "{context}");
        let gone = wrong.len() as u64 - payloads;
        assert!(gone <= report.points_lost + report.writes_lost || report.more_lost, "{gone} {context}");
        let back = found.keys().filter(|id| !expected.contains_key(id)).count();
        assert!(back == 0 || report.more_lost, "{context}");
        *(if wrong.is_empty() { &mut sound } else { &mut damaged }) += 1;
    }
    assert!(sound > 50 && damaged > 50, "{sound} {damaged}");
}

#[test]
fn repair_does_without_a_manifest() {
    let disk = SimulatedDisk::new(6);
    let expected = large_sample(&disk);
    let manifest = Path::new(DIR).join("MANIFEST");
    let (report, found) = repair(&with_file(&disk, &manifest, b"{}"));
    assert!(report.notes[0].contains("MANIFEST is damaged"), "{:?}", report.notes);
    // The files of deleted points are intact.
    assert_eq!((found == expected, lost(&report), report.more_lost), (true, (0, 0, 0), true));
    // If no schema is left, repair uses the one it is given.
    let copy = with_file(&disk, &manifest, b"{}");
    for number in [1, 2] {
        copy.write(&file(&disk, &format!("segment-00000{number}/segment.json")), b"{}").unwrap();
    }
    let error = repair_with(&copy, None).unwrap_err();
    assert!(matches!(error, Error::NoSchema { .. }), "{error}");
    assert!(copy.list(Path::new("/repaired")).is_err());
    let schema = crate::new_schema(3).tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer);
    let (report, found) = repair_with(&copy, Some(&schema)).unwrap();
    assert_eq!((found == expected, lost(&report)), (true, (0, 0, 0)), "{report:?}");
}

#[test]
fn vectors_without_checksums_are_checked_against_their_codes() {
    let disk = SimulatedDisk::new(18);
    let expected = numbers(&disk);
    let len = disk.read(&file(&disk, "vectors.vec")).unwrap().len();
    // The checksums of ten records and one record are damaged. Codes do not show small changes, but large
    // ones.
    let (report, found) = repair_garbled(
        &disk,
        "vectors.vec",
        [len - 40..len, 4096 * 4 + 1199 % 341 * 12..4096 * 4 + 1199 % 341 * 12 + 12],
    );
    assert_eq!((lost(&report), found.len()), ((1, 0, 0), 1199), "{report:?}");
    assert!(found.iter().all(|(id, point)| expected[id] == *point));
    let note = "the checksums of 9 vectors are damaged; they were checked against their codes";
    assert!(report.notes.iter().any(|found| found.contains(note)), "{:?}", report.notes);
    // Without the codes, nothing proves those ten records.
    let (path, codes) = (file(&disk, "vectors.vec"), file(&disk, "codes.vec"));
    let mut bytes = disk.read(&path).unwrap();
    garble(&mut bytes, len - 40..len);
    let copy = with_file(&disk, &path, &bytes);
    copy.remove_file(&codes).unwrap();
    let (report, found) = repair(&copy);
    assert_eq!((lost(&report), found.len()), ((10, 0, 0), 1190), "{report:?}");
}

/// An interruption at any moment leaves either a whole target or none. The next attempt takes the remains
/// over.
#[test]
fn a_repair_is_whole_or_not_there() {
    let disk = SimulatedDisk::new(44);
    let expected = sample(&disk);
    let target = Path::new("/repaired");
    let repair = |disk: &SimulatedDisk| {
        Collection::repair(&backend(disk), Path::new(DIR), target, None, &StopFlag::new()).map(drop)
    };
    let begun = disk.history_len();
    repair(&disk).unwrap();
    let changes = disk.history_len();
    assert!(changes > begun + 20);
    let (mut whole, mut taken_over) = (0, 0);
    for at in begun..=changes {
        for fate in 0..4 {
            let after = disk.crash(at, fate);
            let context = format!("{at}, {fate}: after {}", disk.describe(at));
            if after.list(target).is_ok() {
                whole += 1;
            } else {
                let left = after.list(Path::new("/.repaired.vecstore-repair"));
                taken_over += usize::from(left.is_ok_and(|left| !left.is_empty()));
                repair(&after).unwrap_or_else(|error| panic!("{context}: {error}"));
            }
            assert_eq!(opened_contents(&after, "/repaired"), expected, "{context}");
            let names: Vec<_> =
                after.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, ["c", "repaired"], "{context}");
        }
    }
    assert!(whole > 3 && taken_over > 20, "{whole} {taken_over}");
    // During a repair, another repair is refused.
    let staging = Path::new("/.repaired.vecstore-repair");
    let fresh = disk.crash(begun, SimulatedDisk::KEEP_ALL);
    fresh.create_dir(staging).unwrap();
    let _lock = Directory::lock(&fresh, &staging.join("LOCK"), LockKind::Exclusive).unwrap();
    assert!(matches!(repair(&fresh), Err(Error::InUse(_))));
}
