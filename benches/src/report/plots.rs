//! Drawings of a table as SVG: medians, with lines from the least to the most.
//!
//! Numbers along an axis make lines. Names make horizontal bars. On a logarithmic axis names make dots,
//! because a bar has no beginning there. The page's style sheet has the colours, as classes `s0`, `s1` and so
//! on.

use super::axis::{Axis, short};
use super::inline::escaped;
use super::{Cell, Plot, Table};
use std::error::Error;
use std::fmt::Write as _;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The number of colours in the style sheet.
pub const COLOURS: usize = 8;
const WIDTH: f64 = 380.0;
/// The height of a line drawing.
const HEIGHT: f64 = 240.0;
/// The approximate width of a character.
const CHARACTER: f64 = 8.2;
const LINE: f64 = 15.0;

/// These names have the same colour in all drawings.
const BY_NAME: [(&str, usize); 8] = [
    ("mmap", 0),
    ("tokio-uring", 1),
    ("glommio", 2),
    ("ring", 3),
    ("monoio", 4),
    ("bare ring", 5),
    ("threads", 6),
    ("fio", 7),
];

/// A drawing and its title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// The values it shows, such as "ids: UUIDs". Empty if the table has only one drawing.
    pub of: String,
    /// An `svg` element.
    pub svg: String,
}

/// All drawings of a plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawings {
    /// The names and classes of the series. Empty if the axis names them.
    pub key: Vec<(String, String)>,
    /// One for each combination of values.
    pub drawings: Vec<Drawing>,
}

/// One value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value {
    /// The index of its place along the axis.
    place: usize,
    min: f64,
    median: f64,
    max: f64,
}

/// The content of one drawing.
#[derive(Clone, Debug, Default, PartialEq)]
struct Picture {
    of: String,
    /// The places along the axis.
    places: Vec<String>,
    series: Vec<(String, Vec<Value>)>,
}

impl Picture {
    fn values(&self) -> impl Iterator<Item = &Value> {
        self.series.iter().flat_map(|(_, values)| values)
    }

    fn axis(&self, log: bool) -> Axis {
        Axis::of(self.values().flat_map(|value| [value.min, value.max]), log)
    }
}

/// Makes all drawings of a plot.
///
/// # Errors
/// If the table lacks a column.
pub fn draw(table: &Table, plot: &Plot) -> Result<Drawings> {
    let names = names_of(table, plot)?;
    let x = column(table, &plot.x)?;
    let lines = table.rows.iter().all(|row| matches!(row[x], Cell::Number(_)));
    let class = |name: &str| class(name, &names);
    let drawings = pictures(table, plot)?.into_iter().filter(|picture| picture.values().next().is_some());
    let drawings = drawings.map(|picture| {
        let svg = if lines { in_lines(&picture, plot, class) } else { in_bars(&picture, plot, class) };
        Drawing { of: picture.of, svg }
    });
    let key = if plot.x == plot.series { &[][..] } else { &names };
    Ok(Drawings {
        key: key.iter().map(|name| (name.clone(), class(name))).collect(),
        drawings: drawings.collect(),
    })
}

fn column(table: &Table, name: &str) -> Result<usize> {
    table.column(name).ok_or_else(|| format!("the table {:?} has no column {name:?}", table.title).into())
}

/// The names of all series. A series has the same colour in all drawings of a plot.
fn names_of(table: &Table, plot: &Plot) -> Result<Vec<String>> {
    let at = column(table, &plot.series)?;
    let mut names: Vec<String> = Vec::new();
    for row in &table.rows {
        index_of(&mut names, row[at].to_string());
    }
    Ok(names)
}

fn pictures(table: &Table, plot: &Plot) -> Result<Vec<Picture>> {
    let (x, y, series) = (column(table, &plot.x)?, column(table, &plot.y)?, column(table, &plot.series)?);
    let by: Vec<usize> = plot.pictures.iter().map(|name| column(table, name)).collect::<Result<_>>()?;
    let mut pictures: Vec<Picture> = Vec::new();
    for row in &table.rows {
        let of: Vec<String> = by.iter().map(|&at| format!("{}: {}", table.columns[at], row[at])).collect();
        let of = of.join(", ");
        let known = pictures.iter().position(|picture| picture.of == of);
        let known = known.unwrap_or_else(|| {
            pictures.push(Picture { of, ..Picture::default() });
            pictures.len() - 1
        });
        let picture = &mut pictures[known];
        let (min, median, max) = match row[y] {
            Cell::Number(value) => (value, value, value),
            Cell::Spread { min, median, max } => (min, median, max),
            Cell::Text(_) => continue,
        };
        let place = index_of(&mut picture.places, named(&row[x]));
        let name = row[series].to_string();
        let at = picture.series.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            picture.series.push((name, Vec::new()));
            picture.series.len() - 1
        });
        picture.series[at].1.push(Value { place, min, median, max });
    }
    Ok(pictures)
}

/// The label of a place: the short form if it is exact.
fn named(cell: &Cell) -> String {
    match cell {
        Cell::Number(number) if *number >= 1000.0 && number % 1000.0 == 0.0 => short(*number),
        cell => cell.to_string(),
    }
}

fn index_of(all: &mut Vec<String>, wanted: String) -> usize {
    all.iter().position(|known| *known == wanted).unwrap_or_else(|| {
        all.push(wanted);
        all.len() - 1
    })
}

/// The class of a series. If its name ends in that of a backend, it gets that backend's colour. Otherwise its
/// number decides. If there are more series than colours, later ones of a colour are dashed.
fn class(name: &str, names: &[String]) -> String {
    let own = |name: &str| {
        let backend = name.rsplit(", ").next()?;
        BY_NAME.iter().find(|(known, _)| backend == *known).map(|(_, colour)| *colour)
    };
    if let Some(colour) = own(name) {
        return format!("s{colour}");
    }
    let taken: Vec<usize> = names.iter().filter_map(|name| own(name)).collect();
    let free: Vec<usize> = (0..COLOURS).filter(|colour| !taken.contains(colour)).collect();
    let others = names.iter().filter(|name| own(name).is_none());
    let number = others.take_while(|other| *other != name).count();
    let dashed = if number >= free.len() { " dashed" } else { "" };
    let all = (0..COLOURS).collect();
    let colours = if free.is_empty() { all } else { free };
    format!("s{}{dashed}", colours[number % colours.len()])
}

fn text(svg: &mut String, anchor: &str, x: f64, y: f64, text: &str) {
    let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(text));
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ =
        write!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn dot(svg: &mut String, class: &str, (x, y): (f64, f64)) {
    let _ = write!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>");
}

fn begun(height: f64, picture: &Picture, plot: &Plot) -> String {
    let what = format!("{} by {}. {}", plot.y, plot.x, picture.of);
    let what = escaped(what.trim_end());
    format!("<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{what}\">")
}

fn in_lines(picture: &Picture, plot: &Plot, class: impl Fn(&str) -> String) -> String {
    const LEFT: f64 = 50.0;
    const TOP: f64 = 26.0;
    const BOTTOM: f64 = HEIGHT - 40.0;
    let mut svg = begun(HEIGHT, picture, plot);
    let axis = picture.axis(plot.log);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * axis.part(value);
    let step = (WIDTH - LEFT) / picture.places.len() as f64;
    let x = |value: &Value| LEFT + step * (value.place as f64 + 0.5);
    text(&mut svg, "start", 2.0, 14.0, &plot.y);
    for tick in axis.ticks() {
        line(&mut svg, "grid", (LEFT, y(tick)), (WIDTH, y(tick)));
        text(&mut svg, "end", LEFT - 6.0, y(tick) + 4.0, &short(tick));
    }
    // Skips some labels if they would overlap.
    let widest = picture.places.iter().map(|place| place.chars().count()).max().unwrap_or_default();
    let every = ((widest as f64 + 1.0) * CHARACTER / step).ceil().max(1.0) as usize;
    for (at, place) in picture.places.iter().enumerate().step_by(every) {
        text(&mut svg, "middle", LEFT + step * (at as f64 + 0.5), BOTTOM + 17.0, place);
    }
    text(&mut svg, "middle", (LEFT + WIDTH) / 2.0, HEIGHT - 5.0, &plot.x);
    for (name, values) in &picture.series {
        let class = class(name);
        let points = values.iter().map(|value| format!("{:.1},{:.1}", x(value), y(value.median)));
        let points: Vec<String> = points.collect();
        let _ = write!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
        for value in values {
            if value.min < value.max {
                line(&mut svg, "spread", (x(value), y(value.min)), (x(value), y(value.max)));
            }
            dot(&mut svg, &class, (x(value), y(value.median)));
        }
    }
    svg + "</svg>"
}

fn in_bars(picture: &Picture, plot: &Plot, class: impl Fn(&str) -> String) -> String {
    /// The height of a bar and the space next to it.
    const BAR: f64 = 14.0;
    /// The room for a number next to the longest bar.
    const NUMBERS: f64 = 58.0;
    // If the axis already names the series, each place has one bar.
    let names_itself = plot.x == plot.series;
    let beside = if names_itself { 1 } else { picture.series.len().max(1) };
    let names: Vec<Vec<String>> = picture.places.iter().map(|place| wrapped(place)).collect();
    let longest = names.iter().flatten().map(|line| line.chars().count()).max().unwrap_or_default();
    let left = longest as f64 * CHARACTER + 10.0;
    let heights: Vec<f64> =
        names.iter().map(|lines| (lines.len() as f64 * LINE).max(beside as f64 * BAR) + 8.0).collect();
    let bottom: f64 = 4.0 + heights.iter().sum::<f64>();
    let mut svg = begun(bottom + 40.0, picture, plot);
    let axis = picture.axis(plot.log);
    let x = |value: f64| left + (WIDTH - NUMBERS - left) * axis.part(value);
    for tick in axis.ticks() {
        line(&mut svg, "grid", (x(tick), 4.0), (x(tick), bottom));
        text(&mut svg, "middle", x(tick), bottom + 17.0, &short(tick));
    }
    text(&mut svg, "middle", (left + WIDTH - NUMBERS) / 2.0, bottom + 35.0, &plot.y);
    let mut top = 4.0;
    for (place, (lines, height)) in names.iter().zip(&heights).enumerate() {
        let middle = top + height / 2.0;
        let first = middle - (lines.len() as f64 - 1.0) * LINE / 2.0 + 4.0;
        for (at, name) in lines.iter().enumerate() {
            text(&mut svg, "end", left - 6.0, first + at as f64 * LINE, name);
        }
        for (number, (name, values)) in picture.series.iter().enumerate() {
            let of_place = values.iter().filter(|value| value.place == place);
            let shift = if names_itself { 0.5 } else { number as f64 + 0.5 };
            let y = middle - beside as f64 * BAR / 2.0 + shift * BAR;
            for Value { min, median, max, .. } in of_place {
                let class = class(name);
                if !plot.log {
                    let (width, height) = (x(*median) - left, BAR - 4.0);
                    let top = y - height / 2.0;
                    let _ = write!(
                        svg,
                        "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                    );
                }
                if min < max {
                    line(&mut svg, "spread", (x(*min), y), (x(*max), y));
                }
                if plot.log {
                    dot(&mut svg, &class, (x(*median), y));
                }
                text(&mut svg, "start", x(*max) + 6.0, y + 4.0, &short(*median));
            }
        }
        top += height;
    }
    svg + "</svg>"
}

/// Splits a name into short lines.
fn wrapped(name: &str) -> Vec<String> {
    const LONG: usize = 20;
    let mut lines: Vec<String> = Vec::new();
    for word in name.split(' ') {
        match lines.last_mut().filter(|line| line.len() + word.len() < LONG) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", &["disk", "depth", "backend", "reads/s"]);
        for (disk, depth, backend, rates) in [
            ("local", 1usize, "mmap", [1.0, 2.0, 3.0]),
            ("local", 16_000, "mmap", [10.0, 20.0, 30.0]),
            ("local", 16_000, "ring", [40.0, 50.0, 60.0]),
            ("slow", 8, "ring", [4.0, 5.0, 6.0]),
        ] {
            table.row([disk.into(), depth.into(), backend.into(), Cell::spread(rates)]);
        }
        table.row(["slow".into(), 1usize.into(), "ring".into(), "refused".into()]);
        table
    }

    #[test]
    fn series_beyond_the_colours_are_dashed() {
        let mut names: Vec<String> = BY_NAME.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(["compio".to_owned(), "plain loop".to_owned()]);
        let classes: Vec<String> = names.iter().map(|name| class(name, &names)).collect();
        assert!(classes[..BY_NAME.len()].iter().all(|class| !class.contains("dashed")));
        assert_eq!(classes[BY_NAME.len()..], ["s0 dashed", "s1 dashed"]);
        // All colours are free, and then two more are needed.
        let names: Vec<String> = (0..COLOURS + 2).map(|number| format!("n{number}")).collect();
        assert_eq!(class("n7", &names), "s7");
        assert_eq!(class("n9", &names), "s1 dashed");
    }

    #[test]
    fn each_value_is_in_its_picture_its_series_and_its_place() {
        let plot = Plot::new("depth", "reads/s", "backend").pictures(&["disk"]);
        let value = |place, [min, median, max]: [f64; 3]| Value { place, min, median, max };
        let pictures = pictures(&table(), &plot).unwrap();
        assert_eq!(
            pictures,
            [
                Picture {
                    of: "disk: local".to_owned(),
                    places: vec!["1".to_owned(), "16 k".to_owned()],
                    series: vec![
                        ("mmap".to_owned(), vec![value(0, [1.0, 2.0, 3.0]), value(1, [10.0, 20.0, 30.0])]),
                        ("ring".to_owned(), vec![value(1, [40.0, 50.0, 60.0])]),
                    ],
                },
                Picture {
                    of: "disk: slow".to_owned(),
                    places: vec!["8".to_owned()],
                    series: vec![("ring".to_owned(), vec![value(0, [4.0, 5.0, 6.0])])],
                },
            ]
        );
    }

    /// The values of an attribute of the elements that begin with `element`.
    fn numbers(svg: &str, element: &str, attribute: &str) -> Vec<f64> {
        let number = |element: &str| {
            let (_, after) = element.split_once(&format!(" {attribute}=\""))?;
            after.split('"').next()?.parse().ok()
        };
        svg.split(element).skip(1).filter_map(number).collect()
    }

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 0.2
    }

    /// Read from the drawing itself: the length of a bar is proportional to its number.
    #[test]
    fn bars_are_as_long_as_the_numbers_say() {
        let mut table = Table::new("t", &["what", "who", "rate"]);
        for (what, rate) in [("a", 10.0), ("b", 20.0), ("c", 40.0)] {
            table.row([what.into(), "me".into(), rate.into()]);
        }
        let drawn = draw(&table, &Plot::new("what", "rate", "who")).unwrap();
        let widths = numbers(&drawn.drawings[0].svg, "<rect", "width");
        let [one, two, four] = widths[..] else { panic!("{widths:?}") };
        assert!(close(two, 2.0 * one) && close(four, 4.0 * one), "{widths:?}");
        assert_eq!(drawn.key, [("me".to_owned(), "s0".to_owned())]);
    }

    /// On a logarithmic axis, equal ratios are equal distances, and there are no bars.
    #[test]
    fn dots_and_lines_keep_ratios_on_a_logarithmic_axis() {
        let mut table = Table::new("t", &["depth", "name", "rate"]);
        for (depth, rate) in [(1usize, 10.0), (2, 100.0), (3, 1000.0)] {
            table.row([depth.into(), format!("n{depth}").into(), rate.into()]);
        }
        let by_name = draw(&table, &Plot::new("name", "rate", "name").log()).unwrap();
        let by_depth = draw(&table, &Plot::new("depth", "rate", "name").log()).unwrap();
        for (drawn, attribute) in [(&by_name, "cx"), (&by_depth, "cy")] {
            let svg = &drawn.drawings[0].svg;
            let places = numbers(svg, "<circle", attribute);
            assert!(places.len() == 3 && !svg.contains("<rect"), "{svg}");
            assert!(
                places[0] != places[1] && close(places[1] - places[0], places[2] - places[1]),
                "{places:?}"
            );
        }
        // The axis names the series.
        assert!(by_name.key.is_empty());
        assert_eq!(by_depth.key.len(), 3);
    }

    #[test]
    fn a_backend_has_its_colour_wherever_it_is() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            class("ring", &names(&["ring"])),
            class("store, ring", &names(&["a", "mmap", "store, ring"]))
        );
        let many: Vec<String> = ["fio", "mmap", "ring"].map(str::to_owned).into_iter().collect();
        let many: Vec<String> = many.into_iter().chain((0..9).map(|number| number.to_string())).collect();
        let mut classes: Vec<_> = many.iter().map(|name| class(name, &many)).collect();
        classes.sort();
        classes.dedup();
        assert_eq!(classes.len(), many.len());
    }
}
