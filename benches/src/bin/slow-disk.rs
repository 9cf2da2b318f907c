//! Runs a command on a disk as slow as a network drive: `slow-disk run --latency-us 1000 -- COMMAND ARGS...`
//!
//! The command finds the directory in `BENCH_DIR`. The exit status is that of the command, or 128 plus the
//! signal that ended it. It is 77 if the machine lacks a requirement ("skipped: ..."), and 125 if the disk
//! failed.

#![allow(clippy::print_stderr, reason = "what the command prints is its own")]

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("skipped: Linux is missing");
    ExitCode::from(77)
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use benches::slow_disk::{Error, Options, SlowDisk, remove_leftovers};
    use clap::{Parser, Subcommand};
    use rustix::process::{Pid, Signal, kill_process};
    use std::ffi::OsString;
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;
    use std::process::{Child, ExitCode, ExitStatus};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    const SKIPPED: u8 = 77;
    const FAILED: u8 = 125;

    /// Runs a command on a disk as slow as a network drive.
    #[derive(Debug, Parser)]
    struct Args {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, Subcommand)]
    enum Verb {
        /// Makes a disk, runs a command with its directory in BENCH_DIR, removes it
        Run(Run),
        /// Removes the disks of runs that were killed
        Down,
    }

    #[derive(Debug, clap::Args)]
    struct Run {
        /// Microseconds that each request takes
        #[arg(long, default_value_t = 1000)]
        latency_us: u64,
        /// Requests served at once
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
        parallelism: u16,
        /// Size of the disk, whose bytes take space as they are written
        #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u64).range(16..))]
        size_mib: u64,
        /// What the kernel reads ahead
        #[arg(long, default_value_t = 0)]
        read_ahead_kb: u32,
        /// Memory for the command and for the page cache of its files
        #[arg(long)]
        memory_max_mib: Option<u64>,
        /// No slow disk, only the cap on memory: the command works where BENCH_DIR says, or where it would
        /// anyway
        #[arg(long, requires = "memory_max_mib", conflicts_with_all = ["latency_us", "parallelism", "size_mib", "read_ahead_kb", "dir"])]
        local: bool,
        /// Where the disk's bytes are kept
        #[arg(long, default_value_os_t = std::env::temp_dir())]
        dir: PathBuf,
        /// What to run
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    }

    /// The state that a signal finds.
    #[derive(Default)]
    enum Running {
        #[default]
        NotYet,
        Command(Pid),
        Stopped,
    }

    pub(super) fn main() -> ExitCode {
        let outcome = match Args::parse().verb {
            Verb::Run(run) => run.carry_out(),
            Verb::Down => remove_leftovers().map(|removed| {
                eprintln!("slow-disk: {removed} removed");
                0
            }),
        };
        match outcome {
            Ok(status) => ExitCode::from(status),
            Err(error @ Error::Missing { .. }) => {
                eprintln!("skipped: {error}");
                ExitCode::from(SKIPPED)
            }
            Err(error) => {
                eprintln!("slow-disk: {}", io_core::with_causes(&error));
                ExitCode::from(FAILED)
            }
        }
    }

    impl Run {
        fn carry_out(&self) -> Result<u8, Error> {
            let running = stop_on_signals()?;
            let disk = SlowDisk::create(&Options {
                latency: Duration::from_micros(self.latency_us),
                parallelism: self.parallelism.into(),
                size: self.size_mib << 20,
                read_ahead_kb: self.read_ahead_kb,
                memory_max: self.memory_max_mib.map(|mib| mib << 20),
                cap_only: self.local,
                backing_dir: self.dir.clone(),
            })?;
            let status = match self.start(&disk, &running)? {
                Some(mut child) => child.wait().map_err(failed("wait for the command"))?,
                None => ExitStatus::from_raw(Signal::TERM.as_raw()),
            };
            // A command that exceeds its memory cap is killed, and cannot print a message.
            if status.signal().is_some() {
                eprintln!("slow-disk: the command ended by {status}");
            }
            let served = disk.served();
            disk.remove()?;
            if !self.local {
                eprintln!("slow-disk: {served}");
            }
            Ok(code(status))
        }

        /// Starts the command, unless a signal came before.
        fn start(&self, disk: &SlowDisk, running: &Mutex<Running>) -> Result<Option<Child>, Error> {
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*running, Running::Stopped) {
                return Ok(None);
            }
            let (program, arguments) = self.command.split_first().expect("clap requires one");
            let child = disk.command(program).args(arguments).spawn();
            let child = child.map_err(failed(&format!("start {}", program.display())))?;
            *running = Running::Command(Pid::from_child(&child));
            Ok(Some(child))
        }
    }

    /// SIGINT, SIGTERM and SIGHUP end the command. The disk is removed after the command has ended.
    fn stop_on_signals() -> Result<Arc<Mutex<Running>>, Error> {
        let running = Arc::<Mutex<Running>>::default();
        let seen = Arc::clone(&running);
        let handler = move || {
            let mut running = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match *running {
                // The command may just have ended.
                Running::Command(pid) => drop(kill_process(pid, Signal::TERM)),
                _ => *running = Running::Stopped,
            }
        };
        ctrlc::set_handler(handler)
            .map_err(|error| failed("handle signals")(std::io::Error::other(error)))?;
        Ok(running)
    }

    fn failed(doing: &str) -> impl FnOnce(std::io::Error) -> Error {
        let doing = doing.to_owned();
        |source| Error::Failed { doing, source }
    }

    fn code(status: ExitStatus) -> u8 {
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        u8::try_from(code).unwrap_or(FAILED)
    }
}
