//! Checking a filter against the indexes of a collection.

use super::{
    Condition, FieldName, Filter, HasIdCondition, IsEmptyCondition, Match, MatchCondition, Range,
    RangeCondition,
};
use crate::error::InputError;
use crate::field::{FieldKind, Key};
use crate::point::PointId;
use serde_json::Value;
use std::collections::BTreeMap;

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

pub(super) type Indexes = BTreeMap<String, FieldKind>;

/// Filters in one another, at most. As JSON, few more could be read: serde_json stops at 128 levels.
const DEPTH_MAX: usize = 60;

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
    kind.key(value).ok_or_else(|| wrong(field, kind, format!("{value} is not one")))
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
                    _ => format!("{value} is not one"),
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
