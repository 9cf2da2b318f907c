//! What searches read: with graph and codes on disk, with a proof, and of candidates that the codes leave
//! undecided. All of these are counts, so they are the same on every machine.
//!
//! `cargo bench -p benches --bench counts` makes its own data. For data of your own:
//! `BENCH_VECTORS=base.npy BENCH_QUERIES=queries.npy BENCH_TRUTH=neighbours.npy cargo bench ...`.
//! `BENCH_QUANTIZATION=int8` chooses the codes.

use benches::data::{Error, variable};
use benches::index::Index;
use benches::report::{Cell, Report, Table};
use benches::search_data::{LIMIT, SearchData, ids, recall};
use io_core::{DynBackend, OpenOptions};
use io_threads::ThreadsBackend;
use std::path::Path;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, Rescore, SearchParams, SearchRequest, SearchResult,
};
use vecstore::point::{Point, PointId};
use vecstore::schema::{ElementType, Placement, Placements, Quantization, Schema};

const EFS: [usize; 10] = [10, 12, 16, 20, 24, 32, 48, 64, 96, 128];
/// Recall at which contenders are compared.
const RECALL: f64 = 0.95;
/// Recall at which a sweep ends.
const ENOUGH: f64 = 0.98;
/// The part of the bounds that counts, in searches of graphs on disk.
const PART: f32 = 0.2;

/// A collection of all vectors in one segment.
fn create(
    data: &SearchData,
    dir: &Path,
    quantization: Quantization,
    index: Index,
    (of_index, codes): (Placement, Placement),
) -> Result<Collection, Error> {
    let (cold, pinned) = (Placement::Cold, Placement::Pinned);
    let placement =
        Placements { codes, graph: of_index, indexes: pinned, vectors: cold, payload: cold, ids: cold };
    let dim = data.vectors.dim as u32;
    let schema = index.of(Schema { element: ElementType::F16, quantization, placement, ..Schema::new(dim) });
    // Past the page cache, so that reads are whole pages.
    let open = OpenOptions::direct().with_gap_max(0);
    let options = CollectionOptions { open, background: false, ..CollectionOptions::default() };
    let backend = DynBackend::new(ThreadsBackend::default());
    let collection = Collection::create(&backend, dir, &schema, &options)?;
    let points: Vec<Point> =
        (0..).zip(data.vectors.iter()).map(|(id, vector)| Point::new(id, vector.to_vec())).collect();
    for batch in points.chunks(1024) {
        collection.upsert(batch.to_vec(), Durability::Written).wait()?;
    }
    drop(points);
    collection.optimize(|_| {}).wait()?;
    Ok(collection)
}

fn search(
    collection: &Collection,
    data: &SearchData,
    limit: usize,
    params: SearchParams,
) -> Result<Vec<SearchResult>, Error> {
    let request = |query: &[f32]| SearchRequest { params, limit, ..SearchRequest::new(query.to_vec()) };
    Ok(collection.search_batch(data.queries.iter().map(request).collect()).wait()?)
}

/// Reads of a search. A read of more than 4 KiB counts as its pages.
fn reads(found: &SearchResult) -> u64 {
    found.stats.read.reads.max(found.stats.read.bytes_read.div_ceil(4096))
}

/// The mean of a count over all searches, and what 99 of 100 do not exceed.
fn counts(found: &[SearchResult], count: impl Fn(&SearchResult) -> u64) -> (f64, u64) {
    let mut all: Vec<u64> = found.iter().map(count).collect();
    all.sort_unstable();
    let mean = all.iter().sum::<u64>() as f64 / all.len().max(1) as f64;
    let last = (all.len() * 99).div_ceil(100).saturating_sub(1);
    (mean, all.get(last).copied().unwrap_or(0))
}

/// A figure at a recall, between the two nearest settings. `None` if the recall is not reached.
fn at(recall: f64, points: &[(f64, f64)]) -> Option<f64> {
    let above = points.iter().position(|&(reached, _)| reached >= recall)?;
    let Some(below) = above.checked_sub(1) else { return Some(points[above].1) };
    let ((low, from), (high, to)) = (points[below], points[above]);
    Some(from + (recall - low) / (high - low) * (to - from))
}

/// All settings, and what they come to at one recall.
fn on_disk(
    data: &SearchData,
    truth: &[Vec<PointId>],
    quantization: Quantization,
) -> Result<[Table; 2], Error> {
    let (count, dim) = (data.vectors.len() as f64, data.vectors.dim);
    let of = format!("{count} vectors of dimension {dim}, {quantization}");
    let title = format!("Index and codes on disk: {of}");
    let mut summary = Table::new(
        format!("Reads at recall@10 of {RECALL}: {of}"),
        &["graph", "memory, % of f32", "bytes a vector on disk", "reads"],
    )
    .note("Between the two nearest settings of the table above.");
    let columns = [
        "graph",
        "memory, % of f32",
        "bytes a vector on disk",
        "ef",
        "recall@10",
        "codes scored",
        "reads",
        "reads, p99",
        "vectors read",
    ];
    let mut table = Table::new(title, &columns)
        .note("A read has at most 4 KiB and bypasses the page cache. Memory is all that the collection holds. *cells*: with the codes of cells in memory.")
        .note(format!("Vectors, ids and payloads are on disk too. Rescoring: `undecided={PART}`."));
    let (cold, pinned) = (Placement::Cold, Placement::Pinned);
    for (index, name, place) in [
        (Index::Compact, "compact", (cold, cold)),
        (Index::Linked, "linked", (cold, cold)),
        (Index::Cells, "cells on disk", (cold, cold)),
        (Index::Cells, "cells", (pinned, cold)),
    ] {
        let dir = tempfile::tempdir_in(variable("BENCH_DIR").unwrap_or_else(|| ".".to_owned()))?;
        let collection = create(data, &dir.path().join("c"), quantization, index, place)?;
        let info = collection.info()?;
        let segments = info.segments.iter();
        let memory: u64 = segments.clone().flat_map(|segment| segment.memory_bytes.values()).sum();
        let disk: u64 = segments.flat_map(|segment| segment.disk_bytes.values()).sum();
        let memory_part = 100.0 * memory as f64 / (4.0 * count * dim as f64);
        let mut points = Vec::new();
        for ef in EFS {
            let rescore = Rescore::Undecided { part: PART };
            let found =
                search(&collection, data, LIMIT, SearchParams { ef, rescore, ..SearchParams::default() })?;
            let recall = recall(&found, truth);
            let (reads, reads_p99) = counts(&found, reads);
            table.row([
                name.into(),
                memory_part.into(),
                (disk as f64 / count).into(),
                ef.into(),
                recall.into(),
                counts(&found, |found| found.stats.codes_scored).0.into(),
                reads.into(),
                reads_p99.into(),
                counts(&found, |found| found.stats.vectors_scored).0.into(),
            ]);
            points.push((recall, reads));
            if recall >= ENOUGH {
                break;
            }
        }
        let reads = at(RECALL, &points).map_or("-".into(), Cell::from);
        summary.row([name.into(), memory_part.into(), (disk as f64 / count).into(), reads]);
        collection.close()?;
    }
    Ok([table, summary])
}

fn proven(data: &SearchData, collection: &Collection, quantization: Quantization) -> Result<Table, Error> {
    let title = format!(
        "Proven hits: {} vectors of dimension {}, {quantization}",
        data.vectors.len(),
        data.vectors.dim
    );
    let columns = ["hits", "vectors read", "vectors read, p99", "reads", "reads, p99"];
    let mut table = Table::new(title, &columns)
        .note("`exact` searches with codes in memory. Reads are those of vectors and of ids.");
    for limit in [LIMIT, 10 * LIMIT] {
        let params = SearchParams { exact: true, ..SearchParams::default() };
        let found = search(collection, data, limit, params)?;
        let (vectors, vectors_p99) = counts(&found, |found| found.stats.vectors_scored);
        let (reads, reads_p99) = counts(&found, reads);
        table.row([limit.into(), vectors.into(), vectors_p99.into(), reads.into(), reads_p99.into()]);
    }
    Ok(table)
}

fn undecided(data: &SearchData, collection: &Collection, quantization: Quantization) -> Result<Table, Error> {
    let title = format!(
        "Undecided candidates only: {} vectors of dimension {}, {quantization}",
        data.vectors.len(),
        data.vectors.dim
    );
    let columns =
        ["part of the bounds", "vectors read", "same hits, %", "same order, %", "largest error of a score"];
    let mut table =
        Table::new(title, &columns).note("Beside `Rescore::All`, whose scores are those of the vectors.");
    let of = |rescore| search(collection, data, LIMIT, SearchParams { rescore, ..SearchParams::default() });
    let all = of(Rescore::All)?;
    let read = |found: &[SearchResult]| counts(found, |found| found.stats.vectors_scored).0;
    table.row(["all".into(), read(&all).into(), 100.0.into(), 100.0.into(), 0.0.into()]);
    for part in [1.0, 0.5, 0.3, 0.2] {
        let found = of(Rescore::Undecided { part })?;
        let sorted = |found: &SearchResult| {
            let mut ids = ids(found);
            ids.sort_unstable();
            ids
        };
        let share = |is_same: &dyn Fn(&SearchResult, &SearchResult) -> bool| {
            let same = all.iter().zip(&found).filter(|(a, b)| is_same(a, b)).count();
            100.0 * same as f64 / all.len().max(1) as f64
        };
        let mut error = 0.0f32;
        for (all, found) in all.iter().zip(&found) {
            for hit in &found.hits {
                let known = all.hits.iter().find(|known| known.id == hit.id);
                error = known.map_or(error, |known| error.max((known.score - hit.score).abs()));
            }
        }
        table.row([
            f64::from(part).into(),
            read(&found).into(),
            share(&|a, b| sorted(a) == sorted(b)).into(),
            share(&|a, b| ids(a) == ids(b)).into(),
            f64::from(error).into(),
        ]);
    }
    Ok(table)
}

fn main() -> Result<(), Error> {
    let data = SearchData::load(if variable("BENCH_QUICK").is_some() { 3000 } else { 30_000 })?;
    let quantization =
        variable("BENCH_QUANTIZATION").map_or(Ok(Quantization::default()), |name| name.parse())?;
    let dir = tempfile::tempdir_in(variable("BENCH_DIR").unwrap_or_else(|| ".".to_owned()))?;
    let collection = create(
        &data,
        &dir.path().join("c"),
        quantization,
        Index::Compact,
        (Placement::Pinned, Placement::Pinned),
    )?;
    let truth = match &data.truth {
        Some(truth) => truth.clone(),
        None => {
            let exact = SearchParams { exact: true, ..SearchParams::default() };
            search(&collection, &data, LIMIT, exact)?.iter().map(ids).collect()
        }
    };
    let mut report = Report::new("counts");
    for table in on_disk(&data, &truth, quantization)? {
        report.table(table);
    }
    report.table(proven(&data, &collection, quantization)?);
    report.table(undecided(&data, &collection, quantization)?);
    collection.close()?;
    report.finish()
}
