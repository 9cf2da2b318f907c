//! The report of many runs, as one self-contained HTML page.

use super::claims::{Claim, Finding};
use super::inline::{self, escaped};
use super::plots::{Drawing, Drawings};
use super::runs::{Outcome, Run};
use super::summary::CLAIMS;
use super::{Cell, Plot, Table, plots};
use std::error::Error;
use std::fmt::Write;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const STYLE: &str = include_str!("page.css");

/// The page.
///
/// # Errors
/// If a plot cannot be drawn.
pub fn html(runs: &[Run]) -> Result<String> {
    let mut page = String::new();
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>vecstore: what was measured</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>vecstore: what was measured</h1>\n"
    )?;
    write_summary(&mut page, runs)?;
    writeln!(page, "<nav><h2>Scenarios</h2><ul>")?;
    for (number, run) in runs.iter().enumerate() {
        let how = match run.outcome {
            Outcome::Done(_) if run.is_quick() => " (quick)",
            Outcome::Done(_) => "",
            Outcome::Skipped(_) => " (skipped)",
            Outcome::Failed(_) => " <strong class=\"bad\">(failed)</strong>",
        };
        let (scenario, disk) = (escaped(&run.scenario), escaped(&run.disk));
        writeln!(page, "<li><a href=\"#run-{number}\">{scenario}, {disk}</a>{how}</li>")?;
    }
    writeln!(page, "</ul></nav>")?;
    for (number, run) in runs.iter().enumerate() {
        write_run(&mut page, number, run)?;
    }
    writeln!(page, "</body></html>")?;
    Ok(page)
}

fn write_summary(page: &mut String, runs: &[Run]) -> Result<()> {
    let findings = Finding::all(CLAIMS, runs);
    writeln!(
        page,
        "<h2>Summary</h2>\n<p>Figures are medians, with the least and the most of the rounds in brackets. Thin lines in \
         drawings show the same range. Each drawing has its own scale.</p>"
    )?;
    if runs.iter().any(Run::is_quick) {
        writeln!(
            page,
            "<p>Quick runs show that a scenario works, not how fast anything is. The summary leaves them out.</p>"
        )?;
    }
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(page, "<ul class=\"findings\">")?;
    for finding in &findings {
        let Finding { claim, found } = finding;
        let (class, met) = match (claim.aim, finding.missed().count()) {
            (None, _) => ("", String::new()),
            (Some(aim), 0) => ("good", format!("<small>Aim: {aim}. Met.</small>")),
            (Some(aim), _) => ("bad", format!("<small>Aim: {aim}. Met {}.</small>", finding.met())),
        };
        let sentence = inline::html(&claim.sentence(found));
        writeln!(page, "<li class=\"{class}\"><strong>{}</strong> {sentence} {met}</li>", claim.scenario)?;
    }
    writeln!(page, "</ul>")?;
    let missed: Vec<(Claim, _)> = findings
        .iter()
        .flat_map(|finding| finding.missed().map(move |found| (finding.claim, found)))
        .collect();
    if missed.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "<details><summary>Missed targets: {}</summary><div class=\"wide\"><table>\
         <tr><th>scenario</th><th>disk</th><th>what</th><th>aim</th><th>measured</th></tr>",
        missed.len()
    )?;
    for (claim, found) in missed {
        let aim = found.aim.map(|(aim, _)| aim.to_string()).unwrap_or_default();
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}: {}</td><td>{aim}</td><td class=\"n\">{}</td></tr>",
            claim.scenario,
            escaped(&found.disk),
            escaped(&found.row),
            claim.what(),
            Cell::from(found.figure)
        )?;
    }
    writeln!(page, "</table></div></details>")?;
    Ok(())
}

fn write_run(page: &mut String, number: usize, run: &Run) -> Result<()> {
    let Run { scenario, disk, command, date, commit, source, machine, seconds, outcome } = run;
    let took = seconds.map(|seconds| format!(", {seconds:.0} s")).unwrap_or_default();
    writeln!(
        page,
        "<section id=\"run-{number}\">\n<h2>{}, {}</h2>\n<details><summary>How it was made</summary>\n\
         <pre>{}</pre>\n<p>Commit {}, {}{took}. {}.{}</p></details>",
        escaped(scenario),
        escaped(disk),
        escaped(command),
        escaped(commit),
        escaped(date),
        escaped(&machine.to_string()),
        source.as_ref().map(|source| format!(" Source: {}.", escaped(source))).unwrap_or_default()
    )?;
    match outcome {
        Outcome::Done(report) => {
            for table in &report.tables {
                write_table(page, table)?;
            }
        }
        Outcome::Skipped(why) => writeln!(page, "<p>Skipped: {}</p>", escaped(why))?,
        Outcome::Failed(why) => writeln!(page, "<p class=\"bad\">Failed: {}</p>", escaped(why))?,
    }
    writeln!(page, "</section>")?;
    Ok(())
}

fn write_table(page: &mut String, table: &Table) -> Result<()> {
    writeln!(page, "<h3>{}</h3>", escaped(&table.title))?;
    for note in &table.notes {
        writeln!(page, "<p>{}</p>", inline::html(note))?;
    }
    let drawn: Vec<(&Plot, Drawings)> =
        table.plots.iter().map(|plot| Ok((plot, plots::draw(table, plot)?))).collect::<Result<_>>()?;
    writeln!(page, "<div class=\"plots\">")?;
    for (plot, drawn) in &drawn {
        write_plot(page, plot, drawn)?;
    }
    // A single drawing has the table beside it. Two or more fill the row, so the table comes below, folded.
    let beside = matches!(&drawn[..], [(_, one)] if one.drawings.len() == 1);
    let (before, after) = if beside { ("", "</div>") } else { ("</div>", "") };
    let class = if beside { " class=\"beside\"" } else { "" };
    let open = if beside || drawn.is_empty() { " open" } else { "" };
    writeln!(page, "{before}<details{class}{open}><summary>Table, rows: {}</summary>", table.rows.len())?;
    write_cells(page, table)?;
    writeln!(page, "</details>{after}")?;
    Ok(())
}

fn write_plot(page: &mut String, plot: &Plot, drawn: &Drawings) -> Result<()> {
    let Drawings { key, drawings } = drawn;
    // Plots with one drawing stand side by side. A plot with several has a row of its own.
    let class = if drawings.len() > 1 { " class=\"many\"" } else { "" };
    writeln!(page, "<div{class}><h4>{} by {}</h4>", escaped(&plot.y), escaped(&plot.x))?;
    if !key.is_empty() {
        write!(page, "<ul class=\"key\">")?;
        for (name, class) in key {
            write!(page, "<li><i class=\"{class}\"></i>{}</li>", escaped(name))?;
        }
        writeln!(page, "</ul>")?;
    }
    writeln!(page, "<div class=\"plots\">")?;
    for Drawing { of, svg } in drawings {
        let of = escaped(of);
        let caption = if of.is_empty() { of } else { format!("<figcaption>{of}</figcaption>") };
        writeln!(page, "<figure>{caption}{svg}</figure>")?;
    }
    writeln!(page, "</div></div>")?;
    Ok(())
}

fn write_cells(page: &mut String, table: &Table) -> Result<()> {
    writeln!(page, "<div class=\"wide\"><table><tr>")?;
    for column in &table.columns {
        write!(page, "<th>{}</th>", escaped(column))?;
    }
    writeln!(page, "</tr>")?;
    for row in &table.rows {
        write!(page, "<tr>")?;
        for cell in row {
            let class = if matches!(cell, Cell::Text(_)) { "" } else { " class=\"n\"" };
            write!(page, "<td{class}>{}</td>", escaped(&cell.to_string()))?;
        }
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</table></div>")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::report::Report;

    fn run(scenario: &str, outcome: Outcome) -> Run {
        Run {
            scenario: scenario.to_owned(),
            disk: "local disk".to_owned(),
            command: "cargo bench \"x\"".to_owned(),
            date: "today".to_owned(),
            commit: "27f2da9".to_owned(),
            source: Some("a < b".to_owned()),
            machine: Machine { cpu: "A&B 3000".to_owned(), ..Machine::default() },
            seconds: Some(1.0),
            outcome,
        }
    }

    fn runs() -> Vec<Run> {
        let mut reads = Table::new("Reads <deep>", &["depth", "backend", "reads/s"])
            .note("*cold*: a & b")
            .plot(Plot::new("depth", "reads/s", "backend"));
        reads.row([1usize.into(), "ring".into(), Cell::spread([1.5, 2.5, 3.5])]);
        let mut scroll = Table::new("Scroll", &["ids", "contender", "ratio"]);
        scroll.row(["UUIDs".into(), "mmap".into(), 5.0.into()]);
        scroll.row(["UUIDs".into(), "ring".into(), 7.0.into()]);
        let done = |scenario: &str, table: &Table| {
            Outcome::Done(Report { scenario: scenario.to_owned(), tables: vec![table.clone()] })
        };
        vec![
            run("backends", done("backends", &reads)),
            run("scroll", done("scroll", &scroll)),
            run("peers", Outcome::Skipped("/dev/fuse is missing".to_owned())),
            run("writes", Outcome::Failed("<boom>".to_owned())),
        ]
    }

    #[test]
    fn the_page_shows_everything_and_needs_nothing_else() {
        let page = html(&runs()).unwrap();
        for shown in [
            "Reads &lt;deep&gt;",
            "<td class=\"n\">2.50 (1.50..3.50)</td>",
            "<em>cold</em>: a &amp; b",
            "<svg ",
            "Skipped: /dev/fuse is missing",
            "Failed: &lt;boom&gt;",
            "cargo bench &quot;x&quot;",
            "Commit 27f2da9, today, 1 s. A&amp;B 3000. Source: a &lt; b.",
            "Aim: at least 6. Met in 1 of 2.",
            "<td>UUIDs, mmap: ratio</td><td>at least 6</td><td class=\"n\">5</td>",
        ] {
            assert!(page.contains(shown), "{shown}");
        }
        for external in ["src=", "url(", "@import", "<script", "<link", "http"] {
            assert!(!page.contains(external), "{external}");
        }
        let elements = ["table", "figure", "svg", "tr", "div", "ul", "details", "section", "body", "html"];
        for element in elements {
            let opened =
                page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
            assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        }
        // The summary comes first.
        assert!(page.find("Aim: at least 6") < page.find("Reads &lt;deep&gt;"));
    }

    #[test]
    fn quick_runs_are_named_and_not_summed_up() {
        let mut runs = runs();
        for run in &mut runs {
            run.command.insert_str(0, "BENCH_QUICK=1 ");
        }
        let page = html(&runs).unwrap();
        assert!(page.contains("scroll, local disk</a> (quick)") && !page.contains("Aim: "));
    }

    #[test]
    fn each_colour_is_in_both_schemes() {
        for colour in 0..plots::COLOURS {
            assert_eq!(STYLE.matches(&format!("--s{colour}:")).count(), 2, "{colour}");
            assert_eq!(STYLE.matches(&format!(".s{colour}{{")).count(), 1, "{colour}");
        }
    }
}
