//! Finds the grid point that is nearest to a vector in direction (extended RaBitQ, arXiv 2409.09913).
//!
//! The components of the grid are the odd halves from `-(2^bits - 1) / 2` on. They are the levels of a code
//! of `bits` bits, around zero. Only the direction counts. So the grid may be laid over the vector at any
//! scale, and each scale gives another code. The search tries a few scales around the best one for normal
//! components. It then improves the best code, a component at a time.
//!
//! The best code of all takes a sort to find. Let `e` be 1 minus the squared cosine between code and vector.
//! On average, the `e` that this search finds is within 2 % of the best one.

/// A code, and its dot product with the vector.
pub(super) struct GridCode {
    /// A level for each component, from 0.
    pub(super) levels: Vec<u8>,
    /// Dot product of the grid's point and the vector.
    pub(super) dot: f64,
    /// Squared norm of the grid's point.
    pub(super) norm_sq: f64,
}

/// Scales that are tried, relative to the best for normal components.
const SCALES: [f64; 9] = [0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5];
/// Rounds over the components. Two suffice nearly always.
const ROUNDS_MAX: usize = 6;

/// The code of a vector of length 1.
pub(super) fn nearest<const BITS: usize>(unit: &[f32]) -> GridCode {
    // The search is symmetric around zero: it finds magnitudes first, and sets signs last. `above` is the
    // highest level on one side of zero.
    let above = ((1u32 << (BITS - 1)) - 1) as f32;
    let magnitudes: Vec<f32> = unit.iter().map(|x| x.abs()).collect();
    // The step of the best uniform quantizer for a normal distribution (Max 1960), in standard deviations.
    let step = match BITS {
        4 => 0.3352,
        2 => 0.9957,
        _ => 1.5956, // Any value will do, since only signs are left.
    };
    let scale_normal = (unit.len() as f64).sqrt() / step;
    let sums = |scale: f32| {
        let (mut dot, mut norm_sq) = (0.0f32, 0.0f32);
        for &x in &magnitudes {
            let value = f32::from((x * scale).min(above) as u8) + 0.5;
            dot += value * x;
            norm_sq += value * value;
        }
        (f64::from(dot), f64::from(norm_sq))
    };
    let scales = if BITS == 1 { &SCALES[..1] } else { &SCALES[..] };
    let (mut scale, mut best) = (0.0, -1.0);
    for relative in scales {
        let tried = (relative * scale_normal) as f32;
        let (dot, norm_sq) = sums(tried);
        if dot * dot / norm_sq > best {
            (scale, best) = (tried, dot * dot / norm_sq);
        }
    }
    let mut levels: Vec<u8> = magnitudes.iter().map(|x| (x * scale).min(above) as u8).collect();
    let (mut dot, mut norm_sq) = (0.0f64, 0.0f64);
    for (&level, &x) in levels.iter().zip(&magnitudes) {
        let value = f64::from(level) + 0.5;
        dot += value * f64::from(x);
        norm_sq += value * value;
    }
    for _ in 0..ROUNDS_MAX {
        let before = dot;
        for (level, &x) in levels.iter_mut().zip(&magnitudes) {
            let (x, value) = (f64::from(x), f64::from(*level));
            // A step up adds (value + 1.5)² - (value + 0.5)².
            // A step down subtracts (value + 0.5)² - (value - 0.5)².
            let up = (dot + x, norm_sq + 2.0 * value + 2.0);
            let down = (dot - x, norm_sq - 2.0 * value);
            let better =
                |(new_dot, new_norm_sq): (f64, f64)| new_dot * new_dot * norm_sq > dot * dot * new_norm_sq;
            if f32::from(*level) < above && better(up) {
                *level += 1;
                (dot, norm_sq) = up;
            } else if *level > 0 && better(down) {
                *level -= 1;
                (dot, norm_sq) = down;
            }
        }
        if dot == before {
            break;
        }
    }
    let half = 1u8 << (BITS - 1);
    for (level, x) in levels.iter_mut().zip(unit) {
        *level = if x.is_sign_negative() { half - 1 - *level } else { half + *level };
    }
    GridCode { levels, dot, norm_sq }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// The best squared cosine of all codes. Tries every scale at which a component's level changes.
    fn best_cosine_sq(unit: &[f32], bits: u32) -> f64 {
        let above = (1u32 << (bits - 1)) - 1;
        let mut changes: Vec<(f64, usize)> = Vec::new();
        for (at, x) in unit.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            changes.extend((1..=above).map(|level| (f64::from(level) / f64::from(x.abs()), at)));
        }
        changes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut values = vec![0.5; unit.len()];
        let cosine_sq = |values: &[f64]| {
            let dot: f64 = values.iter().zip(unit).map(|(value, x)| value * f64::from(x.abs())).sum();
            dot * dot / values.iter().map(|value| value * value).sum::<f64>()
        };
        let mut best = cosine_sq(&values);
        for (_, at) in changes {
            values[at] += 1.0;
            best = best.max(cosine_sq(&values));
        }
        best
    }

    /// 1 minus the squared cosine of the code, and the same for the best code.
    fn check<const BITS: usize>(unit: &[f32]) -> (f64, f64) {
        let code = nearest::<BITS>(unit);
        let (mut dot, mut norm_sq) = (0.0, 0.0);
        for (&level, &x) in code.levels.iter().zip(unit) {
            assert!(u32::from(level) < 1 << BITS);
            let value = f64::from(level) - f64::from((1 << BITS) - 1) / 2.0;
            dot += value * f64::from(x);
            norm_sq += value * value;
        }
        assert!((code.dot - dot).abs() < 1e-6 * norm_sq && (code.norm_sq - norm_sq).abs() < 1e-9 * norm_sq);
        let (found, best) = (dot * dot / norm_sq, best_cosine_sq(unit, BITS as u32));
        assert!(found <= best + 1e-6);
        // If there are few components, a single wrong one counts.
        let slack = if unit.len() < 20 { 5e-3 } else { 1e-6 };
        assert!(
            1.0 - found <= (1.0 - best) * 1.1 + slack,
            "{BITS} bits, {}: {found}, best {best}",
            unit.len()
        );
        (1.0 - found, 1.0 - best)
    }

    #[test]
    fn codes_are_as_good_as_the_best() {
        let mut random = SplitMix64::new(5, 0);
        for dim in [1, 2, 3, 7, 20, 100, 384] {
            let mut lacking = [(0.0, 0.0); 3];
            for round in 0..20 {
                let mut vector: Vec<f32> = (0..dim).map(|_| random.normal()).collect();
                if round == 0 {
                    // This vector is far from a normal distribution.
                    vector.iter_mut().skip(1).for_each(|x| *x *= 0.01);
                }
                crate::distance::Distance::Cosine.prepare(&mut vector);
                let codes = [check::<1>(&vector), check::<2>(&vector), check::<4>(&vector)];
                for (sums, (found, best)) in lacking.iter_mut().zip(codes) {
                    *sums = (sums.0 + found, sums.1 + best);
                }
            }
            assert!(dim < 20 || lacking.iter().all(|(found, best)| found <= &(best * 1.02)), "{lacking:?}");
        }
    }
}
