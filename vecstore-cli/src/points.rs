//! Commands about single points: `upsert`, `delete`, `get`, `scroll`, `count`, `facet`.

use crate::args::{Count, Delete, Facet, Get, Scroll, Upsert};
use crate::error::CliError;
use crate::text::{BATCH_BYTES, Lines};
use crate::{maintain, open};
use io_core::StopFlag;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use vecstore::collection::{CollectionOptions, Durability, Record, RecordParts, ScrollRequest, Selection};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};

/// Points of a batch.
const BATCH: usize = 256;
/// Points of a page of a scroll.
const PAGE: usize = 1000;

/// Points that are written at once.
#[derive(Default)]
struct Batch {
    points: Vec<Point>,
    ids: BTreeSet<PointId>,
    /// Bytes of their lines.
    bytes: usize,
    /// Where the first of them is.
    first_line: u64,
}

impl Batch {
    fn push(&mut self, point: Point, line: u64, bytes: usize) {
        if self.points.is_empty() {
            self.first_line = line;
        }
        self.bytes += bytes;
        self.ids.insert(point.id);
        self.points.push(point);
    }
}

pub(crate) fn upsert(args: &Upsert, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let mut lines = Lines::open(args.points.as_deref())?;
    let collection = open::writable(&args.at, &args.thresholds.options())?;
    let (mut batch, mut written) = (Batch::default(), 0);
    let mut put = |batch: &mut Batch, lines: &Lines| {
        let Batch { points, first_line, .. } = std::mem::take(batch);
        match collection.upsert(points, Durability::Synced).wait() {
            Ok(put) => written += put.points,
            // Which point it is, the error says; where it is, only we know.
            Err(Error::Input(error)) => {
                let before = first_line.saturating_sub(1);
                return Err(
                    lines.failed(format!("from line {first_line} on: {error}; {before} lines are written"))
                );
            }
            Err(error) => return Err(error.into()),
        }
        Ok::<_, CliError>(())
    };
    while let Some(line) = lines.next()? {
        if stop.is_stopped() {
            return Err(Error::Stopped.into());
        }
        if line.trim().is_empty() {
            continue;
        }
        let point: Point = match serde_json::from_str(&line) {
            Ok(point) => point,
            Err(error) => {
                put(&mut batch, &lines)?;
                return Err(lines.wrong(format!("{error}; the lines before it are written")));
            }
        };
        // A later line of the same id is to replace the earlier one.
        let is_full = batch.points.len() == BATCH || batch.bytes >= BATCH_BYTES;
        if is_full || batch.ids.contains(&point.id) {
            put(&mut batch, &lines)?;
        }
        batch.push(point, lines.number, line.len());
    }
    put(&mut batch, &lines)?;
    writeln!(out, "{written} points")?;
    maintain::settle(&collection, stop)?;
    Ok(collection.close()?)
}

pub(crate) fn delete(args: &Delete, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::writable(&args.at, &CollectionOptions::default())?;
    let selection = match &args.filter {
        Some(filter) => Selection::Filter(filter.clone()),
        None => Selection::Ids(args.ids.clone()),
    };
    let deleted = collection.delete(selection, Durability::Synced).wait()?;
    writeln!(out, "{} points deleted", deleted.points)?;
    maintain::settle(&collection, stop)?;
    Ok(collection.close()?)
}

fn print_record(out: &mut impl Write, record: &Record) -> Result<(), CliError> {
    let mut line = json!({ "id": record.id });
    if let Some(vector) = &record.vector {
        line["vector"] = json!(vector);
    }
    if let Some(payload) = &record.payload {
        line["payload"] = json!(payload);
    }
    writeln!(out, "{line}")?;
    Ok(())
}

pub(crate) fn get(args: &Get, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::read_only(&args.at, CollectionOptions::default())?;
    let with = RecordParts { payload: true, vector: args.with_vector };
    let found = collection.retrieve(args.ids.clone(), with).wait()?;
    for record in &found.records {
        print_record(out, record)?;
    }
    if found.missing.is_empty() {
        return Ok(());
    }
    Err(CliError::Missing(found.missing))
}

pub(crate) fn scroll(args: &Scroll, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::read_only(&args.at, CollectionOptions::default())?;
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut request = ScrollRequest {
        filter: args.filter.clone(),
        order_by: args.order_by.clone(),
        limit: left.min(PAGE),
        page: args.page.clone(),
        with: RecordParts { payload: true, vector: args.with_vector },
    };
    loop {
        if stop.is_stopped() {
            return Err(Error::Stopped.into());
        }
        let page = collection.scroll(request.clone()).wait()?;
        for record in &page.records {
            print_record(out, record)?;
        }
        left -= page.records.len().min(left);
        match page.next {
            Some(next) if left > 0 => {
                request = ScrollRequest { page: Some(next), limit: left.min(PAGE), ..request };
            }
            Some(next) => {
                // Not part of the output: whoever reads points does not want it among them.
                let _ = writeln!(std::io::stderr(), "next page: --page {next}");
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

pub(crate) fn count(args: &Count, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::read_only(&args.at, CollectionOptions::default())?;
    writeln!(out, "{}", collection.count(args.filter.clone()).wait()?)?;
    Ok(())
}

pub(crate) fn facet(args: &Facet, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::read_only(&args.at, CollectionOptions::default())?;
    let counts = collection.facet(args.field.clone(), args.filter.clone(), args.limit).wait()?;
    for facet in counts {
        writeln!(out, "{}\t{}", facet.count, facet.value)?;
    }
    Ok(())
}
