//! `vecstore info`.

use crate::args::Info;
use crate::error::CliError;
use std::io::Write;
use vecstore::backends::BackendKind;
use vecstore::segment::{SegmentData, SegmentError};

pub(crate) fn run(args: &Info, out: &mut impl Write) -> Result<(), CliError> {
    let kind = BackendKind::all().first().ok_or(CliError::NoBackend)?;
    let (data, disk_bytes) = load(*kind, &args.segment)?;
    let manifest = data.manifest();
    let count = manifest.count.max(1) as f64;
    if args.json {
        let info = serde_json::json!({
            "segment": args.segment,
            "count": manifest.count,
            "dim": manifest.dim,
            "element": manifest.element.to_string(),
            "distance": manifest.distance.to_string(),
            "m": manifest.hnsw.m,
            "ef_construct": manifest.hnsw.ef_construct,
            "seed": manifest.hnsw.seed,
            "memory_bytes": data.memory_bytes(),
            "disk_bytes": disk_bytes,
        });
        writeln!(out, "{info}")?;
        return Ok(());
    }
    writeln!(out, "segment    {}", args.segment.display())?;
    writeln!(out, "vectors    {} of {} x {}", manifest.count, manifest.dim, manifest.element)?;
    writeln!(out, "distance   {}", manifest.distance)?;
    writeln!(
        out,
        "graph      m {}, ef_construct {}, seed {}",
        manifest.hnsw.m, manifest.hnsw.ef_construct, manifest.hnsw.seed
    )?;
    writeln!(
        out,
        "in memory  {:.1} MiB: codes and graph, {:.0} bytes a vector",
        data.memory_bytes() as f64 / f64::from(1 << 20),
        data.memory_bytes() as f64 / count
    )?;
    writeln!(
        out,
        "on disk    {:.1} MiB in all, {:.0} bytes a vector",
        disk_bytes as f64 / f64::from(1 << 20),
        disk_bytes as f64 / count
    )?;
    Ok(())
}

/// Opens every file of the segment, which checks them, and adds up their lengths.
fn load(kind: BackendKind, segment: &std::path::Path) -> Result<(SegmentData, u64), CliError> {
    use io_core::BackendFactory;
    let backend = kind.backend();
    let options = io_core::OpenOptions::default();
    let data = backend
        .run(|| async {
            let data = std::sync::Arc::new(SegmentData::load(&backend, segment, &options).await?);
            let open = vecstore::segment::OpenSegment::open(&backend, std::sync::Arc::clone(&data), &options);
            open.await?.close().await?;
            Ok::<_, SegmentError>(data)
        })
        .map_err(SegmentError::from)??;
    let failed =
        |problem: std::io::Error| CliError::File { path: segment.to_owned(), problem: problem.to_string() };
    let mut bytes = 0;
    for entry in std::fs::read_dir(segment).map_err(failed)? {
        bytes += entry.and_then(|entry| entry.metadata()).map_err(failed)?.len();
    }
    let data = std::sync::Arc::into_inner(data).ok_or(SegmentError::WorkerLost)?;
    Ok((data, bytes))
}
