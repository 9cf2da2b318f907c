//! Decides from codes and their error bounds which candidates are hits, which are not, and which need their
//! vectors.

use std::cmp::Ordering;
use vecstore_quant::Distance;

/// A point of an immutable segment with its score, higher is better.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scored {
    /// Which of the open segments.
    pub(super) segment: usize,
    pub(super) point: u32,
    pub(super) score: f32,
    /// How far the score of its vector may be from this one.
    pub(super) bound: f32,
    /// Whether no other score can push it out of the best.
    pub(super) sure: bool,
}

/// Sure candidates first, then by score.
pub(super) fn by_score(a: &Scored, b: &Scored) -> Ordering {
    b.sure.cmp(&a.sure).then_with(|| b.score.total_cmp(&a.score))
}

impl Scored {
    /// The worst score that its vector may have, where `part` of the bound counts.
    pub(super) fn at_least(&self, part: f32) -> f32 {
        // Bytes that encode no vector may score NaN. Nothing is known then.
        (self.score - part * self.bound).max(f32::NEG_INFINITY)
    }

    /// The best score that its vector may have.
    pub(super) fn at_most(&self, part: f32) -> f32 {
        let at_most = self.score + part * self.bound;
        if at_most.is_nan() { f32::INFINITY } else { at_most }
    }
}

/// The best score possible, less a rounding error. A higher threshold may cut between scores that differ by
/// rounding, so all of them count.
pub(super) fn best_possible(distance: Distance, threshold: Option<f32>) -> f32 {
    const ALMOST_ONE: f32 = 1.0 - 4.0 * f32::EPSILON;
    match distance {
        Distance::Cosine if threshold.is_none_or(|threshold| threshold <= ALMOST_ONE) => ALMOST_ONE,
        Distance::Cosine | Distance::Dot => f32::INFINITY,
        Distance::Euclid => 0.0,
    }
}

/// The score at index `n` in descending order. `None` if there are not so many.
pub(super) fn nth_best(scores: &mut [f32], n: usize) -> Option<f32> {
    (n < scores.len()).then(|| *scores.select_nth_unstable_by(n, |a, b| b.total_cmp(a)).1)
}

/// Drops candidates that cannot be among the best `wanted`: at least `wanted` others have a lower bound above
/// their upper bound. Marks a candidate as sure if fewer than `wanted` others can reach its lower bound.
///
/// `others` only take part in the comparison. `known` are scores of vectors in memory. `part` scales all
/// bounds.
pub(super) fn decide(
    candidates: &mut Vec<Scored>,
    others: &[Scored],
    known: &[f32],
    wanted: usize,
    part: f32,
) {
    let ends = |end: &dyn Fn(&Scored) -> f32| -> Vec<f32> {
        candidates.iter().chain(others).map(end).chain(known.iter().copied()).collect()
    };
    let worst_of_best =
        nth_best(&mut ends(&|scored| scored.at_least(part)), wanted - 1).unwrap_or(f32::NEG_INFINITY);
    let best_of_others =
        nth_best(&mut ends(&|scored| scored.at_most(part)), wanted).unwrap_or(f32::NEG_INFINITY);
    for candidate in candidates.iter_mut() {
        // `best_of_others` may be its own upper bound, so a candidate that only equals it is not sure.
        candidate.sure = candidate.bound.is_finite() && candidate.at_least(part) > best_of_others;
    }
    candidates.retain(|candidate| candidate.at_most(part) >= worst_of_best);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The kept points, and whether they are sure.
    fn decided(candidates: &[(f32, f32)], known: &[f32], wanted: usize, part: f32) -> Vec<(u32, bool)> {
        let scored = |(point, &(score, bound)): (u32, &(f32, f32))| Scored {
            segment: 0,
            point,
            score,
            bound,
            sure: false,
        };
        let mut all: Vec<Scored> = (0..).zip(candidates).map(scored).collect();
        decide(&mut all, &[], known, wanted, part);
        all.into_iter().map(|candidate| (candidate.point, candidate.sure)).collect()
    }

    #[test]
    fn only_what_can_be_among_the_best_is_kept() {
        let kept = |candidates: &[(f32, f32)], known: &[f32], wanted: usize| {
            decided(candidates, known, wanted, 1.0).into_iter().map(|(point, _)| point).collect::<Vec<_>>()
        };
        // The two best are at least 8 and 7. A candidate of at most 7 may still be one of them.
        let candidates = [(9.0, 1.0), (8.0, 1.0), (6.0, 1.0), (5.5, 1.0), (5.0, 3.0)];
        assert_eq!(kept(&candidates, &[], 2), [0, 1, 2, 4]);
        // A vector in memory that scores 9.5 leaves one place.
        assert_eq!(kept(&candidates, &[9.5], 2), [0, 1, 4]);
        assert_eq!(kept(&candidates, &[], 5), [0, 1, 2, 3, 4]);
        // Infinite bounds, and NaN, decide nothing.
        assert_eq!(
            kept(&[(9.0, f32::INFINITY), (1.0, f32::INFINITY), (f32::NAN, f32::NAN)], &[], 1),
            [0, 1, 2]
        );
    }

    #[test]
    fn what_no_other_can_replace_is_sure() {
        let candidates = [(9.0, 0.5), (8.0, 0.5), (7.2, 0.5), (5.0, 0.5)];
        assert_eq!(decided(&candidates, &[], 2, 1.0), [(0, true), (1, false), (2, false)]);
        // With half of the bounds they do not overlap.
        assert_eq!(decided(&candidates, &[], 2, 0.5), [(0, true), (1, true)]);
        // Two better points in memory leave no place. If one of them may be worse, the place is not sure.
        assert_eq!(decided(&candidates, &[9.6, 9.7], 2, 1.0), []);
        assert_eq!(decided(&candidates, &[9.6, 8.6], 2, 1.0), [(0, false)]);
        // Without others every candidate is sure, unless its bound is infinite.
        assert_eq!(decided(&candidates[..2], &[], 2, 1.0), [(0, true), (1, true)]);
        assert_eq!(decided(&[(1.0, f32::INFINITY), (2.0, 0.5)], &[], 2, 1.0), [(0, false), (1, true)]);
        assert_eq!(decided(&[(f32::NAN, f32::NAN), (2.0, 0.5)], &[], 1, 1.0), [(0, false), (1, false)]);
        // A bound of 0 does not make a candidate sure.
        assert_eq!(decided(&[(9.0, 3.0), (7.0, 0.0)], &[], 1, 1.0), [(0, false), (1, false)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// For any scores within the bounds, the best are among the kept, and the sure among the best.
        #[test]
        fn decisions_hold_wherever_scores_are(
            candidates in vec((-5i8..5, prop_oneof![Just(0.0), Just(1.0), 0f32..3.0], -1f32..=1.0), 0..40),
            known in vec(-5f32..5.0, 0..5),
            wanted in 1usize..12,
        ) {
            let candidates: Vec<_> =
                candidates.into_iter().map(|(score, bound, at)| (f32::from(score), bound, at)).collect();
            let found: Vec<(f32, f32)> = candidates.iter().map(|&(score, bound, _)| (score, bound)).collect();
            let decided = decided(&found, &known, wanted, 1.0);
            let mut all: Vec<(f32, Option<u32>)> = known.iter().map(|&score| (score, None)).collect();
            let real = |&(score, bound, at): &(f32, f32, f32)| score + 0.999 * at * bound;
            all.extend((0..).zip(&candidates).map(|(point, candidate)| (real(candidate), Some(point))));
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            // Equal candidates may take each other's place.
            let worst = all.get(wanted - 1).map_or(f32::NEG_INFINITY, |worst| worst.0);
            for (score, point) in all.iter().filter(|(score, _)| *score > worst) {
                prop_assert!(point.is_none() || decided.iter().any(|(kept, _)| Some(*kept) == *point), "{score}");
            }
            let enough = all.iter().filter(|(score, point)| {
                *score >= worst && point.is_none_or(|point| decided.iter().any(|(kept, _)| *kept == point))
            });
            prop_assert!(enough.count() >= wanted.min(all.len()));
            for (point, _) in decided.iter().filter(|(_, sure)| *sure) {
                prop_assert!(real(&candidates[*point as usize]) >= worst);
            }
        }
    }
}
