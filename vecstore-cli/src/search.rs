//! `vecstore search`.

use crate::args::Search;
use crate::error::CliError;
use crate::progress::Progress;
use crate::{open, vectors, workload};
use io_core::StopFlag;
use serde_json::json;
use std::io::Write;
use vecstore::collection::SearchRequest;

/// JSON has no infinite numbers, and null would be no number: a program that reads scores can still sort by
/// these.
fn for_json(score: f32) -> f32 {
    score.clamp(f32::MIN, f32::MAX)
}

pub(crate) fn run(args: &Search, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let queries = match (&args.queries, &args.vector) {
        (Some(path), _) => vectors::read_queries(path, &args.format, args.count)?,
        (None, Some(vector)) => vec![vector.0.clone()],
        (None, None) => Vec::new(),
    };
    let collection = open::read_only(&args.at, args.io.options())?;
    if let (Some(path), Some(query)) = (&args.queries, queries.first())
        && query.len() != collection.schema().dim as usize
    {
        let (found, dim) = (query.len(), collection.schema().dim);
        let problem = format!("its queries have {found} components, and the collection's dimension is {dim}");
        return Err(CliError::File { path: path.clone(), problem });
    }
    let template = SearchRequest {
        filter: args.filter.clone(),
        limit: args.search.limit,
        offset: args.offset,
        score_threshold: args.threshold,
        with_payload: args.with_payload,
        with_vector: args.with_vector,
        params: args.search.params(args.exact),
        ..SearchRequest::new(Vec::new())
    };
    let bar = Progress::new("searching", queries.len() as u64);
    let measured = workload::run(&collection, &queries, &template, args.io.in_flight(), stop, || bar.inc())?;
    drop(bar);
    collection.close()?;
    let as_json = args.json || args.with_payload || args.with_vector;
    for (query, hits) in measured.hits.iter().enumerate() {
        if as_json {
            let hits = hits.iter().map(|hit| {
                let mut line = json!({ "id": hit.id, "score": for_json(hit.score) });
                if let Some(payload) = &hit.payload {
                    line["payload"] = json!(payload);
                }
                if let Some(vector) = &hit.vector {
                    line["vector"] = json!(vector);
                }
                line
            });
            let mut line = json!({ "query": query, "hits": hits.collect::<Vec<_>>() });
            if args.exact {
                // An exact search is proven, or an error.
                line["proven"] = json!(true);
            }
            writeln!(out, "{line}")?;
        } else {
            let hits: Vec<_> = hits.iter().map(|hit| format!("{}:{:.4}", hit.id, hit.score)).collect();
            writeln!(out, "{query}\t{}", hits.join(" "))?;
        }
    }
    Ok(())
}
