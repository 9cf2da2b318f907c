//! What estimates from several nodes say together about the score of a point.

use rustc_hash::FxHashMap;

/// Keeps weights finite.
const DEVIATION_MIN: f64 = 1e-60;
/// The room that is kept for the next search.
const CAPACITY_MAX: usize = 1 << 16;

/// Estimates by point.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence(FxHashMap<u32, Estimate>);

/// A normal distribution. Scores may have any size, and their squares need the range of `f64`.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    mean: f64,
    /// The inverse of its variance. Infinite if the score is certain.
    weight: f64,
}

impl Estimate {
    /// From an estimate that is a deviation above what is likely. `None` if it promises nothing.
    fn new(estimate: f32, deviation: f32) -> Option<Self> {
        if estimate.is_nan() || estimate == f32::NEG_INFINITY {
            return None;
        }
        let likely = f64::from(estimate) - f64::from(deviation);
        // Beyond the range of `f32` only the estimate itself says something.
        let (mean, deviation) = if likely.is_finite() {
            (likely, f64::from(deviation).max(DEVIATION_MIN))
        } else {
            (f64::from(estimate.min(f32::MAX)), DEVIATION_MIN)
        };
        Some(Self { mean, weight: (deviation * deviation).recip() })
    }

    fn promise(self) -> f32 {
        (self.mean + self.weight.sqrt().recip()) as f32
    }
}

impl Evidence {
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(CAPACITY_MAX);
    }

    /// Notes the score of a point. Returns true if nothing was known of it.
    pub(super) fn insert(&mut self, point: u32, score: f32) -> bool {
        self.0.insert(point, Estimate { mean: f64::from(score), weight: f64::INFINITY }).is_none()
    }

    /// Adds an estimate that is a deviation above what is likely. Returns what is promised of the point now,
    /// if that changes it.
    pub(super) fn add(&mut self, point: u32, estimate: f32, deviation: f32) -> Option<f32> {
        let new = Estimate::new(estimate, deviation)?;
        let Some(known) = self.0.get_mut(&point) else {
            self.0.insert(point, new);
            return Some(new.promise());
        };
        if known.weight == f64::INFINITY {
            return None;
        }
        let before = known.promise();
        known.weight += new.weight;
        known.mean += (new.mean - known.mean) * (new.weight / known.weight);
        let promise = known.promise();
        (promise != before).then_some(promise)
    }

    /// Whether this is what is promised of a point.
    pub(super) fn is_current(&self, point: u32, promise: f32) -> bool {
        self.0.get(&point).is_some_and(|known| known.promise() == promise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn estimates_count_by_the_inverse_of_their_variance(
            estimates in vec((-2.0f32..2.0, 0.01f32..1.0), 1..20),
            // Squares of the larger ones leave the range of `f32`.
            scale in -30..36,
        ) {
            let scale = 10.0f32.powi(scale);
            let mut evidence = Evidence::default();
            let (mut weights, mut weighted) = (0.0f64, 0.0f64);
            for &(likely, deviation) in &estimates {
                let (likely, deviation) = (likely * scale, deviation * scale);
                let promise = evidence.add(7, likely + deviation, deviation);
                weights += f64::from(deviation).powi(-2);
                weighted += f64::from(likely) * f64::from(deviation).powi(-2);
                let expected = weighted / weights + weights.sqrt().recip();
                if let Some(promise) = promise {
                    let error = (f64::from(promise) - expected).abs() / f64::from(scale);
                    prop_assert!(error < 1e-4, "{promise} for {expected}");
                    prop_assert!(evidence.is_current(7, promise) && !evidence.is_current(7, promise + scale));
                }
            }
            prop_assert!(!evidence.is_current(8, 0.0));
        }
    }

    #[test]
    fn a_score_is_certain() {
        let mut evidence = Evidence::default();
        assert_eq!(evidence.add(1, 0.5, 0.0), Some(0.5));
        assert!(!evidence.insert(1, 0.25) && evidence.insert(2, f32::NEG_INFINITY));
        assert_eq!((evidence.add(1, 1.0, 0.125), evidence.add(2, 1.0, 0.125)), (None, None));
        assert!(evidence.is_current(1, 0.25) && evidence.is_current(2, f32::NEG_INFINITY));
        evidence.clear();
        assert!(evidence.insert(1, 1.0));
    }

    /// As one from a damaged record, or of numbers that are too large.
    #[test]
    fn an_estimate_that_says_nothing_does_not_hide_others() {
        let mut evidence = Evidence::default();
        for nothing in [(f32::NAN, 1.0), (f32::NAN, f32::NAN), (f32::NEG_INFINITY, 1.0)] {
            assert_eq!(evidence.add(1, nothing.0, nothing.1), None);
        }
        assert_eq!(evidence.add(1, 0.5, 0.25), Some(0.5));
        assert_eq!(evidence.add(1, f32::NAN, 0.25), None);
        assert!(evidence.is_current(1, 0.5));
        for (point, estimate, deviation) in [(2, f32::INFINITY, f32::INFINITY), (3, f32::INFINITY, 1.0)] {
            let promise = evidence.add(point, estimate, deviation);
            assert_eq!(promise, Some(f32::MAX));
            evidence.add(point, 1.0, 1.0);
            assert!(evidence.is_current(point, f32::MAX));
        }
    }
}
