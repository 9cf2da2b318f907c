//! Paired rounds: every contender runs once in each round. It is compared with the first contender of the
//! same round.

use crate::report::{Cell, Table};
use std::error::Error;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The figures of one contender in one round.
#[derive(Clone, Debug)]
pub struct Round(Vec<Option<f64>>);

impl Round {
    /// A round with the figure that contenders are compared by.
    #[must_use]
    pub fn new(figure: f64) -> Self {
        Self(vec![Some(figure)])
    }

    /// A round with a rate: `count` in `elapsed`, for each second.
    #[must_use]
    pub fn rate(count: f64, elapsed: Duration) -> Self {
        Self::new(count / elapsed.as_secs_f64())
    }

    /// Adds a figure, if this contender has it.
    #[must_use]
    pub fn with(mut self, figure: impl Into<Option<f64>>) -> Self {
        self.0.push(figure.into());
        self
    }

    /// A figure by its index, if the contender has it.
    #[must_use]
    pub fn figure(&self, number: usize) -> Option<f64> {
        self.0.get(number).copied().flatten()
    }
}

struct Row {
    contender: Vec<Cell>,
    /// The number of the round, and its figures.
    measured: Vec<(usize, Round)>,
}

/// The rounds of all contenders.
#[derive(Default)]
pub struct Rounds(Vec<Row>);

impl Rounds {
    /// A table with these columns for the contender and these figures.
    #[must_use]
    pub fn table(title: impl Into<String>, contender: &[&str], figures: &[&str]) -> Table {
        Table::new(title, &[contender, figures, &["ratio"]].concat())
            .note("Median (least..most) of the rounds; *ratio*: to the first contender of the same round.")
    }

    /// Runs a contender once.
    ///
    /// # Errors
    /// The contender's error, with its name.
    pub fn run<const N: usize>(
        &mut self,
        round: usize,
        contender: [Cell; N],
        run: impl FnOnce() -> Result<Round>,
    ) -> Result<()> {
        let measured = run().map_err(|error| {
            let names: Vec<_> = contender.iter().map(Cell::to_string).collect();
            format!("{}: {}", names.join(", "), io_core::with_causes(&*error))
        })?;
        match self.0.iter_mut().find(|row| row.contender == contender) {
            Some(row) => row.measured.push((round, measured)),
            None => self.0.push(Row { contender: contender.into(), measured: vec![(round, measured)] }),
        }
        Ok(())
    }

    /// Adds a row for each contender to a [`Rounds::table`].
    pub fn add_to(self, table: &mut Table) {
        let first = self.0.first().map(|row| row.measured.clone()).unwrap_or_default();
        for Row { contender, measured } in self.0 {
            let figures = table.columns.len() - contender.len() - 1;
            let ratios = measured.iter().filter_map(|(round, measured)| {
                let (_, base) = first.iter().find(|(first, _)| first == round)?;
                Some(measured.figure(0)? / base.figure(0)?)
            });
            let ratio = Cell::spread(ratios);
            let spread = |figure| Cell::spread(measured.iter().filter_map(|(_, round)| round.figure(figure)));
            table.row(contender.into_iter().chain((0..figures).map(spread)).chain([ratio]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_are_compared_within_a_round() {
        let mut rounds = Rounds::default();
        for (round, (base, other)) in [(100.0, 50.0), (10.0, 20.0), (1.0, 1.0)].into_iter().enumerate() {
            rounds.run(round, ["base".into()], || Ok(Round::new(base).with(None))).unwrap();
            rounds.run(round, ["other".into()], || Ok(Round::new(other).with(round as f64))).unwrap();
        }
        let mut table = Rounds::table("t", &["contender"], &["a", "b"]);
        rounds.add_to(&mut table);
        assert_eq!(table.columns, ["contender", "a", "b", "ratio"]);
        assert_eq!(
            table.rows,
            [
                ["base".into(), Cell::spread([1.0, 10.0, 100.0]), "-".into(), Cell::spread([1.0])],
                [
                    "other".into(),
                    Cell::spread([1.0, 20.0, 50.0]),
                    Cell::spread([0.0, 1.0, 2.0]),
                    Cell::spread([0.5, 1.0, 2.0])
                ],
            ]
        );
    }

    #[test]
    fn who_fails_is_named() {
        let failed =
            Rounds::default().run(0, ["mmap".into(), 8usize.into()], || Err("no map".into())).unwrap_err();
        assert_eq!(failed.to_string(), "mmap, 8: no map");
    }
}
