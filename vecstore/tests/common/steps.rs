//! The states that a power cut may leave of a workload, for a disk that keeps its history.

use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use std::collections::BTreeMap;
use std::path::Path;
use vecstore::collection::{Collection, CollectionOptions, Record, RecordParts, ScrollRequest};
use vecstore::error::{Error, FormatError};
use vecstore::point::{Point, PointId};

pub(crate) type Model = BTreeMap<PointId, Point>;

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

/// Minimal options, without background work.
pub(crate) fn quiet() -> CollectionOptions {
    CollectionOptions { cores: 1, reads_per_core: 1, background: false, ..CollectionOptions::default() }
}

/// All points, in one page.
pub(crate) fn contents(collection: &Collection) -> Result<Model, Error> {
    let request = ScrollRequest { limit: 100_000, with: RecordParts::ALL, ..ScrollRequest::default() };
    let page = collection.scroll(request).wait()?;
    let point = |record: Record| Point {
        id: record.id,
        vector: record.vector.expect("asked for"),
        payload: record.payload.expect("asked for"),
    };
    Ok(page.records.into_iter().map(point).map(|point| (point.id, point)).collect())
}

/// The content of a disk after a crash. `None` if there is no collection yet.
pub(crate) fn recovered(disk: &SimulatedDisk, dir: &Path) -> Result<Option<(Collection, Model)>, Error> {
    match Collection::open(&DynBackend::new(disk.clone()), dir, &quiet()) {
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
