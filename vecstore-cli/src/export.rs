//! `vecstore export`: all points as a `.npy` of vectors and JSON lines of ids and payloads, or as one Parquet
//! file.

use crate::args::Export;
use crate::counted::Counted;
use crate::error::CliError;
use crate::progress::Progress;
use crate::{open, paths};
use half::f16;
use io_core::{Directory, StdDirectory, StopFlag};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use vecstore::collection::{Collection, CollectionOptions, Record, RecordParts, ScrollRequest};
use vecstore::error::Error;
use vecstore::schema::ElementType;

/// Points of a page, and of a row group in Parquet.
const PAGE: usize = 1000;

/// The target of an export.
trait Sink {
    /// Writes a page of points with vectors and payloads.
    fn page(&mut self, records: &[Record]) -> Result<(), CliError>;
    /// Writes the rest.
    fn finish(self: Box<Self>) -> Result<(), CliError>;
}

pub(crate) fn run(args: &Export, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::read_only(&args.at, CollectionOptions::default())?;
    for path in [Some(&args.vectors), args.points.as_ref()].into_iter().flatten() {
        paths::check_parent(path)?;
        // Inside the collection, the file could have the name of a leftover and be removed.
        if StdDirectory.is_within(path, &args.at.collection).map_err(Error::from)? {
            let collection = args.at.collection.clone();
            return Err(Error::Inside { path: path.clone(), collection }.into());
        }
    }
    let total = collection.count(None).wait()?;
    let mut created = Created::default();
    let mut sink = sink(args, &collection, total, &mut created)?;
    let bar = Progress::new("exporting", total);
    let mut request = ScrollRequest { limit: PAGE, with: RecordParts::ALL, ..ScrollRequest::default() };
    let mut done = 0;
    loop {
        if stop.is_stopped() {
            return Err(Error::Stopped.into());
        }
        let page = collection.scroll(request.clone()).wait()?;
        sink.page(&page.records)?;
        done += page.records.len() as u64;
        bar.set(done);
        match page.next {
            Some(next) => request.page = Some(next),
            None => break,
        }
    }
    sink.finish()?;
    drop(bar);
    created.keep();
    writeln!(out, "exported {}", Counted(done, "point"))?;
    Ok(())
}

/// The files of an export. If it does not complete, they are removed, because half an export is useless.
#[derive(Default)]
struct Created(Vec<PathBuf>);

impl Created {
    /// Creates a new file. The path to it may contain links, but the file itself may not be one.
    fn create(&mut self, path: &Path) -> Result<File, CliError> {
        let file = File::create_new(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => failed(path, "exists already: choose another path"),
            _ => failed(path, error),
        })?;
        self.0.push(path.to_owned());
        Ok(file)
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        for path in &self.0 {
            // The earlier error is reported instead.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn failed(path: &Path, problem: impl std::fmt::Display) -> CliError {
    CliError::File { path: path.to_owned(), problem: problem.to_string() }
}

fn sink(
    args: &Export,
    collection: &Collection,
    total: u64,
    created: &mut Created,
) -> Result<Box<dyn Sink>, CliError> {
    if args.vectors.extension().is_some_and(|extension| extension == "parquet") {
        if let Some(points) = &args.points {
            return Err(failed(points, "a Parquet file holds everything; leave this one out"));
        }
        return parquet_sink(&args.vectors, created);
    }
    let Some(points) = &args.points else {
        return Err(failed(&args.vectors, "holds vectors only; also name a file for ids and payloads"));
    };
    if paths::is_same(&args.vectors, points) {
        return Err(failed(points, "the two files are the same: give two names"));
    }
    // `import` and others tell the format by the name.
    if args.vectors.extension().is_none_or(|extension| extension != "npy") {
        return Err(failed(&args.vectors, "vectors are written as .npy: choose a name that ends with it"));
    }
    let schema = collection.schema();
    let mut vectors = BufWriter::new(created.create(&args.vectors)?);
    let header = npy_header(schema.element, total, schema.dim);
    vectors.write_all(&header).map_err(|error| failed(&args.vectors, error))?;
    Ok(Box::new(NpyAndLines {
        element: schema.element,
        vectors,
        vectors_path: args.vectors.clone(),
        points: BufWriter::new(created.create(points)?),
        points_path: points.clone(),
    }))
}

#[cfg(feature = "parquet")]
fn parquet_sink(path: &Path, created: &mut Created) -> Result<Box<dyn Sink>, CliError> {
    let writer = crate::parquet::Writer::new(path, created.create(path)?)?;
    Ok(Box::new(writer))
}

#[cfg(not(feature = "parquet"))]
fn parquet_sink(path: &Path, _created: &mut Created) -> Result<Box<dyn Sink>, CliError> {
    Err(failed(path, crate::error::NO_PARQUET))
}

#[cfg(feature = "parquet")]
impl Sink for crate::parquet::Writer {
    fn page(&mut self, records: &[Record]) -> Result<(), CliError> {
        self.write(records)
    }

    fn finish(self: Box<Self>) -> Result<(), CliError> {
        self.close()
    }
}

struct NpyAndLines {
    element: ElementType,
    vectors: BufWriter<File>,
    vectors_path: PathBuf,
    points: BufWriter<File>,
    points_path: PathBuf,
}

impl Sink for NpyAndLines {
    fn page(&mut self, records: &[Record]) -> Result<(), CliError> {
        for record in records {
            for &component in record.vector.iter().flatten() {
                let written = match self.element {
                    ElementType::F32 => self.vectors.write_all(&component.to_le_bytes()),
                    ElementType::F16 => self.vectors.write_all(&f16::from_f32(component).to_le_bytes()),
                    ElementType::U8 => self.vectors.write_all(&[component as u8]),
                };
                written.map_err(|error| failed(&self.vectors_path, error))?;
            }
            let line = json!({ "id": record.id, "payload": record.payload });
            writeln!(self.points, "{line}").map_err(|error| failed(&self.points_path, error))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), CliError> {
        self.vectors.flush().map_err(|error| failed(&self.vectors_path, error))?;
        self.points.flush().map_err(|error| failed(&self.points_path, error))
    }
}

/// The header of a two-dimensional `.npy` in C order, version 1.0.
fn npy_header(element: ElementType, rows: u64, columns: u32) -> Vec<u8> {
    let descr = match element {
        ElementType::F32 => "<f4",
        ElementType::F16 => "<f2",
        ElementType::U8 => "|u1",
    };
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // The data begin at a multiple of 64, after a newline.
    let unpadded = 10 + dict.len() + 1;
    dict.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    dict.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    header.extend_from_slice(dict.as_bytes());
    header
}
