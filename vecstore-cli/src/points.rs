//! Commands about single points: `upsert`, `delete`, `get`, `scroll`, `count`, `facet`.

use crate::args::{Count, Delete, Facet, Get, Scroll, Upsert};
use crate::counted::Counted;
use crate::error::{CliError, WrittenLines};
use crate::text::{BATCH_BYTES, Lines};
use crate::{maintain, open};
use io_core::StopFlag;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, Record, RecordParts, ScrollRequest, Selection,
};
use vecstore::error::Error;
use vecstore::point::{Point, PointId};

/// Points of a batch.
const BATCH: usize = 256;
/// Points of a page of a scroll.
const PAGE: usize = 1000;

/// Points of one write.
#[derive(Default)]
struct Batch {
    points: Vec<Point>,
    ids: BTreeSet<PointId>,
    /// Length of their lines in bytes.
    bytes: usize,
    /// The numbers of their lines, in ascending order.
    lines: Vec<u64>,
}

impl Batch {
    fn push(&mut self, point: Point, line: u64, bytes: usize) {
        self.lines.push(line);
        self.bytes += bytes;
        self.ids.insert(point.id);
        self.points.push(point);
    }
}

/// The progress of an upsert.
#[derive(Default)]
struct Written {
    points: u64,
    lines: WrittenLines,
}

impl Written {
    fn put(&mut self, collection: &Collection, batch: &mut Batch, lines: &Lines) -> Result<(), CliError> {
        let Batch { mut points, lines: numbers, .. } = std::mem::take(batch);
        let Some(&last) = numbers.last() else { return Ok(()) };
        match collection.upsert(points.clone(), Durability::Synced).wait() {
            Ok(put) => self.points += put.points,
            // The error names the point, and only this code knows its line.
            Err(Error::Input(error)) => {
                let wrong = points.iter().position(|point| error.point() == Some(point.id)).unwrap_or(0);
                let problem = format!("line {}: {error}", numbers[wrong]);
                points.truncate(wrong);
                let mut before = Batch { points, lines: numbers[..wrong].to_vec(), ..Batch::default() };
                self.put(collection, &mut before, lines)?;
                return Err(lines.failed(problem));
            }
            Err(error) => {
                // After a failed sync, it is unknown which points of the batch are on the disk.
                self.lines.maybe_to = last;
                return Err(error.into());
            }
        }
        self.lines.to = last;
        Ok(())
    }

    /// Writes the points of all lines, or of those before the first wrong one.
    fn put_all(&mut self, collection: &Collection, lines: &mut Lines) -> Result<(), CliError> {
        let mut batch = Batch::default();
        loop {
            let (point, bytes) = match next_point(lines) {
                Ok(Some(next)) => next,
                end => {
                    self.put(collection, &mut batch, lines)?;
                    return end.map(drop);
                }
            };
            // A later line with the same id must replace the earlier one.
            let is_full = batch.points.len() == BATCH || batch.bytes >= BATCH_BYTES;
            if is_full || batch.ids.contains(&point.id) {
                self.put(collection, &mut batch, lines)?;
            }
            batch.push(point, lines.number, bytes);
        }
    }
}

/// The point of the next non-empty line, and the line's length in bytes.
fn next_point(lines: &mut Lines) -> Result<Option<(Point, usize)>, CliError> {
    while let Some(line) = lines.next()? {
        if !line.trim().is_empty() {
            let point = lines.object(&line)?;
            return Ok(Some((point, line.len())));
        }
    }
    Ok(None)
}

pub(crate) fn upsert(args: &Upsert, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    if args.points.as_deref() == Some("-".as_ref()) {
        let problem = "- is no file of points: leave POINTS out to read standard input";
        return Err(CliError::Usage(problem.to_owned()));
    }
    let mut lines = Lines::open(args.points.as_deref(), stop)?;
    let collection = open::writable(&args.at, &args.thresholds.options())?;
    let mut written = Written::default();
    if let Err(error) = written.put_all(&collection, &mut lines) {
        // The earlier error is reported instead.
        let _ = collection.close();
        return Err(CliError::Upsert { source: Box::new(error), written: written.lines });
    }
    writeln!(out, "{}", Counted(written.points, "point"))?;
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
    writeln!(out, "{} deleted", Counted(deleted.points, "point"))?;
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
                // The token is not part of the output, so that readers of points get only points.
                let _ = writeln!(std::io::stderr(), "next page: --page {next}");
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

pub(crate) fn count(args: &Count, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::read_only(&args.at, CollectionOptions::default())?;
    let count = collection.count(args.filter.clone()).wait()?;
    if args.json {
        writeln!(out, "{}", json!({ "count": count }))?;
    } else {
        writeln!(out, "{count}")?;
    }
    Ok(())
}

pub(crate) fn facet(args: &Facet, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::read_only(&args.at, CollectionOptions::default())?;
    let counts = collection.facet(args.field.clone(), args.filter.clone(), args.limit).wait()?;
    for facet in counts {
        if args.json {
            writeln!(out, "{}", json!({ "count": facet.count, "value": facet.value }))?;
        } else {
            writeln!(out, "{}\t{}", facet.count, facet.value)?;
        }
    }
    Ok(())
}
