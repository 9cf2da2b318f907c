//! `vecstore demo`: the same searches through every backend, from a cold page cache, with a table of the
//! results.

use crate::args::Demo;
use crate::error::CliError;
use crate::info::choice_as_json;
use crate::progress::Progress;
use crate::vectors::{self, Clustered};
use crate::workload::{self, Measured};
use crate::{maintain, paths};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use io_core::{BackendInfo, OpenError, StartError, StopFlag, with_causes};
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use vecstore::backends::BackendKind;
use vecstore::collection::{Collection, CollectionOptions, Durability, Hit, SearchParams, SearchRequest};
use vecstore::error::{Error, FormatError};
use vecstore::input::VectorSource;
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

/// Points of one write.
const BATCH: usize = 512;
/// Queries answered by exact search if no truth is given.
const TRUTH_QUERIES: usize = 100;
/// Queries made if no file is given.
const MADE_QUERIES: usize = 1000;
const SEED: u64 = 42;
/// The most components of generated vectors, together: 64 GiB.
const COMPONENTS_MAX: u64 = 1 << 34;

type Queries = Vec<Vec<f32>>;
/// The ids of the nearest points of each query, best first.
type Truth = Vec<Vec<PointId>>;

/// The results of one backend.
struct Row {
    info: BackendInfo,
    measured: Measured,
    recall: f64,
}

pub(crate) fn run(args: &Demo, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    if u64::from(args.count) * u64::from(args.dim) > COMPONENTS_MAX {
        return Err(CliError::Usage(format!(
            "--count {} with --dim {}: together they may have {COMPONENTS_MAX} components; choose fewer",
            args.count, args.dim
        )));
    }
    let options = CollectionOptions { read_only: true, ..args.io.options() };
    let template = SearchRequest {
        limit: args.search.limit,
        params: args.search.params(false),
        ..SearchRequest::new(Vec::new())
    };
    let kinds = args.backend.kinds();
    let builder = *kinds.first().ok_or(CliError::NoBackend)?;
    paths::check_directory(&args.dir)?;
    let directory =
        tempfile::Builder::new().prefix("vecstore-demo-").tempdir_in(&args.dir).map_err(|error| {
            CliError::File {
                path: args.dir.clone(),
                problem: format!("cannot make a directory here: {error}"),
            }
        })?;
    let dir = directory.path().join("demo");

    let started = Instant::now();
    let (schema, count, queries, truth) = build(args, builder, &dir, stop)?;
    if !args.json {
        writeln!(
            out,
            "{count} vectors of {} x {}, {}; built in {:.1} s (m {}, ef_construct {})",
            schema.dim,
            schema.element,
            schema.distance,
            started.elapsed().as_secs_f64(),
            schema.hnsw.m,
            schema.hnsw.ef_construct,
        )?;
        out.flush()?;
    }
    let truth = match truth {
        Some(truth) => truth,
        None => exact(builder, &dir, &queries, &template, stop)?,
    };
    if !args.json {
        writeln!(
            out,
            "{} queries, limit {}, ef {}, oversampling {}, {} cores x {} reads, from a cold page cache; recall over {} queries\n",
            queries.len(),
            template.limit,
            template.params.ef,
            template.params.oversampling.unwrap_or_else(|| args.graph.quantization.oversampling()),
            options.cores,
            options.reads_per_core,
            truth.len().min(queries.len()),
        )?;
        out.flush()?;
    }

    let mut rows: Vec<Row> = Vec::new();
    let mut skipped = Vec::new();
    for kind in kinds {
        match search(kind, &dir, &queries, &template, &options, stop) {
            Ok((info, measured)) => {
                let recall = workload::recall(&measured.hits, &truth, template.limit);
                rows.push(Row { info, measured, recall });
            }
            Err(CliError::Store(error)) if args.backend.kinds().len() > 1 && is_refusal(&error) => {
                skipped.push((kind, with_causes(&error).to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    if args.json {
        write_json(out, &rows, &skipped)?;
    } else {
        write_table(out, &rows, &skipped)?;
    }
    let Some(first) = rows.first() else { return Err(CliError::NoBackend) };
    for row in &rows[1..] {
        compare(first, row)?;
    }
    if !args.json && rows.len() > 1 {
        writeln!(
            out,
            "\nall {} backends found the same ids with the same scores in the same order",
            rows.len()
        )?;
    }
    Ok(())
}

/// Makes the collection. Returns its schema, its number of points, the queries and the given truth.
fn build(
    args: &Demo,
    builder: BackendKind,
    dir: &Path,
    stop: &StopFlag,
) -> Result<(Schema, u64, Queries, Option<Truth>), CliError> {
    let (Some(path), Some(queries)) = (&args.vectors, &args.queries) else {
        let mut source = Clustered::new(args.count as usize, args.dim as usize, SEED);
        let schema = fill(args, builder, dir, &mut source, stop)?;
        return Ok((schema, source.count(), source.queries(MADE_QUERIES), None));
    };
    // Queries and truth are read first, so that an error in them does not cost a build.
    let found = vectors::read_queries(queries, &vectors::BY_EXTENSION, None)?;
    let truth = args.truth.as_deref().map(vectors::read_truth).transpose()?;
    if let (Some(truth), Some(path)) = (&truth, &args.truth)
        && truth.len() < found.len()
    {
        let problem =
            format!("truth for {} queries, and {} has {}", truth.len(), queries.display(), found.len());
        return Err(CliError::File { path: path.clone(), problem });
    }
    let mut input = vectors::open(path, &vectors::BY_EXTENSION)?;
    vectors::check_dim(queries, &found, &input)?;
    if input.count() == 0 {
        return Err(CliError::File { path: path.clone(), problem: "holds no vectors".to_owned() });
    }
    let schema = fill(args, builder, dir, &mut input, stop)?;
    Ok((schema, input.count(), found, truth))
}

/// Writes all vectors into one segment. Their ids are their positions in the input.
fn fill<S: VectorSource>(
    args: &Demo,
    builder: BackendKind,
    dir: &Path,
    source: &mut S,
    stop: &StopFlag,
) -> Result<Schema, CliError> {
    let schema = Schema {
        distance: args.graph.distance,
        element: source.element(),
        hnsw: args.graph.params(),
        quantization: args.graph.quantization,
        ..Schema::new(source.dim() as u32)
    };
    let schema = args.graph.indexed(schema);
    // Sealed once, at the end, because the search needs one graph of all points.
    let options = CollectionOptions { background: false, ..CollectionOptions::default() };
    let collection = Collection::create(&builder.backend(), dir, &schema, &options)?;
    let bar = Progress::new("putting in", source.count());
    let (mut done, total, dim) = (0, source.count(), source.dim());
    while done < total {
        if stop.is_stopped() {
            return Err(Error::Stopped.into());
        }
        let rows = source.next_rows(BATCH)?.to_f32();
        let points: Vec<Point> =
            (done..).zip(rows.chunks_exact(dim)).map(|(id, row)| Point::new(id, row.to_vec())).collect();
        done += points.len() as u64;
        collection.upsert(points, Durability::Written).wait()?;
        bar.set(done);
    }
    drop(bar);
    maintain::optimize(&collection, stop)?;
    collection.close()?;
    Ok(schema)
}

/// The truth for the first queries, by reading and scoring every vector.
fn exact(
    kind: BackendKind,
    dir: &Path,
    queries: &[Vec<f32>],
    template: &SearchRequest,
    stop: &StopFlag,
) -> Result<Truth, CliError> {
    let options = CollectionOptions { read_only: true, ..CollectionOptions::default() };
    let collection = Collection::open(&kind.backend(), dir, &options)?;
    let queries = &queries[..queries.len().min(TRUTH_QUERIES)];
    let bar = Progress::new("exact search", queries.len() as u64);
    let params = SearchParams { exact: true, ..template.params };
    let template = SearchRequest { params, ..template.clone() };
    let measured = workload::run(&collection, queries, &template, 4, stop, || bar.inc())?;
    collection.close()?;
    Ok(measured.hits.iter().map(|hits| hits.iter().map(|hit| hit.id).collect()).collect())
}

fn search(
    kind: BackendKind,
    dir: &Path,
    queries: &[Vec<f32>],
    template: &SearchRequest,
    options: &CollectionOptions,
    stop: &StopFlag,
) -> Result<(BackendInfo, Measured), CliError> {
    let collection = Collection::open(&kind.backend(), dir, options)?;
    let info = collection.backend_info().wait()?.ok_or(CliError::NoBackend)?;
    // After opening, because opening reads the checksums of the vectors.
    vectors::drop_page_cache(dir)?;
    let bar = Progress::new(kind.name(), queries.len() as u64);
    let in_flight = options.cores * options.reads_per_core;
    let measured = workload::run(&collection, queries, template, in_flight, stop, || bar.inc())?;
    collection.close()?;
    Ok((info, measured))
}

/// Whether the system prevents a backend from running. Otherwise the data do.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::Start(StartError::IoUringRefused { .. } | StartError::LockedMemory { .. })
            | Error::Format(FormatError::Open(
                OpenError::DirectRefused { .. } | OpenError::Unsupported { .. }
            ))
    )
}

/// Fails unless both backends found the same.
fn compare(a: &Row, b: &Row) -> Result<(), CliError> {
    let differs = |(a, b): (&Vec<Hit>, &Vec<Hit>)| a != b;
    match a.measured.hits.iter().zip(&b.measured.hits).position(differs) {
        None => Ok(()),
        Some(query) => Err(CliError::Disagree(format!(
            "query {query}: {} found {:?}, {} found {:?}",
            a.info.backend, a.measured.hits[query], b.info.backend, b.measured.hits[query]
        ))),
    }
}

const MIB: f64 = (1 << 20) as f64;

fn write_table(
    out: &mut impl Write,
    rows: &[Row],
    skipped: &[(BackendKind, String)],
) -> Result<(), CliError> {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "backend",
        "mode",
        "recall",
        "reads",
        "MiB wanted",
        "MiB read",
        "queries/s",
        "CPU us/query",
        "p50 us",
        "p95 us",
        "p99 us",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for Row { info, measured, recall } in rows {
        table.add_row([
            info.backend.to_owned(),
            info.io_mode.to_string(),
            format!("{recall:.4}"),
            measured.read.reads.to_string(),
            format!("{:.2}", measured.read.bytes_wanted as f64 / MIB),
            format!("{:.2}", measured.read.bytes_read as f64 / MIB),
            format!("{:.0}", measured.queries_per_second()),
            format!("{:.0}", measured.cpu_us_per_query()),
            format!("{:.0}", measured.latency_us(0.50)),
            format!("{:.0}", measured.latency_us(0.95)),
            format!("{:.0}", measured.latency_us(0.99)),
        ]);
    }
    if !rows.is_empty() {
        writeln!(out, "{}", table.trim_fmt())?;
    }
    for Row { info, .. } in rows {
        if let Some(choice) = &info.choice {
            writeln!(out, "{} {choice}", info.backend)?;
        }
    }
    for (kind, reason) in skipped {
        writeln!(out, "skipped {kind}: {reason}")?;
    }
    if rows.iter().any(|row| row.info.io_mode == io_core::IoMode::Mapped) {
        writeln!(
            out,
            "(over a map each slice counts as a read; only the kernel knows which pages it read for it)"
        )?;
    }
    Ok(())
}

fn write_json(out: &mut impl Write, rows: &[Row], skipped: &[(BackendKind, String)]) -> Result<(), CliError> {
    let rows: Vec<_> = rows
        .iter()
        .map(|Row { info, measured, recall }| {
            serde_json::json!({
                "backend": info.backend,
                "runtime": info.runtime,
                "mode": info.io_mode.to_string(),
                "queue_depth": info.queue_depth,
                "kernel_features": info.kernel_features,
                "choice": choice_as_json(info),
                "queries": measured.hits.len(),
                "recall": recall,
                "reads": measured.read.reads,
                "bytes_wanted": measured.read.bytes_wanted,
                "bytes_read": measured.read.bytes_read,
                "merged": measured.read.merged,
                "duplicates": measured.read.duplicates,
                "codes_scored": measured.codes_scored,
                "vectors_scored": measured.vectors_scored,
                "queries_per_second": measured.queries_per_second(),
                "cpu_us_per_query": measured.cpu_us_per_query(),
                "latency_us": {
                    "p50": measured.latency_us(0.50),
                    "p95": measured.latency_us(0.95),
                    "p99": measured.latency_us(0.99),
                },
            })
        })
        .collect();
    let skipped: Vec<_> = skipped
        .iter()
        .map(|(kind, reason)| serde_json::json!({ "backend": kind.name(), "reason": reason }))
        .collect();
    writeln!(out, "{}", serde_json::json!({ "backends": rows, "skipped": skipped }))?;
    Ok(())
}
