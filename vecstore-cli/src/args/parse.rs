//! Values that several commands take.

use crate::text;
use io_core::StopFlag;
use std::fmt;
use std::num::ParseFloatError;
use std::ops::{RangeBounds, RangeInclusive};
use std::path::Path;
use std::str::FromStr;
use vecstore::filter::Filter;

pub(super) fn parse_filter(text: &str) -> Result<Filter, String> {
    let read;
    let text = match text.strip_prefix('@') {
        Some("") => return Err("@ needs the path of a file, such as @filter.json".to_owned()),
        Some(path) => {
            read = text::read(Path::new(path), &StopFlag::new())
                .map_err(|problem| format!("{path}: {problem}"))?;
            &read
        }
        None => text,
    };
    serde_json::from_str(text).map_err(|error| {
        let example = r#"{"must": [{"key": "section", "match": {"value": "utils"}}]}"#;
        json_problem("a filter", example, &error)
    })
}

/// What is wrong with JSON on the command line. If it is none, this says what it should look like.
pub(super) fn json_problem(what: &str, example: &str, error: &serde_json::Error) -> String {
    if error.is_data() { error.to_string() } else { format!("{what} is JSON, such as {example}: {error}") }
}

pub(super) fn parse_part<T: FromStr<Err = ParseFloatError> + PartialOrd + From<u8>>(
    text: &str,
) -> Result<T, String> {
    parse_within(text, T::from(0)..=T::from(1), "it must be from 0 to 1")
}

pub(super) fn parse_within<T: FromStr<Err = ParseFloatError> + PartialOrd>(
    text: &str,
    range: RangeInclusive<T>,
    wrong: &str,
) -> Result<T, String> {
    let number: T = text.parse().map_err(|error: ParseFloatError| error.to_string())?;
    if range.contains(&number) { Ok(number) } else { Err(wrong.to_owned()) }
}

/// A whole number within a range. Each error tells the range, also if the text is no number.
pub(super) fn whole<T: TryFrom<u64>>(
    range: impl RangeBounds<u64> + fmt::Debug + Clone,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("{text} is not in {range:?}"))
    }
}

/// From 1 to `max`.
pub(super) fn up_to(max: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    whole(1..=max as u64)
}
