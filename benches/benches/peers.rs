//! Searches the same vectors on the same disk with vecstore and with other systems. Runs `peers/disk.py`.
//!
//! ```sh
//! python3 -m venv target/peers && target/peers/bin/pip install -r benches/peers/requirements.txt
//! export BENCH_PYTHON=$PWD/target/peers/bin/python
//! cargo bench -p benches --bench peers -- prepare    # makes data and indexes, without a cap on memory
//! target/release/slow-disk run -- cargo bench -p benches --bench peers
//! ```
//!
//! | variable | means | default |
//! |---|---|---|
//! | `BENCH_DIR` | a directory on the disk to measure | none |
//! | `BENCH_KEEP` | the directory of data and indexes | `target/tmp` |
//! | `BENCH_PYTHON` | the Python | `python3` |
//! | `BENCH_ROUNDS` | the number of rounds | 3 |
//! | `BENCH_QUICK=1` | shows that it works, with few vectors and a generous cap | |
//!
//! If a package is missing, the bench names it and exits with status 77.

#![allow(clippy::print_stderr, reason = "it says what is missing")]

use benches::data::{Error, variable};
use benches::kept::only_prepare;
use benches::settings::Settings;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The exit status of a command that lacks a requirement.
const SKIPPED: u8 = 77;

/// The quick form's options for the data, and below for the searches.
const QUICK: [&str; 6] = ["--count", "3000", "--dim", "64", "--queries", "80"];
const QUICK_SEARCH: [&str; 6] = ["--seconds", "0.1", "--cap-mib", "256", "--threads", "8"];

fn main() -> Result<ExitCode, Error> {
    let settings = Settings::new(env!("CARGO_TARGET_TMPDIR"), 3)?;
    if !only_prepare() && variable("BENCH_DIR").is_none() {
        eprintln!(
            "skipped: no BENCH_DIR; run it in `slow-disk run -- ...`, or name a folder on the disk to measure"
        );
        return Ok(ExitCode::from(SKIPPED));
    }
    let keep =
        variable("BENCH_KEEP").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let data = keep.join(if settings.quick { "peers-quick" } else { "peers" });
    let run = |verb: &str, more: &[&str]| -> Result<ExitCode, Error> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/disk.py");
        let python = variable("BENCH_PYTHON").unwrap_or_else(|| "python3".to_owned());
        let mut command = Command::new(&python);
        command.arg(script).arg(verb).arg(&data).args(more);
        command.env("BENCH_PEER", env!("CARGO_BIN_EXE_peer"));
        let status = command.status().map_err(|error| format!("{python}: {error}"))?;
        // Passes status 77 on.
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
    };
    let prepared = run("prepare", if settings.quick { &QUICK } else { &[] })?;
    if only_prepare() || prepared != ExitCode::SUCCESS {
        return Ok(prepared);
    }
    let rounds = settings.rounds.to_string();
    let mut more = vec!["--rounds", &rounds];
    more.extend(if settings.quick { &QUICK_SEARCH[..] } else { &[] });
    run("search", &more)
}
