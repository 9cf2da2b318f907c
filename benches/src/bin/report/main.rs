//! Runs the benches, makes one page of what they found, and keeps it in the repository.

#![allow(clippy::print_stdout, reason = "it says what it does")]

#[cfg(target_os = "linux")]
mod run;

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
    use crate::run;
    use benches::report::markdown;
    use benches::report::page::html;
    use benches::report::runs::{Outcome, Run, kept_dir, load, save};
    use benches::scenarios::SCENARIOS;
    use clap::{Parser, Subcommand};
    use std::collections::BTreeSet;
    use std::error::Error;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;

    type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

    /// Runs the benches, makes one page of what they found, and keeps it in the repository
    #[derive(Debug, Parser)]
    struct Args {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, Subcommand)]
    enum Verb {
        /// Runs the benches: writes DIR/SCENARIO.json for each, and DIR/report.html
        Run(run::Args),
        /// Runs a command that writes a table where `BENCH_JSON` says, or a bench of criterion. Adds the
        /// table to DIR
        Record(run::RecordArgs),
        /// Makes DIR/report.html of the files in DIR
        Html {
            /// A directory that `run` has written
            #[arg(long)]
            out: PathBuf,
            /// Take the results that the repository keeps instead
            #[arg(long)]
            kept: bool,
        },
        /// Puts results into the repository, in place of those of the same scenario and disk; makes
        /// RESULTS.md
        Keep {
            /// A directory that `run` has written
            #[arg(long)]
            out: PathBuf,
            /// Only these scenarios
            #[arg(long, value_delimiter = ',')]
            only: Vec<String>,
        },
        /// Makes RESULTS.md of the results and notes that the repository keeps
        Results,
    }

    pub(super) fn main() -> Result<ExitCode> {
        match Args::parse().verb {
            Verb::Run(args) => {
                let all_well = run::all(&args)?;
                write_page(&args.out, &args.out)?;
                return Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Verb::Record(args) => {
                run::record(&args)?;
                write_page(&args.out, &args.out)?;
            }
            Verb::Html { out, kept } => {
                fs::create_dir_all(&out)?;
                write_page(if kept { kept_dir() } else { out.clone() }.as_path(), &out)?;
            }
            Verb::Keep { out, only } => {
                keep(&load(&out)?, &only)?;
                write_results()?;
            }
            Verb::Results => write_results()?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn write_page(from: &Path, out: &Path) -> Result<()> {
        write(&out.join("report.html"), &html(&load(from)?)?)
    }

    fn write_results() -> Result<()> {
        let results = kept_dir();
        let document = markdown::document(&load(&results)?, &markdown::notes(&results)?);
        write(&results.with_file_name("RESULTS.md"), &document)
    }

    fn write(path: &Path, text: &str) -> Result<()> {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", path.display());
        Ok(())
    }

    /// The runs to keep after new ones: the new ones, and old ones of other disks.
    fn merged(kept: &[Run], new: &[Run]) -> Vec<Run> {
        let other_disk = |run: &&Run| new.iter().all(|new| new.disk != run.disk);
        let mut merged: Vec<Run> = new.iter().chain(kept.iter().filter(other_disk)).cloned().collect();
        // In the order of the scenario's disks.
        merged.sort_by_key(|run| {
            let scenario = SCENARIOS.iter().find(|scenario| scenario.name == run.scenario);
            let disks = scenario.map_or(&[][..], |scenario| scenario.disks);
            disks.iter().position(|disk| disk.name() == run.disk).unwrap_or(disks.len())
        });
        merged
    }

    fn keep(runs: &[Run], only: &[String]) -> Result<()> {
        let wanted = |run: &&Run| only.is_empty() || only.contains(&run.scenario);
        let mut new: Vec<Run> = Vec::new();
        for run in runs.iter().filter(wanted) {
            let Run { scenario, disk, outcome, .. } = run;
            match outcome {
                Outcome::Done(_) if run.is_quick() => {
                    return Err(
                        format!("{scenario}, {disk}: a quick run measures nothing; run it in full").into()
                    );
                }
                Outcome::Done(_) => new.push(run.clone()),
                Outcome::Skipped(why) => println!("{scenario}, {disk}: left out, it was skipped: {why}"),
                Outcome::Failed(why) => return Err(format!("{scenario}, {disk}: it failed: {why}").into()),
            }
        }
        if new.is_empty() {
            return Err("there is no result to keep; run the scenario first".into());
        }
        let (dir, kept) = (kept_dir(), load(&kept_dir())?);
        let scenarios: BTreeSet<&str> = new.iter().map(|run| run.scenario.as_str()).collect();
        for scenario in scenarios {
            let of = |runs: &[Run]| -> Vec<Run> {
                runs.iter().filter(|run| run.scenario == scenario).cloned().collect()
            };
            save(&dir, scenario, &merged(&of(&kept), &of(&new)))?;
        }
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use benches::machine::Machine;
        use benches::report::Report;

        fn run(disk: &str, commit: &str) -> Run {
            Run {
                scenario: "writes".to_owned(),
                disk: disk.to_owned(),
                command: "cargo bench".to_owned(),
                date: "today".to_owned(),
                commit: commit.to_owned(),
                source: None,
                machine: Machine::default(),
                seconds: None,
                outcome: Outcome::Done(Report { scenario: "writes".to_owned(), tables: Vec::new() }),
            }
        }

        #[test]
        fn a_new_run_replaces_that_of_its_disk_only() {
            let [local, slow] = ["local disk", "slow disk, 8 at once"];
            let kept = [run(local, "old"), run(slow, "old"), run("by hand", "old")];
            let expected = [run(local, "old"), run(slow, "new"), run("by hand", "old")];
            assert_eq!(merged(&kept, &[run(slow, "new")]), expected);
            assert_eq!(
                merged(&[], &[run(slow, "new"), run(local, "new")]),
                [run(local, "new"), run(slow, "new")]
            );
        }

        #[test]
        fn what_measures_nothing_is_not_kept() {
            let quick = Run { command: "BENCH_QUICK=1 cargo bench".to_owned(), ..run("local disk", "new") };
            let failed = Run { outcome: Outcome::Failed("boom".to_owned()), ..run("local disk", "new") };
            let skipped = Run { outcome: Outcome::Skipped("no disk".to_owned()), ..run("local disk", "new") };
            for (run, why) in [(quick, "quick"), (failed, "boom"), (skipped, "no result")] {
                let error = keep(&[run], &[]).unwrap_err().to_string();
                assert!(error.contains(why), "{error}");
            }
        }
    }
}
