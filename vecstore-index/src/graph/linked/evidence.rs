//! What estimates from several nodes say together about the score of a point.

use rustc_hash::FxHashMap;

/// Keeps weights finite.
const DEVIATION_MIN: f32 = 1e-9;

/// Estimates by point.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence(FxHashMap<u32, Estimate>);

/// A normal distribution.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    mean: f32,
    /// The inverse of its variance. Infinite if the score is certain.
    weight: f32,
}

impl Estimate {
    fn promise(self) -> f32 {
        self.mean + self.weight.sqrt().recip()
    }
}

impl Evidence {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes the score of a point. Returns true if nothing was known of it.
    pub(super) fn insert(&mut self, point: u32, score: f32) -> bool {
        self.0.insert(point, Estimate { mean: score, weight: f32::INFINITY }).is_none()
    }

    /// Adds an estimate that is a deviation above what is likely. Returns what is promised of the point now,
    /// if that changes it.
    pub(super) fn add(&mut self, point: u32, estimate: f32, deviation: f32) -> Option<f32> {
        let deviation = deviation.max(DEVIATION_MIN);
        let weight = (deviation * deviation).recip();
        let new = Estimate { mean: estimate - deviation, weight };
        let Some(known) = self.0.get_mut(&point) else {
            self.0.insert(point, new);
            return Some(new.promise());
        };
        if known.weight == f32::INFINITY {
            return None;
        }
        let before = known.promise();
        known.weight += weight;
        known.mean += (new.mean - known.mean) * (weight / known.weight);
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
        ) {
            let mut evidence = Evidence::default();
            let (mut weights, mut weighted) = (0.0f64, 0.0f64);
            for &(likely, deviation) in &estimates {
                let promise = evidence.add(7, likely + deviation, deviation);
                weights += f64::from(deviation).powi(-2);
                weighted += f64::from(likely) * f64::from(deviation).powi(-2);
                let expected = weighted / weights + weights.sqrt().recip();
                if let Some(promise) = promise {
                    prop_assert!((f64::from(promise) - expected).abs() < 1e-4, "{promise} for {expected}");
                    prop_assert!(evidence.is_current(7, promise) && !evidence.is_current(7, promise + 1.0));
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
}
