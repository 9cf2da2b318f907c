//! `vecstore advise`: measures the disk of a directory through every backend, and recommends a backend and
//! its settings.

mod measure;
mod memory;
mod recommend;

use crate::args::Advise;
use crate::error::CliError;
use crate::paths;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use io_core::StopFlag;
use measure::{Bench, Measured, Reads, WRITTEN};
use recommend::{Advice, Sizes, recommend, shown};
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use vecstore::schema::{Placement, Placements};

const MIB: u64 = 1 << 20;
const GIB: f64 = (1u64 << 30) as f64;
/// The assumed ratio of data to memory, if the size of the data is not given.
const TIMES_MEMORY: f64 = 4.0;

pub(crate) fn run(args: &Advise, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let memory_gib = match args.memory_gib {
        Some(memory) => memory,
        None => memory()?,
    };
    let data_gib = args.data_gib.unwrap_or(TIMES_MEMORY * memory_gib);
    let sizes = Sizes { data_gib, memory_gib, vector_bytes: args.vector_bytes };
    let file_bytes = u64::from(args.size_mib) * MIB;
    let failed = |problem| CliError::File { path: args.path.clone(), problem };
    paths::check_directory(&args.path)?;
    let directory = tempfile::Builder::new()
        .prefix("vecstore-advise-")
        .tempdir_in(&args.path)
        .map_err(|error| failed(format!("cannot make a directory here: {error}")))?;
    check_space(&args.path, file_bytes + WRITTEN)?;
    let bench = Bench {
        dir: directory.path(),
        file_bytes,
        vector_bytes: args.vector_bytes,
        time: Duration::from_secs(args.seconds),
        stop,
    };
    let measured = bench.run(&args.backend.kinds());
    // Also if measuring failed or was stopped.
    directory.close().map_err(|error| failed(format!("cannot remove what was measured with: {error}")))?;
    let measured = measured?;
    let advice = recommend(&measured, &sizes);
    if args.json {
        let shown = serde_json::json!({ "sizes": sizes, "measured": measured, "advice": advice });
        writeln!(out, "{shown}")?;
    } else {
        write_measured(out, args, &measured)?;
    }
    let advice = advice.ok_or(CliError::NoBackend)?;
    if !args.json {
        if args.data_gib.is_none() {
            writeln!(
                out,
                "\nThe advice is for {data_gib:.0} GiB of vectors, {TIMES_MEMORY} times the memory. Give the size of yours with --data-gib."
            )?;
        }
        write_advice(out, &advice)?;
    }
    Ok(())
}

/// The memory that this process may use, in GiB.
fn memory() -> Result<f64, CliError> {
    let unknown = "this system does not tell how much memory it has; give --memory-gib";
    memory::bytes().map(|bytes| bytes as f64 / GIB).ok_or_else(|| CliError::Usage(unknown.to_owned()))
}

#[cfg(target_os = "linux")]
fn check_space(path: &Path, needed: u64) -> Result<(), CliError> {
    let failed = |problem| CliError::File { path: path.to_owned(), problem };
    let system = rustix::fs::statvfs(path).map_err(|error| failed(error.to_string()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if free < needed {
        let (free, needed) = (free / MIB, needed.div_ceil(MIB));
        return Err(failed(format!(
            "{free} MiB are free, and {needed} are needed; free some, or measure with less (--size-mib)"
        )));
    }
    Ok(())
}

/// On other systems, a full disk is noticed only when it is written to.
#[cfg(not(target_os = "linux"))]
fn check_space(_path: &Path, _needed: u64) -> Result<(), CliError> {
    Ok(())
}

fn table(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn write_measured(out: &mut impl Write, args: &Advise, measured: &Measured) -> Result<(), CliError> {
    writeln!(
        out,
        "{} MiB in {}, vectors of {} bytes at random places, one thread; medians of the rounds (least..most)\n",
        args.size_mib,
        args.path.display(),
        args.vector_bytes
    )?;
    if !measured.reads.is_empty() {
        let depths = measure::DEPTHS.map(|depth| format!("depth {depth}"));
        let header = ["cold reads/s", "mode"].map(str::to_owned).into_iter().chain(depths);
        let mut cold = table(header.chain(["CPU us/read".to_owned(), "warm reads/s".to_owned()]).collect());
        for reads in &measured.reads {
            cold.add_row(row(reads));
        }
        writeln!(out, "{}\n", cold.trim_fmt())?;
    }
    if !measured.writes.is_empty() {
        let header = ["writes", "durable writes/s", "MiB/s from front to back"].map(str::to_owned);
        let mut table = table(header.to_vec());
        for writes in &measured.writes {
            table.add_row([
                writes.backend.to_owned(),
                shown(writes.durable_writes_per_second),
                shown(writes.sequential_mib_per_second),
            ]);
        }
        writeln!(out, "{}", table.trim_fmt())?;
    }
    for choice in &measured.choices {
        writeln!(out, "{choice}")?;
    }
    for skipped in &measured.skipped {
        let mode = if skipped.direct { ", past the page cache" } else { "" };
        writeln!(out, "skipped {}{mode}: {}", skipped.backend, skipped.reason)?;
    }
    Ok(())
}

/// A map has no depth, and so only one figure.
fn row(reads: &Reads) -> Vec<String> {
    let mut row = vec![reads.backend.to_owned(), reads.mode.clone()];
    row.extend(reads.cold.iter().map(|at| format!("{:.0}", at.reads_per_second.median)));
    row.resize(2 + measure::DEPTHS.len(), "-".to_owned());
    let cpu = reads.cold.last().map(|at| format!("{:.1}", at.cpu_us_per_read.median));
    row.push(cpu.unwrap_or_default());
    row.push(reads.warm_reads_per_second.map_or_else(|| "-".to_owned(), shown));
    row
}

fn write_advice(out: &mut impl Write, advice: &Advice) -> Result<(), CliError> {
    let mode = if advice.direct { "past the page cache" } else { "through the page cache" };
    let depth = advice.queue_depth.map_or_else(String::new, |depth| format!(", queue depth {depth}"));
    writeln!(out, "\nTake {}, {mode}{depth}.", advice.backend)?;
    for reason in &advice.reasons {
        writeln!(out, "* {reason}")?;
    }
    writeln!(out, "\n{}\n{}\n{}", create(advice), search(advice), library(advice))?;
    Ok(())
}

fn create(advice: &Advice) -> String {
    let Placements { vectors, codes, graph, .. } = advice.placement;
    let place = |part: &str, place: Placement| {
        let place = match place {
            Placement::Cold => "cold",
            Placement::Cached => "cached",
            Placement::Pinned => "pinned",
        };
        format!(" --place {part}={place}")
    };
    let placed = [("vectors", vectors), ("codes", codes), ("graph", graph)].map(|(part, at)| place(part, at));
    let (backend, quantization) = (advice.backend, advice.quantization);
    format!(
        "vecstore create NAME --dim N --backend {backend} --quantization {quantization}{}",
        placed.concat()
    )
}

fn search(advice: &Advice) -> String {
    let direct = if advice.direct { " --direct" } else { "" };
    let depth = advice.queue_depth.map_or_else(String::new, |depth| format!(" --queue-depth {depth}"));
    format!("vecstore search NAME QUERIES --backend {}{direct}{depth}", advice.backend)
}

fn library(advice: &Advice) -> String {
    let depth = advice.queue_depth.map_or_else(String::new, |depth| format!(".with_queue_depth({depth})"));
    let direct = if advice.direct { "direct" } else { "default" };
    format!("CollectionOptions {{ open: OpenOptions::{direct}(){depth}, ..CollectionOptions::default() }}")
}
