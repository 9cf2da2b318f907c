//! A random rotation that is fast, in any dimension. Each component of a rotated vector is a mix of all. It
//! is nearly normally distributed, for any vector.
//!
//! A step flips random signs, and transforms a block of a power of two components by Hadamard's matrix. The
//! block is the leading one, or, in every other step, the trailing one. The two overlap. Then the two halves
//! of the vector are mixed with one another. That serves dimensions just below a power of two, where the
//! overlap is small.
//!
//! If the dimension is a power of two, there is only one block. These are then the rotations of Andoni et
//! al., "Practical and optimal LSH for angular distance" (2015), who pad the dimension instead. RaBitQ's
//! library has a step like this one.
//!
//! Signs come from the seed. Additions and multiplications are done one by one. So the result is the same on
//! every machine.

use crate::kernels::Kernels;
use crate::random::SplitMix64;
use std::f32::consts::FRAC_1_SQRT_2;

/// After fewer steps, the images of sparse vectors are still uneven.
const STEPS: usize = 6;

#[derive(Clone, Debug)]
pub(super) struct Rotation {
    dim: usize,
    /// 1 or -1 for each component, step after step.
    signs: Vec<f32>,
    hadamard: fn(&mut [f32]),
}

impl Rotation {
    pub(super) fn new(dim: usize, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed, dim as u64);
        let sign = |_| if random.next_u64() >> 63 == 0 { 1.0 } else { -1.0 };
        Self { dim, signs: (0..STEPS * dim).map(sign).collect(), hadamard: Kernels::get().hadamard }
    }

    /// Rotates a vector of about length 1.
    pub(super) fn apply(&self, vector: &mut [f32]) {
        let block = 1 << self.dim.ilog2();
        let scale = 1.0 / (block as f32).sqrt();
        for (step, signs) in self.signs.chunks_exact(self.dim).enumerate() {
            for (x, sign) in vector.iter_mut().zip(signs) {
                *x *= sign;
            }
            let start = if step % 2 == 0 { 0 } else { self.dim - block };
            let transformed = &mut vector[start..][..block];
            (self.hadamard)(transformed);
            for x in transformed {
                *x *= scale;
            }
            if block < self.dim {
                let (leading, trailing) = vector.split_at_mut(self.dim / 2);
                // If the dimension is odd, the middle component stays as it is.
                for (a, b) in leading.iter_mut().zip(&mut trailing[self.dim % 2..]) {
                    (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotated(rotation: &Rotation, vector: &[f32]) -> Vec<f64> {
        let mut vector = vector.to_vec();
        rotation.apply(&mut vector);
        vector.into_iter().map(f64::from).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// The images of the axes are orthonormal. So the map is a rotation, perhaps with a reflection.
    #[test]
    fn axes_stay_orthonormal_at_every_dimension() {
        for dim in (1..=70).chain([96, 100, 127, 255, 257]) {
            let rotation = Rotation::new(dim, 9);
            let mut axis = vec![0.0; dim];
            let mut images: Vec<Vec<f64>> = Vec::new();
            for at in 0..dim {
                axis.fill(0.0);
                axis[at] = 1.0;
                let image = rotated(&rotation, &axis);
                assert!((dot(&image, &image) - 1.0).abs() < 1e-5);
                assert!(images.iter().all(|other| dot(&image, other).abs() < 1e-5), "dimension {dim}");
                images.push(image);
            }
        }
    }

    /// The image of a vector with few components has many of similar size. None is beyond 7 standard
    /// deviations.
    #[test]
    fn sparse_vectors_are_spread() {
        for dim in [64, 100, 127, 128, 129, 255, 384, 511, 768, 1000, 1023, 1536] {
            let rotation = Rotation::new(dim, 3);
            for at in 0..dim {
                let mut sparse = vec![0.0; dim];
                sparse[at] = 0.6;
                sparse[(at + dim / 2) % dim] = 0.8;
                let image = rotated(&rotation, &sparse);
                let largest = image.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
                assert!(largest < 7.0 / (dim as f64).sqrt(), "dimension {dim}, axis {at}: {largest}");
                let fourth = image.iter().map(|x| x.powi(4)).sum::<f64>() * dim as f64;
                // This is about 3 for a normal distribution, and `dim` for an axis.
                assert!(fourth < 8.0, "dimension {dim}, axis {at}: {fourth}");
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        let vector: Vec<f32> = (0..100).map(|i| i as f32 * 0.01).collect();
        let first = rotated(&Rotation::new(100, 1), &vector);
        assert_eq!(first, rotated(&Rotation::new(100, 1), &vector));
        assert_ne!(first, rotated(&Rotation::new(100, 2), &vector));
    }
}
