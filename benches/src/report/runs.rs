//! Runs of scenarios: their results, and how, when and where they ran. Each scenario has one JSON file.

use super::{Cell, Report};
use crate::machine::Machine;
use crate::scenarios::SCENARIOS;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A run of one scenario on one disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The bench.
    pub scenario: String,
    /// The disk, and the memory.
    pub disk: String,
    /// The command that repeats this run, with the `BENCH_` variables that were set.
    pub command: String,
    /// When it began.
    pub date: String,
    /// The commit of the source.
    pub commit: String,
    /// The origin of the figures, if it is not the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where it ran.
    pub machine: Machine,
    /// The duration in seconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The outcome.
    pub outcome: Outcome,
}

impl Run {
    /// The results. `None` if the run was skipped or failed.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match &self.outcome {
            Outcome::Done(report) => Some(report),
            Outcome::Skipped(_) | Outcome::Failed(_) => None,
        }
    }

    /// Whether the run only shows that the scenario works.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.command.contains("BENCH_QUICK=")
    }
}

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It completed with these results.
    Done(Report),
    /// The machine lacks this requirement.
    Skipped(String),
    /// It failed with this error.
    Failed(String),
}

/// The directory of the results in the repository.
#[must_use]
pub fn kept_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// Loads all runs of a directory, in the order of [`SCENARIOS`], then those of other names.
///
/// # Errors
/// The error of reading the directory, or the file that does not have this form.
pub fn load(dir: &Path) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let read = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let of_one: Vec<Run> =
                serde_json::from_slice(&read).map_err(|error| format!("{}: {error}", path.display()))?;
            runs.extend(of_one);
        }
    }
    let place = |run: &Run| {
        let known = SCENARIOS.iter().position(|scenario| scenario.name == run.scenario);
        (known.unwrap_or(SCENARIOS.len()), run.scenario.clone())
    };
    // The sort is stable, so the runs of a scenario keep the order of their file.
    runs.sort_by_key(place);
    Ok(runs)
}

/// Replaces a scenario's file.
///
/// # Errors
/// The error of writing the file.
pub fn save(dir: &Path, scenario: &str, runs: &[Run]) -> Result<()> {
    // Renames only a complete file, because the old file may hold hours of work.
    let unfinished = dir.join(format!("{scenario}.json.new"));
    let saved = fs::write(&unfinished, as_json(runs)?)
        .and_then(|()| fs::rename(&unfinished, dir.join(format!("{scenario}.json"))));
    saved.map_err(|error| format!("{}: {error}", unfinished.display()).into())
}

/// Formats runs as JSON with a line for each row of a table, so that a diff shows the rows that changed.
fn as_json(runs: &[Run]) -> Result<String> {
    let mut runs = runs.to_vec();
    for run in &mut runs {
        if let Outcome::Done(report) = &mut run.outcome {
            let rows = report.tables.iter_mut().flat_map(|table| &mut table.rows);
            rows.flatten().for_each(round);
        }
    }
    let mut json = String::new();
    write(&serde_json::to_value(runs)?, 0, &mut json);
    json.push('\n');
    Ok(json)
}

/// Formats a value as JSON. Values deeper than the rows of a table stay on one line.
fn write(value: &Value, depth: usize, json: &mut String) {
    const OF_ROWS: usize = 7;
    let (brackets, parts): (_, Vec<(String, &Value)>) = match value {
        Value::Array(values) if depth < OF_ROWS => {
            (['[', ']'], values.iter().map(|value| (String::new(), value)).collect())
        }
        Value::Object(fields) if depth < OF_ROWS => {
            (['{', '}'], fields.iter().map(|(name, value)| (format!("{}: ", json!(name)), value)).collect())
        }
        _ => return json.push_str(&value.to_string()),
    };
    json.push(brackets[0]);
    for (at, (name, part)) in parts.iter().enumerate() {
        json.push_str(if at == 0 { "\n" } else { ",\n" });
        json.push_str(&" ".repeat(depth + 1));
        json.push_str(name);
        write(part, depth + 1, json);
    }
    if !parts.is_empty() {
        json.push('\n');
        json.push_str(&" ".repeat(depth));
    }
    json.push(brackets[1]);
}

/// Rounds to six digits, more than any figure needs.
fn round(cell: &mut Cell) {
    let rounded = |number: &mut f64| {
        *number = format!("{number:.5e}").parse().unwrap_or(*number);
    };
    match cell {
        Cell::Number(number) => rounded(number),
        Cell::Spread { min, median, max } => [min, median, max].into_iter().for_each(rounded),
        Cell::Text(_) => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Table;

    fn run(scenario: &str, cells: [Cell; 2]) -> Run {
        let mut table = Table::new("t", &["depth", "reads/s"]).note("n");
        table.row(cells);
        Run {
            scenario: scenario.to_owned(),
            disk: "local disk".to_owned(),
            command: "cargo bench".to_owned(),
            date: "today".to_owned(),
            commit: "27f2da9".to_owned(),
            source: None,
            machine: Machine::default(),
            seconds: Some(1.5),
            outcome: Outcome::Done(Report { scenario: scenario.to_owned(), tables: vec![table] }),
        }
    }

    #[test]
    fn a_directory_gives_back_what_was_saved_in_the_order_of_the_scenarios() {
        let dir = tempfile::tempdir().unwrap();
        let measured = || [Cell::from(8usize), Cell::spread([1.25, 1e-7, 7654321.0])];
        let [mine, scroll, backends] = ["a of mine", "scroll", "backends"].map(|name| run(name, measured()));
        for of_one in [&mine, &scroll, &backends] {
            save(dir.path(), &of_one.scenario, std::slice::from_ref(of_one)).unwrap();
        }
        let [_, shortened] = measured();
        let rounded = Cell::Spread { min: 1e-7, median: 1.25, max: 7_654_320.0 };
        assert_ne!(shortened, rounded);
        let expected =
            ["backends", "scroll", "a of mine"].map(|name| run(name, [Cell::from(8usize), rounded.clone()]));
        assert_eq!(load(dir.path()).unwrap(), expected);
    }

    #[test]
    fn a_row_of_a_table_is_a_line() {
        let json = as_json(&[run("s", ["a".into(), Cell::spread([1.0, 2.0])])]).unwrap();
        assert!(json.contains("\n       [\"a\",{\"max\":2.0,\"median\":1.5,\"min\":1.0}]\n"), "{json}");
    }

    #[test]
    fn a_file_of_another_form_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("scroll.json"), "{}").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("scroll.json: "), "{error}");
    }
}
