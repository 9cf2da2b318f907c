//! The figures of other documents are those of the kept results.

use benches::report::Cell;
use benches::report::runs::{Outcome, kept_dir, load};
use std::fs;

/// Sections whose tables have figures, the columns of names and settings before them, and the scenario that
/// measured them.
const COPIES: [(&str, &str, usize, &str); 6] = [
    ("README.md", "What it is worth", 1, "peers"),
    ("docs/guides/choose-a-backend.md", "What each one costs", 1, "backends"),
    ("docs/guides/choose-an-index.md", "What they cost", 2, "graph"),
    ("docs/guides/tune-recall.md", "Codes", 2, "codes"),
    ("docs/guides/tune-recall.md", "Read fewer vectors", 3, "peers"),
    ("docs/guides/tune-recall.md", "What `undecided` costs", 2, "counts"),
];

/// The figures in the tables of a section, without those in its first columns.
fn figures(document: &str, section: &str, settings: usize) -> Vec<String> {
    let start = document.find(&format!("\n## {section}\n")).expect("the section is there") + 1;
    let text = document[start..].split("\n## ").next().unwrap_or_default();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.flat_map(|row| row.split('|').skip(1 + settings));
    let figures = cells.map(|cell| cell.trim().trim_matches('*').to_owned());
    figures.filter(|figure| figure.replace(',', "").parse::<f64>().is_ok()).collect()
}

/// Whether a number, rounded as `figure` is, is `figure`.
fn is_rounded(number: f64, figure: &str) -> bool {
    let digits = figure.replace(',', "");
    let value: f64 = digits.parse().expect("a number");
    let step = match digits.split_once('.') {
        Some((_, decimals)) => 0.1_f64.powi(decimals.len() as i32),
        None => 10_f64.powi((digits.len() - digits.trim_end_matches('0').len()) as i32),
    };
    (number - value).abs() <= step * 0.501
}

#[test]
fn figures_of_documents_are_those_of_kept_results() {
    let runs = load(&kept_dir()).unwrap();
    let mut seen = 0;
    for (path, section, settings, scenario) in COPIES {
        let document = fs::read_to_string(kept_dir().join("../..").join(path)).unwrap();
        let kept: Vec<f64> = runs
            .iter()
            .filter(|run| run.scenario == scenario)
            .filter_map(|run| match &run.outcome {
                Outcome::Done(report) => {
                    Some(report.tables.iter().flat_map(|table| table.rows.iter().flatten()))
                }
                _ => None,
            })
            .flatten()
            .filter_map(Cell::value)
            .collect();
        for figure in figures(&document, section, settings) {
            assert!(
                kept.iter().any(|&number| is_rounded(number, &figure)),
                "{path}, {section}: no kept result of {scenario} is {figure}"
            );
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} figures were found");
}

#[test]
fn rounding_goes_by_the_digits_of_the_figure() {
    assert!(is_rounded(95_321.0, "95,000") && !is_rounded(95_621.0, "95,000"));
    assert!(is_rounded(0.9876, ".988") && !is_rounded(0.9869, ".988"));
    assert!(is_rounded(871.4, "871") && !is_rounded(872.0, "871"));
}
