//! Numbers that look random and never change, between machines or between versions of this crate. Codecs,
//! graphs and demo data are functions of their seed, so the generator is part of their definition.

/// A generator of numbers that look random: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom
/// number generators", 2014).
///
/// The same seed and index give the same numbers on every machine and in every version of this crate.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A stream for item `index` of the stream family `seed`.
    #[must_use]
    pub fn new(seed: u64, index: u64) -> Self {
        Self { state: mix(seed).wrapping_add(mix(index ^ 0x6A09_E667_F3BC_C908)) }
    }

    /// Uniform over all 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// Uniform in `0..end`, as good as 64 bits allow.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next_u64()) * end as u128) >> 64) as usize
    }

    /// Uniform from 0 to 1, exclusive.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Near enough to a normal distribution of mean 0 and variance 1: the sum of twelve uniforms
    /// (Irwin-Hall). It only adds, since `ln` and `cos` differ between machines.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
}

/// The finalizer of SplitMix64: a bijection that scatters neighbouring numbers.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_never_changes() {
        let mut rng = SplitMix64::new(7, 3);
        let first = [rng.next_u64(), rng.next_u64()];
        assert_eq!(first, [11_590_051_774_338_728_659, 9_760_131_135_756_956_695]);
    }

    #[test]
    fn numbers_stay_in_range_and_spread() {
        let mut rng = SplitMix64::new(1, 0);
        let mut counts = [0; 10];
        let (mut sum, mut sum_sq) = (0.0f64, 0.0f64);
        for _ in 0..10_000 {
            counts[rng.below(10)] += 1;
            assert!((0.0..1.0).contains(&rng.unit()));
            let x = f64::from(rng.normal());
            sum += x;
            sum_sq += x * x;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert!((sum / 1e4).abs() < 0.05);
        assert!((sum_sq / 1e4 - 1.0).abs() < 0.05);
    }
}
