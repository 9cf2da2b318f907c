//! Repair leaves out what is in a wrong place.

use crate::family::{family, on_disk, repaired, with};
use std::path::Path;
use vecstore::point::PointId;

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
            let is_made_anew = ["codes.vec", "codec.pages", "fields.pages"];
            let mut is_made_anew = is_made_anew.iter().chain(crate::index_files());
            assert!(!report.notes.is_empty() || is_made_anew.any(|name| path.ends_with(name)), "{context}");
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
