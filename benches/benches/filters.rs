//! Recall and cost of filtered search, by the number of points that a filter leaves. One filter uses a field
//! whose values correlate with nearness, another uses random numbers. Each index is measured in memory, and
//! on disk together with the codes.
//!
//! `cargo bench -p benches --bench filters` makes its own data. For data of your own, set
//! `BENCH_VECTORS=base.npy BENCH_PAYLOAD=base.jsonl BENCH_FIELD=section BENCH_QUERIES=queries.npy`.

use benches::data::{Error, Vectors, variable};
use benches::index::Index;
use benches::report::{Report, Table};
use io_core::DynBackend;
use io_mmap::MmapBackend;
use serde_json::{Value, json};
use std::io::BufRead;
use std::time::Instant;
use vecstore::collection::{Collection, CollectionOptions, Durability, SearchParams, SearchRequest};
use vecstore::dataset::Clustered;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, Filter, Match, MatchCondition, Range};
use vecstore::point::{Payload, Point, PointId};
use vecstore::schema::{Placement, Placements, Schema};

const QUERIES: usize = 200;
const RANDOM: &str = "bench_random";

struct Data {
    field: String,
    vectors: Vectors,
    payloads: Vec<Payload>,
    queries: Vec<Vec<f32>>,
}

fn load() -> Result<Data, Error> {
    let object = |value: Value| value.as_object().cloned().ok_or("a payload that is no object");
    if let (Some(vectors), Some(payload), Some(field), Some(queries)) = (
        variable("BENCH_VECTORS"),
        variable("BENCH_PAYLOAD"),
        variable("BENCH_FIELD"),
        variable("BENCH_QUERIES"),
    ) {
        let lines = std::io::BufReader::new(std::fs::File::open(payload)?).lines();
        let payloads = lines.map(|line| Ok(object(serde_json::from_str(&line?)?)?));
        return Ok(Data {
            field,
            vectors: Vectors::read(&vectors)?,
            payloads: payloads.collect::<Result<_, Error>>()?,
            queries: Vectors::read(&queries)?.first(QUERIES).iter().map(<[f32]>::to_vec).collect(),
        });
    }
    let (count, dim) = (if variable("BENCH_QUICK").is_some() { 5000 } else { 60_000 }, 96);
    let mut data = Clustered::new(count, dim, 7);
    let queries = data.queries(QUERIES);
    let vectors = Vectors::all_of(&mut data)?;
    // Values cut the first component unevenly, so near points mostly share a value.
    let value = |vector: &[f32]| format!("v{}", (vector[0].abs() * 300.0).sqrt() as u32);
    let payloads = vectors.iter().map(|vector| Ok(object(json!({ "value": value(vector) }))?));
    let payloads = payloads.collect::<Result<_, Error>>()?;
    Ok(Data { field: "value".to_owned(), payloads, vectors, queries })
}

struct Measured {
    recall: f64,
    microseconds: f64,
    codes: f64,
    vectors: f64,
    reads: f64,
}

fn measure(
    collection: &Collection,
    queries: &[Vec<f32>],
    filter: &Filter,
    params: SearchParams,
) -> Result<Measured, Error> {
    let search = |params: SearchParams| -> Result<_, Error> {
        let started = Instant::now();
        let mut found = Vec::with_capacity(queries.len());
        for query in queries {
            let request =
                SearchRequest { filter: Some(filter.clone()), params, ..SearchRequest::new(query.clone()) };
            found.push(collection.search(request).wait()?);
        }
        Ok((found, started.elapsed().as_secs_f64() * 1e6 / queries.len() as f64))
    };
    let (truth, _) = search(SearchParams { exact: true, ..params })?;
    let (found, microseconds) = search(params)?;
    let (mut hits, mut wanted) = (0, 0);
    for (found, truth) in found.iter().zip(&truth) {
        let ids: Vec<PointId> = truth.hits.iter().map(|hit| hit.id).collect();
        wanted += ids.len();
        hits += found.hits.iter().filter(|hit| ids.contains(&hit.id)).count();
    }
    let mean = |sum: u64| sum as f64 / queries.len() as f64;
    Ok(Measured {
        recall: hits as f64 / wanted.max(1) as f64,
        microseconds,
        codes: mean(found.iter().map(|found| found.stats.codes_scored).sum()),
        vectors: mean(found.iter().map(|found| found.stats.vectors_scored).sum()),
        reads: mean(found.iter().map(|found| found.stats.read.reads).sum()),
    })
}

fn main() -> Result<(), Error> {
    let data = load()?;
    let mut report = Report::new("filters");
    for (index, place) in [
        (Index::Compact, Placement::Pinned),
        (Index::Linked, Placement::Pinned),
        (Index::Cells, Placement::Pinned),
        (Index::Compact, Placement::Cold),
        (Index::Linked, Placement::Cold),
        (Index::Cells, Placement::Cold),
    ] {
        report.table(table(&data, index, place)?);
    }
    report.finish()
}

fn table(data: &Data, index: Index, place: Placement) -> Result<Table, Error> {
    let dir = tempfile::tempdir_in(variable("BENCH_DIR").unwrap_or_else(|| ".".to_owned()))?;
    let schema = Schema::new(data.vectors.dim as u32);
    let placement = Placements { codes: place, graph: place, ..schema.placement };
    let schema = index
        .of(Schema { placement, ..schema })
        .index(&data.field, FieldKind::Keyword)
        .index(RANDOM, FieldKind::Integer);
    let backend = DynBackend::new(MmapBackend::default());
    let options = CollectionOptions { background: false, ..CollectionOptions::default() };
    let collection = Collection::create(&backend, &dir.path().join("c"), &schema, &options)?;
    let mut random = fastrand::Rng::with_seed(3);
    let total = data.vectors.len();
    let points = data.vectors.iter().zip(&data.payloads).zip(0u64..).map(|((vector, payload), id)| {
        let mut payload = payload.clone();
        payload.insert(RANDOM.to_owned(), random.u32(..100_000).into());
        Point { payload, ..Point::new(id, vector.to_vec()) }
    });
    let points: Vec<Point> = points.collect();
    for batch in points.chunks(512) {
        collection.upsert(batch.to_vec(), Durability::Written).wait()?;
    }
    drop(points);
    collection.optimize(|_| {}).wait()?;

    // For each wanted part of the points: the values that together come nearest to it, and a range of random
    // numbers.
    let facets = collection.facet(data.field.clone(), None, 100_000).wait()?;
    let title = format!(
        "Filtered search, {} {}: {total} points of dimension {}, {} queries, default settings",
        index.name(),
        if place == Placement::Pinned { "in memory" } else { "on disk, with the codes" },
        data.vectors.dim,
        data.queries.len()
    );
    let mut out = Table::new(
        title,
        &[
            "filter",
            "points",
            "recall@10",
            "us a query",
            "codes scored",
            "vectors read",
            "reads",
            "no scan: recall@10",
            "no scan: us",
            "no scan: reads",
        ],
    );
    for part in [0.5, 0.1, 0.05, 0.03, 0.01, 0.001] {
        let wanted = total as f64 * part;
        let (mut values, mut sum) = (Vec::new(), 0);
        for facet in &facets {
            if (sum + facet.count) as f64 <= wanted * 1.15 {
                sum += facet.count;
                values.push(facet.value.clone());
            }
        }
        let by_value =
            Condition::Match(MatchCondition { key: data.field.clone(), matching: Match::Any(values) });
        let range = Range { lt: Some(((100_000.0 * part) as u32).into()), ..Range::default() };
        for (name, condition) in
            [(data.field.as_str(), by_value), ("random", Condition::range(RANDOM, range))]
        {
            let filter = Filter::must(condition);
            let count = collection.count(Some(filter.clone())).wait()?;
            let default = measure(&collection, &data.queries, &filter, SearchParams::default())?;
            let params = SearchParams { scan_max: 0, scan_ratio: 0.0, ..SearchParams::default() };
            let over_graph = measure(&collection, &data.queries, &filter, params)?;
            out.row([
                format!("{name}, {} %", part * 100.0).into(),
                count.into(),
                default.recall.into(),
                default.microseconds.into(),
                default.codes.into(),
                default.vectors.into(),
                default.reads.into(),
                over_graph.recall.into(),
                over_graph.microseconds.into(),
                over_graph.reads.into(),
            ]);
        }
    }
    collection.close()?;
    Ok(out)
}
