//! Runs the benches and makes one page of what they found: `report run --out DIR`.

#![allow(clippy::print_stdout, reason = "it says what it runs")]

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("skipped: Linux is missing");
    ExitCode::from(77)
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    match linux::main() {
        Ok(status) => status,
        Err(error) => {
            println!("report: {}", io_core::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use benches::machine::{self, Machine};
    use benches::report::Report;
    use benches::report::page::{Outcome, Run, Runs, html};
    use benches::scenarios::{Disk, SCENARIOS, Scenario};
    use clap::{Parser, Subcommand};
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::error::Error;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Command, ExitCode, ExitStatus, Stdio};
    use std::time::Instant;

    type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

    /// What a command ends with where the machine lacks what it takes.
    const SKIPPED: i32 = 77;

    /// Runs the benches and makes one page of what they found
    #[derive(Debug, Parser)]
    struct Args {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, Subcommand)]
    enum Verb {
        /// Runs the benches; the page is DIR/report.html, and all of it as data DIR/report.json
        Run(RunArgs),
        /// Makes the page of DIR/report.json again
        Html {
            /// Where the report is
            #[arg(long)]
            out: PathBuf,
        },
    }

    #[derive(Debug, clap::Args)]
    struct RunArgs {
        /// Where the report goes
        #[arg(long)]
        out: PathBuf,
        /// Seconds instead of an hour or more: shows that it works, not how fast anything is
        #[arg(long)]
        quick: bool,
        /// Only these benches
        #[arg(long, value_delimiter = ',', value_parser = of_a_scenario)]
        only: Vec<String>,
        /// Only on the local disk
        #[arg(long)]
        local: bool,
        /// Go on with the report that is there: what it has the figures of is not run again
        #[arg(long)]
        resume: bool,
    }

    fn of_a_scenario(name: &str) -> std::result::Result<String, String> {
        let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        if known.contains(&name) {
            Ok(name.to_owned())
        } else {
            Err(format!("there are {}", known.join(", ")))
        }
    }

    pub(super) fn main() -> Result<ExitCode> {
        match Args::parse().verb {
            Verb::Run(args) => run_all(&args),
            Verb::Html { out } => {
                let runs = read(&out)?;
                write_page(&out, &runs)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn run_all(args: &RunArgs) -> Result<ExitCode> {
        fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
        let chosen: Vec<&Scenario> = SCENARIOS
            .iter()
            .filter(|scenario| args.only.is_empty() || args.only.iter().any(|name| name == scenario.name))
            .collect();
        let programs = built(&chosen)?;
        let local = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let command: Vec<String> = std::env::args().skip(1).collect();
        let machine = Machine::with_disk_of(&local);
        let mut runs = Runs {
            command: format!("cargo run --release -p benches --bin report -- {}", command.join(" ")),
            runs: if args.resume { figures_of(args, &machine)? } else { Vec::new() },
            machine,
        };
        for Scenario { name, prepares, disks } in chosen {
            let program = programs.get(*name).ok_or_else(|| format!("cargo built no bench {name}"))?;
            let disks = disks.iter().filter(|disk| !args.local || disk.is_local());
            let is_there =
                |disk: &Disk| runs.runs.iter().any(|run| run.scenario == *name && run.disk == disk.name());
            let left: Vec<Disk> = disks.copied().filter(|disk| !is_there(disk)).collect();
            let mut disks = left.into_iter().peekable();
            if *prepares && disks.peek().is_some() {
                println!("\n== {name}: prepare");
                let mut prepare = Command::new(program);
                let (status, errors) = ran(prepare.args(["--bench", "prepare"]), args.quick)?;
                if !status.success() {
                    runs.runs.push(Run {
                        scenario: (*name).to_owned(),
                        disk: "prepare".to_owned(),
                        command: format!("{}cargo bench -p benches --bench {name} -- prepare", variables()),
                        date: machine::date(),
                        commit: machine::commit(),
                        seconds: 0.0,
                        outcome: without_figures(status, errors),
                    });
                    continue;
                }
            }
            for disk in disks {
                println!("\n== {name}, {}", disk.name());
                runs.runs.push(run(args, name, program, &programs, disk)?);
                runs.runs
                    .sort_by_key(|run| SCENARIOS.iter().position(|scenario| scenario.name == run.scenario));
                // What has been found is there also if a later one is interrupted.
                save(&args.out, &runs)?;
            }
        }
        save(&args.out, &runs)?;
        println!("\n{}", args.out.join("report.html").display());
        let failed = runs.runs.iter().any(|run| matches!(run.outcome, Outcome::Failed(_)));
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// The runs of a report that was begun, that came to their end.
    fn figures_of(args: &RunArgs, machine: &Machine) -> Result<Vec<Run>> {
        if !args.out.join("report.json").try_exists()? {
            println!("no report in {} yet: this one begins it", args.out.display());
            return Ok(Vec::new());
        }
        let begun = read(&args.out)?;
        if begun.machine != *machine {
            let of = args.out.display();
            return Err(format!("{of} is of another machine or compiler; take another --out").into());
        }
        if begun.command.contains(" --quick") != args.quick {
            return Err(
                format!("of {} and this run one is --quick; take another --out", args.out.display()).into()
            );
        }
        Ok(begun.runs.into_iter().filter(|run| matches!(run.outcome, Outcome::Done(_))).collect())
    }

    fn read(out: &Path) -> Result<Runs> {
        let path = out.join("report.json");
        let json = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&json).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn save(out: &Path, runs: &Runs) -> Result<()> {
        // Under its name only once it is whole: hours may be in the one before.
        let unfinished = out.join("report.json.new");
        serde_json::to_writer_pretty(fs::File::create(&unfinished)?, runs)?;
        fs::rename(unfinished, out.join("report.json"))?;
        write_page(out, runs)
    }

    fn write_page(out: &Path, runs: &Runs) -> Result<()> {
        let path = out.join("report.html");
        fs::write(&path, html(runs)?).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// Builds the benches and the slow disk, and says where they are: cargo itself has no place under a memory cap.
    fn built(chosen: &[&Scenario]) -> Result<BTreeMap<String, PathBuf>> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "bench",
            "-p",
            "benches",
            "--no-run",
            "--quiet",
            "--message-format=json-render-diagnostics",
        ]);
        // The binaries come with them.
        for scenario in chosen {
            cargo.args(["--bench", scenario.name]);
        }
        let output = cargo.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("cargo ended with {}", output.status).into());
        }
        let mut programs = BTreeMap::new();
        for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let message: Value = serde_json::from_slice(line)?;
            if let (Some(name), Some(program)) =
                (message["target"]["name"].as_str(), message["executable"].as_str())
            {
                programs.insert(name.to_owned(), PathBuf::from(program));
            }
        }
        Ok(programs)
    }

    /// Runs a command to its end; how it ended, and the last of what it complained of.
    fn ran(command: &mut Command, quick: bool) -> Result<(ExitStatus, String)> {
        const LINES: usize = 5;
        if quick {
            command.env("BENCH_QUICK", "1");
        }
        let output = command.stdout(Stdio::inherit()).stderr(Stdio::piped()).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        print!("{errors}");
        let lines: Vec<&str> = errors.lines().filter(|line| !line.is_empty()).collect();
        Ok((output.status, lines[lines.len().saturating_sub(LINES)..].join("\n")))
    }

    /// What the environment says of a run, as one types it before a command.
    fn variables() -> String {
        let mut variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("BENCH_") && name != "BENCH_JSON")
            .collect();
        variables.sort();
        variables.iter().map(|(name, value)| format!("{name}={value} ")).collect()
    }

    fn without_figures(status: ExitStatus, errors: String) -> Outcome {
        match status.code() {
            Some(SKIPPED) => Outcome::Skipped(errors),
            _ => Outcome::Failed(format!("{status}: {errors}")),
        }
    }

    fn run(
        args: &RunArgs,
        name: &str,
        program: &Path,
        programs: &BTreeMap<String, PathBuf>,
        disk: Disk,
    ) -> Result<Run> {
        let json = tempfile::NamedTempFile::new()?;
        let by_hand = format!("cargo bench -p benches --bench {name}");
        let (mut command, by_hand) = match disk.options() {
            None => (Command::new(program), by_hand),
            Some(mut options) => {
                let slow_disk = programs.get("slow-disk").ok_or("cargo built no slow-disk")?;
                let by_hand = format!("target/release/slow-disk run {} -- {by_hand}", options.join(" "));
                // Enough for the quick form, which is to be quick.
                if args.quick && !disk.is_local() {
                    options.extend(["--size-mib".to_owned(), "1024".to_owned()]);
                }
                let mut command = Command::new(slow_disk);
                command.arg("run").args(options).arg("--").arg(program);
                (command, by_hand)
            }
        };
        let (date, commit, started) = (machine::date(), machine::commit(), Instant::now());
        let (status, errors) = ran(command.arg("--bench").env("BENCH_JSON", json.path()), args.quick)?;
        let outcome = match status.code() {
            Some(0) => Outcome::Done(serde_json::from_slice::<Report>(&fs::read(json.path())?)?),
            _ => without_figures(status, errors),
        };
        Ok(Run {
            scenario: name.to_owned(),
            disk: disk.name(),
            command: variables() + &by_hand,
            date,
            commit,
            seconds: started.elapsed().as_secs_f64(),
            outcome,
        })
    }
}
