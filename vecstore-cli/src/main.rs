//! The `vecstore` command: builds segments, searches them, and shows what each backend does on the same work.

#![forbid(unsafe_code)]

mod args;
mod build;
mod demo;
mod error;
mod info;
mod interrupt;
mod progress;
mod search;
mod vectors;
mod workload;

use args::{Cli, Command};
use clap::Parser;
use error::CliError;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

const EXIT_FAILED: u8 = 1;
const EXIT_DISAGREE: u8 = 3;
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let stop = interrupt::stop_flag();
    let mut out = std::io::stdout().lock();
    let ran = match &cli.command {
        Command::Demo(args) => demo::run(args, &stop, &mut out),
        Command::Build(args) => build::run(args, &stop, &mut out),
        Command::Search(args) => search::run(args, &stop, &mut out),
        Command::Info(args) => info::run(args, &mut out),
    };
    match ran.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough of it, as `head` does.
        Err(CliError::Print(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            // With nowhere left to complain to, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "vecstore: {error}");
            ExitCode::from(code)
        }
    }
}
