//! Pages, files, segments, logs and manifests in wrong places. They come from a sister collection made by the
//! same calls, from another segment, from a copy with its own history, or from an earlier time. Each is sound
//! by itself, and each is found.

mod logs;
mod older;
mod parts;
mod repairing;

use crate::family::{DIR, Family, Tree, on_disk, problems, read};
use std::path::{Path, PathBuf};
use vecstore::error::{Error, FormatError};

impl Family {
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
