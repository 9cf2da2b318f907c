//! `vecstore export`: all points as a `.npy` of vectors and JSON lines of ids and payloads.

use crate::args::Export;
use crate::error::CliError;
use crate::open;
use crate::progress::Progress;
use half::f16;
use io_core::{ElementType, StopFlag};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use vecstore::collection::{Collection, CollectionOptions, ScrollRequest, With};

const PAGE: usize = 1000;

pub(crate) fn run(args: &Export, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::read_only(&args.at, CollectionOptions::default())?;
    let vectors = create(&args.vectors)?;
    let exported = create(&args.points).and_then(|points| {
        let exported = write(args, &collection, BufWriter::new(vectors), BufWriter::new(points), stop);
        if exported.is_err() {
            // Half an export is none; the error that led here is the one to report.
            let _ = std::fs::remove_file(&args.points);
        }
        exported
    });
    if exported.is_err() {
        let _ = std::fs::remove_file(&args.vectors);
    }
    writeln!(out, "exported {} points", exported?)?;
    Ok(())
}

fn create(path: &Path) -> Result<File, CliError> {
    File::create_new(path)
        .map_err(|error| CliError::File { path: path.to_owned(), problem: error.to_string() })
}

fn write(
    args: &Export,
    collection: &Collection,
    mut vectors: BufWriter<File>,
    mut points: BufWriter<File>,
    stop: &StopFlag,
) -> Result<u64, CliError> {
    let total = collection.count(None).wait()?;
    let schema = collection.schema();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| CliError::File { path: path.clone(), problem: error.to_string() }
    };
    vectors.write_all(&npy_header(schema.element, total, schema.dim)).map_err(failed(&args.vectors))?;
    let bar = Progress::new("exporting", total);
    let mut request = ScrollRequest { limit: PAGE, with: With::ALL, ..ScrollRequest::default() };
    let mut done = 0;
    loop {
        if stop.is_stopped() {
            return Err(vecstore::error::Error::Stopped.into());
        }
        let page = collection.scroll(request.clone()).wait()?;
        for record in &page.records {
            for &component in record.vector.iter().flatten() {
                let written = match schema.element {
                    ElementType::F32 => vectors.write_all(&component.to_le_bytes()),
                    ElementType::F16 => vectors.write_all(&f16::from_f32(component).to_le_bytes()),
                    ElementType::U8 => vectors.write_all(&[component as u8]),
                };
                written.map_err(failed(&args.vectors))?;
            }
            writeln!(points, "{}", json!({ "id": record.id, "payload": record.payload }))
                .map_err(failed(&args.points))?;
        }
        done += page.records.len() as u64;
        bar.set(done);
        match page.next {
            Some(next) => request.page = Some(next),
            None => break,
        }
    }
    vectors.flush().map_err(failed(&args.vectors))?;
    points.flush().map_err(failed(&args.points))?;
    Ok(done)
}

/// The header of a two-dimensional `.npy` in C order, version 1.0.
fn npy_header(element: ElementType, rows: u64, columns: u32) -> Vec<u8> {
    let descr = match element {
        ElementType::F32 => "<f4",
        ElementType::F16 => "<f2",
        ElementType::U8 => "|u1",
    };
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // The data begins at a multiple of 64, after a newline.
    let unpadded = 10 + dict.len() + 1;
    dict.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    dict.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    header.extend_from_slice(dict.as_bytes());
    header
}
