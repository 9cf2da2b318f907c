//! Random points, filters with their meaning, and the schema of a run.

use serde_json::{Value, json};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use vecstore::field::FieldKind;
use vecstore::filter::{Condition, FieldName, Filter, IsEmptyCondition, Match, MatchCondition, Range};
use vecstore::point::{Payload, Point, PointId};
use vecstore::schema::Distance;
use vecstore::schema::ElementType;
use vecstore::schema::Quantization;
use vecstore::schema::{GraphLayout, HnswParams, IndexKind};
use vecstore::schema::{Placement, Placements, Schema};

/// The shape of a run's collection.
pub(crate) struct Shape {
    pub(crate) schema: Schema,
    owners: usize,
    /// Number of ids of each owner.
    ids: usize,
}

const TENANTS: u32 = 4;

impl Shape {
    pub(crate) fn random(owners: usize, ids: usize, random: &mut fastrand::Rng) -> Self {
        let mut place = || *random.choice(&[Placement::Cold, Placement::Cached, Placement::Pinned]).unwrap();
        let placement = Placements {
            vectors: place(),
            codes: place(),
            graph: place(),
            payload: place(),
            ids: place(),
            indexes: place(),
        };
        let schema = Schema {
            distance: *random.choice(&Distance::ALL).unwrap(),
            element: *random.choice(&[ElementType::F32, ElementType::F16, ElementType::U8]).unwrap(),
            quantization: if random.bool() {
                Quantization::Int8
            } else {
                *random.choice(&Quantization::ALL).unwrap()
            },
            hnsw: HnswParams { m: 6, ef_construct: 40, ..HnswParams::default() },
            placement,
            ..crate::new_schema(random.u32(2..10))
        };
        let (index, graph) = *random
            .choice(&[
                (IndexKind::Graph, GraphLayout::Compact),
                (IndexKind::Graph, GraphLayout::Linked),
                (IndexKind::Cells, GraphLayout::Compact),
            ])
            .unwrap();
        let schema = Schema { index, graph, ..schema };
        let schema = schema.tenant("t", FieldKind::Keyword).index("n", FieldKind::Integer);
        let schema = schema.index("x", FieldKind::Float).index("owner", FieldKind::Integer);
        Self { schema, owners, ids }
    }

    /// An id of an owner. The ids of owners alternate, and some are UUIDs.
    pub(crate) fn id(&self, owner: usize, random: &mut fastrand::Rng) -> PointId {
        let number = (random.usize(..self.ids) * self.owners + owner) as u64;
        if number.is_multiple_of(5) {
            PointId::Uuid(u128::from(number) << 70 | 7)
        } else {
            PointId::Num(number)
        }
    }

    /// An id of any owner.
    pub(crate) fn any_id(&self, random: &mut fastrand::Rng) -> PointId {
        let owner = random.usize(..self.owners);
        self.id(owner, random)
    }

    pub(crate) fn point(&self, id: PointId, owner: usize, random: &mut fastrand::Rng) -> Point {
        Point { id, vector: self.vector(random), payload: payload(owner, random) }
    }

    /// Components that every element type represents exactly. The first is not zero, so the vector has a
    /// direction.
    pub(crate) fn vector(&self, random: &mut fastrand::Rng) -> Vec<f32> {
        let mut component = |least: i16| match self.schema.element {
            ElementType::U8 => f32::from(random.i16(least..256)),
            _ => f32::from(random.i16(least..256)) / 16.0 - if least > 0 { 0.0 } else { 8.0 },
        };
        (0..self.schema.dim).map(|at| component(i16::from(at == 0))).collect()
    }

    /// The score that a search reports, computed in a simple way.
    pub(crate) fn score(&self, query: &[f32], vector: &[f32]) -> f64 {
        let pairs = || query.iter().zip(vector).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let dot: f64 = pairs().map(|(a, b)| a * b).sum();
        let norm = |vector: &[f32]| vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        match self.schema.distance {
            Distance::Dot => dot,
            Distance::Cosine => dot / (norm(query) * norm(vector)),
            Distance::Euclid => pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
        }
    }

    pub(crate) fn best_first(&self, one: f64, other: f64) -> Ordering {
        match self.schema.distance {
            Distance::Euclid => one.total_cmp(&other),
            Distance::Dot | Distance::Cosine => other.total_cmp(&one),
        }
    }

    /// Whether one score is better than another by more than rounding errors.
    pub(crate) fn is_better(&self, one: f64, other: f64) -> bool {
        let tolerance = 1e-4 * (1.0 + one.abs().max(other.abs()));
        (one - other).abs() > tolerance && self.best_first(one, other).is_lt()
    }

    pub(crate) fn is_same(&self, one: f64, other: f64) -> bool {
        !self.is_better(one, other) && !self.is_better(other, one)
    }
}

/// A payload whose fields are missing, null, one value or several.
pub(crate) fn payload(owner: usize, random: &mut fastrand::Rng) -> Payload {
    let mut payload = json!({"owner": owner});
    let tenant = |random: &mut fastrand::Rng| format!("t{}", random.u32(..TENANTS));
    match random.u32(..8) {
        0 => {}
        1 => payload["t"] = json!([tenant(random), tenant(random)]),
        _ => payload["t"] = json!(tenant(random)),
    }
    match random.u32(..8) {
        0 => {}
        1 => payload["n"] = Value::Null,
        2 => payload["n"] = json!((0..random.usize(..4)).map(|_| random.i64(-20..20)).collect::<Vec<_>>()),
        _ => payload["n"] = json!(random.i64(-20..20)),
    }
    if random.bool() {
        payload["x"] = json!(f64::from(random.i16(-100..100)) / 8.0);
    }
    if random.u32(..4) == 0 {
        payload["text"] = json!("é".repeat(random.usize(..1500)));
    }
    let Value::Object(payload) = payload else { unreachable!("made above") };
    payload
}

/// The values of a field.
pub(crate) fn values<'a>(point: &'a Point, field: &str) -> &'a [Value] {
    match point.payload.get(field) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(values)) => values,
        Some(value) => std::slice::from_ref(value),
    }
}

/// An optional filter, and the predicate that it stands for.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) filter: Option<Filter>,
    holds: Arc<dyn Fn(&Point) -> bool + Send + Sync>,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.filter {
            None => f.write_str("all"),
            Some(filter) => write!(f, "{}", serde_json::to_string(filter).map_err(|_| fmt::Error)?),
        }
    }
}

impl Question {
    pub(crate) fn all() -> Self {
        Self { filter: None, holds: Arc::new(|_| true) }
    }

    fn must(condition: Condition, holds: impl Fn(&Point) -> bool + Send + Sync + 'static) -> Self {
        Self { filter: Some(Filter::must(condition)), holds: Arc::new(holds) }
    }

    pub(crate) fn holds(&self, point: &Point) -> bool {
        (self.holds)(point)
    }

    /// Points of an owner with a tenant.
    pub(crate) fn of_owner(owner: usize, random: &mut fastrand::Rng) -> Self {
        let tenant = Self::tenant(random);
        let is_owned = Self::must(Condition::matches("owner", owner), move |point| {
            values(point, "owner").contains(&json!(owner))
        });
        is_owned.and(tenant)
    }

    fn tenant(random: &mut fastrand::Rng) -> Self {
        let tenant = json!(format!("t{}", random.u32(..TENANTS)));
        Self::must(Condition::matches("t", tenant.clone()), move |point| values(point, "t").contains(&tenant))
    }

    fn and(self, other: Self) -> Self {
        let must = [self.filter, other.filter].into_iter().flatten().flat_map(|filter| filter.must).collect();
        let (one, other) = (self.holds, other.holds);
        let holds = Arc::new(move |point: &Point| one(point) && other(point));
        Self { filter: Some(Filter { must, ..Filter::default() }), holds }
    }

    fn not(self) -> Self {
        let (filter, holds) = (self.filter.unwrap_or_default(), self.holds);
        let filter = Filter { must_not: filter.must, ..Filter::default() };
        Self { filter: Some(filter), holds: Arc::new(move |point| !holds(point)) }
    }

    pub(crate) fn random(shape: &Shape, random: &mut fastrand::Rng) -> Self {
        match random.u32(..10) {
            0..=2 => Self::all(),
            3 => Self::tenant(random),
            4 => Self::tenant(random).not(),
            5 => {
                let (low, high) = (random.i64(-22..22), random.i64(-22..22));
                let range = Range { gte: Some(json!(low)), lt: Some(json!(high)), ..Range::default() };
                Self::must(Condition::range("n", range), move |point| {
                    values(point, "n").iter().any(|n| (low..high).contains(&n.as_i64().unwrap()))
                })
            }
            6 => {
                let low = f64::from(random.i16(-100..100)) / 8.0;
                let range = Range { gt: Some(json!(low)), ..Range::default() };
                Self::must(Condition::range("x", range), move |point| {
                    values(point, "x").iter().any(|x| x.as_f64().unwrap() > low)
                })
            }
            7 => {
                let is_empty = FieldName { key: "n".to_owned() };
                let condition = Condition::IsEmpty(IsEmptyCondition { is_empty });
                Self::must(condition, |point| values(point, "n").is_empty())
            }
            8 => {
                let ids: Vec<PointId> = (0..random.usize(..20)).map(|_| shape.any_id(random)).collect();
                Self::must(Condition::has_id(ids.clone()), move |point| ids.contains(&point.id))
            }
            _ => {
                let but: Vec<Value> = (0..2).map(|_| json!(format!("t{}", random.u32(..TENANTS)))).collect();
                let matching = Match::Except(but.clone());
                let condition = Condition::Match(MatchCondition { key: "t".to_owned(), matching });
                let except =
                    Self::must(condition, move |point| values(point, "t").iter().any(|t| !but.contains(t)));
                except.and(Self::tenant(random))
            }
        }
    }
}
