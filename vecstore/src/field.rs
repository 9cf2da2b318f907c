//! Typed values of payload fields. Indexes are made of them.
//!
//! There are two families. *Terms* (keyword, bool, UUID) are equal or not, and become byte strings. *Numbers*
//! (integer, float, datetime) have an order, and become `u64`s with the same order.

use crate::point::Payload;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The kind of an indexed field's values. A field may be missing, null, one value or an array of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Strings that are equal or not.
    Keyword,
    /// Whole numbers from -2⁶³ to 2⁶³-1.
    Integer,
    /// Numbers.
    Float,
    /// True or false.
    Bool,
    /// Points in time, as RFC 3339 strings. What is finer than a microsecond is cut off.
    Datetime,
    /// UUIDs, as strings.
    Uuid,
}

impl fmt::Display for FieldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Keyword => "keyword",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Datetime => "datetime",
            Self::Uuid => "uuid",
        })
    }
}

/// One value of an indexed field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Term(Box<[u8]>),
    /// Has the same order as the number.
    Number(u64),
}

const NANOS_PER_MICRO: i128 = 1000;

impl FieldKind {
    /// Whether values are ordered, so that they allow ranges and ordered scroll.
    #[must_use]
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Float | Self::Datetime)
    }

    /// Converts a value to a key. `None` if it is not of this kind.
    pub(crate) fn key(self, value: &Value) -> Option<Key> {
        match (self, value) {
            (Self::Keyword, Value::String(text)) => Some(Key::Term(text.as_bytes().into())),
            (Self::Bool, Value::Bool(value)) => Some(Key::Term([u8::from(*value)].into())),
            (Self::Uuid, Value::String(text)) => {
                let id = uuid::Uuid::try_parse(text).ok()?;
                Some(Key::Term(id.into_bytes().as_slice().into()))
            }
            (Self::Integer, Value::Number(number)) => number.as_i64().map(sortable_i64).map(Key::Number),
            (Self::Float, Value::Number(number)) => number.as_f64().map(sortable_f64).map(Key::Number),
            (Self::Datetime, Value::String(text)) => {
                let time: jiff::Timestamp = text.parse().ok()?;
                // `as_microsecond` rounds towards 1970. Bounds round down.
                let micros = i64::try_from(time.as_nanosecond().div_euclid(NANOS_PER_MICRO)).ok()?;
                Some(Key::Number(sortable_i64(micros)))
            }
            _ => None,
        }
    }

    /// The last number at or below a value, and the first at or above it. They differ for a datetime between
    /// two microseconds. `None` if the value is not a number of this kind.
    pub(crate) fn bounds(self, value: &Value) -> Option<(u64, u64)> {
        if let (Self::Datetime, Value::String(text)) = (self, value) {
            let nanos = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
            let below = i64::try_from(nanos.div_euclid(NANOS_PER_MICRO)).ok()?;
            let is_between = nanos.rem_euclid(NANOS_PER_MICRO) != 0;
            return Some((sortable_i64(below), sortable_i64(below + i64::from(is_between))));
        }
        match self.key(value)? {
            Key::Number(number) => Some((number, number)),
            Key::Term(_) => None,
        }
    }

    /// Converts a key back to its value.
    pub(crate) fn value(self, key: &Key) -> Value {
        match (self, key) {
            (Self::Bool, Key::Term(term)) => Value::Bool(term.first() == Some(&1)),
            (Self::Uuid, Key::Term(term)) => match uuid::Uuid::from_slice(term) {
                Ok(id) => Value::String(id.to_string()),
                Err(_) => Value::Null,
            },
            (_, Key::Term(term)) => Value::String(String::from_utf8_lossy(term).into_owned()),
            (Self::Float, Key::Number(number)) => Value::from(f64_of(*number)),
            (Self::Datetime, Key::Number(number)) => {
                // By nanoseconds: `from_microsecond` refuses the last second that a timestamp can have.
                match jiff::Timestamp::from_nanosecond(i128::from(i64_of(*number)) * NANOS_PER_MICRO) {
                    Ok(time) => Value::String(time.to_string()),
                    Err(_) => Value::Null,
                }
            }
            (_, Key::Number(number)) => Value::from(i64_of(*number)),
        }
    }
}

fn sortable_i64(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn i64_of(sortable: u64) -> i64 {
    (sortable ^ (1 << 63)).cast_signed()
}

/// Both zeros map to the same number.
fn sortable_f64(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn f64_of(sortable: u64) -> f64 {
    f64::from_bits(if sortable >> 63 == 1 { sortable & !(1 << 63) } else { !sortable })
}

/// A value that does not fit the index of its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrongKind {
    pub(crate) found: String,
}

/// The distinct values of a field in a payload, in order. Nulls and missing fields have no values.
pub(crate) fn keys(payload: &Payload, field: &str, kind: FieldKind) -> Result<Vec<Key>, WrongKind> {
    let mut parts = field.split('.');
    let mut value = parts.next().and_then(|part| payload.get(part));
    for part in parts {
        value = value.and_then(Value::as_object).and_then(|object| object.get(part));
    }
    let key = |value: &Value| {
        kind.key(value).ok_or_else(|| {
            let mut found = value.to_string();
            if let Some((end, _)) = found.char_indices().nth(60) {
                found.truncate(end);
                found.push('…');
            }
            WrongKind { found }
        })
    };
    let mut keys = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(values)) => {
            values.iter().filter(|value| !value.is_null()).map(key).collect::<Result<Vec<_>, _>>()?
        }
        Some(value) => vec![key(value)?],
    };
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// The values of all indexed fields of a payload, in the order of the fields.
pub(crate) fn keys_of_fields(
    payload: &Payload,
    indexes: &BTreeMap<String, FieldKind>,
) -> Result<Vec<Vec<Key>>, (String, FieldKind, WrongKind)> {
    indexes
        .iter()
        .map(|(field, &kind)| keys(payload, field, kind).map_err(|wrong| (field.clone(), kind, wrong)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn payload(value: &Value) -> Payload {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn fields_are_found_in_objects_and_arrays() {
        let point = payload(&json!({"a": {"b": ["x", null, "y", "x"]}, "n": null, "empty": [], "t": true}));
        let term = |text: &str| Key::Term(text.as_bytes().into());
        assert_eq!(keys(&point, "a.b", FieldKind::Keyword), Ok(vec![term("x"), term("y")]));
        for missing in ["a.c", "b", "a.b.c", "n", "empty", "t.x"] {
            assert_eq!(keys(&point, missing, FieldKind::Keyword), Ok(vec![]), "{missing}");
        }
        assert_eq!(keys(&point, "t", FieldKind::Bool), Ok(vec![Key::Term([1].into())]));
        assert_eq!(keys(&point, "t", FieldKind::Keyword), Err(WrongKind { found: "true".into() }));
        let long = payload(&json!({"a": "ü".repeat(100)}));
        let error = keys(&long, "a", FieldKind::Integer).unwrap_err();
        assert_eq!(error.found.chars().count(), 61);
    }

    /// A bound rounds down to microseconds and up. A value is the lower of the two, before 1970 too.
    #[test]
    fn times_round_down_to_microseconds() {
        for (time, rounded) in [
            ("1969-12-31T23:59:59.9999995Z", "1969-12-31T23:59:59.999999Z"),
            ("1970-01-01T00:00:00.0000005Z", "1970-01-01T00:00:00Z"),
            ("-000001-01-01T00:00:00.000000001Z", "-000001-01-01T00:00:00Z"),
        ] {
            let key = FieldKind::Datetime.key(&json!(time)).unwrap();
            assert_eq!(Some(&key), FieldKind::Datetime.key(&json!(rounded)).as_ref());
            let (below, above) = FieldKind::Datetime.bounds(&json!(time)).unwrap();
            assert_eq!((key, above - below), (Key::Number(below), 1));
        }
    }

    #[test]
    fn values_come_back_from_keys() {
        let cases = [
            (FieldKind::Keyword, json!("grün")),
            (FieldKind::Bool, json!(false)),
            (FieldKind::Uuid, json!("67e55044-10b1-426f-9247-bb680e5fe0c8")),
            (FieldKind::Integer, json!(i64::MIN)),
            (FieldKind::Float, json!(-0.25)),
            (FieldKind::Datetime, json!("2024-02-29T12:00:00.000001Z")),
            (FieldKind::Datetime, json!("1969-12-31T23:59:59.999999Z")),
            // The first and the last microsecond that there are.
            (FieldKind::Datetime, json!("-009999-01-02T01:59:59Z")),
            (FieldKind::Datetime, json!("9999-12-30T22:00:00.999999Z")),
        ];
        for (kind, value) in cases {
            assert_eq!(kind.value(&kind.key(&value).unwrap()), value, "{kind}");
        }
        let zone = FieldKind::Datetime.key(&json!("2024-02-29T14:00:00+02:00"));
        assert_eq!(zone, FieldKind::Datetime.key(&json!("2024-02-29T12:00:00Z")));
        for (kind, wrong) in [
            (FieldKind::Integer, json!(1.5)),
            (FieldKind::Integer, json!(u64::MAX)),
            (FieldKind::Datetime, json!("yesterday")),
            (FieldKind::Uuid, json!("123")),
            (FieldKind::Float, json!("1")),
        ] {
            assert_eq!(kind.key(&wrong), None, "{wrong}");
        }
        assert_eq!(FieldKind::Float.key(&json!(0.0)), FieldKind::Float.key(&json!(-0.0)));
    }

    proptest! {
        #[test]
        fn numbers_keep_their_order(a: i64, b: i64, x: f64, y: f64) {
            prop_assert_eq!(a.cmp(&b), sortable_i64(a).cmp(&sortable_i64(b)));
            prop_assert_eq!(i64_of(sortable_i64(a)), a);
            if !x.is_nan() && !y.is_nan() {
                prop_assert_eq!(x.partial_cmp(&y).unwrap(), sortable_f64(x).cmp(&sortable_f64(y)));
                prop_assert_eq!(f64_of(sortable_f64(x)), x);
            }
        }
    }
}
