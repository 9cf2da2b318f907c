//! Collections with cells, over a life of merges.

use crate::common::collections::quiet as options;
use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use vecstore::collection::{Collection, Durability, Rescore, SearchParams, SearchRequest, Selection};
use vecstore::dataset::Clustered;
use vecstore::input::{Rows, VectorSource};
use vecstore::point::{Point, PointId};
use vecstore::schema::{Distance, IndexKind, Schema};

const DIM: usize = 32;
const ALIVE: usize = 6000;
const BATCH: usize = 1500;
const DIR: &str = "/cells";

fn create(distance: Distance) -> Collection {
    let schema = Schema { index: IndexKind::Cells, distance, ..Schema::new(DIM as u32) };
    let backend = DynBackend::new(SimulatedDisk::new(3));
    Collection::create(&backend, Path::new(DIR), &schema, &options()).unwrap()
}

fn ids(collection: &Collection, queries: &[Vec<f32>], params: SearchParams) -> Vec<BTreeSet<PointId>> {
    let request = |query: &Vec<f32>| SearchRequest { params, ..SearchRequest::new(query.clone()) };
    let found = collection.search_batch(queries.iter().map(request).collect()).wait().unwrap();
    found.iter().map(|found| found.hits.iter().map(|hit| hit.id).collect()).collect()
}

/// The part of the ten best hits that a narrow search finds.
fn recall(collection: &Collection, queries: &[Vec<f32>]) -> f64 {
    let params = SearchParams { ef: 12, rescore: Rescore::All, ..SearchParams::default() };
    let truth = ids(collection, queries, SearchParams { exact: true, ..params });
    let found = ids(collection, queries, params);
    let hits: usize = found.iter().zip(&truth).map(|(a, b)| a.intersection(b).count()).sum();
    hits as f64 / (10 * truth.len()) as f64
}

/// Merges keep cells and change them. After all points have been replaced, searches find as much as in a
/// collection that has had no others.
#[test]
fn cells_that_were_merged_find_as_much_as_new_ones() {
    for distance in Distance::ALL {
        let mut source = Clustered::new(2 * ALIVE, DIM, 21);
        let queries = source.queries(100);
        let collection = create(distance);
        let mut live = BTreeMap::new();
        for first in (0..2 * ALIVE).step_by(BATCH) {
            let Rows::F32(rows) = source.next_rows(BATCH).unwrap() else { panic!("clusters are of f32") };
            let batch = (first as u64..).zip(rows.chunks_exact(DIM));
            let batch: Vec<Point> = batch.map(|(id, row)| Point::new(id, row.to_vec())).collect();
            collection.upsert(batch.clone(), Durability::Written).wait().unwrap();
            live.extend(batch.into_iter().map(|point| (point.id, point)));
            let old: Vec<PointId> =
                (first.saturating_sub(ALIVE) as u64..).map(PointId::Num).take(BATCH).collect();
            if first >= ALIVE {
                old.iter().for_each(|id| assert!(live.remove(id).is_some()));
                collection.delete(Selection::Ids(old), Durability::Written).wait().unwrap();
            }
            // Now the new points become a segment, now they go into one with the others.
            match first / BATCH % 2 {
                0 => collection.seal(|_| {}).wait().unwrap(),
                _ => collection.optimize(|_| {}).wait().unwrap(),
            };
        }
        assert!(collection.counters().merges >= 3);
        let new = create(distance);
        new.upsert(live.into_values().collect(), Durability::Written).wait().unwrap();
        new.seal(|_| {}).wait().unwrap();
        let [merged, new] = [&collection, &new].map(|collection| recall(collection, &queries));
        assert!(merged >= new - 0.01, "{distance}: recall {merged} instead of {new}");
    }
}
