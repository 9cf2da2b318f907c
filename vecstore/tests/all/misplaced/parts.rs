//! Pages, files and larger parts of another collection, of another segment and of another time.

use super::{assert_misplaced, is_log};
use crate::family::{DIR, PAGE, Tree, family, with};
use std::path::{Path, PathBuf};

/// Bytes of a sector of a log.
const SECTOR: usize = 512;

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
            // The older copy of the last log has its own test, in `older`.
            if name == "older 4" {
                continue;
            }
            family.check(&tree, false, &format!("groups {groups:04b} from {name}"));
            cases += 1;
        }
    }
    assert!(cases > 50, "{cases}");
}
