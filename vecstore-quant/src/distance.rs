//! The three distances, as scores that are better when higher.
//!
//! Everything in this crate ranks by a **score, higher is better**. So heaps, graph search and merging need
//! only one rule:
//!
//! | distance | score | [`Distance::reported`] |
//! |---|---|---|
//! | cosine | dot product of the normalised vectors | the score, -1 to 1 |
//! | dot | dot product | the score |
//! | euclid | minus the squared distance | the distance, 0 or more |
//!
//! Equal scores rank by id, lower first. Vectors and queries pass [`Distance::prepare`] before they are
//! scored as `f32` or encoded. [`OriginalScorer`] scores vectors as they were given, so a file may keep them
//! unchanged. The kernels decide how sums are computed.

use crate::kernels::Kernels;
use half::f16;
use std::fmt;
use std::str::FromStr;

/// How two vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distance {
    /// The cosine of the angle between the vectors. A zero vector has the cosine 0 with everything.
    Cosine,
    /// The dot product.
    Dot,
    /// The Euclidean distance.
    Euclid,
}

impl Distance {
    /// Every distance.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::Dot, Self::Euclid];

    /// The lower-case name, as [`FromStr`] takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclid => "euclid",
        }
    }

    /// Brings a vector or a query into the form that [`Distance::score`] and the codes expect. For cosine
    /// that is length 1, and a zero vector stays zero. For the others nothing changes.
    ///
    /// The norm is summed in `f64`, one component after the other, so the result is the same on every
    /// machine.
    pub fn prepare(self, vector: &mut [f32]) {
        if self != Self::Cosine {
            return;
        }
        let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        if norm > 0.0 {
            for x in vector {
                *x = (f64::from(*x) / norm) as f32;
            }
        }
    }

    /// The score of two prepared vectors of the same dimension, higher is better.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    #[must_use]
    pub fn score(self, a: &[f32], b: &[f32]) -> f32 {
        let kernels = Kernels::get();
        match self {
            Self::Cosine | Self::Dot => (kernels.dot_f32)(a, b),
            Self::Euclid => -(kernels.l2_f32)(a, b),
        }
    }

    /// The score for comparisons. Scores that are reported as equal are equal. NaN counts as the worst.
    #[must_use]
    #[inline]
    pub fn comparable(self, score: f32) -> f32 {
        let score = score.max(f32::NEG_INFINITY);
        match self {
            // -0 becomes 0.
            Self::Cosine | Self::Dot => self.reported(score) + 0.0,
            // Roots of different squares may be equal.
            Self::Euclid => {
                let distance = self.reported(score);
                0.0 - distance * distance
            }
        }
    }

    /// The number that a user expects to see for a score: the distance itself for euclid, the score for the
    /// others.
    #[must_use]
    pub fn reported(self, score: f32) -> f32 {
        match self {
            // Rounding may exceed 1.
            Self::Cosine if score.is_finite() => score.clamp(-1.0, 1.0),
            Self::Cosine | Self::Dot => score,
            Self::Euclid => (-score).max(0.0).sqrt(),
        }
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no distance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown distance {name:?}: use one of cosine, dot, euclid")]
pub struct UnknownDistanceError {
    /// The name given.
    pub name: String,
}

impl FromStr for Distance {
    type Err = UnknownDistanceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|distance| distance.name() == name)
            .ok_or_else(|| UnknownDistanceError { name: name.to_owned() })
    }
}

/// The index of the first component that is NaN or infinite. A vector with such a component has no meaningful
/// score.
#[must_use]
pub fn first_non_finite(vector: &[f32]) -> Option<usize> {
    vector.iter().position(|x| !x.is_finite())
}

/// Scores original vectors for one query, as they were given and in their own element type. Rescoring uses
/// it. Its scores are [`Distance::comparable`].
///
/// Under cosine a stored vector is normalised while it is scored, so the file keeps what the user gave.
#[derive(Clone, Debug)]
pub struct OriginalScorer {
    distance: Distance,
    query: Vec<f32>,
    /// Zeros: the squared distance to them is the squared norm. Empty unless the distance is cosine.
    zeros: Vec<f32>,
    kernels: &'static Kernels,
}

impl OriginalScorer {
    /// A scorer for this query. It prepares the query.
    #[must_use]
    pub fn new(distance: Distance, query: &[f32]) -> Self {
        let mut query = query.to_vec();
        distance.prepare(&mut query);
        let zeros = if distance == Distance::Cosine { vec![0.0; query.len()] } else { Vec::new() };
        Self { distance, query, zeros, kernels: Kernels::get() }
    }

    /// How vectors are compared.
    #[must_use]
    pub fn distance(&self) -> Distance {
        self.distance
    }

    /// The prepared query.
    pub fn query(&self) -> &[f32] {
        &self.query
    }

    /// The score of a vector of `f32`.
    ///
    /// # Panics
    ///
    /// If its dimension is not that of the query.
    #[must_use]
    pub fn score_f32(&self, vector: &[f32]) -> f32 {
        self.score_by(vector, self.kernels.dot_f32, self.kernels.l2_f32)
    }

    /// The score of a vector of `f16`.
    ///
    /// # Panics
    ///
    /// If its dimension is not that of the query.
    #[must_use]
    pub fn score_f16(&self, vector: &[f16]) -> f32 {
        self.score_by(vector, self.kernels.dot_f16, self.kernels.l2_f16)
    }

    /// The score of a vector of `u8`.
    ///
    /// # Panics
    ///
    /// If its dimension is not that of the query.
    #[must_use]
    pub fn score_u8(&self, vector: &[u8]) -> f32 {
        self.score_by(vector, self.kernels.dot_u8, self.kernels.l2_u8)
    }

    fn score_by<T: Copy + Into<f32>>(
        &self,
        vector: &[T],
        dot: fn(&[T], &[f32]) -> f32,
        l2: fn(&[T], &[f32]) -> f32,
    ) -> f32 {
        let score = match self.distance {
            Distance::Dot => dot(vector, &self.query),
            Distance::Euclid => -l2(vector, &self.query),
            Distance::Cosine => {
                let norm_sq = l2(vector, &self.zeros);
                if norm_sq.is_normal() {
                    dot(vector, &self.query) / norm_sq.sqrt()
                } else {
                    // All components are zero, or so large or small that the squares leave the range of
                    // `f32`.
                    let mut prepared: Vec<f32> = vector.iter().map(|&x| x.into()).collect();
                    self.distance.prepare(&mut prepared);
                    (self.kernels.dot_f32)(&prepared, &self.query)
                }
            }
        };
        self.distance.comparable(score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    #[test]
    fn names_round_trip_and_wrong_ones_say_what_to_use() {
        for distance in Distance::ALL {
            assert_eq!(distance.to_string().parse(), Ok(distance));
        }
        assert_eq!(format!("{:>8}", Distance::Dot), "     dot");
        let error = "L2".parse::<Distance>().unwrap_err();
        assert_eq!(error.to_string(), "unknown distance \"L2\": use one of cosine, dot, euclid");
    }

    #[test]
    fn cosine_preparation_normalises_and_leaves_zero_alone() {
        let mut vector = [3.0, 0.0, -4.0];
        Distance::Cosine.prepare(&mut vector);
        assert_eq!(vector, [0.6, 0.0, -0.8]);
        let mut zero = [0.0; 3];
        Distance::Cosine.prepare(&mut zero);
        assert_eq!(zero, [0.0; 3]);
        let mut huge = [f32::MAX, f32::MAX];
        Distance::Cosine.prepare(&mut huge);
        assert_eq!(huge, [0.5f32.sqrt(); 2]);
        let mut tiny = [f32::from_bits(1), 0.0];
        Distance::Cosine.prepare(&mut tiny);
        assert_eq!(tiny, [1.0, 0.0]);
        for distance in [Distance::Dot, Distance::Euclid] {
            let mut vector = [3.0, 0.0, -4.0];
            distance.prepare(&mut vector);
            assert_eq!(vector, [3.0, 0.0, -4.0]);
        }
    }

    #[test]
    fn scores_are_higher_when_nearer_and_euclid_reports_the_distance() {
        let (origin, near, far) = ([0.0, 0.0], [3.0, 4.0], [6.0, 8.0]);
        assert_eq!(Distance::Euclid.score(&origin, &near), -25.0);
        assert!(Distance::Euclid.score(&origin, &near) > Distance::Euclid.score(&origin, &far));
        assert_eq!(Distance::Euclid.reported(-25.0), 5.0);
        assert_eq!(Distance::Euclid.reported(1e-9), 0.0);
        assert_eq!(Distance::Dot.score(&near, &far), 50.0);
        assert_eq!(Distance::Dot.reported(50.0), 50.0);
        assert_eq!(Distance::Cosine.reported(-0.5), -0.5);
        assert_eq!([1.00003, -1.00003].map(|score| Distance::Cosine.reported(score)), [1.0, -1.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// For any bits, and for neighbouring numbers.
        #[test]
        fn comparable_scores_are_equal_where_reported_ones_are(bits: u32, other: u32, step in 0u32..4) {
            for distance in Distance::ALL {
                for (a, b) in [(bits, other), (bits, bits.wrapping_add(step))] {
                    let scores = [a, b].map(f32::from_bits).map(|score| if score.is_nan() { f32::NEG_INFINITY } else { score });
                    let comparable = [a, b].map(|bits| distance.comparable(f32::from_bits(bits)));
                    prop_assert_eq!(comparable.map(|score| distance.reported(score)), scores.map(|score| distance.reported(score)));
                    let is_same = distance.reported(scores[0]) == distance.reported(scores[1]);
                    let order = if is_same { Ordering::Equal } else { scores[0].total_cmp(&scores[1]) };
                    prop_assert_eq!(comparable[0].total_cmp(&comparable[1]), order);
                }
            }
        }
    }

    /// The sum of many equal products is off by more than the last digit.
    #[test]
    fn no_cosine_is_above_one() {
        for dim in [1, 3, 1000, 65_520] {
            for value in [0.1f32, 0.37, 1.3] {
                let vector = vec![value; dim];
                let score = OriginalScorer::new(Distance::Cosine, &vector).score_f32(&vector);
                assert!((0.9999..=1.0).contains(&score), "{score} of {dim} times {value}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_the_worst_score() {
        for distance in Distance::ALL {
            for score in [f32::NAN, -f32::NAN, f32::NEG_INFINITY] {
                assert_eq!(distance.comparable(score), f32::NEG_INFINITY, "{distance}");
            }
        }
        let scorer = OriginalScorer::new(Distance::Dot, &[3e38, 3e38]);
        assert_eq!(scorer.score_f32(&[3e38, -3e38]), f32::NEG_INFINITY);
        assert_eq!(scorer.score_f32(&[3e38, 3e38]), f32::INFINITY);
    }

    #[test]
    fn the_first_bad_component_is_found() {
        assert_eq!(first_non_finite(&[0.0, f32::MAX, f32::MIN]), None);
        assert_eq!(first_non_finite(&[]), None);
        assert_eq!(first_non_finite(&[0.0, f32::NAN, f32::INFINITY]), Some(1));
        assert_eq!(first_non_finite(&[0.0, 1.0, f32::NEG_INFINITY]), Some(2));
    }

    #[test]
    fn originals_are_scored_as_they_are() {
        let query = [1.0f32, 2.0, 2.0];
        let bytes = [0u8, 200, 0];
        let halves = bytes.map(|x| f16::from_f32(f32::from(x)));
        let floats = bytes.map(f32::from);
        for (distance, expected) in
            [(Distance::Cosine, 2.0 / 3.0), (Distance::Dot, 400.0), (Distance::Euclid, -39_209.0)]
        {
            let scorer = OriginalScorer::new(distance, &query);
            for score in [scorer.score_u8(&bytes), scorer.score_f16(&halves), scorer.score_f32(&floats)] {
                assert!((score - expected).abs() <= expected.abs() * 1e-6, "{distance}: {score}");
            }
        }
        let scorer = OriginalScorer::new(Distance::Cosine, &query);
        assert_eq!(scorer.score_u8(&[0; 3]), 0.0);
        for size in [f32::MAX, 1e30, 1e-30, f32::from_bits(1)] {
            let score = scorer.score_f32(&[0.0, size, 0.0]);
            assert!((score - 2.0 / 3.0).abs() < 1e-6, "{size:e}: {score}");
        }
        assert_eq!(OriginalScorer::new(Distance::Cosine, &[0.0; 3]).score_u8(&bytes), 0.0);
    }
}
