//! Builds a graph and searches it in memory. It measures seconds, queries a second and recall, by ef.
//!
//! `cargo bench -p benches --bench graph` makes its own data. For data of your own:
//! `BENCH_VECTORS=base.npy BENCH_QUERIES=queries.npy BENCH_TRUTH=neighbours.npy cargo bench ...`.
//! `BENCH_QUANTIZATION=int8,rotated4` chooses the codes, `BENCH_INDEX=compact,linked` the layouts of the
//! graph, and `BENCH_THREADS=2` the cores. `BENCH_LINES=1` prints JSON lines for `benches/peers/compare.py`.

use benches::cpu_time;
use benches::data::{Error, Vectors, variable};
use benches::index::{IN_MEMORY, Index};
use benches::report::{Plot, Report, Table};
use benches::search_data::{LIMIT, SearchData, ids, recall};
use io_core::DynBackend;
use io_mmap::MmapBackend;
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vecstore::collection::{
    BuildStage, Collection, CollectionOptions, Durability, OptimizeProgress, SearchParams, SearchRequest,
    SearchResult,
};
use vecstore::point::{Point, PointId};
use vecstore::schema::{Quantization, Schema};

const EFS: [usize; 12] = [12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const REPEATS: usize = 3;

struct Measured {
    build_seconds: f64,
    build_cpu_seconds: f64,
    total_seconds: f64,
    total_cpu_seconds: f64,
    /// Of codes and graph.
    memory_bytes: u64,
    searches: Vec<Searched>,
}

/// The measurements of all queries with one ef.
struct Searched {
    ef: usize,
    recall: f64,
    qps: f64,
    cpu_us: f64,
    /// Vectors scored for each query.
    rescored: f64,
}

fn measure(data: &SearchData, method: Quantization, index: Index, threads: usize) -> Result<Measured, Error> {
    let dir = tempfile::tempdir_in(variable("BENCH_DIR").unwrap_or_else(|| ".".to_owned()))?;
    let Vectors { dim, element, .. } = data.vectors;
    let schema =
        index.of(Schema { element, quantization: method, placement: IN_MEMORY, ..Schema::new(dim as u32) });
    let options = CollectionOptions {
        background: false,
        cores: threads,
        reads_per_core: 1,
        ..CollectionOptions::default()
    };
    let backend = DynBackend::new(MmapBackend::default());
    let collection = Collection::create(&backend, &dir.path().join("c"), &schema, &options)?;
    let points: Vec<Point> =
        (0..).zip(data.vectors.iter()).map(|(id, vector)| Point::new(id, vector.to_vec())).collect();
    for batch in points.chunks(1024) {
        collection.upsert(batch.to_vec(), Durability::Written).wait()?;
    }
    drop(points);
    let (started, cpu) = (Instant::now(), cpu_time());
    let graph_built = Arc::new(Mutex::new((Duration::ZERO, Duration::ZERO)));
    let built = Arc::clone(&graph_built);
    let progress = move |progress: OptimizeProgress| {
        if progress.stage == BuildStage::Index {
            *built.lock().expect("nobody panics") = (started.elapsed(), cpu_time() - cpu);
        }
    };
    collection.optimize(progress).wait()?;
    let total_seconds = started.elapsed().as_secs_f64();
    let total_cpu_seconds = (cpu_time() - cpu).as_secs_f64();
    let (build, build_cpu) = *graph_built.lock().expect("nobody panics");
    let info = collection.info()?;
    let memory =
        |file: &str| info.segments.iter().filter_map(|segment| segment.memory_bytes.get(file)).sum::<u64>();
    let parts = ["codes.vec", "graph.pages", "linked.vec", "cells.pages"];
    let memory_bytes = parts.iter().map(|file| memory(file)).sum();

    let search = |params: SearchParams| -> Result<(Vec<SearchResult>, f64, f64), Error> {
        let request =
            |query: &[f32]| SearchRequest { params, limit: LIMIT, ..SearchRequest::new(query.to_vec()) };
        let requests: Vec<SearchRequest> = data.queries.iter().map(request).collect();
        let (started, cpu) = (Instant::now(), cpu_time());
        let found = collection.search_batch(requests).wait()?;
        Ok((found, started.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64()))
    };
    let truth: Vec<Vec<PointId>> = match &data.truth {
        Some(truth) => truth.clone(),
        None => search(SearchParams { exact: true, ..SearchParams::default() })?.0.iter().map(ids).collect(),
    };
    let mut searches = Vec::new();
    for ef in EFS {
        let params = SearchParams { ef, ..SearchParams::default() };
        let (found, mut seconds, mut cpu_seconds) = search(params)?;
        for _ in 1..REPEATS {
            let (_, again, cpu_again) = search(params)?;
            (seconds, cpu_seconds) = (seconds.min(again), cpu_seconds.min(cpu_again));
        }
        let recall = recall(&found, &truth);
        let scored: u64 = found.iter().map(|found| found.stats.vectors_scored).sum();
        let count = data.queries.len() as f64;
        let (qps, cpu_us) = (count / seconds, cpu_seconds / count * 1e6);
        searches.push(Searched { ef, recall, qps, cpu_us, rescored: scored as f64 / count });
        if recall >= 0.99 {
            break;
        }
    }
    collection.close()?;
    let (build_seconds, build_cpu_seconds) = (build.as_secs_f64(), build_cpu.as_secs_f64());
    Ok(Measured {
        build_seconds,
        build_cpu_seconds,
        total_seconds,
        total_cpu_seconds,
        memory_bytes,
        searches,
    })
}

fn main() -> Result<(), Error> {
    let data = SearchData::load(if variable("BENCH_QUICK").is_some() { 3000 } else { 60_000 })?;
    let threads = variable("BENCH_THREADS").map_or(Ok(2), |threads| threads.parse())?;
    let methods = variable("BENCH_QUANTIZATION").unwrap_or_else(|| "int8,rotated4".to_owned());
    let layouts = variable("BENCH_INDEX").unwrap_or_else(|| "compact,linked,cells".to_owned());
    let (count, dim) = (data.vectors.len(), data.vectors.dim);
    let title = format!(
        "Index: {count} vectors of dimension {dim}, {} queries, {threads} threads, everything in memory",
        data.queries.len()
    );
    let mut out = Table::new(
        title,
        &[
            "codes",
            "index",
            "build s",
            "build CPU s",
            "with files s",
            "bytes a vector",
            "ef",
            "recall@10",
            "q/s",
            "CPU us a query",
            "rescored",
        ],
    )
    .note("Bytes are those of codes and index.")
    .plot(Plot::new("ef", "q/s", "codes").pictures(&["index"]))
    .plot(Plot::new("ef", "recall@10", "codes").pictures(&["index"]));
    let pairs = methods.split(',').flat_map(|name| layouts.split(',').map(move |layout| (name, layout)));
    for (name, layout) in pairs {
        let measured = measure(&data, name.parse()?, layout.parse()?, threads)?;
        for Searched { ef, recall, qps, cpu_us, rescored } in measured.searches {
            if variable("BENCH_LINES").is_some() {
                let row = json!({
                    "system": format!("vecstore {name} {layout}"),
                    // The whole build, with the files, which the others do not write.
                    "build_seconds": measured.total_seconds,
                    "build_cpu_seconds": measured.total_cpu_seconds,
                    "bytes": measured.memory_bytes as f64 / data.vectors.len() as f64,
                    "ef": ef,
                    "recall": recall,
                    "qps": qps,
                    "cpu_us": cpu_us,
                });
                writeln!(std::io::stdout(), "{row}")?;
                continue;
            }
            out.row([
                name.into(),
                layout.into(),
                measured.build_seconds.into(),
                measured.build_cpu_seconds.into(),
                measured.total_seconds.into(),
                (measured.memory_bytes as f64 / count as f64).into(),
                ef.into(),
                recall.into(),
                qps.into(),
                cpu_us.into(),
                rescored.into(),
            ]);
        }
    }
    if variable("BENCH_LINES").is_some() {
        return Ok(());
    }
    let mut report = Report::new("graph");
    report.table(out);
    report.finish()
}
