//! Collections from the view of their users, on a simulated disk.

use io_core::testing::SimulatedDisk;
use io_core::{DynBackend, with_causes};
use serde_json::json;
use std::path::Path;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, Hit, PayloadChange, RecordParts, ScrollRequest, SearchParams,
    SearchRequest, Selection,
};
use vecstore::error::Error;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter, Range};
use vecstore::point::{Point, PointId};
use vecstore::schema::Distance;
use vecstore::schema::ElementType;
use vecstore::schema::{Placement, Placements, Schema};

const DIR: &str = "/notes";

fn options() -> CollectionOptions {
    CollectionOptions { cores: 1, reads_per_core: 2, background: false, ..CollectionOptions::default() }
}

fn schema() -> Schema {
    let schema = crate::new_schema(4).tenant("tenant", FieldKind::Keyword).index("size", FieldKind::Integer);
    Schema { distance: Distance::Euclid, ..schema }
}

/// Points on a line: the vector of point `id` is `[id, 0, 0, 0]`.
fn point(id: u64) -> Point {
    let payload = json!({"tenant": format!("t{}", id % 3), "size": id, "text": format!("note {id}")});
    Point::new(id, vec![id as f32, 0.0, 0.0, 0.0]).with_payload(payload)
}

fn create(disk: &SimulatedDisk) -> Collection {
    let backend = DynBackend::new(disk.clone());
    Collection::create(&backend, Path::new(DIR), &schema(), &options()).unwrap()
}

fn open(disk: &SimulatedDisk) -> Result<Collection, Error> {
    Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &options())
}

fn upsert(collection: &Collection, ids: impl IntoIterator<Item = u64>) {
    collection.upsert(ids.into_iter().map(point).collect(), Durability::Synced).wait().unwrap();
}

fn nearest(collection: &Collection, to: f32, limit: usize, filter: Option<Filter>) -> Vec<(PointId, f32)> {
    let request = SearchRequest { limit, filter, ..SearchRequest::new(vec![to, 0.0, 0.0, 0.0]) };
    let found = collection.search(request).wait().unwrap();
    found.hits.into_iter().map(|hit| (hit.id, hit.score)).collect()
}

fn num(id: u64) -> PointId {
    PointId::Num(id)
}

/// A collection with points in segments, some replaced or deleted, and points in memory.
fn mixed(disk: &SimulatedDisk) -> Collection {
    let collection = create(disk);
    upsert(&collection, 0..300);
    collection.optimize(|_| {}).wait().unwrap();
    upsert(&collection, 300..320);
    upsert(&collection, [7, 8]);
    let deleted = collection.delete(Selection::Ids(vec![num(100), num(310), num(9999)]), Durability::Synced);
    assert_eq!(deleted.wait().unwrap().points, 2);
    collection
}

fn check_mixed(collection: &Collection) {
    assert_eq!(collection.count(None).wait().unwrap(), 318);
    assert_eq!(nearest(collection, 7.0, 3, None), [(num(7), 0.0), (num(6), 1.0), (num(8), 1.0)]);
    assert_eq!(nearest(collection, 100.0, 2, None), [(num(99), 1.0), (num(101), 1.0)]);
    let of_tenant = Filter::must(Condition::matches("tenant", "t1"));
    assert_eq!(
        nearest(collection, 310.0, 3, Some(of_tenant.clone())),
        [(num(307), 3.0), (num(313), 3.0), (num(304), 6.0)]
    );
    let found = collection.retrieve(vec![num(310), num(7), num(250)], RecordParts::ALL).wait().unwrap();
    assert_eq!(found.missing, [num(310)]);
    let records: Vec<Point> = found
        .records
        .into_iter()
        .map(|record| Point {
            id: record.id,
            vector: record.vector.unwrap(),
            payload: record.payload.unwrap(),
        })
        .collect();
    assert_eq!(records, [point(7), point(250)]);
    let small = Range { lt: Some(10.into()), ..Range::default() };
    let small =
        Filter { must: vec![of_tenant.must[0].clone(), Condition::range("size", small)], ..of_tenant };
    assert_eq!(collection.count(Some(small)).wait().unwrap(), 3);
    let facets = collection.facet("tenant".to_owned(), None, 2).wait().unwrap();
    let facets: Vec<_> = facets.into_iter().map(|facet| (facet.value, facet.count)).collect();
    // 0..320 has 107, 107 and 106 points. The deleted 100 and 310 are both of t1.
    assert_eq!(facets, [(json!("t0"), 107), (json!("t2"), 106)]);
}

#[test]
fn reads_see_memory_and_segments_as_one() {
    let disk = SimulatedDisk::new(1);
    let collection = mixed(&disk);
    check_mixed(&collection);
    collection.close().unwrap();
    // The collection is opened again, and the log is replayed over the segments.
    let collection = open(&disk).unwrap();
    assert_eq!(collection.open_report().writes_replayed, 3);
    check_mixed(&collection);
    let report = collection.optimize(|_| {}).wait().unwrap();
    assert_eq!((report.sealed, report.rewritten, report.vacuumed), (21, 297, 3));
    assert_eq!((report.segments_before, report.segments_after), (1, 1));
    check_mixed(&collection);
    collection.close().unwrap();
    let collection = open(&disk).unwrap();
    assert_eq!(collection.open_report().writes_replayed, 0);
    check_mixed(&collection);
}

fn all_pages(collection: &Collection, request: &ScrollRequest) -> Vec<PointId> {
    let mut request = request.clone();
    let mut ids = Vec::new();
    loop {
        let page = collection.scroll(request.clone()).wait().unwrap();
        assert!(page.records.len() <= request.limit);
        ids.extend(page.records.iter().map(|record| record.id));
        match page.next {
            Some(next) => request.page = Some(next),
            None => return ids,
        }
    }
}

#[test]
fn scroll_goes_through_everything_once_in_order() {
    let disk = SimulatedDisk::new(2);
    let collection = mixed(&disk);
    let expected: Vec<PointId> = (0..320).filter(|id| ![100, 310].contains(id)).map(num).collect();
    for limit in [1, 7, 318, 319, 1000] {
        let request = ScrollRequest { limit, with: RecordParts::NOTHING, ..ScrollRequest::default() };
        assert_eq!(all_pages(&collection, &request), expected, "limit {limit}");
        let request = ScrollRequest { order_by: Some("size".to_owned()), ..request };
        assert_eq!(all_pages(&collection, &request), expected, "limit {limit}, by size");
        let of_tenant = Filter::must(Condition::matches("tenant", "t1"));
        let request = ScrollRequest { filter: Some(of_tenant), ..request };
        let third: Vec<PointId> =
            expected.iter().copied().filter(|id| matches!(id, PointId::Num(id) if id % 3 == 1)).collect();
        assert_eq!(all_pages(&collection, &request), third, "limit {limit}, by size, of a tenant");
    }
}

#[test]
fn a_page_token_survives_sealing_and_merging() {
    let disk = SimulatedDisk::new(3);
    let collection = mixed(&disk);
    for order_by in [None, Some("size".to_owned())] {
        let request =
            ScrollRequest { limit: 150, order_by, with: RecordParts::NOTHING, ..ScrollRequest::default() };
        let first = collection.scroll(request.clone()).wait().unwrap();
        collection.optimize(|_| {}).wait().unwrap();
        upsert(&collection, [400]);
        let second = collection.scroll(ScrollRequest { page: first.next, ..request.clone() }).wait().unwrap();
        assert_eq!(second.records[0].id, num(151));
        let wrong = ScrollRequest { page: Some("x".to_owned()), ..request };
        assert!(collection.scroll(wrong).wait().unwrap_err().to_string().contains("page token \"x\""));
    }
}

/// Many points share a number. Continuing after one of them costs a few look-ups, not all look-ups before it.
#[test]
fn an_order_of_equal_numbers_is_gone_through_page_by_page() {
    const POINTS: u64 = 4000;
    let disk = SimulatedDisk::new(8);
    let placement = Placements { indexes: Placement::Cold, ids: Placement::Cold, ..Placements::default() };
    let schema = Schema { placement, ..schema() };
    let collection = Collection::create(&DynBackend::new(disk), Path::new(DIR), &schema, &options()).unwrap();
    let size = |id: u64| (id * 7 % 10).min(3);
    let point = |id: u64| {
        let tenant = if id.is_multiple_of(100) { "few" } else { "many" };
        let id_of = if id.is_multiple_of(9) { PointId::Uuid(u128::from(id)) } else { num(id) };
        let point = Point::new(0, vec![1.0; 4]).with_payload(json!({"size": size(id), "tenant": tenant}));
        Point { id: id_of, ..point }
    };
    collection.upsert((0..POINTS).map(point).collect(), Durability::Synced).wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    // Some points are in memory.
    collection.upsert((0..POINTS).step_by(11).map(point).collect(), Durability::Synced).wait().unwrap();
    let of_few = Filter::must(Condition::matches("tenant", "few"));
    for filter in [None, Some(of_few)] {
        let mut expected: Vec<(u64, PointId)> = (0..POINTS)
            .filter(|id| filter.is_none() || id.is_multiple_of(100))
            .map(|id| (size(id), point(id).id))
            .collect();
        expected.sort_unstable();
        let mut request = ScrollRequest {
            order_by: Some("size".to_owned()),
            limit: 100,
            filter: filter.clone(),
            with: RecordParts::NOTHING,
            ..ScrollRequest::default()
        };
        let (mut found, mut reads) = (Vec::new(), Vec::new());
        loop {
            let page = collection.scroll(request.clone()).wait().unwrap();
            found.extend(page.records.iter().map(|record| record.id));
            reads.push(page.read.bytes_read);
            request.page = page.next;
            if request.page.is_none() {
                break;
            }
        }
        assert_eq!(found, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
        // 2800 points on 9 pages of the table have the last number. The first place among them is found by a
        // search.
        let (first, most) = (reads[0], *reads.iter().max().unwrap());
        assert!(filter.is_some() || most <= first + 2 * 5 * 4096, "{reads:?}");
    }
    let token = |order_by: Option<&str>| {
        let order_by = order_by.map(ToOwned::to_owned);
        let request = ScrollRequest { order_by, limit: 1, ..ScrollRequest::default() };
        collection.scroll(request).wait().unwrap().next
    };
    for (order_by, page) in [(Some("size"), token(None)), (None, token(Some("size")))] {
        let request =
            ScrollRequest { order_by: order_by.map(ToOwned::to_owned), page, ..ScrollRequest::default() };
        let error = collection.scroll(request).wait().unwrap_err().to_string();
        assert!(error.contains("ask in the same order"), "{error}");
    }
}

/// For batches shorter and longer than what a core takes at a time.
#[test]
fn a_batch_finds_what_its_searches_find_one_by_one() {
    let disk = SimulatedDisk::new(9);
    let collection = mixed(&disk);
    for count in [0, 1, 15, 16, 17, 50] {
        let query = |number: u16| vec![1.0, f32::from(number), -f32::from(number % 7), 0.5];
        let requests: Vec<SearchRequest> =
            (0..count).map(|number| SearchRequest::new(query(number))).collect();
        let found = collection.search_batch(requests.clone()).wait().unwrap();
        let alone: Vec<_> =
            requests.iter().map(|request| collection.search(request.clone()).wait().unwrap()).collect();
        assert_eq!(found.len(), alone.len());
        for (number, (found, alone)) in found.iter().zip(&alone).enumerate() {
            assert_eq!(found.hits, alone.hits, "{number} of {count}");
        }
        let Some(last) = requests.len().checked_sub(1) else { continue };
        let mut wrong = requests;
        wrong[last].vector.push(1.0);
        let error = collection.search_batch(wrong).wait().unwrap_err();
        assert!(matches!(error, Error::Input(_)), "{error}");
    }
}

#[test]
fn a_batch_of_searches_is_stopped_as_one() {
    let disk = SimulatedDisk::new(9);
    let collection = mixed(&disk);
    let requests = vec![SearchRequest::new(vec![1.0, 0.0, 0.0, 0.0]); 50];
    assert_eq!(collection.search_batch(requests.clone()).wait().unwrap().len(), 50);
    let searching = collection.search_batch(requests);
    searching.stop_flag().stop();
    assert!(matches!(searching.wait(), Err(Error::Stopped)));
}

#[test]
fn payloads_change_wherever_a_point_is() {
    let disk = SimulatedDisk::new(4);
    let collection = mixed(&disk);
    let change = |selection, change| {
        collection.change_payload(selection, change, Durability::Synced).wait().unwrap().points
    };
    let object = |value: serde_json::Value| value.as_object().unwrap().clone();
    // Point 5 is in the segment, 305 is in memory, and 310 is deleted.
    let some = || Selection::Ids(vec![num(5), num(305), num(310)]);
    assert_eq!(change(some(), PayloadChange::Merge(object(json!({"size": -1, "new": [1]})))), 2);
    let negative = Range { lt: Some(0.into()), ..Range::default() };
    let negative = || Filter::must(Condition::range("size", negative.clone()));
    let check = |collection: &Collection| {
        assert_eq!(collection.count(Some(negative())).wait().unwrap(), 2);
        let found = collection.retrieve(vec![num(5)], RecordParts::ALL).wait().unwrap().records.remove(0);
        assert_eq!(found.vector.unwrap(), [5.0, 0.0, 0.0, 0.0]);
        let expected = json!({"tenant": "t2", "size": -1, "text": "note 5", "new": [1]});
        assert_eq!(serde_json::Value::from(found.payload.unwrap()), expected);
        assert_eq!(collection.count(None).wait().unwrap(), 318);
    };
    check(&collection);
    drop(collection);
    let collection = open(&disk).unwrap();
    check(&collection);
    collection.optimize(|_| {}).wait().unwrap();
    check(&collection);
    let change = |selection, change| {
        collection.change_payload(selection, change, Durability::Synced).wait().unwrap().points
    };
    assert_eq!(change(Selection::Filter(negative()), PayloadChange::Clear), 2);
    assert_eq!(collection.count(Some(negative())).wait().unwrap(), 0);
    assert_eq!(change(some(), PayloadChange::Set(object(json!({"size": -2})))), 2);
    let deleted = collection.delete(Selection::Filter(negative()), Durability::Synced).wait().unwrap();
    assert_eq!((deleted.points, collection.count(None).wait().unwrap()), (2, 316));
    let wrong = PayloadChange::Merge(object(json!({"size": "large"})));
    let error = collection.change_payload(Selection::Ids(vec![num(6)]), wrong, Durability::Synced).wait();
    assert!(error.unwrap_err().to_string().contains("field size holds integers, and \"large\" is not one"));
}

#[test]
fn a_batch_with_one_bad_point_changes_nothing() {
    let disk = SimulatedDisk::new(5);
    let collection = create(&disk);
    let bad: [(Point, &str); 5] = [
        (Point::new(1, vec![1.0; 3]), "a vector of 3 components; the collection's dimension is 4"),
        (Point::new(1, vec![0.0, f32::NAN, 0.0, 0.0]), "component 1 is NaN"),
        (point(5), "point 5 is in the batch twice"),
        (point(1).with_payload(json!({"size": 1.5})), "field size holds integers, and 1.5 is not one"),
        (point(1).with_payload(json!({"text": "x".repeat(2 << 20)})), "payload_bytes_max"),
    ];
    for (bad, expected) in bad {
        let error =
            collection.upsert(vec![point(5), bad], Durability::Synced).wait().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(collection.count(None).wait().unwrap(), 0);
    }
    assert_eq!(collection.upsert(Vec::new(), Durability::Synced).wait().unwrap().points, 0);
}

#[test]
fn sequence_numbers_go_up_and_survive() {
    let disk = SimulatedDisk::new(6);
    let collection = create(&disk);
    let write = |collection: &Collection, id| {
        collection.upsert(vec![point(id)], Durability::Written).wait().unwrap().seq
    };
    assert_eq!((write(&collection, 1), write(&collection, 2)), (1, 2));
    collection.sync().wait().unwrap();
    collection.optimize(|_| {}).wait().unwrap();
    assert_eq!(write(&collection, 3), 3);
    collection.close().unwrap();
    let collection = open(&disk).unwrap();
    assert_eq!(write(&collection, 4), 4);
}

#[test]
fn the_second_owner_is_told_who_is_first_and_readers_share() {
    let disk = SimulatedDisk::new(7);
    let collection = mixed(&disk);
    let error = with_causes(&open(&disk).unwrap_err()).to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    collection.close().unwrap();
    let read_only = CollectionOptions { read_only: true, ..options() };
    let reader = || Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &read_only).unwrap();
    let readers = [reader(), reader()];
    let before = disk.history_len();
    for reader in &readers {
        check_mixed(reader);
        let error = reader.upsert(vec![point(1)], Durability::Synced).wait().unwrap_err();
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    }
    assert!(matches!(open(&disk).unwrap_err(), Error::InUse(_)));
    drop(readers);
    assert_eq!(disk.history_len(), before, "reading changes nothing");
    open(&disk).unwrap();
}

#[test]
fn creating_says_what_is_in_the_way() {
    let disk = SimulatedDisk::new(8);
    let backend = DynBackend::new(disk.clone());
    drop(create(&disk));
    let again = Collection::create(&backend, Path::new(DIR), &schema(), &options());
    assert!(matches!(again.unwrap_err(), Error::Exists { .. }));
    let nowhere = Collection::open(&backend, Path::new("/nowhere"), &options());
    assert!(nowhere.unwrap_err().to_string().contains("/nowhere"));
    let root = Collection::open(&backend, Path::new("/"), &options()).unwrap_err();
    assert_eq!(root.to_string(), "/ is no collection: there is no file MANIFEST in it");
    let schema = crate::new_schema(0);
    let wrong = Collection::create(&backend, Path::new("/wrong"), &schema, &options()).unwrap_err();
    assert!(wrong.to_string().contains("dim is 0"));
}

/// For every element type and distance, compared with a scan in the test.
#[test]
fn searches_find_what_a_scan_finds() {
    let mut random = fastrand::Rng::with_seed(9);
    for element in [ElementType::F32, ElementType::F16, ElementType::U8] {
        for distance in Distance::ALL {
            let disk = SimulatedDisk::new(9);
            let schema = Schema { element, distance, ..crate::new_schema(12).index("n", FieldKind::Integer) };
            let backend = DynBackend::new(disk.clone());
            let collection = Collection::create(&backend, Path::new(DIR), &schema, &options()).unwrap();
            let points: Vec<Point> = (0..700)
                .map(|id| {
                    let vector = (0..12).map(|_| f32::from(random.u8(..))).collect();
                    Point::new(id, vector).with_payload(json!({"n": id % 10}))
                })
                .collect();
            for (index, chunk) in points.chunks(300).enumerate() {
                collection.upsert(chunk.to_vec(), Durability::Synced).wait().unwrap();
                if index == 0 {
                    collection.optimize(|_| {}).wait().unwrap();
                }
            }
            let mut walked = 0;
            for round in 0..10 {
                let query: Vec<f32> = (0..12).map(|_| f32::from(random.u8(..))).collect();
                let n = round % 10;
                let filter = (round % 2 == 0).then(|| Filter::must(Condition::matches("n", n)));
                let matching = points.iter().filter(|point| filter.is_none() || point.payload["n"] == n);
                let mut expected: Vec<(f32, PointId)> = matching
                    .map(|point| {
                        let (mut a, mut b) = (query.clone(), point.vector.clone());
                        distance.prepare(&mut a);
                        distance.prepare(&mut b);
                        (distance.score(&a, &b), point.id)
                    })
                    .collect();
                expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                for (exact, scan_max) in [(true, 0), (false, 10_000), (false, 0)] {
                    let scan_ratio = if scan_max == 0 { 0.0 } else { 0.03 };
                    let params =
                        SearchParams { exact, scan_max, scan_ratio, ef: 300, ..SearchParams::default() };
                    let request = SearchRequest {
                        params,
                        filter: filter.clone(),
                        offset: 2,
                        limit: 5,
                        with_vector: true,
                        ..SearchRequest::new(query.clone())
                    };
                    let found = collection.search(request).wait().unwrap();
                    assert_eq!(found.hits.len(), 5);
                    if !exact && scan_max == 0 {
                        // The graph walk may miss some.
                        let wanted = &expected[2..7];
                        let is_wanted = |hit: &&Hit| wanted.iter().any(|(_, id)| *id == hit.id);
                        walked += found.hits.iter().filter(is_wanted).count();
                        continue;
                    }
                    for (hit, (score, id)) in found.hits.iter().zip(&expected[2..]) {
                        assert_eq!(hit.id, *id, "{element} {distance} exact {exact} scan {scan_max}");
                        let expected = distance.reported(*score);
                        assert!((hit.score - expected).abs() <= 1e-4 * expected.abs().max(1.0));
                        let point = &points[usize::try_from(match id {
                            PointId::Num(id) => *id,
                            PointId::Uuid(_) => 0,
                        })
                        .unwrap()];
                        assert_eq!(hit.vector.as_ref(), Some(&point.vector));
                    }
                }
            }
            assert!(walked >= 48, "{element} {distance}: {walked} of 50 found over the graph");
        }
    }
}

/// A payload is returned as it was given, to the last bit of its numbers. Filters find it by them.
#[test]
fn numbers_in_payloads_come_back_exactly() {
    let disk = SimulatedDisk::new(20);
    let schema = crate::new_schema(1).index("x", FieldKind::Float);
    let backend = DynBackend::new(disk.clone());
    let collection = Collection::create(&backend, Path::new(DIR), &schema, &options()).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let anything: Vec<f64> = (0..500).map(|_| f64::from_bits(random.u64(..))).collect();
    let mut numbers: Vec<f64> = anything.into_iter().filter(|number| number.is_finite()).collect();
    numbers.extend((0..500).map(|_| random.f64()));
    let point = |(id, x): (u64, &f64)| Point::new(id, vec![1.0]).with_payload(json!({"x": x}));
    collection.upsert((0..).zip(&numbers).map(point).collect(), Durability::Synced).wait().unwrap();
    let check = |collection: &Collection| {
        let ids = (0..numbers.len() as u64).map(num).collect();
        let found = collection.retrieve(ids, RecordParts::ALL).wait().unwrap().records;
        for (record, &x) in found.iter().zip(&numbers) {
            let payload = record.payload.as_ref().unwrap();
            assert_eq!(payload["x"].as_f64().unwrap().to_bits(), x.to_bits());
            let same = Filter::must(Condition::matches("x", x));
            assert!(collection.count(Some(same)).wait().unwrap() >= 1, "{x:e}");
        }
    };
    check(&collection);
    collection.close().unwrap();
    let collection = open(&disk).unwrap();
    check(&collection);
    collection.optimize(|_| {}).wait().unwrap();
    check(&collection);
}

#[test]
fn what_is_too_deep_is_refused() {
    let disk = SimulatedDisk::new(21);
    let collection = create(&disk);
    let nested = |depth| (1..depth).fold(json!([]), |value, _| json!([value]));
    let put = |depth: usize| {
        let payload = json!({"tenant": "t", "size": 1, "deep": nested(depth - 1)});
        let point = Point::new(1, vec![1.0; 4]).with_payload(payload);
        collection.upsert(vec![point], Durability::Synced).wait()
    };
    put(100).unwrap();
    assert!(collection.retrieve(vec![num(1)], RecordParts::ALL).wait().unwrap().missing.is_empty());
    let error = put(101).unwrap_err().to_string();
    assert!(error.contains("more than 100 deep"), "{error}");
    let filter = (0..2000).fold(Filter::default(), |filter, _| Filter::must(Condition::Filter(filter)));
    let error = collection.count(Some(filter)).wait().unwrap_err().to_string();
    assert!(error.contains("more than 60 inside each other"), "{error}");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let disk = SimulatedDisk::new(22);
    drop(create(&disk));
    let open = |options: CollectionOptions| {
        Collection::open(&DynBackend::new(disk.clone()), Path::new(DIR), &options).unwrap_err().to_string()
    };
    assert!(open(CollectionOptions { vacuum_ratio: -1.0, ..options() }).contains("vacuum_ratio is -1"));
    assert!(open(CollectionOptions { vacuum_ratio: f64::NAN, ..options() }).contains("from 0 to 1"));
    assert!(open(CollectionOptions { seal_points: 0, ..options() }).contains("1 or more"));
}

/// Vectors whose squared lengths leave the range of `f32` are found like others.
#[test]
fn vectors_of_extreme_lengths_are_found() {
    let disk = SimulatedDisk::new(23);
    let schema = crate::new_schema(2);
    let backend = DynBackend::new(disk);
    let collection = Collection::create(&backend, Path::new(DIR), &schema, &options()).unwrap();
    let angle = |id: u64| (id as f32 / 50.0).sin_cos();
    let point = |id: u64| {
        let (size, (y, x)) = ([1.0, 1e30, 1e-30][id as usize % 3], angle(id));
        Point::new(id, vec![size * x, size * y])
    };
    collection.upsert((0..60).map(point).collect(), Durability::Synced).wait().unwrap();
    let check = || {
        for id in 0..60 {
            let (y, x) = angle(id);
            let request = SearchRequest { limit: 1, ..SearchRequest::new(vec![x, y]) };
            let hits = collection.search(request).wait().unwrap().hits;
            assert_eq!(hits[0].id, num(id));
            assert!((hits[0].score - 1.0).abs() < 1e-5, "{hits:?}");
        }
    };
    check();
    collection.optimize(|_| {}).wait().unwrap();
    check();
}
