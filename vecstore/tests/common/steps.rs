//! The states that a power cut may leave of a workload, for a disk that keeps its history.

use super::collections::{Model, backend, contents, quiet};
use io_core::testing::SimulatedDisk;
use std::path::Path;
use vecstore::collection::Collection;
use vecstore::error::{Error, FormatError};

/// A step. `begun` and `acknowledged` are lengths of the disk's history.
pub(crate) struct Step {
    pub(crate) begun: usize,
    pub(crate) acknowledged: usize,
    pub(crate) durable: bool,
    /// The points after the step.
    pub(crate) after: Model,
}

/// The states that a crash after `changes` changes may leave. `None` while the collection is being created.
/// The steps are in the order in which the collection made them.
pub(crate) fn allowed(steps: &[Step], changes: usize) -> Vec<Option<&Model>> {
    let certain = steps.iter().rposition(|step| step.durable && step.acknowledged <= changes);
    let begun = steps.iter().rposition(|step| step.begun < changes).map_or(0, |last| last + 1);
    let first = certain.unwrap_or(0);
    let models = steps[first..begun.max(first + 1)].iter().map(|step| Some(&step.after));
    certain.is_none().then_some(None).into_iter().chain(models).collect()
}

/// Fails unless the state found is an allowed one.
pub(crate) fn check_allowed(found: Option<&Model>, allowed: &[Option<&Model>]) {
    let ids = |model: Option<&Model>| {
        model.map_or_else(
            || "no collection".to_owned(),
            |model| format!("{:?}", model.keys().collect::<Vec<_>>()),
        )
    };
    assert!(
        allowed.contains(&found),
        "found {}; allowed:\n{}",
        ids(found),
        allowed.iter().map(|model| ids(*model)).collect::<Vec<_>>().join("\n")
    );
}

/// The content of a disk after a crash. `None` if there is no collection yet.
pub(crate) fn recovered(disk: &SimulatedDisk, dir: &Path) -> Result<Option<(Collection, Model)>, Error> {
    match Collection::open(&backend(disk), dir, &quiet()) {
        Ok(collection) => {
            let model = contents(&collection)?;
            Ok(Some((collection, model)))
        }
        Err(Error::NotACollection { .. }) => Ok(None),
        Err(Error::Format(FormatError::Directory(error))) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number in an environment variable, if it is set.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// The seeds of a run: the one that a variable names for a replay, or as many as another variable says.
pub(crate) fn seeds(one: &str, many: &str, default: u64) -> std::ops::Range<u64> {
    match number(one) {
        Some(seed) => seed..seed + 1,
        None => 0..number(many).unwrap_or(default),
    }
}
