//! How long physical reads took, for the feature `histograms`.

use histogram::{AtomicHistogram, Histogram};
use std::time::Duration;

/// 32 buckets a power of two: a bucket is at most 1/32 of its values wide.
const GROUPING_POWER: u8 = 5;
/// Nanoseconds below 2^36, which are 68 seconds. Longer ones count as that.
const VALUE_POWER: u8 = 36;

/// Counts latencies without a lock.
pub(crate) struct LatencyCounts(AtomicHistogram);

impl Default for LatencyCounts {
    fn default() -> Self {
        Self(AtomicHistogram::new(GROUPING_POWER, VALUE_POWER).expect("the powers are in range"))
    }
}

impl std::fmt::Debug for LatencyCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl LatencyCounts {
    pub(crate) fn add(&self, latency: Duration) {
        let longest = (1 << VALUE_POWER) - 1;
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(longest).min(longest);
        self.0.increment(latency_ns).expect("not above the longest");
    }

    pub(crate) fn snapshot(&self) -> Latencies {
        Latencies(self.0.load())
    }
}

/// The latencies of the physical reads of a [`Meter`](crate::Meter), from the start of each to its end.
///
/// Feature `histograms`. Each is rounded up by at most 1/32. Those above 68 seconds count as 68 seconds.
#[derive(Clone)]
pub struct Latencies(Histogram);

impl Latencies {
    /// The number of reads.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.as_slice().iter().sum()
    }

    /// The latency that this share of the reads kept to: 0.5 asks for the median, and 1 for the longest.
    /// `None` if no read has ended.
    ///
    /// # Panics
    /// If `quantile` is not within 0 and 1.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let bucket = self.0.quantile_bucket(quantile).expect("a quantile is within 0 and 1");
        bucket.map(|bucket| Duration::from_nanos(bucket.end()))
    }
}

impl std::fmt::Debug for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quantile = |quantile| self.quantile(quantile).unwrap_or_default();
        f.debug_struct("Latencies")
            .field("count", &self.count())
            .field("p50", &quantile(0.5))
            .field("p99", &quantile(0.99))
            .field("max", &quantile(1.0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_32nd_too_long() {
        let counts = LatencyCounts::default();
        assert_eq!((counts.snapshot().count(), counts.snapshot().quantile(0.5)), (0, None));
        (1..=1000).rev().for_each(|micros| counts.add(Duration::from_micros(micros)));
        let latencies = counts.snapshot();
        assert_eq!(latencies.count(), 1000);
        for (quantile, micros) in [(0.0, 1), (0.001, 1), (0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            let exact = Duration::from_micros(micros);
            let found = latencies.quantile(quantile).unwrap();
            assert!(exact <= found && found <= exact + exact / 32, "{quantile}: {found:?}, not {exact:?}");
        }
    }

    #[test]
    fn the_longest_latency_has_a_bound() {
        let counts = LatencyCounts::default();
        counts.add(Duration::MAX);
        counts.add(Duration::from_secs(69));
        counts.add(Duration::ZERO);
        let latencies = counts.snapshot();
        assert_eq!(latencies.count(), 3);
        assert_eq!(latencies.quantile(1.0), Some(Duration::from_nanos((1 << 36) - 1)));
        assert_eq!(latencies.quantile(0.0), Some(Duration::ZERO));
    }
}
