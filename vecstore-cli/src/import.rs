//! `vecstore import`: vectors from one file and payloads from another one, or points from a Parquet file.

use crate::args::Import;
use crate::counted::Counted;
use crate::error::CliError;
use crate::progress::Progress;
use crate::text::{BATCH_BYTES, Lines};
use crate::{maintain, open, vectors};
use io_core::StopFlag;
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::time::Instant;
use vecstore::collection::{Collection, Durability};
use vecstore::error::Error;
use vecstore::input::{VectorInput, VectorSource};
use vecstore::point::{Payload, Point, PointId};

/// Points of a batch.
const BATCH: usize = 256;

pub(crate) fn run(args: &Import, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let mut source = source(args, stop)?;
    let collection = open::writable(&args.at, &args.thresholds.options())?;
    let (found, dim) = (source.dim(), collection.schema().dim as usize);
    if found.is_some_and(|found| found != dim) {
        let found = found.unwrap_or_default();
        let problem = format!("its vectors have {found} components, and the collection's have {dim}");
        return Err(CliError::File { path: args.vectors.clone(), problem });
    }
    let started = Instant::now();
    let mut imported = 0;
    let put = put_all(args, &mut *source, &collection, stop, &mut imported);
    // Syncs even after an error, so that the reported points are durable.
    let synced = collection.sync().wait();
    let known = synced.is_ok().then_some(imported);
    if let Err(error) = put.and_then(|()| Ok(synced?)) {
        // The earlier error is reported instead.
        let _ = collection.close();
        let (total, optimize) = (source.total(), !args.no_optimize);
        return Err(CliError::Import { source: Box::new(error), imported: known, total, optimize });
    }
    writeln!(out, "imported {} in {:.1} s", Counted(imported, "point"), started.elapsed().as_secs_f64())?;
    if imported > 0 && !args.no_optimize {
        tidy(args, &collection, imported, stop, out)
            .map_err(|error| CliError::NotOptimized { source: Box::new(error) })?;
    }
    collection.close()?;
    Ok(())
}

/// Writes all points. `imported` counts those written.
fn put_all(
    args: &Import,
    source: &mut dyn Source,
    collection: &Collection,
    stop: &StopFlag,
    imported: &mut u64,
) -> Result<(), CliError> {
    let bar = Progress::new("importing", source.total());
    loop {
        if stop.is_stopped() {
            return Err(Error::Stopped.into());
        }
        let points = source.next_points()?;
        if points.is_empty() {
            return Ok(());
        }
        for points in without_repeats(points) {
            let ids: Vec<_> = points.iter().map(|point| point.id).collect();
            match collection.upsert(points, Durability::Written).wait() {
                Ok(written) => *imported += written.points,
                // The error names the point, and only this code knows its place in the file.
                Err(Error::Input(error)) => {
                    let problem = match ids.iter().position(|&id| error.point() == Some(id)) {
                        Some(wrong) => format!("in vector {}: {error}", *imported + wrong as u64),
                        None => error.to_string(),
                    };
                    return Err(CliError::File { path: args.vectors.clone(), problem });
                }
                Err(error) => return Err(error.into()),
            }
            bar.set(*imported);
        }
    }
}

/// Splits points into batches that have no id twice, so that a later point replaces an earlier one wherever
/// the batches of the input end.
fn without_repeats(points: Vec<Point>) -> Vec<Vec<Point>> {
    let (mut batches, mut ids) = (vec![Vec::with_capacity(points.len())], HashSet::new());
    for point in points {
        if !ids.insert(point.id) {
            ids = HashSet::from([point.id]);
            batches.push(Vec::new());
        }
        batches.last_mut().expect("one at least").push(point);
    }
    batches
}

/// Merges everything if most of it is new. Otherwise seals the points in memory and does what the thresholds
/// ask for.
fn tidy(
    args: &Import,
    collection: &Collection,
    imported: u64,
    stop: &StopFlag,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let started = Instant::now();
    let merge = args.optimize || imported > collection.info()?.points / 2;
    if merge {
        maintain::optimize(collection, stop)?;
    } else {
        maintain::seal(collection, stop)?;
        maintain::settle(collection, stop)?;
    }
    let done = if merge { "optimized" } else { "sealed" };
    writeln!(out, "{done} in {:.1} s", started.elapsed().as_secs_f64())?;
    Ok(())
}

/// A source of points.
trait Source {
    fn total(&self) -> u64;
    /// Components of its vectors, if known before reading them.
    fn dim(&self) -> Option<usize>;
    /// The next points, up to a batch. Empty at the end.
    fn next_points(&mut self) -> Result<Vec<Point>, CliError>;
}

fn source<'a>(args: &'a Import, stop: &StopFlag) -> Result<Box<dyn Source + 'a>, CliError> {
    if args.vectors.extension().is_some_and(|extension| extension == "parquet") {
        if args.payload.is_some() || args.first_id.is_some() || args.format.format.is_some() {
            let problem =
                "a Parquet file holds ids and payloads too; leave --payload, --first-id and --format out";
            return Err(CliError::File { path: args.vectors.clone(), problem: problem.to_owned() });
        }
        return parquet_source(&args.vectors);
    }
    let input = vectors::open(&args.vectors, &args.format)?;
    let first_id = args.first_id.unwrap_or(0);
    if first_id.checked_add(input.count().saturating_sub(1)).is_none() {
        return Err(CliError::Usage(format!(
            "--first-id {first_id}: its {} vectors would have ids above {}; choose a smaller one",
            input.count(),
            u64::MAX
        )));
    }
    let lines = args.payload.as_deref().map(|path| Lines::open(Some(path), stop)).transpose()?;
    Ok(Box::new(VectorsAndLines { args, first_id, input, lines, done: 0 }))
}

#[cfg(feature = "parquet")]
fn parquet_source(path: &Path) -> Result<Box<dyn Source>, CliError> {
    Ok(Box::new(crate::parquet::Reader::open(path)?))
}

#[cfg(not(feature = "parquet"))]
fn parquet_source(path: &Path) -> Result<Box<dyn Source>, CliError> {
    Err(CliError::File { path: path.to_owned(), problem: crate::error::NO_PARQUET.to_owned() })
}

#[cfg(feature = "parquet")]
impl Source for crate::parquet::Reader {
    fn total(&self) -> u64 {
        self.rows
    }

    fn dim(&self) -> Option<usize> {
        None
    }

    fn next_points(&mut self) -> Result<Vec<Point>, CliError> {
        let (mut points, mut bytes) = (Vec::with_capacity(BATCH), 0);
        while points.len() < BATCH && bytes < BATCH_BYTES {
            let Some((point, payload_bytes)) = self.next()? else { break };
            points.push(point);
            bytes += payload_bytes;
        }
        Ok(points)
    }
}

/// Vectors from one file. Payloads and ids come from another one, if given.
struct VectorsAndLines<'a> {
    args: &'a Import,
    first_id: u64,
    input: VectorInput,
    lines: Option<Lines>,
    done: u64,
}

impl Source for VectorsAndLines<'_> {
    fn total(&self) -> u64 {
        self.input.count()
    }

    fn dim(&self) -> Option<usize> {
        Some(self.input.dim())
    }

    fn next_points(&mut self) -> Result<Vec<Point>, CliError> {
        let (total, dim) = (self.input.count(), self.input.dim());
        if self.done == total {
            let Some(lines) = &mut self.lines else { return Ok(Vec::new()) };
            // Empty lines at the end do not count.
            while let Some(line) = lines.next()? {
                if !line.trim().is_empty() {
                    let problem = format!(
                        "it has more than {total} lines, and there are {total} vectors: the files do not belong together"
                    );
                    return Err(lines.failed(problem));
                }
            }
            return Ok(Vec::new());
        }
        let most = (BATCH as u64).min(total - self.done);
        let (mut payloads, mut bytes) = (Vec::new(), 0);
        while (payloads.len() as u64) < most && bytes < BATCH_BYTES {
            let counted = PointId::Num(self.first_id + self.done + payloads.len() as u64);
            payloads.push(match &mut self.lines {
                None => (counted, Payload::new()),
                Some(lines) => {
                    let Some(line) = lines.next()? else {
                        let there = lines.number - 1;
                        return Err(
                            lines.failed(format!("it has {there} lines, and there are {total} vectors"))
                        );
                    };
                    bytes += line.len();
                    id_and_payload(self.args, lines, &line, counted)?
                }
            });
        }
        self.done += payloads.len() as u64;
        let rows = self.input.next_rows(payloads.len())?.to_f32();
        let point = |((id, payload), row): (_, &[f32])| Point { id, vector: row.to_vec(), payload };
        Ok(payloads.into_iter().zip(rows.chunks_exact(dim)).map(point).collect())
    }
}

/// A line as `export` writes it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct IdAndPayload {
    id: PointId,
    #[serde(default)]
    payload: Payload,
}

/// The id and payload of a line. `counted` is the id if the line has none.
fn id_and_payload(
    args: &Import,
    lines: &Lines,
    line: &str,
    counted: PointId,
) -> Result<(PointId, Payload), CliError> {
    if args.points {
        let point: IdAndPayload = lines.object(line)?;
        return Ok((point.id, point.payload));
    }
    let payload: Payload = serde_json::from_str(line).map_err(|error| lines.wrong_json(&error))?;
    let id = match &args.id_field {
        None => counted,
        Some(field) => {
            let id = payload.get(field).ok_or_else(|| lines.wrong(format!("there is no field {field}")))?;
            serde_json::from_value(id.clone()).map_err(|_| {
                lines.wrong(format!("{field} is {id}, which is no point id: a number or a UUID"))
            })?
        }
    };
    Ok((id, payload))
}

#[test]
fn a_batch_ends_before_an_id_that_it_has() {
    let batches = |ids: &[u64]| {
        let points = ids.iter().map(|&id| Point::new(id, Vec::new())).collect();
        let batches = without_repeats(points).into_iter();
        batches.map(|batch| batch.into_iter().map(|point| point.id).collect()).collect::<Vec<Vec<PointId>>>()
    };
    let ids = |ids: &[u64]| ids.iter().map(|&id| PointId::Num(id)).collect::<Vec<_>>();
    assert_eq!(batches(&[1, 2, 3]), [ids(&[1, 2, 3])]);
    assert_eq!(batches(&[1, 2, 1, 3, 2, 3, 3]), [ids(&[1, 2]), ids(&[1, 3, 2]), ids(&[3]), ids(&[3])]);
}
