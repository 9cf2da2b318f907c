//! Commands that look after a collection: `optimize`, `defragment`, `snapshot`, `restore`, `verify`,
//! `repair`.

use crate::args::{FromTo, Maintain, Optimize, Repair, read_schema};
use crate::counted::Counted;
use crate::error::CliError;
use crate::progress::OptimizeBars;
use crate::{open, paths};
use io_core::{StartError, StopFlag, with_causes};
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};
use vecstore::collection::{Collection, CollectionOptions, Locality, OptimizeReport, Pending};
use vecstore::error::Error;

/// Time between two looks for an interrupt.
const TICK: Duration = Duration::from_millis(50);

/// Seals and merges everything, until it is done or interrupted.
pub(crate) fn optimize(collection: &Collection, stop: &StopFlag) -> Result<OptimizeReport, CliError> {
    let bars = OptimizeBars::default();
    run_to_end(collection.optimize(bars.reporter()), stop)
}

/// Seals what is in memory, until it is done or interrupted.
pub(crate) fn seal(collection: &Collection, stop: &StopFlag) -> Result<OptimizeReport, CliError> {
    let bars = OptimizeBars::default();
    run_to_end(collection.seal(bars.reporter()), stop)
}

/// Does what the collection's thresholds ask for after a write, so that the next command need not. The writes
/// stay if it is interrupted.
pub(crate) fn settle(collection: &Collection, stop: &StopFlag) -> Result<(), CliError> {
    match run_to_end(collection.settle(), stop) {
        Err(CliError::Store(Error::Stopped)) => Ok(()),
        settled => settled,
    }
}

fn run_to_end<T>(pending: Pending<T>, stop: &StopFlag) -> Result<T, CliError> {
    let flag = pending.stop_flag();
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watching = std::thread::Builder::new().spawn_scoped(scope, move || {
            while waiting.recv_timeout(TICK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                if stop.is_stopped() {
                    flag.stop();
                }
            }
        });
        watching.map_err(|source| {
            Error::Start(StartError::Threads { runtime: "watching for an interrupt", source })
        })?;
        let ended = pending.wait();
        drop(done);
        Ok(ended?)
    })
}

fn print_report(out: &mut impl Write, report: &OptimizeReport, seconds: f64) -> Result<(), CliError> {
    writeln!(
        out,
        "{} became {} in {seconds:.1} s: {} sealed, {} written anew, {} deleted ones left out",
        Counted(report.segments_before, "segment"),
        report.segments_after,
        Counted(report.sealed, "point"),
        report.rewritten,
        report.vacuumed
    )?;
    Ok(())
}

fn report_json(report: &OptimizeReport, seconds: f64) -> serde_json::Value {
    json!({
        "segments_before": report.segments_before,
        "segments_after": report.segments_after,
        "sealed": report.sealed,
        "rewritten": report.rewritten,
        "vacuumed": report.vacuumed,
        "seconds": seconds,
    })
}

/// For commands that call the optimizer themselves, to show its progress and to stop it.
fn not_in_background(options: CollectionOptions) -> CollectionOptions {
    CollectionOptions { background: false, ..options }
}

pub(crate) fn run_optimize(args: &Optimize, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::writable(&args.at, &not_in_background(args.segments.options()))?;
    let started = Instant::now();
    let report = optimize(&collection, stop)?;
    collection.close()?;
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        writeln!(out, "{}", report_json(&report, seconds))?;
        return Ok(());
    }
    print_report(out, &report, seconds)
}

pub(crate) fn run_defragment(args: &Optimize, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let collection = open::writable(&args.at, &not_in_background(args.segments.options()))?;
    let fields = collection.schema().defragment.clone();
    let Some(first) = fields.first().cloned() else {
        return Err(CliError::NoTenant { collection: args.at.collection.clone() });
    };
    // Points in memory have no pages, so this counts only those in segments.
    let before = collection.locality(first.clone()).wait()?;
    let started = Instant::now();
    let report = optimize(&collection, stop)?;
    let after = collection.locality(first.clone()).wait()?;
    collection.close()?;
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        let locality = |found: &Locality| json!({ "values": found.values, "pages_touched": found.pages_touched, "pages_least": found.pages_least });
        let mut line = report_json(&report, seconds);
        line["defragment"] = json!(fields);
        line["before"] = locality(&before);
        line["after"] = locality(&after);
        writeln!(out, "{line}")?;
        return Ok(());
    }
    print_report(out, &report, seconds)?;
    writeln!(
        out,
        "pages touched, over all values of {first}: before {}, after {} (least possible: {})",
        before.pages_touched, after.pages_touched, after.pages_least
    )?;
    Ok(())
}

pub(crate) fn run_snapshot(args: &FromTo, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    paths::check_parent(&args.to)?;
    let collection = open::writable(&args.from, &not_in_background(CollectionOptions::default()))?;
    run_to_end(collection.snapshot(&args.to), stop)?;
    collection.close()?;
    writeln!(out, "snapshot in {}", args.to.display())?;
    Ok(())
}

pub(crate) fn run_restore(args: &FromTo, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    paths::check_collection(&args.from.collection)?;
    paths::check_parent(&args.to)?;
    Collection::restore(&args.from.backend.backend(), &args.from.collection, &args.to, stop)?;
    writeln!(out, "restored to {}", args.to.display())?;
    Ok(())
}

pub(crate) fn run_verify(args: &Maintain, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    paths::check_collection(&args.at.collection)?;
    let report = Collection::verify(&args.at.backend.backend(), &args.at.collection, stop)?;
    if args.json {
        let text = |error: &Error| with_causes(error).to_string();
        let problems: Vec<_> = report.problems.iter().map(text).collect();
        let unread: Vec<_> = report.unread.iter().map(text).collect();
        writeln!(
            out,
            "{}",
            json!({
                "files": report.files,
                "bytes": report.bytes,
                "points": report.points,
                "points_of_logs": report.points_of_logs,
                "problems": problems,
                "unread": unread,
                "notes": report.notes,
            })
        )?;
    } else {
        for problem in &report.problems {
            writeln!(out, "damaged: {}", with_causes(problem))?;
        }
        for error in &report.unread {
            writeln!(out, "not read: {}", with_causes(error))?;
        }
        for note in &report.notes {
            writeln!(out, "note: {note}")?;
        }
        writeln!(
            out,
            "{} of {} read; points checked: {} in segments, {} in logs; {}",
            Counted(report.files, "file"),
            Counted(report.bytes, "byte"),
            report.points,
            report.points_of_logs,
            Counted(report.problems.len(), "problem")
        )?;
    }
    let collection = args.at.collection.clone();
    match (report.problems.len(), report.unread.len()) {
        (0, 0) => Ok(()),
        (0, _) => Err(CliError::Unread { collection }),
        (problems, _) => Err(CliError::Damaged { collection, problems }),
    }
}

pub(crate) fn run_repair(args: &Repair, stop: &StopFlag, out: &mut impl Write) -> Result<(), CliError> {
    let FromTo { from, to } = &args.paths;
    let schema = args.schema.as_deref().map(|path| read_schema(path, stop)).transpose()?;
    paths::check_collection(&from.collection)?;
    paths::check_parent(to)?;
    let repaired = Collection::repair(&from.backend.backend(), &from.collection, to, schema.as_ref(), stop);
    let report = repaired.map_err(|error| match error {
        Error::NoSchema { .. } => CliError::NoSchema(error),
        error => error.into(),
    })?;
    if args.json {
        let printed = json!({
            "points": report.points,
            "points_lost": report.points_lost,
            "payloads_lost": report.payloads_lost,
            "writes_lost": report.writes_lost,
            "more_lost": report.more_lost,
            "notes": report.notes,
        });
        writeln!(out, "{printed}")?;
    } else {
        for note in &report.notes {
            writeln!(out, "{note}")?;
        }
        writeln!(
            out,
            "{} saved to {}; {}, {} and {} of the log known to be lost{}",
            Counted(report.points, "point"),
            to.display(),
            Counted(report.points_lost, "point"),
            Counted(report.payloads_lost, "payload"),
            Counted(report.writes_lost, "write"),
            if report.more_lost { ", and perhaps more" } else { "" }
        )?;
    }
    // Seals now, so that no later opening has to read the log again.
    let collection = Collection::open(&from.backend.backend(), to, &CollectionOptions::default())?;
    settle(&collection, stop)?;
    collection.close()?;
    let lost = report.points_lost + report.payloads_lost + report.writes_lost;
    if lost == 0 && !report.more_lost {
        return Ok(());
    }
    Err(CliError::Incomplete { collection: to.clone() })
}
