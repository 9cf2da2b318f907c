//! `vecstore advise`: what a disk gives to each backend, and what follows from that.

mod measure;
mod recommend;

use crate::args::Advise;
use crate::error::CliError;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use io_core::StopFlag;
use measure::{Measured, measure};
use recommend::{Advice, Machine, recommend};
use std::io::Write;

const GIB: f64 = (1u64 << 30) as f64;

pub(crate) fn run(args: &Advise, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let memory = args.memory_gib.or_else(memory_gib).unwrap_or(1.0);
    // Unknown data are taken to be more than memory: the others need no advice.
    let machine = Machine { memory_gib: memory, data_gib: args.data_gib.unwrap_or(4.0 * memory) };
    let measured = measure(args, stop)?;
    let advice = recommend(&measured, machine)?;
    if args.json {
        let all = serde_json::json!({ "machine": machine, "measured": measured, "advice": advice });
        writeln!(out, "{all}")?;
        return Ok(());
    }
    print(&measured, &advice, machine, args, out)
}

fn print(
    measured: &Measured,
    advice: &Advice,
    machine: Machine,
    args: &Advise,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "reads",
        "bytes",
        "backend",
        "depth",
        "a second",
        "(min..max)",
        "CPU us a read",
    ]);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for read in &measured.reads {
        table.add_row([
            read.way.to_string(),
            read.len.to_string(),
            read.backend.clone(),
            read.depth.to_string(),
            format!("{:.0}", read.rate.median),
            format!("{:.0}..{:.0}", read.rate.min, read.rate.max),
            format!("{:.2}", read.cpu_us.median),
        ]);
    }
    writeln!(
        out,
        "{}: a file of {} MiB, {} rounds\n\n{table}\n",
        args.path.display(),
        measured.file_mib,
        measured.rounds
    )?;
    for (backend, reason) in &measured.refused {
        writeln!(out, "{backend} cannot be used here: {reason}")?;
    }
    writeln!(out, "durable writes of 4 KiB, one after the other: {:.0} a second", measured.syncs)?;
    writeln!(out, "writing from front to back, synced: {:.0} MiB/s", measured.written_mib)?;
    let of = if args.data_gib.is_some() { "" } else { " (not given: --data-gib)" };
    writeln!(
        out,
        "\nFor {:.1} GiB of vectors{of} and {:.1} GiB of memory:\n",
        machine.data_gib, machine.memory_gib
    )?;
    for reason in &advice.reasons {
        writeln!(out, "- {reason}")?;
    }
    writeln!(out, "\nIn the shell, with a collection C:\n")?;
    writeln!(out, "  vecstore create C --dim DIM {}", advice.create_options())?;
    writeln!(out, "  vecstore search C QUERIES {}", advice.search_options())?;
    writeln!(
        out,
        "\nIn code: OpenOptions {{ direct: {}, queue_depth: {}, gap_max: {}, ..OpenOptions::default() }}",
        advice.direct, advice.queue_depth, advice.gap_max
    )?;
    Ok(())
}

/// The machine's, where the system tells it.
fn memory_gib() -> Option<f64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / GIB)
}
