//! The results in the repository, as one Markdown document.

use super::claims::Finding;
use super::runs::{Outcome, Run};
use super::summary::CLAIMS;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

const HEAD: &str = "# Results

`report` makes this document from the files in [results](results). Do not edit it. [METHOD.md](METHOD.md)
says how things are measured, and [README.md](README.md) how to measure them again.

A figure is the median of the rounds, with the least and the most in brackets. Compare figures within a table only.

A run whose source is *copied tables* is older than `report`. Its tables were copied by hand, and its commit and date are those
of the change that brought them. `report keep` replaces such a run.

## Summary
";

/// Reads the notes of scenarios, by the scenario's name. They explain the figures.
///
/// # Errors
/// The error of reading the files.
pub fn notes(results: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut notes = BTreeMap::new();
    for entry in fs::read_dir(results.join("notes"))? {
        let path = entry?.path();
        if let Some(scenario) = path.file_stem() {
            notes.insert(scenario.to_string_lossy().into_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(notes)
}

/// The document.
#[must_use]
pub fn document(runs: &[Run], notes: &BTreeMap<String, String>) -> String {
    let findings = Finding::all(CLAIMS, runs);
    let mut text = HEAD.to_owned();
    rows(
        &mut text,
        &["scenario", "what was found", "aim", "met"],
        findings.iter().map(|finding| {
            let Finding { claim, found } = finding;
            let aim = claim.aim.map(|aim| aim.to_string()).unwrap_or_default();
            let scenario = format!("[{0}](#{0})", claim.scenario);
            [scenario, claim.sentence(found), aim, finding.met()]
        }),
    );
    text.push_str("\n## Missed targets\n");
    let missed =
        findings.iter().flat_map(|finding| finding.missed().map(move |found| (finding.claim, found)));
    rows(
        &mut text,
        &["scenario", "disk", "what", "aim", "measured"],
        missed.map(|(claim, found)| {
            let aim = found.aim.map(|(aim, _)| aim.to_string()).unwrap_or_default();
            let figure = super::Cell::from(found.figure).to_string();
            let what = format!("{}: {}", found.row, claim.what());
            [claim.scenario.to_owned(), found.disk.clone(), what, aim, figure]
        }),
    );
    text.push_str("\n## Scenarios\n");
    rows(
        &mut text,
        &["scenario", "measures", "on"],
        runs.chunk_by(|one, other| one.scenario == other.scenario).map(|runs| {
            let scenario = &runs[0].scenario;
            let mut disks: Vec<_> = runs.iter().map(|run| run.disk.as_str()).collect();
            disks.dedup();
            let disks = disks.iter().map(|disk| format!("[{disk}](#{})", anchor(&heading(scenario, disk))));
            let measures = measures(scenario).unwrap_or_default().to_owned();
            [format!("[{scenario}](#{scenario})"), measures, disks.collect::<Vec<_>>().join("; ")]
        }),
    );
    for runs in runs.chunk_by(|one, other| one.scenario == other.scenario) {
        let scenario = &runs[0].scenario;
        let _ = write!(text, "\n## {scenario}\n");
        if let Some(note) = notes.get(scenario) {
            let _ = write!(text, "\n{}\n", note.trim());
        }
        for run in runs {
            write_run(&mut text, run);
        }
    }
    text
}

/// What a scenario measures, from its row in the README.
fn measures(scenario: &str) -> Option<&'static str> {
    const README: &str = include_str!("../../README.md");
    let start = format!("| `{scenario}` | ");
    README.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix(" |"))
}

fn heading(scenario: &str, disk: &str) -> String {
    format!("{scenario}, {disk}")
}

/// What a link to a heading names, as usual in Markdown.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(',', "").replace(' ', "-")
}

fn write_run(text: &mut String, run: &Run) {
    let Run { disk, command, date, commit, source, machine, seconds, outcome, .. } = run;
    let took = seconds.map(|seconds| format!(", {seconds:.0} s")).unwrap_or_default();
    let source = source.as_ref().map(|source| format!("\nSource: {source}.\n")).unwrap_or_default();
    let machine = match machine.to_string() {
        machine if machine.is_empty() => "The machine was not recorded".to_owned(),
        machine => machine,
    };
    let _ = write!(
        text,
        "\n### {}\n\n```sh\n{command}\n```\n\nCommit {commit}, {date}{took}. {machine}.\n{source}",
        heading(&run.scenario, disk)
    );
    match outcome {
        Outcome::Done(report) => {
            for table in &report.tables {
                let _ = write!(text, "\n#{table}");
            }
        }
        Outcome::Skipped(why) => {
            let _ = write!(text, "\nSkipped: {why}\n");
        }
        Outcome::Failed(why) => {
            let _ = write!(text, "\nFailed: {why}\n");
        }
    }
}

fn rows<const N: usize>(text: &mut String, columns: &[&str; N], rows: impl Iterator<Item = [String; N]>) {
    let _ = write!(text, "\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(N));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::runs::{kept_dir, load};
    use crate::scenarios::SCENARIOS;

    /// No figure is typed by hand: `report results` makes the document again.
    #[test]
    fn the_document_is_what_the_kept_runs_make() {
        let results = kept_dir();
        let document = document(&load(&results).unwrap(), &notes(&results).unwrap());
        let kept = fs::read_to_string(results.with_file_name("RESULTS.md")).unwrap();
        let differs = document.lines().zip(kept.lines()).position(|(made, kept)| made != kept);
        assert!(
            document == kept,
            "run `report results`: line {differs:?} of RESULTS.md is not what it makes"
        );
    }

    #[test]
    fn each_claim_has_figures_and_each_note_a_scenario() {
        let results = kept_dir();
        let runs = load(&results).unwrap();
        let without: Vec<_> = CLAIMS.iter().filter(|claim| claim.found(&runs).is_empty()).collect();
        assert!(without.is_empty(), "{without:?}");
        for scenario in notes(&results).unwrap().keys() {
            assert!(runs.iter().any(|run| run.scenario == *scenario), "{scenario}");
        }
    }

    #[test]
    fn each_scenario_has_results_of_each_of_its_disks() {
        let runs = load(&kept_dir()).unwrap();
        for scenario in SCENARIOS {
            for disk in scenario.disks.iter().map(|disk| disk.name()) {
                let is_there =
                    runs.iter().any(|run| (run.scenario.as_str(), &run.disk) == (scenario.name, &disk));
                // `peers/compare.py` measures more than the scenario `graph` does.
                assert!(is_there || scenario.name == "graph", "{}, {disk}", scenario.name);
            }
        }
    }

    #[test]
    fn the_readme_says_what_each_scenario_measures() {
        let kept = load(&kept_dir()).unwrap();
        let names = kept.iter().map(|run| run.scenario.as_str()).chain(SCENARIOS.iter().map(|one| one.name));
        let without: Vec<_> = names.filter(|name| measures(name).is_none()).collect();
        assert!(without.is_empty(), "{without:?}");
    }

    /// A document with a link that leads nowhere looks whole.
    #[test]
    fn each_link_within_the_document_has_its_heading() {
        let results = kept_dir();
        let document = document(&load(&results).unwrap(), &notes(&results).unwrap());
        let headings: Vec<_> = document
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect();
        let links = document.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
        let broken: Vec<_> = links.filter(|link| !headings.iter().any(|heading| heading == link)).collect();
        assert!(broken.is_empty(), "{broken:?}");
    }

    #[test]
    fn what_is_kept_is_small() {
        let files = fs::read_dir(kept_dir()).unwrap();
        let bytes: u64 = files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 1 << 20, "{bytes} bytes");
    }
}
