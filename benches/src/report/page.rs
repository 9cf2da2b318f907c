//! The report of many runs, as one HTML page that needs nothing else.

use super::{Report, Table, plots};
use crate::machine::Machine;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt::Write;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Everything that a page shows; also a file of its own, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// Where.
    pub machine: Machine,
    /// What made all of it.
    pub command: String,
    /// One after the other.
    pub runs: Vec<Run>,
}

/// One scenario on one disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The bench.
    pub scenario: String,
    /// Which disk, and with how much memory.
    pub disk: String,
    /// What makes this run again.
    pub command: String,
    /// When it began.
    pub date: String,
    /// Of the source that was run.
    pub commit: String,
    /// How long it took.
    pub seconds: f64,
    /// How it went.
    pub outcome: Outcome,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It came to its end, and found this.
    Done(Report),
    /// The machine lacks what it takes, which is named.
    Skipped(String),
    /// It ended with an error.
    Failed(String),
}

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884}
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:13px;margin:.8rem 0}
th,td{border:1px solid var(--line);padding:.2rem .5rem;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td small{opacity:.7}
code,pre{font-size:13px;background:#8882;padding:.1rem .3rem;overflow-x:auto}
pre{padding:.5rem}
.wide{overflow-x:auto}
.failed{color:#d55e00;font-weight:bold}
figure{display:inline-block;margin:.4rem 1rem .4rem 0}
figcaption{font-size:13px}
svg{max-width:100%;height:auto}
";

/// The page.
///
/// # Errors
/// What keeps a plot from being drawn.
pub fn html(runs: &Runs) -> Result<String> {
    let mut page = String::new();
    let Runs { machine, command, runs } = runs;
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>vecstore: the evidence</title>\
         <style>{STYLE}</style></head><body>\n<h1>vecstore: the evidence</h1>\n"
    )?;
    let Machine { cpu, cores, memory_mib, kernel, file_system, disk, rustc } = machine;
    writeln!(page, "<table>")?;
    for (name, value) in [
        ("CPU", cpu),
        ("cores", &cores.to_string()),
        ("memory", &format!("{memory_mib} MiB")),
        ("kernel", kernel),
        ("local disk", disk),
        ("its file system", file_system),
        ("compiler", rustc),
    ] {
        writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escaped(value))?;
    }
    writeln!(
        page,
        "</table>\n<p>Made by <code>{}</code>. Figures are medians, with the least and the most of the rounds in \
        brackets; so are the bars and their error bars.</p>\n<ul>",
        escaped(command)
    )?;
    for (number, run) in runs.iter().enumerate() {
        let how = match run.outcome {
            Outcome::Done(_) => "",
            Outcome::Skipped(_) => " (skipped)",
            Outcome::Failed(_) => " <span class=\"failed\">(failed)</span>",
        };
        let (scenario, disk) = (escaped(&run.scenario), escaped(&run.disk));
        writeln!(page, "<li><a href=\"#run-{number}\">{scenario}, {disk}</a>{how}</li>")?;
    }
    writeln!(page, "</ul>")?;
    for (number, run) in runs.iter().enumerate() {
        let Run { scenario, disk, command, date, commit, seconds, outcome } = run;
        writeln!(
            page,
            "<h2 id=\"run-{number}\">{}, {}</h2>\n<pre>{}</pre>\n<p>{}, commit {}; it took {seconds:.0} s.</p>",
            escaped(scenario),
            escaped(disk),
            escaped(command),
            escaped(date),
            escaped(commit)
        )?;
        match outcome {
            Outcome::Done(report) => {
                for table in &report.tables {
                    write_table(&mut page, table)?;
                }
            }
            Outcome::Skipped(why) => writeln!(page, "<p>Skipped: {}</p>", escaped(why))?,
            Outcome::Failed(why) => writeln!(page, "<p class=\"failed\">Failed: {}</p>", escaped(why))?,
        }
    }
    writeln!(page, "</body></html>")?;
    Ok(page)
}

fn write_table(page: &mut String, table: &Table) -> Result<()> {
    writeln!(page, "<h3>{}</h3>", escaped(&table.title))?;
    for note in &table.notes {
        writeln!(page, "<p>{}</p>", escaped(note))?;
    }
    for plot in &table.plots {
        for drawing in plots::draw(table, plot)? {
            let caption = format!("{} {}", plot.y, drawing.of);
            writeln!(
                page,
                "<figure><figcaption>{}</figcaption>{}</figure>",
                escaped(caption.trim()),
                drawing.svg
            )?;
        }
    }
    writeln!(page, "<div class=\"wide\"><table><tr>")?;
    for column in &table.columns {
        write!(page, "<th>{}</th>", escaped(column))?;
    }
    writeln!(page, "</tr>")?;
    for row in &table.rows {
        write!(page, "<tr>")?;
        for cell in row {
            let class = if matches!(cell, super::Cell::Text(_)) { "" } else { " class=\"n\"" };
            write!(page, "<td{class}>{}</td>", escaped(&cell.to_string()))?;
        }
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</table></div>")?;
    Ok(())
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Cell, Plot};

    fn runs() -> Runs {
        let mut table = Table::new("Reads <deep>", &["depth", "backend", "reads/s"])
            .note("a & b")
            .plot(Plot::new("depth", "reads/s", "backend"));
        table.row([1usize.into(), "ring".into(), Cell::spread([1.5, 2.5, 3.5])]);
        let run = |scenario: &str, outcome| Run {
            scenario: scenario.to_owned(),
            disk: "local".to_owned(),
            command: "cargo bench \"x\"".to_owned(),
            date: "today".to_owned(),
            commit: "27f2da9".to_owned(),
            seconds: 1.0,
            outcome,
        };
        let report = Report { scenario: "backends".to_owned(), tables: vec![table] };
        Runs {
            machine: Machine::default(),
            command: "report run".to_owned(),
            runs: vec![
                run("backends", Outcome::Done(report)),
                run("scroll", Outcome::Skipped("/dev/fuse is missing".to_owned())),
                run("writes", Outcome::Failed("<boom>".to_owned())),
            ],
        }
    }

    #[test]
    fn the_page_shows_everything_and_needs_nothing_else() {
        let page = html(&runs()).unwrap();
        for shown in [
            "Reads &lt;deep&gt;",
            "<td class=\"n\">2.50 (1.50..3.50)</td>",
            "a &amp; b",
            "<svg ",
            "Skipped: /dev/fuse is missing",
            "Failed: &lt;boom&gt;",
            "cargo bench &quot;x&quot;",
            "today, commit 27f2da9; it took 1 s",
        ] {
            assert!(page.contains(shown), "{shown} in {page}");
        }
        for external in ["src=", "url(", "@import", "<script", "<link", "href=\"http"] {
            assert!(!page.contains(external), "{external}");
        }
        // The names of XML's own are no references.
        assert!(!page.replace("http://www.w3.org/", "").contains("http"));
        for element in ["table", "figure", "svg", "tr", "div", "ul", "body", "html"] {
            let opened =
                page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
            assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        }
    }

    #[test]
    fn json_gives_the_runs_back() {
        let json = serde_json::to_string(&runs()).unwrap();
        assert_eq!(serde_json::from_str::<Runs>(&json).unwrap(), runs());
    }
}
