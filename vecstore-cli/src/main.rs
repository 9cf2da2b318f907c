//! The `vecstore` command: collections from the shell, and measurements of each backend.

#![forbid(unsafe_code)]

mod advise;
mod args;
mod counted;
mod create;
mod demo;
mod error;
mod export;
mod import;
mod info;
mod interrupt;
mod limits;
mod maintain;
mod open;
#[cfg(feature = "parquet")]
mod parquet;
mod paths;
mod points;
mod progress;
#[cfg(test)]
mod reference;
mod search;
mod text;
mod vectors;
mod workload;

use args::{Cli, Command};
use clap::Parser;
use error::CliError;
use io_core::with_causes;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

const EXIT_FAILED: u8 = 1;
/// The same as clap's.
const EXIT_USAGE: u8 = 2;
const EXIT_DISAGREE: u8 = 3;
const EXIT_DAMAGED: u8 = 4;
const EXIT_UNREAD: u8 = 5;
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    limits::raise_open_files();
    interrupt::outlive_file_size_limit();
    // Only commands that check the flag may install handlers for signals.
    let stop = interrupt::stop_flag;
    let mut out = std::io::stdout().lock();
    let ran = match &cli.command {
        Command::Demo(args) => demo::run(args, &stop(), &mut out),
        Command::Advise(args) => advise::run(args, &stop(), &mut out),
        Command::Create(args) => create::run(args, &mut out),
        Command::Import(args) => import::run(args, &stop(), &mut out),
        Command::Upsert(args) => points::upsert(args, &stop(), &mut out),
        Command::Delete(args) => points::delete(args, &stop(), &mut out),
        Command::Search(args) => search::run(args, &stop(), &mut out),
        Command::Get(args) => points::get(args, &mut out),
        Command::Scroll(args) => points::scroll(args, &stop(), &mut out),
        Command::Count(args) => points::count(args, &mut out),
        Command::Facet(args) => points::facet(args, &mut out),
        Command::Optimize(args) => maintain::run_optimize(args, &stop(), &mut out),
        Command::Defragment(args) => maintain::run_defragment(args, &stop(), &mut out),
        Command::Snapshot(args) => maintain::run_snapshot(args, &stop(), &mut out),
        Command::Restore(args) => maintain::run_restore(args, &stop(), &mut out),
        Command::Verify(args) => maintain::run_verify(args, &stop(), &mut out),
        Command::Repair(args) => maintain::run_repair(args, &stop(), &mut out),
        Command::Export(args) => export::run(args, &stop(), &mut out),
        Command::Info(args) => info::run(args, &mut out),
    };
    match ran.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, needs no more of it.
        Err(CliError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            // If standard error is closed too, only the exit code remains.
            let mut err = std::io::stderr();
            let _ = writeln!(err, "vecstore: {}", with_causes(&error));
            if let Some(how) = error.how_to_go_on() {
                let _ = writeln!(err, "{how}");
            }
            ExitCode::from(code)
        }
    }
}
