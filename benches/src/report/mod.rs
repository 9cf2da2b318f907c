//! The results of a scenario: tables that are printed, and written as JSON for the report.

mod axis;
pub mod claims;
pub mod criterion;
mod inline;
pub mod markdown;
pub mod page;
pub mod plots;
pub mod runs;
pub mod summary;

use crate::spread;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table as Printed};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::BufWriter;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// One cell of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A number that does not vary: a setting or a count.
    Number(f64),
    /// Measured in several rounds.
    Spread {
        /// The least.
        min: f64,
        /// The median.
        median: f64,
        /// The most.
        max: f64,
    },
    /// A name, or the reason why there is no number.
    Text(String),
}

impl Cell {
    /// Least, median and most of the rounds. "-" if there are no rounds.
    #[must_use]
    pub fn spread(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Self::from("-");
        }
        let (min, median, max) = spread(values);
        Self::Spread { min, median, max }
    }

    /// The number, or the median.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Number(value) | Self::Spread { median: value, .. } => Some(*value),
            Self::Text(_) => None,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(number as f64)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number as f64)
    }
}

/// Formats a number with three significant digits at least: 1,234, 123, 12.3, 1.23, 0.123.
fn number(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    let places = match number.abs() {
        size if size.fract() == 0.0 || size >= 100.0 => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let digits = format!("{number:.places$}");
    // A number of four or more digits has no decimal places.
    let first = digits.len() - digits.trim_start_matches('-').len() + 1;
    for (at, digit) in digits.char_indices() {
        if places == 0 && at >= first && (digits.len() - at).is_multiple_of(3) {
            f.write_str(",")?;
        }
        write!(f, "{digit}")?;
    }
    Ok(())
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(value) => number(f, *value),
            Self::Spread { min, median, max } if min == max => number(f, *median),
            Self::Spread { min, median, max } => {
                number(f, *median)?;
                f.write_str(" (")?;
                number(f, *min)?;
                f.write_str("..")?;
                number(f, *max)?;
                f.write_str(")")
            }
        }
    }
}

/// A plot of a table, by the names of its columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plot {
    /// The horizontal axis. Numbers make lines, other cells make bars.
    pub x: String,
    /// The vertical axis, with error bars from least to most.
    pub y: String,
    /// The column whose values are the lines or colours.
    pub series: String,
    /// The columns whose combinations make a picture each.
    #[serde(default)]
    pub pictures: Vec<String>,
    /// Whether the vertical axis is logarithmic.
    #[serde(default)]
    pub log: bool,
}

impl Plot {
    /// Plots `y` over `x`, with a line or a colour for each value of `series`.
    #[must_use]
    pub fn new(x: &str, y: &str, series: &str) -> Self {
        Self { x: x.to_owned(), y: y.to_owned(), series: series.to_owned(), pictures: Vec::new(), log: false }
    }

    /// Makes a picture for each combination of these columns' values.
    #[must_use]
    pub fn pictures(mut self, columns: &[&str]) -> Self {
        self.pictures = columns.iter().map(|column| (*column).to_owned()).collect();
        self
    }

    /// Makes the vertical axis logarithmic.
    #[must_use]
    pub fn log(mut self) -> Self {
        self.log = true;
        self
    }
}

/// Rows of cells under named columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The subject of the table.
    pub title: String,
    /// Paragraphs on how it was measured and what it shows.
    pub notes: Vec<String>,
    /// The names of the columns, with units.
    pub columns: Vec<String>,
    /// The rows. Each has a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// The plots of the table.
    pub plots: Vec<Plot>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            notes: Vec::new(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            rows: Vec::new(),
            plots: Vec::new(),
        }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a plot.
    ///
    /// # Panics
    /// If it names a column that the table does not have.
    #[must_use]
    pub fn plot(mut self, plot: Plot) -> Self {
        for column in [&plot.x, &plot.y, &plot.series].into_iter().chain(&plot.pictures) {
            assert!(self.columns.contains(column), "{column} is not a column of {:?}", self.title);
        }
        self.plots.push(plot);
        self
    }

    /// The index of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it does not have a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<_> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "cells of a row of {:?}", self.title);
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    /// Formats the table as Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        for note in &self.notes {
            writeln!(f, "{note}\n")?;
        }
        let mut table = Printed::new();
        table.load_style(ASCII_MARKDOWN).set_header(&self.columns);
        table.add_rows(&self.rows);
        for (at, column) in table.column_iter_mut().enumerate() {
            if !self.rows.iter().all(|row| matches!(row[at], Cell::Text(_))) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(f, "{}", table.trim_fmt())
    }
}

/// The results of one run of a bench.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The bench's name.
    pub scenario: String,
    /// Its tables.
    pub tables: Vec<Table>,
}

impl Report {
    /// A report without tables.
    #[must_use]
    pub fn new(scenario: &str) -> Self {
        Self { scenario: scenario.to_owned(), tables: Vec::new() }
    }

    /// Prints a table and keeps it.
    #[allow(clippy::print_stdout, reason = "a bench reports on the standard output")]
    pub fn table(&mut self, table: Table) {
        println!("{table}");
        self.tables.push(table);
    }

    /// Writes the report as JSON to the path in `BENCH_JSON`, if that is set.
    ///
    /// # Errors
    /// The error of writing the file.
    pub fn finish(self) -> Result<()> {
        if let Some(path) = std::env::var_os("BENCH_JSON") {
            let file =
                File::create(&path).map_err(|error| format!("BENCH_JSON={}: {error}", path.display()))?;
            serde_json::to_writer_pretty(BufWriter::new(file), &self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_as_many_places_as_tell_something() {
        let shown =
            [1234.5, 123.0, 12.345, 1.2345, 0.12345, 0.0, -7.25].map(|number| Cell::from(number).to_string());
        assert_eq!(shown, ["1,234", "123", "12.3", "1.23", "0.123", "0", "-7.25"]);
        let large = [-123_456.0, 1e6, 12_345.6].map(|number| Cell::from(number).to_string());
        assert_eq!(large, ["-123,456", "1,000,000", "12,346"]);
        assert_eq!(Cell::spread([3.5, 1.5, 2.5]).to_string(), "2.50 (1.50..3.50)");
        assert_eq!(Cell::spread([2.0]).to_string(), "2");
        assert_eq!(Cell::spread([]), Cell::from("-"));
    }

    #[test]
    fn json_gives_the_report_back() {
        let mut table = Table::new("t", &["backend", "depth", "reads/s"])
            .note("n")
            .plot(Plot::new("depth", "reads/s", "backend").log());
        table.row(["ring".into(), 8usize.into(), Cell::spread([1.0, 2.0])]);
        let report = Report { scenario: "s".to_owned(), tables: vec![table] };
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
