//! Background work uses the background lane, and nothing else does.

use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, Executor, FileSystem, Lane, OpenError, OpenOptions, StartError};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use vecstore::collection::{
    Collection, CollectionOptions, Durability, RecordParts, ScrollRequest, SearchRequest, Selection,
};
use vecstore::field::FieldKind;
use vecstore::point::{Point, PointId};
use vecstore::schema::Quantization;
use vecstore::schema::{Placement, Placements, Schema};

/// Operations on files: the kind, the lane, and the name without its number.
type Opened = BTreeSet<String>;

fn opened(how: &str, lane: Lane, name: &str) -> String {
    format!("{how} {lane:?} {name}")
}

/// A disk that records the lane in which files are opened.
#[derive(Clone)]
struct Recorder {
    disk: SimulatedDisk,
    opened: Arc<Mutex<Opened>>,
}

impl Recorder {
    fn record(&self, how: &str, path: &Path, options: &OpenOptions) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let name: String = name.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        self.opened.lock().unwrap().insert(opened(how, options.lane, &name));
    }

    /// Returns the records since the last call.
    fn take(&self) -> Opened {
        std::mem::take(&mut self.opened.lock().unwrap())
    }
}

impl FileSystem for Recorder {
    type Reader = <SimulatedDisk as FileSystem>::Reader;

    type Writer = <SimulatedDisk as FileSystem>::Writer;

    fn name(&self) -> &'static str {
        "recorder"
    }

    fn directory(&self) -> Arc<dyn Directory> {
        FileSystem::directory(&self.disk)
    }

    async fn open(&self, path: &Path, options: &OpenOptions) -> Result<Self::Reader, OpenError> {
        self.record("open", path, options);
        FileSystem::open(&self.disk, path, options).await
    }

    async fn create(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.record("create", path, options);
        FileSystem::create(&self.disk, path, options).await
    }

    async fn open_for_writing(&self, path: &Path, options: &OpenOptions) -> Result<Self::Writer, OpenError> {
        self.record("create", path, options);
        FileSystem::open_for_writing(&self.disk, path, options).await
    }
}

impl Executor for Recorder {
    fn run<M, F>(&self, main: M) -> Result<F::Output, StartError>
    where
        M: FnOnce() -> F,
        F: Future,
    {
        self.disk.run(main)
    }
}

fn segment() -> Vec<&'static str> {
    let others = ["vectors.vec", "codes.vec", "codec.pages", "ids.pages", "payload.pages", "fields.pages"];
    others.iter().chain(crate::index_files()).copied().collect()
}

fn files(how: &str, lane: Lane, names: &[&str]) -> Opened {
    names.iter().map(|name| opened(how, lane, name)).collect()
}

/// The files of a segment, without those that are read only on loading.
fn segment_read() -> Vec<&'static str> {
    segment().into_iter().filter(|name| !["codec.pages", "cells.pages"].contains(name)).collect()
}

#[test]
fn what_nobody_waits_for_is_in_the_background_lane_and_nothing_else_is() {
    let recorder = Recorder { disk: SimulatedDisk::new(1), opened: Arc::default() };
    // All parts are cold, so that every file is read.
    let cold = Placement::Cold;
    let placement =
        Placements { vectors: cold, codes: cold, graph: cold, payload: cold, ids: cold, indexes: cold };
    let schema = Schema { placement, quantization: Quantization::Rotated4, ..crate::new_schema(4) };
    let schema = schema.index("day", FieldKind::Integer);
    let options = CollectionOptions { cores: 1, background: false, ..CollectionOptions::default() };
    let dir = Path::new("/c");
    let backend = DynBackend::new(recorder.clone());
    let collection = Collection::create(&backend, dir, &schema, &options).unwrap();
    let put = |ids: std::ops::Range<u64>| {
        let point = |id| Point::new(id, vec![id as f32, 1.0, 2.0, 3.0]).with_payload(json!({"day": id}));
        collection.upsert(ids.map(point).collect(), Durability::Synced).wait().unwrap();
    };
    let (foreground, background) = (Lane::Foreground, Lane::Background);
    let built = || &files("create", background, &segment()) | &files("open", background, &segment());
    assert_eq!(recorder.take(), Opened::new());

    put(0..50);
    assert_eq!(recorder.take(), files("create", foreground, &["log-.wal"]));

    collection.seal(|_| {}).wait().unwrap();
    assert_eq!(recorder.take(), built());

    // The writer looks for older versions of these points.
    put(40..90);
    let looked = files("open", foreground, &segment_read());
    assert_eq!(recorder.take(), &looked | &files("create", foreground, &["log-.wal"]));

    // The deletions of the first segment were acknowledged as durable, so they use the foreground lane.
    collection.seal(|_| {}).wait().unwrap();
    let deletions = files("create", foreground, &["deleted-.pages"]);
    assert_eq!(recorder.take(), &built() | &deletions);

    collection.search(SearchRequest::new(vec![1.0; 4])).wait().unwrap();
    assert_eq!(recorder.take(), files("open", foreground, &segment_read()));
    collection.retrieve(vec![PointId::Num(1)], RecordParts::ALL).wait().unwrap();
    collection.scroll(ScrollRequest::default()).wait().unwrap();
    assert_eq!(recorder.take(), Opened::new());

    // Reads both segments and writes one.
    collection.optimize(|_| {}).wait().unwrap();
    assert_eq!(recorder.take(), built());

    collection.delete(Selection::Ids(vec![PointId::Num(1)]), Durability::Synced).wait().unwrap();
    assert_eq!(recorder.take(), &looked | &files("create", foreground, &["log-.wal"]));

    collection.snapshot(Path::new("/copy")).wait().unwrap();
    collection.close().unwrap();
    assert_eq!(recorder.take(), Opened::new());

    // A caller waits for opening and verifying.
    Collection::verify(&backend, dir, &io_core::StopFlag::new()).unwrap();
    Collection::open(&backend, dir, &options).unwrap();
    assert!(recorder.take().iter().all(|opened| opened.starts_with("open Foreground")));
}
