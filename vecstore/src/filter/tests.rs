//! Reading filters, and checking them.

use super::checked::Indexes;
use super::*;
use crate::field::{FieldKind, Key};
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
    assert_eq!(filter.must[1], Condition::range("size", Range { gt: Some(1.into()), ..Range::default() }));
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
    let range = |range: Value| match &check(json!({"must": [{"key": "at", "range": range}]})).unwrap().must[0]
    {
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
            assert!(check(json!({"must": [condition]})).unwrap_err().contains("a bound is null"), "{bound}");
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
    assert_eq!(error(json!({"key": "tag", "match": {"value": 1}})), "field tag holds keywords; 1 is not one");
    assert!(error(json!({"key": "tag", "range": {"gt": "a"}})).contains("have ranges"));
    assert!(error(json!({"key": "size", "range": {"gt": 1.5}})).contains("whole number"));
    assert!(error(json!({"key": "at", "range": {"gt": "noon"}})).contains("\"noon\" is not one"));
    assert!(error(json!({"key": "tag"})).contains("a condition"));
    let nested = |depth| (1..depth).fold(json!({}), |filter, _| json!({"must": [filter]}));
    assert!(check(nested(60)).is_ok());
    assert!(check(nested(61)).unwrap_err().contains("filters are more than 60 inside each other"));
    assert!(check(json!({"most": []})).unwrap_err().contains("most"));
}
