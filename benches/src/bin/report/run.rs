//! Builds the benches and runs them in order.

use benches::machine::{self, Machine};
use benches::report::runs::{Outcome, Run, load, save};
use benches::report::{Report, criterion};
use benches::scenarios::{Disk, SCENARIOS, Scenario};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The exit status of a command that lacks a requirement.
const SKIPPED: i32 = 77;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the results go
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Seconds instead of hours: shows that it works, not how fast anything is
    #[arg(long)]
    quick: bool,
    /// Only these benches
    #[arg(long, value_delimiter = ',', value_parser = of_a_scenario)]
    only: Vec<String>,
    /// Only on the local disk
    #[arg(long)]
    local: bool,
    /// Do not run again what DIR has figures of
    #[arg(long)]
    resume: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// Where the result goes
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Names the file
    #[arg(long)]
    scenario: String,
    /// The disk, and the memory if that is little
    #[arg(long, default_value = "local disk")]
    disk: String,
    /// Take the table from what criterion writes
    #[arg(long)]
    criterion: bool,
    /// What to run
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn of_a_scenario(name: &str) -> std::result::Result<String, String> {
    let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    if known.contains(&name) { Ok(name.to_owned()) } else { Err(format!("there are {}", known.join(", "))) }
}

/// One run, and its description.
struct Task<'a> {
    scenario: &'a str,
    disk: String,
    /// The command as a person would type it.
    by_hand: String,
    quick: bool,
    /// Where the table comes from.
    source: Source,
}

/// Where a command leaves its table.
#[derive(Clone, Copy)]
enum Source {
    /// In the file that `BENCH_JSON` names.
    Json,
    /// In criterion's directory.
    Criterion,
}

impl Task<'_> {
    fn run(self, command: &mut Command, local: &Path) -> Result<Run> {
        let (json, dir) = (tempfile::NamedTempFile::new()?, tempfile::tempdir()?);
        let (date, commit, started) = (machine::date(), machine::commit(), Instant::now());
        let command = match self.source {
            Source::Json => command.env("BENCH_JSON", json.path()),
            Source::Criterion => command.env("CRITERION_HOME", dir.path()),
        };
        let (status, errors) = ran(command, self.quick)?;
        let outcome = match (status.code(), self.source) {
            (Some(0), Source::Json) => {
                Outcome::Done(serde_json::from_slice::<Report>(&fs::read(json.path())?)?)
            }
            (Some(0), Source::Criterion) => Outcome::Done(criterion::report(self.scenario, dir.path())?),
            (Some(SKIPPED), _) => Outcome::Skipped(errors),
            _ => Outcome::Failed(format!("{status}: {errors}")),
        };
        Ok(self.told(date, commit, local, Some(started.elapsed().as_secs_f64()), outcome))
    }

    fn told(self, date: String, commit: String, local: &Path, seconds: Option<f64>, outcome: Outcome) -> Run {
        Run {
            scenario: self.scenario.to_owned(),
            disk: self.disk,
            command: variables(self.quick) + &self.by_hand,
            date,
            commit,
            source: None,
            machine: Machine::with_disk_of(local),
            seconds,
            outcome,
        }
    }
}

fn local_dir() -> PathBuf {
    std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Runs the requested scenarios. It writes each scenario's file as soon as there is a result. Returns false
/// if one failed.
pub(crate) fn all(args: &Args) -> Result<bool> {
    fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let wanted =
        |scenario: &&Scenario| args.only.is_empty() || args.only.iter().any(|name| name == scenario.name);
    let chosen: Vec<&Scenario> = SCENARIOS.iter().filter(wanted).collect();
    let programs = built(&chosen)?;
    let mut all_well = true;
    for scenario in chosen {
        let mut runs = if args.resume { figures_of(args, scenario.name)? } else { Vec::new() };
        let wanted = |disk: &&Disk| !args.local || disk.is_local();
        let is_left = |disk: &&Disk| runs.iter().all(|run| run.disk != disk.name());
        let left: Vec<Disk> = scenario.disks.iter().filter(wanted).filter(is_left).copied().collect();
        let program =
            programs.get(scenario.name).ok_or_else(|| format!("cargo built no bench {}", scenario.name))?;
        let mut steps: Vec<Option<Disk>> = left.into_iter().map(Some).collect();
        if scenario.prepares && !steps.is_empty() {
            steps.insert(0, None);
        }
        for step in steps {
            let run = match step {
                None => match prepared(args, scenario.name, program)? {
                    None => continue,
                    Some(failed) => failed,
                },
                Some(disk) => on_disk(args, scenario.name, program, &programs, disk)?,
            };
            all_well &= !matches!(run.outcome, Outcome::Failed(_));
            runs.push(run);
            // Saves each result at once, in case a later run is interrupted.
            save(&args.out, scenario.name, &runs)?;
            if step.is_none() {
                break;
            }
        }
    }
    Ok(all_well)
}

/// The completed runs of this form (quick or not).
fn figures_of(args: &Args, scenario: &str) -> Result<Vec<Run>> {
    let has_figures =
        |run: &Run| run.scenario == scenario && run.report().is_some() && run.is_quick() == args.quick;
    Ok(load(&args.out)?.into_iter().filter(has_figures).collect())
}

/// Prepares a scenario. Returns a run with the reason if it cannot be measured.
fn prepared(args: &Args, name: &str, program: &Path) -> Result<Option<Run>> {
    println!("\n== {name}: prepare");
    let task = Task {
        scenario: name,
        disk: "prepare".to_owned(),
        by_hand: format!("cargo bench -p benches --bench {name} -- prepare"),
        quick: args.quick,
        source: Source::Json,
    };
    let (date, commit) = (machine::date(), machine::commit());
    let (status, errors) = ran(Command::new(program).args(["--bench", "prepare"]), args.quick)?;
    let outcome = match status.code() {
        Some(0) => return Ok(None),
        Some(SKIPPED) => Outcome::Skipped(errors),
        _ => Outcome::Failed(format!("{status}: {errors}")),
    };
    Ok(Some(task.told(date, commit, &local_dir(), None, outcome)))
}

fn on_disk(
    args: &Args,
    name: &str,
    program: &Path,
    programs: &BTreeMap<String, PathBuf>,
    disk: Disk,
) -> Result<Run> {
    println!("\n== {name}, {}", disk.name());
    let by_hand = format!("cargo bench -p benches --bench {name}");
    let (mut command, by_hand) = match disk.options() {
        None => (Command::new(program), by_hand),
        Some(mut options) => {
            let slow_disk = programs.get("slow-disk").ok_or("cargo built no slow-disk")?;
            let by_hand = format!("target/release/slow-disk run {} -- {by_hand}", options.join(" "));
            // A small disk is enough for the quick form.
            if args.quick && !disk.is_local() {
                options.extend(["--size-mib".to_owned(), "1024".to_owned()]);
            }
            let mut command = Command::new(slow_disk);
            command.arg("run").args(options).arg("--").arg(program);
            (command, by_hand)
        }
    };
    let task = Task { scenario: name, disk: disk.name(), by_hand, quick: args.quick, source: Source::Json };
    task.run(command.arg("--bench"), &local_dir())
}

/// Runs a command that is not a scenario. Results of other disks stay in the file.
pub(crate) fn record(args: &RecordArgs) -> Result<()> {
    fs::create_dir_all(&args.out).map_err(|error| format!("{}: {error}", args.out.display()))?;
    let [program, arguments @ ..] = &args.command[..] else { return Err("no command".into()) };
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let task = Task {
        scenario: &args.scenario,
        disk: args.disk.clone(),
        by_hand: args.command.join(" "),
        quick,
        source: if args.criterion { Source::Criterion } else { Source::Json },
    };
    let run = task.run(Command::new(program).args(arguments), &local_dir())?;
    if let Outcome::Failed(why) | Outcome::Skipped(why) = run.outcome {
        return Err(why.into());
    }
    let is_other = |known: &Run| known.scenario == args.scenario && known.disk != args.disk;
    let mut runs: Vec<Run> = load(&args.out)?.into_iter().filter(is_other).collect();
    runs.push(run);
    save(&args.out, &args.scenario, &runs)
}

/// Builds the benches and the slow disk, and returns their paths. Cargo itself would not fit a memory cap.
fn built(chosen: &[&Scenario]) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["bench", "-p", "benches", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
    // This also builds the binaries.
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

/// Runs a command to its end. Returns its status and the last lines of its standard error.
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

/// The `BENCH_` variables of a run, as a person would type them before a command.
fn variables(quick: bool) -> String {
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("BENCH_") && name != "BENCH_JSON");
    let mut variables: BTreeMap<String, String> = all.collect();
    if quick {
        variables.insert("BENCH_QUICK".to_owned(), "1".to_owned());
    }
    variables.iter().map(|(name, value)| format!("{name}={value} ")).collect()
}
