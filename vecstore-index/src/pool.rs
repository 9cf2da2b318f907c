//! The best candidates of one search, in order. Each either waits to be expanded or is done.
//!
//! A sorted array with a cursor on the first waiting candidate. It holds at most `ef` entries of eight bytes,
//! so a search of usual size allocates nothing. At usual sizes, moving its tail is as fast as keeping two
//! heaps. A [`TopK`](crate::TopK) would not do: it is unordered until the end, and a walk needs the next best
//! at every step.

/// A point that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The point.
    pub id: u32,
    /// Its score, higher is better.
    pub score: f32,
}

/// Orders by score, then by id, lower first, as one number. The lowest bit tells whether the candidate was
/// expanded, so ids have 31 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry(u64);

/// Ids must be below this.
pub(crate) const ID_END: u32 = 1 << 31;

const EXPANDED: u64 = 1;

impl Entry {
    #[inline]
    pub(crate) fn new(id: u32, score: f32) -> Self {
        debug_assert!(id < ID_END);
        Self(u64::from(sortable(score)) << 32 | u64::from((ID_END - 1) - id) << 1)
    }

    #[inline]
    fn id(self) -> u32 {
        (ID_END - 1) - (self.0 as u32 >> 1)
    }

    #[inline]
    pub(crate) fn candidate(self) -> Candidate {
        let key = (self.0 >> 32) as u32;
        let bits = if key >> 31 == 1 { key & 0x7FFF_FFFF } else { !key };
        Candidate { id: self.id(), score: f32::from_bits(bits) }
    }
}

/// An unsigned number that orders as the score does. Both zeros are equal. NaN, which sound input never
/// gives, ranks lowest.
#[inline]
fn sortable(score: f32) -> u32 {
    let score = if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
    let bits = score.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 }
}

/// Up to `size_max` candidates, best first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    entries: Vec<Entry>,
    size_max: usize,
    /// Every candidate before the cursor is expanded.
    cursor: usize,
}

/// Room for this many candidates is reserved at once. More room is made as they come, because they may never
/// come.
const RESERVED_MAX: usize = 1 << 14;

impl Pool {
    /// Empties the pool. It then keeps the best `size_max`.
    pub(crate) fn begin(&mut self, size_max: usize) {
        self.entries.clear();
        self.entries.reserve(size_max.min(RESERVED_MAX));
        self.size_max = size_max;
        self.cursor = 0;
    }

    /// Adds a point if it is among the best. The caller never adds a point twice.
    #[inline]
    pub(crate) fn push(&mut self, id: u32, score: f32) {
        let entry = Entry::new(id, score);
        if self.entries.len() == self.size_max {
            if self.entries.last().is_none_or(|worst| entry < *worst) {
                return;
            }
            self.entries.pop();
        }
        let place = self.entries.partition_point(|other| *other > entry);
        self.entries.insert(place, entry);
        self.cursor = self.cursor.min(place);
    }

    /// Returns the best candidate that is not expanded, and marks it as expanded.
    #[inline]
    pub(crate) fn expand_next(&mut self) -> Option<u32> {
        while let Some(entry) = self.entries.get_mut(self.cursor) {
            self.cursor += 1;
            if entry.0 & EXPANDED == 0 {
                entry.0 |= EXPANDED;
                return Some(entry.id());
            }
        }
        None
    }

    /// Whether it holds as many as it keeps.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.size_max
    }

    /// The score of the candidate of this rank. The best one has rank 1.
    #[inline]
    pub(crate) fn score_of(&self, rank: usize) -> f32 {
        self.entries[rank - 1].candidate().score
    }

    /// The candidates, best first.
    pub(crate) fn candidates(&self) -> impl ExactSizeIterator<Item = Candidate> {
        self.entries.iter().map(|entry| entry.candidate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn scores_of_every_kind_order_and_come_back() {
        let scores = [f32::NEG_INFINITY, f32::MIN, -1.0, -f32::MIN_POSITIVE, 0.0, 1e-40, 1.0, f32::INFINITY];
        for pair in scores.windows(2) {
            assert!(Entry::new(0, pair[0]) < Entry::new(5, pair[1]));
        }
        for score in scores {
            assert_eq!(Entry::new(7, score).candidate(), Candidate { id: 7, score });
            assert!(Entry::new(7, score) > Entry::new(8, score));
        }
        assert_eq!(Entry::new(3, -0.0), Entry::new(3, 0.0));
        assert_eq!(Entry::new(ID_END - 1, f32::NAN).candidate().score, f32::NEG_INFINITY);
        assert_eq!(Entry::new(ID_END - 1, 1.0).id(), ID_END - 1);
    }

    #[test]
    fn a_pool_of_any_size_takes_no_more_memory_than_its_candidates() {
        let mut pool = Pool::default();
        for size_max in [1 << 40, usize::MAX] {
            pool.begin(size_max);
            assert!(pool.entries.capacity() < 2 * RESERVED_MAX);
            (0..2 * RESERVED_MAX as u32).for_each(|id| pool.push(id, -(id as f32)));
            assert_eq!(pool.candidates().len(), 2 * RESERVED_MAX);
            pool = Pool::default();
        }
    }

    proptest! {
        /// Compared with sorting everything at every step.
        #[test]
        fn keeps_the_best_and_expands_them_in_order(
            size_max in 1usize..20,
            scores in vec((-5i8..5, any::<bool>()), 0..80),
        ) {
            let mut pool = Pool::default();
            pool.begin(size_max);
            let mut naive: Vec<(i8, u32, bool)> = Vec::new();
            for (id, &(score, expand)) in scores.iter().enumerate() {
                pool.push(id as u32, f32::from(score));
                naive.push((-score, id as u32, false));
                naive.sort_unstable();
                naive.truncate(size_max);
                if expand {
                    let next = naive.iter_mut().find(|entry| !entry.2);
                    let expected = next.map(|entry| { entry.2 = true; entry.1 });
                    prop_assert_eq!(pool.expand_next(), expected);
                }
            }
            let found: Vec<_> = pool.candidates().map(|c| (-c.score as i8, c.id)).collect();
            let expected: Vec<_> = naive.iter().map(|entry| (entry.0, entry.1)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
