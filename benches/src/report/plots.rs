//! Drawings of a table, as SVG: medians, with error bars from the least to the most.

use super::{Cell, Plot, Table};
use plotters::prelude::*;
use std::collections::BTreeSet;
use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SIZE: (u32, u32) = (760, 300);
/// Of that, for the names of the series.
const NAMES_WIDTH: u32 = 170;
/// What is written as this becomes the page's colour for text, light or dark.
const TEXT: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(128, 128, 128);

/// Colours that are told apart also by those who do not see red or green (after Okabe and Ito, 2008).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(150, 140, 40),
    RGBColor(120, 120, 120),
];

/// The same in all drawings.
const BY_NAME: [(&str, usize); 7] = [
    ("mmap", 0),
    ("tokio-uring", 1),
    ("glommio", 2),
    ("ring", 3),
    ("monoio", 4),
    ("bare ring", 5),
    ("fio", 7),
];

/// A drawing and what it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// The values that it is of, as "ids: UUIDs"; empty if the table has one drawing only.
    pub of: String,
    /// An `svg` element.
    pub svg: String,
}

/// One value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value {
    /// Number of its place along the axis.
    place: usize,
    min: f64,
    median: f64,
    max: f64,
}

/// What is drawn in one picture.
#[derive(Clone, Debug, Default, PartialEq)]
struct Picture {
    of: String,
    /// Along the axis.
    places: Vec<String>,
    series: Vec<(String, Vec<Value>)>,
}

/// All drawings of a plot.
///
/// # Errors
/// When a column is not there, or what the drawing library says.
pub fn draw(table: &Table, plot: &Plot) -> Result<Vec<Drawing>> {
    let names: Vec<String> = names_of(table, plot)?;
    let column = |name: &str| column(table, name);
    let x_is_number =
        table.rows.iter().all(|row| column(&plot.x).is_ok_and(|at| matches!(row[at], Cell::Number(_))));
    let mut drawings = Vec::new();
    for picture in pictures(table, plot)? {
        if picture.series.iter().any(|(_, values)| !values.is_empty()) {
            let svg = svg(&picture, plot, x_is_number, &names)?;
            drawings.push(Drawing { of: picture.of, svg });
        }
    }
    Ok(drawings)
}

fn column(table: &Table, name: &str) -> Result<usize> {
    let at = table.columns.iter().position(|column| column == name);
    at.ok_or_else(|| format!("the table {:?} has no column {name:?}", table.title).into())
}

/// The names of all series, which have the same colours in all pictures of a plot.
fn names_of(table: &Table, plot: &Plot) -> Result<Vec<String>> {
    let at = column(table, &plot.series)?;
    let mut names: Vec<String> = Vec::new();
    for row in &table.rows {
        let name = row[at].to_string();
        if !names.contains(&name) {
            names.push(name);
        }
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
        let place = index_of(&mut picture.places, &row[x].to_string(), |name| name.clone());
        let name = row[series].to_string();
        let at = picture.series.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            picture.series.push((name, Vec::new()));
            picture.series.len() - 1
        });
        picture.series[at].1.push(Value { place, min, median, max });
    }
    Ok(pictures)
}

fn index_of<T>(all: &mut Vec<T>, wanted: &T, make: impl FnOnce(&T) -> T) -> usize
where
    T: PartialEq,
{
    all.iter().position(|known| known == wanted).unwrap_or_else(|| {
        all.push(make(wanted));
        all.len() - 1
    })
}

/// The colour of a series: that of its backend if its name begins with one's, else by its number.
fn colour(name: &str, names: &[String]) -> RGBColor {
    let own = |name: &str| BY_NAME.iter().find(|(known, _)| name == *known).map(|(_, colour)| *colour);
    if let Some(colour) = own(name) {
        return COLOURS[colour];
    }
    let taken: BTreeSet<usize> = names.iter().filter_map(|name| own(name)).collect();
    let free: Vec<usize> = (0..COLOURS.len()).filter(|colour| !taken.contains(colour)).collect();
    let others = names.iter().filter(|name| own(name).is_none());
    let number = others.take_while(|other| *other != name).count();
    COLOURS[if free.is_empty() { number % COLOURS.len() } else { free[number % free.len()] }]
}

/// The axis from 0, or, if it is logarithmic, from the power of ten below the least.
fn range(picture: &Picture, log: bool) -> (f64, f64) {
    let values = || picture.series.iter().flat_map(|(_, values)| values);
    let most = values().map(|value| value.max).fold(0.0, f64::max);
    if !log {
        return (0.0, if most > 0.0 { most * 1.05 } else { 1.0 });
    }
    let least = values().map(|value| value.min).filter(|min| *min > 0.0).fold(f64::INFINITY, f64::min);
    let least = if least.is_finite() { least } else { 1.0 };
    (least.log10().floor(), most.max(least).log10().ceil().max(least.log10().floor() + 1.0))
}

fn svg(picture: &Picture, plot: &Plot, lines: bool, names: &[String]) -> Result<String> {
    let mut svg = String::new();
    let (low, high) = range(picture, plot.log);
    // Where a value is on the axis.
    let y = |value: f64| if plot.log { value.max(10f64.powf(low)).log10() } else { value };
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        // Where the axis names the series already, each bar has its place for itself.
        let names_itself = plot.x == plot.series;
        let font = ("sans-serif", 12).into_font().color(&TEXT);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(if names_itself { 8 } else { NAMES_WIDTH })
            .x_label_area_size(46)
            .y_label_area_size(62)
            .right_y_label_area_size(0)
            .build_cartesian_2d(0.0..picture.places.len() as f64, low..high)?;
        // In the middle of each place; the library puts labels where it likes, so that they are drawn here.
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .x_desc(plot.x.clone())
            .y_desc(plot.y.clone())
            .y_label_formatter(&|at| Cell::from(if plot.log { 10f64.powf(*at) } else { *at }).to_string())
            .y_labels(if plot.log { (high - low) as usize + 1 } else { 6 })
            .axis_style(GRID)
            .bold_line_style(GRID.mix(0.4))
            .light_line_style(TRANSPARENT)
            .label_style(font.clone())
            .axis_desc_style(font.clone())
            .draw()?;
        let small = || ("sans-serif", 11).into_font().color(&TEXT);
        for (at, place) in picture.places.iter().enumerate() {
            chart.draw_series(in_lines(place).into_iter().enumerate().map(|(line, text)| {
                EmptyElement::at((at as f64 + 0.5, low))
                    + Text::new(text, (0, 6 + 12 * line as i32), small().pos(LABEL_AT))
            }))?;
        }
        let beside = if names_itself { 1 } else { picture.series.len().max(1) };
        let width = 0.8 / beside as f64;
        for (number, (name, values)) in picture.series.iter().enumerate() {
            let colour = colour(name, names);
            // Lines go through the middle of the place; bars and their error bars stand beside each other.
            let shift = if lines { 0.5 } else { 0.1 + width * ((number % beside) as f64 + 0.5) };
            let at = |value: &Value| value.place as f64 + shift;
            if lines {
                let points = values.iter().map(|value| (at(value), y(value.median)));
                chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
                let points =
                    values.iter().map(|value| Circle::new((at(value), y(value.median)), 3, colour.filled()));
                chart.draw_series(points)?;
            } else {
                let bars = values.iter().map(|value| {
                    let (left, right) = (at(value) - width * 0.45, at(value) + width * 0.45);
                    Rectangle::new([(left, low), (right, y(value.median))], colour.mix(0.8).filled())
                });
                chart.draw_series(bars)?;
            }
            let bars = values.iter().filter(|value| value.min < value.max).map(|value| {
                ErrorBar::new_vertical(
                    at(value),
                    y(value.min),
                    y(value.median),
                    y(value.max),
                    TEXT.stroke_width(1),
                    6,
                )
            });
            chart.draw_series(bars)?;
        }
        if !names_itself {
            for (number, (name, _)) in picture.series.iter().enumerate() {
                let (x, y) = ((SIZE.0 - NAMES_WIDTH + 14) as i32, 16 + 18 * number as i32);
                area.draw(&Rectangle::new([(x, y), (x + 10, y + 8)], colour(name, names).filled()))?;
                area.draw(&Text::new(name.clone(), (x + 16, y - 1), small()))?;
            }
        }
        area.present()?;
    }
    Ok(svg.replace("#010203", "currentColor"))
}

/// A name in lines that are not long.
fn in_lines(name: &str) -> Vec<String> {
    const LONG: usize = 14;
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

const LABEL_AT: plotters::style::text_anchor::Pos = plotters::style::text_anchor::Pos {
    h_pos: plotters::style::text_anchor::HPos::Center,
    v_pos: plotters::style::text_anchor::VPos::Top,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("t", &["disk", "depth", "backend", "reads/s"]);
        for (disk, depth, backend, rates) in [
            ("local", 1usize, "mmap", [1.0, 2.0, 3.0]),
            ("local", 8, "mmap", [10.0, 20.0, 30.0]),
            ("local", 8, "ring", [40.0, 50.0, 60.0]),
            ("slow", 8, "ring", [4.0, 5.0, 6.0]),
        ] {
            table.row([disk.into(), depth.into(), backend.into(), Cell::spread(rates)]);
        }
        table.row(["slow".into(), 1usize.into(), "ring".into(), "refused".into()]);
        table
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
                    places: vec!["1".to_owned(), "8".to_owned()],
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
        assert_eq!(range(&pictures[0], false), (0.0, 63.0));
        assert_eq!(range(&pictures[0], true), (0.0, 2.0));
    }

    /// Heights of the bars, from the drawing itself: they are as the numbers are.
    #[test]
    fn bars_are_as_high_as_the_numbers_say() {
        let mut table = Table::new("t", &["what", "who", "rate"]);
        for (what, rate) in [("a", 10.0), ("b", 20.0), ("c", 40.0)] {
            table.row([what.into(), "me".into(), rate.into()]);
        }
        let drawings = draw(&table, &Plot::new("what", "rate", "who")).unwrap();
        let rects = drawings[0].svg.split("<rect ").skip(1);
        let height = |rect: &str| -> Option<f64> {
            let (_, height) = rect.split_once("height=\"")?;
            rect.contains("opacity=\"0.8\"").then(|| height.split('"').next()?.parse().ok()).flatten()
        };
        let heights: Vec<f64> = rects.filter_map(height).collect();
        assert_eq!(heights.len(), 3, "{}", drawings[0].svg);
        let close = |ratio: f64, expected: f64| (ratio - expected).abs() < 0.05;
        assert!(close(heights[1] / heights[0], 2.0) && close(heights[2] / heights[0], 4.0), "{heights:?}");
    }

    #[test]
    fn a_backend_has_its_colour_wherever_it_is() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(colour("ring", &names(&["ring"])), colour("ring", &names(&["a", "mmap", "ring"])));
        let all = names(&["fio", "x", "mmap", "y", "ring"]);
        let colours: BTreeSet<_> =
            all.iter().map(|name| colour(name, &all)).map(|c| (c.0, c.1, c.2)).collect();
        assert_eq!(colours.len(), all.len());
    }
}
