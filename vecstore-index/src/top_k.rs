//! Keeps the best of many items, without keeping all of them.

use std::cmp::Ordering;

/// More than twice as many as are wanted, so that selecting is rare even for a small `k`.
const SLACK: usize = 64;

/// Keeps the best `k` of the items offered, by any total order.
///
/// It keeps more than twice `k` items before it selects. An item that is too bad costs one comparison, and
/// any other item a constant number of steps on average. Memory grows with the items kept, not with `k`.
///
/// ```
/// use vecstore_index::TopK;
///
/// let better_first = |a: &f32, b: &f32| b.total_cmp(a);
/// let mut top = TopK::new(2, better_first);
/// [0.25, 0.75, 0.5].into_iter().for_each(|score| top.offer(score));
/// assert_eq!(top.into_sorted(), [0.75, 0.5]);
/// ```
#[derive(Clone, Debug)]
pub struct TopK<T, F> {
    k: usize,
    better_first: F,
    /// Once an item was dropped, the first `k` are the best of that moment, with the worst of them last.
    kept: Vec<T>,
    has_dropped: bool,
}

impl<T, F: Fn(&T, &T) -> Ordering> TopK<T, F> {
    /// Keeps the best `k`: those that `better_first` orders first. It must be a total order.
    #[must_use]
    pub fn new(k: usize, better_first: F) -> Self {
        Self { k, better_first, kept: Vec::new(), has_dropped: false }
    }

    /// Items after this one are not among the best. `None` while nothing is known.
    #[inline]
    #[must_use]
    pub fn threshold(&self) -> Option<&T> {
        if self.has_dropped { self.kept.get(self.k.wrapping_sub(1)) } else { None }
    }

    /// Adds an item, unless it is not among the best.
    #[inline]
    pub fn offer(&mut self, item: T) {
        self.offer_or(item, drop);
    }

    /// As [`TopK::offer`]. Passes items that are not among the best to `dropped`, as soon as that is known.
    #[inline]
    pub fn offer_or(&mut self, item: T, dropped: impl FnMut(T)) {
        let mut dropped = dropped;
        if self.threshold().is_some_and(|threshold| (self.better_first)(&item, threshold).is_gt()) {
            return dropped(item);
        }
        self.kept.push(item);
        if self.kept.len() > self.k.saturating_mul(2).saturating_add(SLACK) {
            self.select(dropped);
        }
    }

    /// All of the best so far, and other items.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.kept.iter()
    }

    /// The best, unordered.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<T> {
        self.select(drop);
        self.kept
    }

    /// The best, best first.
    #[must_use]
    pub fn into_sorted(self) -> Vec<T> {
        self.into_sorted_or(drop)
    }

    /// As [`TopK::into_sorted`]. Passes all other items to `dropped`.
    #[must_use]
    pub fn into_sorted_or(mut self, dropped: impl FnMut(T)) -> Vec<T> {
        self.select(dropped);
        self.kept.sort_unstable_by(&self.better_first);
        self.kept
    }

    /// Keeps only the best, with the worst of them last.
    fn select(&mut self, dropped: impl FnMut(T)) {
        if self.kept.len() > self.k {
            if let Some(last) = self.k.checked_sub(1) {
                self.kept.select_nth_unstable_by(last, &self.better_first);
            }
            self.kept.drain(self.k..).for_each(dropped);
            self.has_dropped = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Orders by score, which may be NaN, then by id, lower first.
    fn better_first(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
        b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
    }

    fn scores() -> impl Strategy<Value = f32> {
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, f32::MIN_POSITIVE];
        // Few different scores, so that ids decide.
        prop_oneof![6 => (-9i8..9).prop_map(f32::from), 1 => proptest::sample::select(special.to_vec())]
    }

    /// Bits order as `total_cmp` does, once those of negative numbers are reversed.
    fn rank(score: f32) -> i64 {
        let bits = i64::from(score.to_bits());
        if bits >> 31 == 1 { -1 - (bits & 0x7FFF_FFFF) } else { bits }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Compared with sorting everything.
        #[test]
        fn the_best_are_those_of_all_in_order(scores in vec(scores(), 0..1500), k in 0usize..90) {
            let items: Vec<(f32, u32)> = scores.iter().copied().zip(0..).collect();
            let mut sorted = items.clone();
            sorted.sort_by_key(|&(score, id)| (-rank(score), id));
            let keys = |items: &[(f32, u32)]| items.iter().map(|item| (item.0.to_bits(), item.1)).collect::<Vec<_>>();
            let (best, others) = sorted.split_at(k.min(sorted.len()));

            let (mut top, mut dropped) = (TopK::new(k, better_first), Vec::new());
            for &item in &items {
                if let Some(threshold) = top.threshold() {
                    let is_below = better_first(threshold, &item).is_lt();
                    prop_assert!(!(is_below && best.iter().any(|best| best.1 == item.1)));
                }
                top.offer_or(item, |item| dropped.push(item));
                prop_assert!(top.iter().len() <= 2 * k + SLACK);
            }
            let unsorted = top.clone().into_vec();
            let found = top.into_sorted_or(|item| dropped.push(item));
            prop_assert_eq!(keys(&found), keys(best));
            dropped.sort_by_key(|&(score, id)| (-rank(score), id));
            prop_assert_eq!(keys(&dropped), keys(others));
            let mut unsorted: Vec<u32> = unsorted.iter().map(|item| item.1).collect();
            unsorted.sort_unstable();
            let mut expected: Vec<u32> = best.iter().map(|item| item.1).collect();
            expected.sort_unstable();
            prop_assert_eq!(unsorted, expected);
        }
    }

    #[test]
    fn all_are_the_best_of_more() {
        let mut top = TopK::new(usize::MAX, better_first);
        (0..1000).for_each(|id| top.offer((id as f32, id)));
        assert!(top.threshold().is_none());
        assert_eq!(
            top.into_sorted().iter().map(|item| item.1).collect::<Vec<_>>(),
            (0..1000).rev().collect::<Vec<_>>()
        );
    }
}
