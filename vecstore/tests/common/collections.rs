//! Collections of tests: their options, their content, and opening one on a simulated disk.

use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use std::collections::BTreeMap;
use std::path::Path;
use vecstore::collection::{Collection, CollectionOptions, Record, RecordParts, ScrollRequest};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};

pub(crate) type Model = BTreeMap<PointId, Point>;

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

pub(crate) fn backend(disk: &SimulatedDisk) -> DynBackend {
    DynBackend::new(disk.clone())
}

pub(crate) fn open(disk: &SimulatedDisk, dir: &str) -> Result<Collection, Error> {
    Collection::open(&backend(disk), Path::new(dir), &quiet())
}
