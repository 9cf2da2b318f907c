//! Sentences about figures, and the targets of figures.

use super::axis::short;
use super::runs::Run;
use super::{Cell, Table};
use crate::spread;
use std::fmt;

/// A sentence about figures of one scenario.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The scenario of the figures.
    pub scenario: &'static str,
    /// The beginning of the disk's name.
    pub disk: &'static str,
    /// The beginning of the table's title.
    pub table: &'static str,
    /// Columns, and their values in the rows that count. A value may end in `*`.
    pub rows: &'static [(&'static str, &'static [&'static str])],
    /// The column of the figure.
    pub figure: &'static str,
    /// Makes the figure a ratio to another row.
    pub over: Option<Over>,
    /// The target of the figures.
    pub aim: Option<Aim>,
    /// The sentence. `{range}`, `{least}` and `{most}` stand for figures.
    pub says: &'static str,
}

/// The row that a ratio compares with.
#[derive(Clone, Copy, Debug)]
pub struct Over {
    /// Its value
    pub value: &'static str,
    /// in this column,
    pub column: &'static str,
    /// and the columns in which it equals the row to compare.
    pub same: &'static [&'static str],
}

/// A target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// Met by a figure that is not less.
    AtLeast(f64),
    /// Met by a figure that is not more.
    AtMost(f64),
    /// Met by a figure that is not less than the one of this column.
    AtLeastOf(&'static str),
}

/// One figure of a claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The disk.
    pub disk: String,
    /// The names of its row. If the claim is about several tables, what tells them apart comes first.
    pub row: String,
    /// A median, or the ratio of two medians.
    pub figure: f64,
    /// The target, and whether the figure meets it.
    pub aim: Option<(Aim, bool)>,
}

impl Claim {
    /// The figures of the runs for this claim.
    #[must_use]
    pub fn found(&self, runs: &[Run]) -> Vec<Found> {
        let mut all = Vec::new();
        for run in runs {
            if run.scenario != self.scenario || !run.disk.starts_with(self.disk) || run.is_quick() {
                continue;
            }
            let tables = run.report().map_or(&[][..], |report| &report.tables);
            let tables: Vec<&Table> =
                tables.iter().filter(|table| table.title.starts_with(self.table)).collect();
            for &table in &tables {
                let data = (tables.len() > 1).then(|| self.data_of(table));
                all.extend(table.rows.iter().filter_map(|row| self.found_in(run, table, data, row)));
            }
        }
        all
    }

    /// What tells a table from others of the claim: the title behind what they have in common, up to a colon.
    fn data_of<'t>(&self, table: &'t Table) -> &'t str {
        let own = table.title[self.table.len()..].trim_start_matches([',', ':', ' ']);
        own.split_once(':').map_or(own, |(own, _)| own)
    }

    fn found_in(&self, run: &Run, table: &Table, data: Option<&str>, row: &[Cell]) -> Option<Found> {
        let of = |row: &[Cell], column: &str| Some(row[table.column(column)?].clone());
        let counts = |(column, values): &(&str, &[&str])| {
            of(row, column).is_some_and(|cell| values.iter().any(|value| is(&cell, value)))
        };
        if !self.rows.iter().all(counts) {
            return None;
        }
        let base = match self.over {
            None => None,
            Some(Over { value, column, same }) => Some(table.rows.iter().find(|other| {
                of(other, column).is_some_and(|cell| is(&cell, value))
                    && same.iter().all(|column| of(other, column) == of(row, column))
            })?),
        };
        let figure_of = |column: &str| {
            let own = of(row, column)?.value()?;
            match base {
                None => Some(own),
                Some(base) => Some(own / of(base, column)?.value()?),
            }
        };
        let figure = figure_of(self.figure)?;
        let aim = match self.aim {
            Some(Aim::AtLeastOf(column)) => Some(Aim::AtLeast(figure_of(column)?)),
            aim => aim,
        };
        let names_the_row = |column: &&String| {
            let column = column.as_str();
            self.rows.iter().any(|(name, _)| *name == column)
                || self.over.is_some_and(|over| over.same.contains(&column))
        };
        let name = |column: &String| match of(row, column)? {
            Cell::Text(text) => Some(text),
            number => Some(format!("{column} {number}")),
        };
        let names = table.columns.iter().filter(names_the_row).filter_map(name);
        let names: Vec<String> = data.map(str::to_owned).into_iter().chain(names).collect();
        Some(Found {
            disk: run.disk.clone(),
            row: names.join(", "),
            figure,
            aim: aim.map(|aim| (aim, aim.is_met_by(figure))),
        })
    }

    /// A short name of the figure.
    #[must_use]
    pub fn what(&self) -> String {
        match self.over {
            None => self.figure.to_owned(),
            Some(over) => format!("{} over {}", self.figure, over.value.trim_end_matches('*')),
        }
    }

    /// The sentence, with its figures.
    ///
    /// # Panics
    /// If there are no figures.
    #[must_use]
    pub fn sentence(&self, found: &[Found]) -> String {
        let (least, _, most) = spread(found.iter().map(|found| found.figure));
        let [least, most] = [least, most].map(|figure| Cell::from(figure).to_string());
        let range = if least == most { least.clone() } else { format!("{least} to {most}") };
        self.says.replace("{range}", &range).replace("{least}", &least).replace("{most}", &most)
    }
}

/// Whether a cell shows this value. `*` stands for any ending.
fn is(cell: &Cell, value: &str) -> bool {
    let text = cell.to_string();
    value.strip_suffix('*').map_or_else(|| text == value, |beginning| text.starts_with(beginning))
}

impl Aim {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::AtLeastOf(_) => false,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {}", short(*least)),
            Self::AtMost(most) => write!(f, "at most {}", short(*most)),
            Self::AtLeastOf(column) => write!(f, "at least as {column}"),
        }
    }
}

/// A claim, and the figures of the runs for it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The claim.
    pub claim: Claim,
    /// The figures, at least one.
    pub found: Vec<Found>,
}

impl Finding {
    /// The claims for which the runs have figures.
    #[must_use]
    pub fn all(claims: &[Claim], runs: &[Run]) -> Vec<Self> {
        let found = claims.iter().map(|claim| Self { claim: *claim, found: claim.found(runs) });
        found.filter(|finding| !finding.found.is_empty()).collect()
    }

    /// The figures that miss their target.
    pub fn missed(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| found.aim.is_some_and(|(_, met)| !met))
    }

    /// "yes", or how many of the cells meet the target. Empty without a target.
    #[must_use]
    pub fn met(&self) -> String {
        match (self.claim.aim, self.missed().count()) {
            (None, _) => String::new(),
            (Some(_), 0) => "yes".to_owned(),
            (Some(_), missed) => format!("in {} of {}", self.found.len() - missed, self.found.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::report::Report;
    use crate::report::runs::Outcome;

    fn run(disk: &str, command: &str) -> Run {
        let mut table = Table::new("Reads of much", &["depth", "contender", "reads/s", "published"]);
        for (depth, contender, rate, published) in [
            (8usize, "bare ring", 100.0, 1.0),
            (8, "ring", 80.0, 2.0),
            (32, "bare ring", 200.0, 10.0),
            (32, "ring", 190.0, 5.0),
            (32, "ring, other", 1.0, 1.0),
            (64, "ring", 1.0, 1.0),
        ] {
            let spread = Cell::spread([rate, rate * 3.0, rate / 2.0]);
            table.row([depth.into(), contender.into(), spread, published.into()]);
        }
        Run {
            scenario: "backends".to_owned(),
            disk: disk.to_owned(),
            command: command.to_owned(),
            date: String::new(),
            commit: String::new(),
            source: None,
            machine: Machine::default(),
            seconds: None,
            outcome: Outcome::Done(Report { scenario: "backends".to_owned(), tables: vec![table] }),
        }
    }

    const CLAIM: Claim = Claim {
        scenario: "backends",
        disk: "local",
        table: "Reads",
        rows: &[("contender", &["ring"])],
        figure: "reads/s",
        over: Some(Over { value: "bare ring", column: "contender", same: &["depth"] }),
        aim: Some(Aim::AtLeast(0.9)),
        says: "It has {range}, {least}, {most}.",
    };

    fn found(row: &str, figure: f64, aim: Option<(Aim, bool)>) -> Found {
        Found { disk: "local disk".to_owned(), row: row.to_owned(), figure, aim }
    }

    #[test]
    fn a_ratio_is_to_the_row_that_differs_in_one_column_only() {
        let runs = [run("local disk", ""), run("slow disk", ""), run("local disk", "BENCH_QUICK=1 cargo")];
        let aim = Aim::AtLeast(0.9);
        // Depth 64 has no row to compare with.
        let expected = [
            found("depth 8, ring", 0.8, Some((aim, false))),
            found("depth 32, ring", 0.95, Some((aim, true))),
        ];
        assert_eq!(CLAIM.found(&runs), expected);
        let finding = &Finding::all(&[CLAIM, Claim { scenario: "scroll", ..CLAIM }], &runs)[..];
        let [finding] = finding else { panic!("{finding:?}") };
        assert_eq!(finding.met(), "in 1 of 2");
        assert_eq!(finding.missed().collect::<Vec<_>>(), [&expected[0]]);
        assert_eq!(CLAIM.sentence(&finding.found), "It has 0.800 to 0.950, 0.800, 0.950.");
    }

    #[test]
    fn rows_of_several_tables_say_which_one_is_theirs() {
        let mut run = run("local disk", "");
        let Outcome::Done(report) = &mut run.outcome else { panic!("{run:?}") };
        let other = Table { title: "Reads of little: with a note".to_owned(), ..report.tables[0].clone() };
        report.tables.push(other);
        let claim = Claim { table: "Reads of", rows: &[("depth", &["32"])], over: None, aim: None, ..CLAIM };
        let rows: Vec<String> = claim.found(&[run]).into_iter().map(|found| found.row).collect();
        assert_eq!(
            rows,
            ["much, depth 32"; 3].into_iter().chain(["little, depth 32"; 3]).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_figure_is_held_against_its_own_column_too() {
        let published = Claim { aim: Some(Aim::AtLeastOf("published")), ..CLAIM };
        let aims: Vec<_> = published.found(&[run("local", "")]).into_iter().map(|found| found.aim).collect();
        assert_eq!(aims, [Some((Aim::AtLeast(2.0), false)), Some((Aim::AtLeast(0.5), true))]);
    }

    #[test]
    fn without_a_base_the_figure_itself_counts() {
        let claim = Claim {
            rows: &[("depth", &["32"]), ("contender", &["ring*"])],
            over: None,
            aim: Some(Aim::AtMost(50.0)),
            ..CLAIM
        };
        let aim = Aim::AtMost(50.0);
        let expected = [
            found("depth 32, ring", 190.0, Some((aim, false))),
            found("depth 32, ring, other", 1.0, Some((aim, true))),
        ];
        assert_eq!(claim.found(&[run("local disk", "")]), expected);
    }
}
