//! `vecstore search`.

use crate::args::Search;
use crate::error::CliError;
use crate::progress::Progress;
use crate::{vectors, workload};
use io_core::{BackendFactory, OpenOptions, StopFlag};
use std::io::Write;
use std::sync::Arc;
use vecstore::pool::Pool;
use vecstore::segment::{SegmentData, SegmentError};

pub(crate) fn run(args: &Search, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let params = args.search.params(args.exact)?;
    let options = args.io.options()?;
    let mut queries = vectors::read_queries(&args.queries, &args.format)?;
    queries.truncate(args.count.unwrap_or(usize::MAX));

    let backend = args.backend.backend();
    // Codes and graph are read once and whole: through the page cache, whatever the originals use.
    let buffered = OpenOptions::default();
    let loaded = backend.run(|| SegmentData::load(&backend, &args.segment, &buffered));
    let data = Arc::new(loaded.map_err(SegmentError::from)??);
    let pool = Pool::start(&backend, &data, &options)?;
    let bar = Progress::new("searching", queries.len() as u64);
    let in_flight = options.cores.get() * options.lanes.get();
    let measured = workload::run(&pool, &queries, params, in_flight, stop, || bar.inc())?;
    drop(bar);
    pool.close()?;

    for (query, hits) in measured.hits.iter().enumerate() {
        if args.json {
            let hits: Vec<_> =
                hits.iter().map(|hit| serde_json::json!({ "id": hit.id, "score": hit.score })).collect();
            writeln!(out, "{}", serde_json::json!({ "query": query, "hits": hits }))?;
        } else {
            let hits: Vec<_> = hits.iter().map(|hit| format!("{}:{:.4}", hit.id, hit.score)).collect();
            writeln!(out, "{query}\t{}", hits.join(" "))?;
        }
    }
    Ok(())
}
