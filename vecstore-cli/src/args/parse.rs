//! Values that several commands take.

use crate::text;
use clap::builder::RangedU64ValueParser;
use io_core::StopFlag;
use std::num::ParseFloatError;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use vecstore::filter::Filter;

pub(super) fn parse_filter(text: &str) -> Result<Filter, String> {
    let read;
    let text = match text.strip_prefix('@') {
        Some(path) => {
            read = text::read(Path::new(path), &StopFlag::new())
                .map_err(|problem| format!("{path}: {problem}"))?;
            &read
        }
        None => text,
    };
    serde_json::from_str(text).map_err(|error| error.to_string())
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

/// From 1 to `max`.
pub(super) fn up_to(max: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=max as u64)
}
