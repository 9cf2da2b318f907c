//! `vecstore import`: vectors from one file, payloads from another; or points from a Parquet file.

use crate::args::Import;
use crate::error::CliError;
use crate::progress::Progress;
use crate::{maintain, open, vectors};
use io_core::StopFlag;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use vecstore::collection::{Collection, Durability};
use vecstore::error::Error;
use vecstore::input::{VectorInput, VectorSource};
use vecstore::point::{Payload, Point, PointId};

/// Points of a batch.
const BATCH: usize = 256;

pub(crate) fn run(args: &Import, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let mut source = source(args)?;
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
    // After an error too: what is said to be there is to stay there.
    let synced = collection.sync().wait();
    let known = synced.is_ok().then_some(imported);
    if let Err(cause) = put.and_then(|()| Ok(synced?)) {
        // There is one to report already.
        let _ = collection.close();
        return Err(CliError::Import { cause: Box::new(cause), imported: known, total: source.total() });
    }
    writeln!(out, "imported {imported} points in {:.1} s", started.elapsed().as_secs_f64())?;
    if imported > 0 && !args.no_optimize {
        tidy(args, &collection, imported, stop, out)
            .map_err(|cause| CliError::NotOptimized { cause: Box::new(cause) })?;
    }
    collection.close()?;
    Ok(())
}

/// Puts all points in; `imported` counts those that are.
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
        let Some(last) = (points.len() as u64).checked_sub(1) else { return Ok(()) };
        match collection.upsert(points, Durability::Written).wait() {
            Ok(written) => *imported += written.points,
            // Which point it is, the error says; where it is, only we know.
            Err(Error::Input(error)) => {
                let problem = format!("in vectors {} to {}: {error}", *imported, *imported + last);
                return Err(CliError::File { path: args.vectors.clone(), problem });
            }
            Err(error) => return Err(error.into()),
        }
        bar.set(*imported);
    }
}

/// Merges everything where most of it is new; else seals what is in memory and does what the thresholds ask for.
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

/// Where points come from.
trait Source {
    fn total(&self) -> u64;
    /// Components of its vectors, if that is known before they are read.
    fn dim(&self) -> Option<usize>;
    /// The next points, up to a batch; none at the end.
    fn next_points(&mut self) -> Result<Vec<Point>, CliError>;
}

fn source(args: &Import) -> Result<Box<dyn Source + '_>, CliError> {
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
    let lines = args.payload.as_deref().map(Lines::open).transpose()?;
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
        let mut points = Vec::with_capacity(BATCH);
        while points.len() < BATCH {
            match self.next()? {
                Some(point) => points.push(point),
                None => break,
            }
        }
        Ok(points)
    }
}

/// Vectors of one file, and payloads and ids of another, or none.
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
            if let Some(lines) = &mut self.lines {
                lines.check_end(total)?;
            }
            return Ok(Vec::new());
        }
        let rows = self.input.next_rows(BATCH)?.to_f32();
        let mut points = Vec::with_capacity(BATCH);
        for row in rows.chunks_exact(dim) {
            let counted = PointId::Num(self.first_id + self.done);
            let (id, payload) = match &mut self.lines {
                None => (counted, Payload::new()),
                Some(lines) => lines.next(self.args, counted, total)?,
            };
            points.push(Point { id, vector: row.to_vec(), payload });
            self.done += 1;
        }
        Ok(points)
    }
}

/// The payload file, line by line.
struct Lines {
    path: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    number: u64,
}

/// A line of what `export` writes.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct IdAndPayload {
    id: PointId,
    #[serde(default)]
    payload: Payload,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, CliError> {
        let file = File::open(path)
            .map_err(|error| CliError::File { path: path.to_owned(), problem: error.to_string() })?;
        Ok(Self { path: path.to_owned(), lines: BufReader::new(file).lines(), number: 0 })
    }

    fn wrong(&self, problem: impl std::fmt::Display) -> CliError {
        CliError::File { path: self.path.clone(), problem: format!("line {}: {problem}", self.number) }
    }

    /// Id and payload of the next vector; `counted` is its id where none is given.
    fn next(&mut self, args: &Import, counted: PointId, total: u64) -> Result<(PointId, Payload), CliError> {
        self.number += 1;
        let line = match self.lines.next() {
            Some(line) => line.map_err(|error| self.wrong(error))?,
            None => {
                let problem = format!("it has {} lines, and there are {total} vectors", self.number - 1);
                return Err(CliError::File { path: self.path.clone(), problem });
            }
        };
        if args.points {
            let point: IdAndPayload = serde_json::from_str(&line).map_err(|error| self.wrong(error))?;
            return Ok((point.id, point.payload));
        }
        let payload: Payload = serde_json::from_str(&line).map_err(|error| self.wrong(error))?;
        let id = match &args.id_field {
            None => counted,
            Some(field) => {
                let id =
                    payload.get(field).ok_or_else(|| self.wrong(format!("there is no field {field}")))?;
                serde_json::from_value(id.clone()).map_err(|_| {
                    self.wrong(format!("{field} is {id}, which is no point id: a number or a UUID"))
                })?
            }
        };
        Ok((id, payload))
    }

    fn check_end(&mut self, total: u64) -> Result<(), CliError> {
        if self.lines.next().is_none() {
            return Ok(());
        }
        let problem = format!("it has more than {total} lines, and there are {total} vectors");
        Err(CliError::File { path: self.path.clone(), problem })
    }
}
