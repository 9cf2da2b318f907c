//! An owner of points, which writes them.

use crate::stress::Run;
use crate::stress::points::{Question, payload};
use crate::stress::timeline::Points;
use std::collections::BTreeSet;
use std::sync::Arc;
use vecstore::collection::{Collection, Durability, PayloadChange, Pending, Selection, WriteSummary};
use vecstore::point::{Point, PointId};

/// Executes random writes, one after the other.
pub(crate) fn write(
    run: &Run,
    collection: &Collection,
    owner: usize,
    writes: u64,
    mut random: fastrand::Rng,
) {
    for _ in 0..writes {
        if run.has_failed() {
            return;
        }
        let before = run.timeline.of(owner);
        let durability = if random.u32(..4) == 0 { Durability::Synced } else { Durability::Written };
        let some = random.usize(1..10);
        let write = match random.u32(..40) {
            0..=17 => put(run, collection, owner, durability, random.usize(1..12), &before, &mut random),
            18..=24 => delete(collection, durability, ids(run, owner, some, &mut random), &before),
            25..=27 => {
                let of_owner = Question::of_owner(owner, &mut random);
                let after = before.iter().filter(|(_, point)| !of_owner.holds(point));
                let after: Points = after.map(|(id, point)| (*id, Arc::clone(point))).collect();
                let selection = Selection::Filter(of_owner.filter.clone().expect("one was made"));
                Write {
                    what: format!("delete {of_owner}"),
                    points: before.len() - after.len(),
                    after,
                    pending: collection.delete(selection, durability),
                }
            }
            28..=32 => {
                let ids = ids(run, owner, some, &mut random);
                let selection = Selection::Ids(ids.iter().copied().collect());
                let changed = |point: &Point| ids.contains(&point.id);
                change(collection, owner, durability, selection, &changed, &before, &mut random)
            }
            33..=36 => {
                let of_owner = Question::of_owner(owner, &mut random);
                let selection = Selection::Filter(of_owner.filter.clone().expect("one was made"));
                let changed = |point: &Point| of_owner.holds(point);
                change(collection, owner, durability, selection, &changed, &before, &mut random)
            }
            // Deletes or inserts nearly all points.
            37 => {
                let kept = random.usize(..4);
                let all = before.keys().skip(kept).copied().collect();
                delete(collection, durability, all, &before)
            }
            _ => put(run, collection, owner, durability, random.usize(50..150), &before, &mut random),
        };
        let Write { what, after, points, pending } = write;
        run.note(format!("owner {owner}: {what}, {durability:?}"));
        run.timeline.begin_write(owner, after);
        let written = pending.wait().unwrap();
        run.timeline.acknowledge(owner, written.seq);
        assert_eq!(written.points, points as u64, "owner {owner}: {what}");
    }
}

/// A prepared write.
struct Write {
    what: String,
    /// The owner's points after the write.
    after: Points,
    /// Number of points that it puts, deletes or changes.
    points: usize,
    /// It does nothing before it is waited for.
    pending: Pending<WriteSummary>,
}

fn ids(run: &Run, owner: usize, count: usize, random: &mut fastrand::Rng) -> BTreeSet<PointId> {
    (0..count).map(|_| run.shape.id(owner, random)).collect()
}

fn put(
    run: &Run,
    collection: &Collection,
    owner: usize,
    durability: Durability,
    count: usize,
    before: &Points,
    random: &mut fastrand::Rng,
) -> Write {
    let ids = ids(run, owner, count, random);
    let points: Vec<Point> = ids.iter().map(|&id| run.shape.point(id, owner, random)).collect();
    let mut after = before.clone();
    after.extend(points.iter().map(|point| (point.id, Arc::new(point.clone()))));
    Write {
        what: format!("put {}", names(&ids)),
        after,
        points: points.len(),
        pending: collection.upsert(points, durability),
    }
}

fn delete(collection: &Collection, durability: Durability, ids: BTreeSet<PointId>, before: &Points) -> Write {
    let mut after = before.clone();
    after.retain(|id, _| !ids.contains(id));
    Write {
        what: format!("delete {}", names(&ids)),
        points: before.len() - after.len(),
        after,
        pending: collection.delete(Selection::Ids(ids.into_iter().collect()), durability),
    }
}

/// Changes the payloads of the selected points. `is_changed` is true for exactly these.
fn change(
    collection: &Collection,
    owner: usize,
    durability: Durability,
    selection: Selection,
    is_changed: &dyn Fn(&Point) -> bool,
    before: &Points,
    random: &mut fastrand::Rng,
) -> Write {
    let new = payload(owner, random);
    let change = match random.u32(..5) {
        0 => PayloadChange::Clear,
        1 => PayloadChange::Set(new),
        _ => PayloadChange::Merge(new),
    };
    let (mut after, mut points) = (before.clone(), 0);
    for point in after.values_mut().filter(|point| is_changed(point)) {
        let payload = &mut Arc::make_mut(point).payload;
        match &change {
            PayloadChange::Clear => payload.clear(),
            PayloadChange::Set(new) => payload.clone_from(new),
            PayloadChange::Merge(new) => payload.extend(new.clone()),
        }
        points += 1;
    }
    let what = match &change {
        PayloadChange::Clear => "clear",
        PayloadChange::Set(_) => "set",
        PayloadChange::Merge(_) => "merge",
    };
    let what = match &selection {
        Selection::Ids(ids) => format!("{what} payloads of {}", names(ids)),
        Selection::Filter(filter) => format!("{what} payloads of {filter:?}"),
    };
    Write { what, after, points, pending: collection.change_payload(selection, change, durability) }
}

fn names<'a>(ids: impl IntoIterator<Item = &'a PointId>) -> String {
    ids.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
