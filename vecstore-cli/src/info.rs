//! `vecstore info`.

use crate::args::Maintain;
use crate::counted::Counted;
use crate::error::CliError;
use crate::open;
use io_core::BackendInfo;
use std::io::Write;
use vecstore::collection::CollectionOptions;
use vecstore::schema::IndexKind;

const MIB: f64 = (1 << 20) as f64;

pub(crate) fn run(args: &Maintain, out: &mut impl Write) -> Result<(), CliError> {
    let collection =
        open::read_only(&args.at, CollectionOptions { cores: 1, ..CollectionOptions::default() })?;
    let (info, backend) = (collection.info()?, collection.backend_info().wait()?);
    if args.json {
        let mut info = serde_json::json!(info);
        info["backend"] = backend.as_ref().map(as_json).into();
        writeln!(out, "{info}")?;
        return Ok(());
    }
    let schema = &info.schema;
    writeln!(out, "collection  {}", args.at.collection.display())?;
    writeln!(out, "points      {}, {} of them in memory and the log", info.points, info.points_in_memory)?;
    writeln!(out, "vectors     {} x {}, {}", schema.dim, schema.element, schema.distance)?;
    match schema.index {
        IndexKind::Graph => writeln!(
            out,
            "graph       {}, m {}, ef_construct {}, seed {}",
            schema.graph, schema.hnsw.m, schema.hnsw.ef_construct, schema.hnsw.seed
        )?,
        IndexKind::Cells => writeln!(out, "cells       seed {}", schema.hnsw.seed)?,
    }
    let indexes: Vec<_> = schema.indexes.iter().map(|(field, kind)| format!("{field}:{kind}")).collect();
    writeln!(out, "indexes     {}", if indexes.is_empty() { "none".to_owned() } else { indexes.join(", ") })?;
    if !schema.defragment.is_empty() {
        writeln!(out, "tenants     {}", schema.defragment.join(", "))?;
    }
    for segment in &info.segments {
        let (memory, disk): (u64, u64) =
            (segment.memory_bytes.values().sum(), segment.disk_bytes.values().sum());
        let points = segment.points.max(1) as f64;
        writeln!(
            out,
            "segment {:<3} {}, {} deleted; {:.1} MiB in memory ({:.0} bytes a point), {:.1} MiB on disk ({:.0})",
            segment.number,
            Counted(segment.points, "point"),
            segment.deleted,
            memory as f64 / MIB,
            memory as f64 / points,
            disk as f64 / MIB,
            disk as f64 / points
        )?;
    }
    match backend {
        Some(backend) => writeln!(out, "backend     {backend}")?,
        // Only the log is on disk, and it was read.
        None => writeln!(out, "backend     {}, with no segment to read", args.at.backend)?,
    }
    let files = info.open_files;
    let limit = files.limit.map_or("any number".to_owned(), |limit| limit.to_string());
    writeln!(out, "open files  {} at most, on one core; the process may have {limit}", files.max)?;
    Ok(())
}

fn as_json(backend: &BackendInfo) -> serde_json::Value {
    serde_json::json!({
        "name": backend.backend,
        "runtime": backend.runtime,
        "mode": backend.io_mode.to_string(),
        "kernel_features": backend.kernel_features,
        "choice": choice_as_json(backend),
    })
}

/// Which backend another one has taken, and why. `null` for backends that do not choose.
pub(crate) fn choice_as_json(backend: &BackendInfo) -> serde_json::Value {
    backend
        .choice
        .as_ref()
        .map(|choice| serde_json::json!({ "taken": choice.taken, "reason": &*choice.reason }))
        .into()
}
