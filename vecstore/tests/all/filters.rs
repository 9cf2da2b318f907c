//! Filtered search has good recall, however few points a filter leaves. The points of a tenant lie together.

use io_core::DynBackend;
use io_core::testing::SimulatedDisk;
use serde_json::json;
use std::path::Path;
use vecstore::collection::{Collection, CollectionOptions, Durability, SearchParams, SearchRequest};
use vecstore::dataset::Clustered;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter, Range};
use vecstore::input::{Rows, VectorSource};
use vecstore::point::{Point, PointId};

const DIM: usize = 32;
const POINTS: usize = 20_000;

fn options() -> CollectionOptions {
    CollectionOptions { cores: 2, background: false, ..CollectionOptions::default() }
}

/// Points of clusters. Each has a random number, and a value that correlates with its cluster.
fn collection(disk: &SimulatedDisk) -> (Collection, Vec<Vec<f32>>) {
    let mut data = Clustered::new(POINTS, DIM, 11);
    let queries = data.queries(40);
    let Rows::F32(rows) = data.next_rows(POINTS).unwrap() else { panic!("clusters are of f32") };
    let schema =
        crate::new_schema(DIM as u32).index("random", FieldKind::Integer).index("side", FieldKind::Keyword);
    let backend = DynBackend::new(disk.clone());
    let collection = Collection::create(&backend, Path::new("/f"), &schema, &options()).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let point = |(id, row): (u64, &[f32])| {
        let side = if row[0] > 0.0 { "right" } else { "left" };
        Point::new(id, row.to_vec()).with_payload(json!({"random": random.u32(..1000), "side": side}))
    };
    let points: Vec<Point> = (0..).zip(rows.chunks_exact(DIM)).map(point).collect();
    for batch in points.chunks(2000) {
        collection.upsert(batch.to_vec(), Durability::Written).wait().unwrap();
    }
    collection.optimize(|_| {}).wait().unwrap();
    (collection, queries)
}

fn recall(collection: &Collection, queries: &[Vec<f32>], filter: &Filter, params: SearchParams) -> f64 {
    let ids = |params| {
        let request = |query: &Vec<f32>| SearchRequest {
            filter: Some(filter.clone()),
            params,
            ..SearchRequest::new(query.clone())
        };
        let found = collection.search_batch(queries.iter().map(request).collect()).wait().unwrap();
        found
            .into_iter()
            .map(|found| found.hits.into_iter().map(|hit| hit.id).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let truth: Vec<Vec<PointId>> = ids(SearchParams { exact: true, ..params });
    let found = ids(params);
    let (mut hits, mut wanted) = (0, 0);
    for (found, truth) in found.iter().zip(&truth) {
        wanted += truth.len();
        hits += found.iter().filter(|id| truth.contains(id)).count();
    }
    hits as f64 / wanted as f64
}

#[test]
fn recall_holds_however_few_points_a_filter_leaves() {
    let disk = SimulatedDisk::new(1);
    let (collection, queries) = collection(&disk);
    let below = |bound: u32| {
        let range = Range { lt: Some(bound.into()), ..Range::default() };
        Filter::must(Condition::range("random", range))
    };
    let default = SearchParams::default();
    // As in a segment of millions, where 10,000 points are a small part. And with the graph only.
    let large = SearchParams { scan_max: 0, ..default };
    let graph = SearchParams { scan_ratio: 0.0, ..large };
    for per_mille in [500, 100, 50, 30, 10, 1] {
        let filter = below(per_mille);
        let count = collection.count(Some(filter.clone())).wait().unwrap();
        assert!(count.abs_diff(u64::from(per_mille) * POINTS as u64 / 1000) < 400, "{count}");
        for params in [default, large] {
            let found = recall(&collection, &queries, &filter, params);
            assert!(found >= 0.95, "{per_mille} per mille: recall {found}, {params:?}");
        }
        let found = recall(&collection, &queries, &filter, graph);
        // At one point in a hundred, the graph fails. That is why scoring all is the alternative.
        let least = if per_mille >= 100 { 0.95 } else { 0.0 };
        assert!(found >= least, "{per_mille} per mille over the graph: recall {found}");
    }
    for side in ["left", "right"] {
        let filter = Filter::must(Condition::matches("side", side));
        for params in [default, graph] {
            let found = recall(&collection, &queries, &filter, params);
            assert!(found >= 0.95, "{side}: recall {found}");
        }
    }
}

#[test]
fn points_of_a_tenant_lie_together() {
    let disk = SimulatedDisk::new(2);
    let backend = DynBackend::new(disk);
    let schema = crate::new_schema(8).tenant("tenant", FieldKind::Keyword).tenant("day", FieldKind::Integer);
    let collection = Collection::create(&backend, Path::new("/d"), &schema, &options()).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut put = |ids: std::ops::Range<u64>| {
        let point = |id| {
            let vector = (0..8).map(|_| random.f32()).collect();
            let tenant = format!("t{}", random.u32(..40));
            Point::new(id, vector).with_payload(json!({"tenant": tenant, "day": random.u32(..5)}))
        };
        let points = ids.map(point).collect();
        collection.upsert(points, Durability::Written).wait().unwrap();
    };
    put(0..3000);
    collection.optimize(|_| {}).wait().unwrap();
    put(2000..5000);
    let locality = |field: &str| collection.locality(field.to_owned()).wait().unwrap();
    let scattered = locality("tenant");
    collection.optimize(|_| {}).wait().unwrap();
    let together = locality("tenant");
    assert_eq!((scattered.values, together.values), (40, 40));
    // Each tenant's vectors and codes begin and end within pages. Each of the two files thus adds at most one
    // page.
    assert!(together.pages_touched <= together.pages_least + 2 * 40, "{together:?}");
}
