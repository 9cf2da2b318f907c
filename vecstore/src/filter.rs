//! Filters: which points a search, a scroll, a count or a deletion is about.
//!
//! ```json
//! { "must":     [ {"key": "section", "match": {"value": "utils"}},
//!                 {"key": "installed_size", "range": {"gte": 100, "lt": 1000}} ],
//!   "should":   [ {"key": "priority", "match": {"any": ["required", "important"]}} ],
//!   "must_not": [ {"is_empty": {"key": "maintainer"}}, {"has_id": [1, 2]} ] }
//! ```
//!
//! All of `must`, at least one of `should` unless there is none, and none of `must_not` hold. A condition may
//! be a filter again. Every field needs an index.

use crate::error::InputError;
use crate::field::{FieldKind, Key};
use crate::point::PointId;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Which points are meant. The default means all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Filter {
    /// All of these hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub must: Vec<Condition>,
    /// At least one of these holds, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub should: Vec<Condition>,
    /// None of these holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub must_not: Vec<Condition>,
}

/// Something that holds for a point or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a condition: {\"key\", \"match\"}, {\"key\", \"range\"}, {\"is_empty\"}, {\"has_id\"} or a filter"
)]
pub enum Condition {
    /// The field has a value that matches.
    #[serde(deserialize_with = "object")]
    Match(MatchCondition),
    /// The field has a value within the range.
    #[serde(deserialize_with = "object")]
    Range(RangeCondition),
    /// The field has no value: it is missing, null or an empty array.
    #[serde(deserialize_with = "object")]
    IsEmpty(IsEmptyCondition),
    /// The point is one of these.
    #[serde(deserialize_with = "object")]
    HasId(HasIdCondition),
    /// The filter holds.
    Filter(Filter),
}

/// `{"key": "section", "match": {"value": "utils"}}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchCondition {
    /// The field.
    pub key: String,
    /// What it is compared with.
    #[serde(rename = "match")]
    pub matching: Match,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// One of the field's values is this.
    Value(Value),
    /// One of the field's values is among these.
    Any(Vec<Value>),
    /// One of the field's values is not among these.
    Except(Vec<Value>),
}

/// `{"key": "installed_size", "range": {"gte": 100, "lt": 1000}}`; bounds of datetimes are RFC 3339 strings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeCondition {
    /// The field.
    pub key: String,
    /// Where its value lies.
    #[serde(deserialize_with = "object")]
    pub range: Range,
}

/// Bounds of a range; what is not given is not bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Greater than this.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub gt: Option<Value>,
    /// Greater than or equal to this.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub gte: Option<Value>,
    /// Less than this.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub lt: Option<Value>,
    /// Less than or equal to this.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub lte: Option<Value>,
}

/// `{"is_empty": {"key": "maintainer"}}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsEmptyCondition {
    /// The field.
    #[serde(deserialize_with = "object")]
    pub is_empty: FieldName,
}

/// The name of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldName {
    /// The field.
    pub key: String,
}

/// `{"has_id": [1, 2]}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HasIdCondition {
    /// The points.
    pub has_id: Vec<PointId>,
}

/// A bound that is there. Null is one too, so that the check of the filter can refuse it: else it would be no
/// bound.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads an object as serde derives it. Without this, serde also reads arrays, and an empty one as the filter
/// that means all points.
fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(Object(PhantomData))
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            #[serde(default)]
            must: Vec<Condition>,
            #[serde(default)]
            should: Vec<Condition>,
            #[serde(default)]
            must_not: Vec<Condition>,
        }
        let Parts { must, should, must_not } = object(deserializer)?;
        Ok(Self { must, should, must_not })
    }
}

impl Filter {
    /// Points for which the condition holds.
    #[must_use]
    pub fn must(condition: Condition) -> Self {
        Self { must: vec![condition], ..Self::default() }
    }
}

impl Condition {
    /// One of the field's values is this.
    #[must_use]
    pub fn matches(key: &str, value: impl Into<Value>) -> Self {
        Self::Match(MatchCondition { key: key.to_owned(), matching: Match::Value(value.into()) })
    }

    /// One of the field's values lies within the range.
    #[must_use]
    pub fn range(key: &str, range: Range) -> Self {
        Self::Range(RangeCondition { key: key.to_owned(), range })
    }

    /// The point is one of these.
    #[must_use]
    pub fn has_id(ids: impl IntoIterator<Item = PointId>) -> Self {
        Self::HasId(HasIdCondition { has_id: ids.into_iter().collect() })
    }
}

/// A filter checked against the indexes of a collection, with values turned into keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CheckedFilter {
    pub(crate) must: Vec<CheckedCondition>,
    pub(crate) should: Vec<CheckedCondition>,
    pub(crate) must_not: Vec<CheckedCondition>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CheckedCondition {
    /// A value of the field is among these.
    Any {
        field: String,
        keys: Vec<Key>,
    },
    /// A value of the field is not among these.
    Except {
        field: String,
        keys: Vec<Key>,
    },
    /// A number of the field is from `low` to `high`, both included.
    Range {
        field: String,
        low: u64,
        high: u64,
    },
    IsEmpty {
        field: String,
    },
    HasId {
        ids: Vec<PointId>,
    },
    Filter(CheckedFilter),
}

type Indexes = BTreeMap<String, FieldKind>;

/// Filters in one another, at most.
const DEPTH_MAX: usize = 64;

impl Filter {
    pub(crate) fn check(&self, indexes: &Indexes) -> Result<CheckedFilter, InputError> {
        self.check_within(indexes, DEPTH_MAX)
    }

    /// `depth` filters may be in one another: they are evaluated by recursion.
    fn check_within(&self, indexes: &Indexes, depth: usize) -> Result<CheckedFilter, InputError> {
        let depth = depth.checked_sub(1).ok_or(InputError::FilterTooDeep { depth_max: DEPTH_MAX })?;
        let all = |conditions: &[Condition]| {
            conditions.iter().map(|condition| condition.check(indexes, depth)).collect::<Result<Vec<_>, _>>()
        };
        Ok(CheckedFilter {
            must: all(&self.must)?,
            should: all(&self.should)?,
            must_not: all(&self.must_not)?,
        })
    }
}

/// The kind of an indexed field.
pub(crate) fn indexed(field: &str, indexes: &Indexes) -> Result<FieldKind, InputError> {
    indexes.get(field).copied().ok_or_else(|| {
        let names: Vec<&str> = indexes.keys().map(String::as_str).collect();
        let indexed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        InputError::NotIndexed { field: field.to_owned(), indexed }
    })
}

impl Condition {
    fn check(&self, indexes: &Indexes, depth: usize) -> Result<CheckedCondition, InputError> {
        match self {
            Self::Match(MatchCondition { key: field, matching }) => {
                let kind = indexed(field, indexes)?;
                let keys = |values: &[Value]| {
                    let mut keys = values
                        .iter()
                        .map(|value| check_key(field, kind, value))
                        .collect::<Result<Vec<_>, _>>()?;
                    keys.sort_unstable();
                    keys.dedup();
                    Ok(keys)
                };
                let field = field.clone();
                Ok(match matching {
                    Match::Value(value) => {
                        CheckedCondition::Any { field, keys: keys(std::slice::from_ref(value))? }
                    }
                    Match::Any(values) => CheckedCondition::Any { field, keys: keys(values)? },
                    Match::Except(values) => CheckedCondition::Except { field, keys: keys(values)? },
                })
            }
            Self::Range(RangeCondition { key: field, range }) => {
                let kind = indexed(field, indexes)?;
                if !kind.is_number() {
                    let reason = "only integers, floats and datetimes have ranges".to_owned();
                    return Err(wrong(field, kind, reason));
                }
                let (low, high) = range.bounds(field, kind)?;
                Ok(CheckedCondition::Range { field: field.clone(), low, high })
            }
            Self::IsEmpty(IsEmptyCondition { is_empty: FieldName { key: field } }) => {
                indexed(field, indexes)?;
                Ok(CheckedCondition::IsEmpty { field: field.clone() })
            }
            Self::HasId(HasIdCondition { has_id }) => {
                let mut ids = has_id.clone();
                ids.sort_unstable();
                ids.dedup();
                Ok(CheckedCondition::HasId { ids })
            }
            Self::Filter(filter) => Ok(CheckedCondition::Filter(filter.check_within(indexes, depth)?)),
        }
    }
}

fn wrong(field: &str, kind: FieldKind, reason: String) -> InputError {
    InputError::Filter { field: field.to_owned(), kind: kind.to_string(), reason }
}

fn check_key(field: &str, kind: FieldKind, value: &Value) -> Result<Key, InputError> {
    kind.key(value).ok_or_else(|| wrong(field, kind, format!("{value} is none")))
}

impl Range {
    /// The range as keys, both included; empty when `low > high`.
    fn bounds(&self, field: &str, kind: FieldKind) -> Result<(u64, u64), InputError> {
        // The last number at or below the bound, and the first at or above it.
        let numbers = |value: &Value| {
            kind.bounds(value).ok_or_else(|| {
                let reason = match (kind, value) {
                    (_, Value::Null) => "a bound is null; leave it out if there is none".to_owned(),
                    (FieldKind::Integer, Value::Number(bound)) => {
                        format!("the bound {bound} is no whole number of 64 bits")
                    }
                    _ => format!("{value} is none"),
                };
                wrong(field, kind, reason)
            })
        };
        let (mut low, mut high, mut empty) = (0, u64::MAX, false);
        if let Some(bound) = &self.gte {
            low = low.max(numbers(bound)?.1);
        }
        if let Some(bound) = &self.gt {
            match numbers(bound)?.0.checked_add(1) {
                Some(bound) => low = low.max(bound),
                None => empty = true,
            }
        }
        if let Some(bound) = &self.lte {
            high = high.min(numbers(bound)?.0);
        }
        if let Some(bound) = &self.lt {
            match numbers(bound)?.1.checked_sub(1) {
                Some(bound) => high = high.min(bound),
                None => empty = true,
            }
        }
        Ok(if empty { (1, 0) } else { (low, high) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn indexes() -> Indexes {
        [("tag", FieldKind::Keyword), ("size", FieldKind::Integer), ("at", FieldKind::Datetime)]
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect()
    }

    fn check(filter: Value) -> Result<CheckedFilter, String> {
        let filter: Filter = serde_json::from_value(filter).map_err(|error| error.to_string())?;
        filter.check(&indexes()).map_err(|error| error.to_string())
    }

    #[test]
    fn json_and_back() {
        let json = json!({
            "must": [{"key": "tag", "match": {"any": ["a", "b"]}}, {"key": "size", "range": {"gt": 1}}],
            "should": [{"is_empty": {"key": "tag"}}, {"must": [{"has_id": [3]}]}],
            "must_not": [{"key": "tag", "match": {"except": ["c"]}}],
        });
        let filter: Filter = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(
            filter.must[1],
            Condition::range("size", Range { gt: Some(1.into()), ..Range::default() })
        );
        let nested = Filter::must(Condition::has_id([PointId::Num(3)]));
        assert_eq!(filter.should[1], Condition::Filter(nested));
        assert_eq!(serde_json::to_value(&filter).unwrap(), json);
    }

    #[test]
    fn ranges_are_inclusive_keys() {
        let range = |range: Value| match check(json!({"must": [{"key": "size", "range": range}]})) {
            Ok(filter) => match &filter.must[0] {
                CheckedCondition::Range { low, high, .. } => (*low, *high),
                other => panic!("{other:?}"),
            },
            Err(error) => panic!("{error}"),
        };
        let zero = 1 << 63;
        assert_eq!(range(json!({"gte": 1, "lt": 5})), (zero + 1, zero + 4));
        assert_eq!(range(json!({"gt": 1, "gte": 0, "lte": 5, "lt": 9})), (zero + 2, zero + 5));
        assert_eq!(range(json!({})), (0, u64::MAX));
        for empty in [json!({"gt": i64::MAX}), json!({"lt": i64::MIN}), json!({"gt": 5, "lt": 6})] {
            let (low, high) = range(empty);
            assert!(low > high);
        }
    }

    #[test]
    fn bounds_between_two_microseconds_are_compared_exactly() {
        let at = |text: &str| match FieldKind::Datetime.key(&json!(text)) {
            Some(Key::Number(number)) => number,
            other => panic!("{other:?}"),
        };
        let range =
            |range: Value| match &check(json!({"must": [{"key": "at", "range": range}]})).unwrap().must[0] {
                CheckedCondition::Range { low, high, .. } => (*low, *high),
                other => panic!("{other:?}"),
            };
        // Before 1970 too, where the whole part of a number of seconds is above it.
        let cases = [
            ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.0000005Z", "2024-01-01T00:00:00.000001Z"),
            ("1960-01-01T00:00:00Z", "1960-01-01T00:00:00.000000001Z", "1960-01-01T00:00:00.000001Z"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00Z"),
        ];
        for (below, between, above) in cases {
            let (below, above) = (at(below), at(above));
            assert_eq!(above - below, 1);
            for lower in ["gt", "gte"] {
                assert_eq!(range(json!({lower: between})), (above, u64::MAX), "{lower} {between}");
            }
            for upper in ["lt", "lte"] {
                assert_eq!(range(json!({upper: between})), (0, below), "{upper} {between}");
            }
        }
        let last = "9999-12-30T22:00:00.9999995Z";
        assert_eq!(range(json!({"lte": last})), (0, at("9999-12-30T22:00:00.999999Z")));
        assert_eq!(range(json!({"gte": last})).0, at("9999-12-30T22:00:00.999999Z") + 1);
    }

    /// None of these may be read as the empty filter, which means all points.
    #[test]
    fn arrays_and_nulls_are_no_filters() {
        let read = |json: &str| serde_json::from_str::<Filter>(json).map_err(|error| error.to_string());
        for none in ["[]", "[[]]", "[[], [], []]", "null", "1", "\"\""] {
            let error = read(none).unwrap_err();
            assert!(error.contains("expected a JSON object"), "{none}: {error}");
        }
        for condition in [
            "[]",
            "[[]]",
            "null",
            r#"["tag", {"value": "a"}]"#,
            r#"["size", {"gt": 1}]"#,
            r#"[{"key": "tag"}]"#,
            "[[1, 2]]",
            r#"{"key": "size", "range": []}"#,
            r#"{"key": "size", "range": [1, 2, 3, 4]}"#,
            r#"{"is_empty": ["tag"]}"#,
            r#"{"must": [[]]}"#,
        ] {
            for part in ["must", "should", "must_not"] {
                let error = read(&format!(r#"{{"{part}": [{condition}]}}"#)).unwrap_err();
                assert!(error.contains("expected a condition") || error.contains("a condition: "), "{error}");
            }
        }
        for bound in ["gt", "gte", "lt", "lte"] {
            for key in ["size", "at"] {
                let condition = json!({"key": key, "range": {bound: null}});
                assert!(
                    check(json!({"must": [condition]})).unwrap_err().contains("a bound is null"),
                    "{bound}"
                );
            }
        }
        assert_eq!(read("{}"), Ok(Filter::default()));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |condition: Value| check(json!({"must": [condition]})).unwrap_err();
        assert_eq!(
            error(json!({"key": "nope", "match": {"value": 1}})),
            "field nope has no index; indexed are: at, size, tag"
        );
        assert_eq!(
            error(json!({"key": "tag", "match": {"value": 1}})),
            "field tag is indexed as keyword: 1 is none"
        );
        assert!(error(json!({"key": "tag", "range": {"gt": "a"}})).contains("have ranges"));
        assert!(error(json!({"key": "size", "range": {"gt": 1.5}})).contains("whole number"));
        assert!(error(json!({"key": "at", "range": {"gt": "noon"}})).contains("\"noon\" is none"));
        assert!(error(json!({"key": "tag"})).contains("a condition"));
        let nested = |depth| (1..depth).fold(json!({}), |filter, _| json!({"must": [filter]}));
        assert!(check(nested(64)).is_ok());
        assert!(check(nested(65)).unwrap_err().contains("more than 64 deep"));
        assert!(check(json!({"most": []})).unwrap_err().contains("most"));
    }
}
