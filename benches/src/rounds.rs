//! Paired rounds: every contender runs once a round, in one run, and is compared with the first one of the same round.

use crate::spread;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use std::error::Error;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What one contender did in one round.
#[derive(Clone, Debug)]
pub struct Round(Vec<f64>);

impl Round {
    /// One figure.
    #[must_use]
    pub fn new(figure: f64) -> Self {
        Self(vec![figure])
    }

    /// So much in that time, a second.
    #[must_use]
    pub fn rate(count: f64, elapsed: Duration) -> Self {
        Self::new(count / elapsed.as_secs_f64())
    }

    /// One more figure.
    #[must_use]
    pub fn with(mut self, figure: f64) -> Self {
        self.0.push(figure);
        self
    }
}

struct Row {
    name: String,
    at_once: usize,
    /// By the number of the round.
    measured: Vec<(usize, Round)>,
}

/// A table in the making.
pub struct Rounds {
    figures: Vec<&'static str>,
    rows: Vec<Row>,
    failed: Option<Box<dyn Error + Send + Sync>>,
}

impl Rounds {
    /// For contenders that give these figures. The first is compared.
    #[must_use]
    pub fn new(figures: &[&'static str]) -> Self {
        Self { figures: figures.to_vec(), rows: Vec::new(), failed: None }
    }

    /// Runs a contender once, unless one has failed.
    pub fn run(
        &mut self,
        round: usize,
        name: &str,
        at_once: usize,
        contender: impl FnOnce() -> Result<Round>,
    ) {
        if self.failed.is_some() {
            return;
        }
        match contender() {
            Ok(measured) => {
                let row = self.rows.iter().position(|row| row.name == name && row.at_once == at_once);
                let row = row.unwrap_or_else(|| {
                    self.rows.push(Row { name: name.to_owned(), at_once, measured: Vec::new() });
                    self.rows.len() - 1
                });
                self.rows[row].measured.push((round, measured));
            }
            Err(error) => self.failed = Some(format!("{name}, {at_once}: {error}").into()),
        }
    }

    /// Prints medians and ranges.
    ///
    /// # Errors
    /// What the first contender to fail said.
    #[allow(clippy::print_stdout, reason = "a bench reports on the standard output")]
    pub fn print(self) -> Result<()> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        let mut header = vec!["contender".to_owned(), "at once".to_owned()];
        for figure in &self.figures {
            header.extend([(*figure).to_owned(), "(min..max)".to_owned()]);
        }
        header.extend(["ratio".to_owned(), "(min..max)".to_owned()]);
        table.set_header(header);
        let first = self.rows.first().map(|row| row.measured.clone()).unwrap_or_default();
        for Row { name, at_once, measured } in &self.rows {
            let mut cells = vec![name.clone(), at_once.to_string()];
            for figure in 0..self.figures.len() {
                let (min, median, max) = spread(measured.iter().map(|(_, round)| round.0[figure]));
                cells.extend([format!("{median:.0}"), format!("{min:.0}..{max:.0}")]);
            }
            let ratios = measured.iter().filter_map(|(round, measured)| {
                let base = first.iter().find(|(first, _)| first == round)?;
                Some(measured.0[0] / base.1.0[0])
            });
            let (min, median, max) = spread(ratios);
            cells.extend([format!("{median:.2}"), format!("{min:.2}..{max:.2}")]);
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("\n{}", table.trim_fmt());
        Ok(())
    }
}
