//! Collections with codes of every method: recall at every placement, verification, and repair.

use io_core::testing::SimulatedDisk;
use io_core::{Directory, DynBackend, StopFlag};
use std::collections::BTreeSet;
use std::path::Path;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, Rescore, SearchParams, SearchRequest, SearchResult, Selection,
};
use vecstore::dataset::Clustered;
use vecstore::input::{Rows, VectorSource};
use vecstore::point::{Point, PointId};
use vecstore::schema::Distance;
use vecstore::schema::ElementType;
use vecstore::schema::Quantization;
use vecstore::schema::{Placement, Placements, Schema};

const DIM: usize = 48;
const POINTS: usize = 2000;
const DIR: &str = "/q";

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, reads_per_core: 2, background: false, ..CollectionOptions::default() }
}

struct Data {
    points: Vec<Point>,
    queries: Vec<Vec<f32>>,
}

fn data() -> Data {
    let mut source = Clustered::new(POINTS, DIM, 21);
    let queries = source.queries(30);
    let Rows::F32(rows) = source.next_rows(POINTS).unwrap() else { panic!("clusters are of f32") };
    let points = (0..).zip(rows.chunks_exact(DIM)).map(|(id, row)| Point::new(id, row.to_vec())).collect();
    Data { points, queries }
}

fn schema(method: Quantization, distance: Distance, place: Placement) -> Schema {
    let placement = Placements { codes: place, ..Placements::default() };
    Schema { quantization: method, distance, placement, ..crate::new_schema(DIM as u32) }
}

fn create(disk: &SimulatedDisk, schema: &Schema, points: &[Point]) -> Collection {
    let backend = DynBackend::new(disk.clone());
    let collection = Collection::create(&backend, Path::new(DIR), schema, &options()).unwrap();
    // Two segments. Each trains its own codec on its own points.
    for half in points.chunks(POINTS / 2) {
        collection.upsert(half.to_vec(), Durability::Written).wait().unwrap();
        collection.seal(|_| {}).wait().unwrap();
    }
    collection
}

fn search(collection: &Collection, queries: &[Vec<f32>], params: SearchParams) -> Vec<SearchResult> {
    let request = |query: &Vec<f32>| SearchRequest { params, ..SearchRequest::new(query.clone()) };
    collection.search_batch(queries.iter().map(request).collect()).wait().unwrap()
}

fn ids(found: &[SearchResult]) -> Vec<BTreeSet<PointId>> {
    found.iter().map(|found| found.hits.iter().map(|hit| hit.id).collect()).collect()
}

#[test]
fn codes_of_every_method_find_what_vectors_find() {
    let data = data();
    for distance in Distance::ALL {
        for method in Quantization::ALL {
            // Coarse codes of few components need more candidates than the default, which suits real data.
            let coarse = matches!(
                method,
                Quantization::Binary | Quantization::Rotated1 | Quantization::Product { .. }
            );
            let default = SearchParams::default();
            let params =
                if coarse { SearchParams { ef: 500, oversampling: Some(40.0), ..default } } else { default };
            let mut first = None;
            for place in [Placement::Pinned, Placement::Cold] {
                let disk = SimulatedDisk::new(7);
                let collection = create(&disk, &schema(method, distance, place), &data.points);
                let found = search(&collection, &data.queries, params);
                let exact = SearchParams { exact: true, ..default };
                let truth = ids(&search(&collection, &data.queries, exact));
                let hits: usize =
                    ids(&found).iter().zip(&truth).map(|(a, b)| a.intersection(b).count()).sum();
                let recall = hits as f64 / (10 * truth.len()) as f64;
                assert!(recall >= 0.9, "{method}, {distance}, codes {place:?}: recall {recall}");
                let hits: Vec<_> = found.into_iter().map(|found| found.hits).collect();
                assert_eq!(
                    *first.get_or_insert_with(|| hits.clone()),
                    hits,
                    "{method}, {distance}: {place:?}"
                );
                collection.close().unwrap();
                let (backend, dir) = (DynBackend::new(disk.clone()), Path::new(DIR));
                let report = Collection::verify(&backend, dir, &StopFlag::new()).unwrap();
                assert!(report.problems.is_empty() && report.notes.is_empty(), "{method}: {report:?}");
            }
        }
    }
}

/// Skipping vectors by bounds misses no hit. A search without a limit on candidates finds the same as one
/// that reads only the possible hits.
#[test]
fn vectors_that_cannot_be_hits_are_spared_and_not_missed() {
    let data = data();
    for method in [Quantization::Int8, Quantization::Rotated4] {
        let disk = SimulatedDisk::new(8);
        let schema = schema(method, Distance::Cosine, Placement::Pinned);
        let collection = create(&disk, &schema, &data.points);
        let params = |oversampling| SearchParams { ef: 800, oversampling, ..SearchParams::default() };
        let found = search(&collection, &data.queries, params(Some(40.0)));
        let (spared, read) = found.iter().fold((0, 0), |(spared, read), found| {
            (spared + found.stats.vectors_spared, read + found.stats.vectors_scored)
        });
        assert_eq!(spared + read, 400 * data.queries.len() as u64);
        // Half a step of int8 is tiny, and half a step of 4 bits is not.
        assert!(
            spared > if method == Quantization::Int8 { read } else { 0 },
            "{method}: {read} read, {spared} spared"
        );
        let exact = SearchParams { exact: true, ..SearchParams::default() };
        let truth = search(&collection, &data.queries, exact);
        let missed: usize = ids(&truth).iter().zip(ids(&found)).map(|(a, b)| a.difference(&b).count()).sum();
        // A bound of three deviations excludes one in hundreds of the points at its very edge.
        assert!(missed <= 3, "{method}: {missed} of {} missed", 10 * truth.len());
    }
}

/// No vector is read if codes decide. The same points are found, also in memory. Scores are within the bounds
/// of the codes.
#[test]
fn only_vectors_that_decide_are_read_if_scores_need_not_be_exact() {
    let data = data();
    let (on_disk, in_memory_points) = data.points.split_at(POINTS - 200);
    for (method, reads_less) in
        [(Quantization::Int8, true), (Quantization::Rotated4, true), (Quantization::Binary, false)]
    {
        for place in [Placement::Pinned, Placement::Cold] {
            let disk = SimulatedDisk::new(8);
            let collection = create(&disk, &schema(method, Distance::Euclid, place), on_disk);
            collection.upsert(in_memory_points.to_vec(), Durability::Written).wait().unwrap();
            let found = |rescore| {
                let params = SearchParams { ef: 300, rescore, ..SearchParams::default() };
                let found = search(&collection, &data.queries, params);
                let scored: u64 = found.iter().map(|found| found.stats.vectors_scored).sum();
                (found, scored)
            };
            let (by_codes, in_memory) = found(Rescore::Never);
            // Every search scores vectors in memory. These searches score none on disk.
            let alone = create(&SimulatedDisk::new(8), &schema(method, Distance::Euclid, place), &[]);
            alone.upsert(in_memory_points.to_vec(), Durability::Written).wait().unwrap();
            let found_alone = search(&alone, &data.queries, SearchParams::default());
            assert_eq!(in_memory, found_alone.iter().map(|found| found.stats.vectors_scored).sum::<u64>());
            let found = |rescore| {
                let (found, scored) = found(rescore);
                (found, scored - in_memory)
            };
            let (all, read_for_all) = found(Rescore::All);
            let (undecided, read) = found(Rescore::Undecided { part: 1.0 });
            let (less_sure, read_less_sure) = found(Rescore::Undecided { part: 0.1 });
            if !reads_less {
                assert_eq!((read, read_less_sure, &undecided), (read_for_all, read_for_all, &all));
                continue;
            }
            assert!(
                read_less_sure < read && read < read_for_all,
                "{method}: {read_less_sure} < {read} < {read_for_all}"
            );
            let missed = |found: &[SearchResult]| -> usize {
                ids(&all).iter().zip(ids(found)).map(|(a, b)| a.difference(&b).count()).sum()
            };
            let (missed, missed_less_sure, missed_by_codes) =
                (missed(&undecided), missed(&less_sure), missed(&by_codes));
            assert!(missed <= if method == Quantization::Int8 { 0 } else { 2 }, "{method}: {missed} missed");
            assert!(
                missed_less_sure <= missed_by_codes,
                "{method}: {missed_less_sure}, by codes {missed_by_codes}"
            );
            let mut estimated = 0;
            for (all, found) in all.iter().zip(&undecided) {
                assert!(found.hits.is_sorted_by(|a, b| a.score <= b.score), "distances, the least first");
                for hit in &found.hits {
                    let exact =
                        all.hits.iter().find(|exact| exact.id == hit.id).map_or(hit.score, |hit| hit.score);
                    assert!((hit.score - exact).abs() <= 0.05 * exact, "{method}: {} for {exact}", hit.score);
                    estimated += usize::from(hit.score != exact);
                }
            }
            assert!(estimated > 0, "{method}: no hit has the score of its code");
        }
    }
}

#[test]
fn a_part_of_a_bound_is_one() {
    let disk = SimulatedDisk::new(8);
    let data = data();
    let collection =
        create(&disk, &schema(Quantization::Int8, Distance::Dot, Placement::Pinned), &data.points[..20]);
    for part in [0.0, -1.0, 1.5, f32::NAN] {
        let params = SearchParams { rescore: Rescore::Undecided { part }, ..SearchParams::default() };
        let request = SearchRequest { params, ..SearchRequest::new(data.queries[0].clone()) };
        let error = collection.search(request).wait().unwrap_err().to_string();
        assert!(error.contains("part") && error.contains("above 0, up to 1"), "{error}");
    }
}

#[test]
fn a_damaged_codec_is_named_and_costs_no_point() {
    let data = data();
    for method in
        [Quantization::Rotated2, Quantization::Product { compression: vecstore::schema::Compression::X8 }]
    {
        let disk = SimulatedDisk::new(9);
        let collection = create(&disk, &schema(method, Distance::Dot, Placement::Pinned), &data.points);
        collection.close().unwrap();
        let (backend, dir) = (DynBackend::new(disk.clone()), Path::new(DIR));
        let path = dir.join("segment-000001/codec.pages");
        let mut bytes = disk.read(&path).unwrap();
        // More than a single bit, which repair would put back.
        bytes[4096 + 100] ^= 0x55;
        disk.write(&path, &bytes).unwrap();
        let report = Collection::verify(&backend, dir, &StopFlag::new()).unwrap();
        let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        assert!(problems.len() == 1 && problems[0].contains("codec.pages"), "{problems:?}");
        let error = Collection::open(&backend, dir, &options()).unwrap_err().to_string();
        assert!(error.contains("codec.pages"), "{error}");
        let target = Path::new("/repaired");
        let report = Collection::repair(&backend, dir, target, None, &StopFlag::new()).unwrap();
        assert_eq!((report.points, report.points_lost), (POINTS as u64, 0));
    }
}

/// A search in memory scores few vectors, and finds the same as scoring all. Vectors of bytes have no codes,
/// and all are scored.
#[test]
fn codes_of_points_in_memory_rule_out_vectors_but_no_hit() {
    let data = data();
    let bytes =
        |vector: &[f32]| vector.iter().map(|x| (100.0 + 50.0 * x).round().clamp(0.0, 255.0)).collect();
    for element in [ElementType::F32, ElementType::F16, ElementType::U8] {
        let mut points = data.points.clone();
        if element == ElementType::U8 {
            points.iter_mut().for_each(|point| point.vector = bytes(&point.vector));
        }
        for distance in Distance::ALL {
            let disk = SimulatedDisk::new(9);
            let schema = Schema { element, ..schema(Quantization::Int8, distance, Placement::Pinned) };
            let backend = DynBackend::new(disk.clone());
            let collection = Collection::create(&backend, Path::new(DIR), &schema, &options()).unwrap();
            // Every vector is replaced once, and some points are deleted.
            let shifted = |(point, other): (&Point, &Point)| Point::new(point.id, other.vector.clone());
            let others = points.iter().zip(points.iter().rev()).map(shifted).collect();
            collection.upsert(others, Durability::Written).wait().unwrap();
            collection.upsert(points.clone(), Durability::Written).wait().unwrap();
            let first = Selection::Ids((0..100).map(PointId::Num).collect());
            collection.delete(first, Durability::Written).wait().unwrap();
            let in_memory = search(&collection, &data.queries, SearchParams::default());
            collection.seal(|_| {}).wait().unwrap();
            let exact = SearchParams { exact: true, ..SearchParams::default() };
            let on_disk = search(&collection, &data.queries, exact);
            let left = POINTS as u64 - 100;
            for (in_memory, on_disk) in in_memory.iter().zip(&on_disk) {
                assert_eq!(in_memory.hits, on_disk.hits, "{element:?}, {distance}");
                let on_disk = on_disk.stats;
                assert!(on_disk.proven && on_disk.codes_scored == left, "{on_disk:?}");
                assert!((10..left / 2).contains(&on_disk.vectors_scored), "{on_disk:?}");
                let (codes, vectors) = (in_memory.stats.codes_scored, in_memory.stats.vectors_scored);
                if element == ElementType::U8 {
                    assert_eq!((codes, vectors), (0, left));
                } else {
                    assert_eq!(codes, left);
                    assert!(vectors < left / 2, "{element:?}, {distance}: {vectors} of {left} scored");
                }
            }
        }
    }
}

/// With as many hits as points, each point is scored. No cost is quadratic in the number of hits.
#[test]
fn everything_can_be_asked_for_at_once() {
    let data = data();
    let disk = SimulatedDisk::new(10);
    let collection =
        create(&disk, &schema(Quantization::Int8, Distance::Euclid, Placement::Cold), &data.points);
    for exact in [false, true] {
        let params = SearchParams { exact, ..SearchParams::default() };
        let request = SearchRequest { limit: 6000, params, ..SearchRequest::new(data.queries[0].clone()) };
        let found = collection.search(request).wait().unwrap();
        assert_eq!((found.hits.len(), found.stats.vectors_scored), (POINTS, POINTS as u64));
        assert!(found.hits.is_sorted_by(|a, b| a.score <= b.score));
    }
}
