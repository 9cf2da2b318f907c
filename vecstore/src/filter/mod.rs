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

mod checked;
mod json;
#[cfg(test)]
mod tests;

use crate::point::PointId;
use json::{given, object};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use checked::{CheckedCondition, CheckedFilter, indexed};

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
