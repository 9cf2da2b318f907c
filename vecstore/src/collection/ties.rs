//! Equal scores rank by id. Ids are on disk, so they are read only of points that may be among the best.

use super::decide::{Scored, by_score};
use super::reader::OpenEntry;
use crate::error::Error;
use crate::point::PointId;
use io_core::{ReadControl, ReadStats};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Ids of points that need not be read, by segment and point.
pub(super) type KnownIds = HashMap<(usize, u32), PointId>;

/// As [`by_score`], and equal scores by id.
pub(super) fn by_score_and_id(a: &(Scored, PointId), b: &(Scored, PointId)) -> Ordering {
    by_score(&a.0, &b.0).then_with(|| a.1.cmp(&b.1))
}

/// Keeps the best `count`, and all points that tie with the last of these. Only ids can decide between them.
pub(super) fn keep_best_and_ties(scored: &mut Vec<Scored>, count: usize) {
    if scored.len() > count {
        let last = *scored.select_nth_unstable_by(count - 1, by_score).1;
        scored.retain(|scored| by_score(scored, &last).is_le());
    }
}

/// Orders points by id if they tie with the last one before a cut after `count`. The points must be in the
/// order of [`by_score`].
pub(super) async fn order_ties_at(
    scored: &mut [Scored],
    count: usize,
    entries: &[OpenEntry],
    known: &KnownIds,
    control: &ReadControl,
    stats: &mut ReadStats,
) -> Result<(), Error> {
    let Some(last) = count.checked_sub(1).and_then(|last| scored.get(last)).copied() else { return Ok(()) };
    let start = scored.partition_point(|scored| by_score(scored, &last).is_lt());
    let end = scored.partition_point(|scored| by_score(scored, &last).is_le());
    if end == count {
        return Ok(());
    }
    let ties = &mut scored[start..end];
    let ids = ids_of(ties, entries, known, control, stats).await?;
    let mut with_ids: Vec<(Scored, PointId)> = ties.iter().copied().zip(ids).collect();
    with_ids.sort_unstable_by(by_score_and_id);
    for (place, (scored, _)) in ties.iter_mut().zip(with_ids) {
        *place = scored;
    }
    Ok(())
}

/// The ids of points. Those that are not known are read in one batch a segment.
pub(super) async fn ids_of(
    scored: &[Scored],
    entries: &[OpenEntry],
    known: &KnownIds,
    control: &ReadControl,
    stats: &mut ReadStats,
) -> Result<Vec<PointId>, Error> {
    let known_id = |scored: &Scored| known.get(&(scored.segment, scored.point)).copied();
    let mut ids: Vec<Option<PointId>> = scored.iter().map(known_id).collect();
    for (segment, entry) in entries.iter().enumerate() {
        let own = scored.iter().enumerate().filter(|(_, scored)| scored.segment == segment);
        let unknown = own.filter(|(place, _)| ids[*place].is_none());
        let (places, points): (Vec<usize>, Vec<u32>) =
            unknown.map(|(place, scored)| (place, scored.point)).unzip();
        if points.is_empty() {
            continue;
        }
        let found = entry.reader.ids_of(&points, control, stats).await?;
        for (place, id) in places.into_iter().zip(found) {
            ids[place] = Some(id);
        }
    }
    Ok(ids.into_iter().map(|id| id.expect("known, or read")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A point is kept unless `count` others are better.
        #[test]
        fn what_is_kept_has_fewer_better_ones(
            points in vec((any::<bool>(), 0i8..4), 0..60),
            count in 1usize..20,
        ) {
            let scored = |(point, &(sure, score)): (u32, &(bool, i8))| Scored {
                segment: 0,
                point,
                score: f32::from(score),
                bound: 0.0,
                sure,
            };
            let mut kept: Vec<Scored> = (0..).zip(&points).map(scored).collect();
            keep_best_and_ties(&mut kept, count);
            let mut kept: Vec<usize> = kept.iter().map(|scored| scored.point as usize).collect();
            kept.sort_unstable();
            let has_room = |&point: &usize| points.iter().filter(|&other| *other > points[point]).count() < count;
            let expected: Vec<usize> = (0..points.len()).filter(has_room).collect();
            prop_assert_eq!(kept, expected);
        }
    }
}
