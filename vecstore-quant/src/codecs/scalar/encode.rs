//! From one vector to its code.

/// The largest dimension of a vector. Its record of [`Quantization::Int8`](crate::Quantization::Int8) has
/// 65,536 bytes.
pub const DIM_MAX: usize = 65_520;

/// The parameters that are stored with the code of one vector. All are zero for a zero vector.
///
/// Plain old data of 16 bytes without padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct ScalarParams {
    /// The value of one step of the code: 1/255 of the range of the components. 0 if all components are
    /// equal.
    pub(crate) scale: f32,
    /// The value of code 0, about the middle of the range.
    pub(crate) offset: f32,
    /// Mean of the decoded components.
    pub(crate) mean: f32,
    /// Squared norm of the decoded vector's deviation from its mean.
    pub(crate) deviation_sq: f32,
}

/// Quantizes one prepared vector into `code`, of the same length. Returns the parameters to keep with it.
///
/// Every finite vector has a code, even if all its components are equal. The error of a component is at most
/// half a step, `scale / 2`, plus rounding of `f32`.
///
/// # Panics
///
/// If the lengths differ or exceed [`DIM_MAX`].
pub(crate) fn encode_into(vector: &[f32], code: &mut [i8]) -> ScalarParams {
    assert_eq!(vector.len(), code.len(), "a code has a byte for each component");
    assert!(vector.len() <= DIM_MAX, "codes have at most {DIM_MAX} components");
    code.fill(0);
    let (Some(min), Some(max)) =
        (vector.iter().copied().reduce(f32::min), vector.iter().copied().reduce(f32::max))
    else {
        return ScalarParams::default();
    };
    // The range of two finite `f32` may not fit in an `f32`. A 255th of it does.
    let (min, scale) = (f64::from(min), ((f64::from(max) - f64::from(min)) / 255.0) as f32);
    if scale <= 0.0 {
        return ScalarParams { scale: 0.0, offset: min as f32, mean: min as f32, deviation_sq: 0.0 };
    }
    let (mut sum, mut sum_sq) = (0i64, 0i64);
    for (code, &x) in code.iter_mut().zip(vector) {
        // Truncation after adding a half rounds to the nearest, since nothing here is negative.
        let step = ((f64::from(x) - min) / f64::from(scale) + 0.5) as i32;
        *code = (step.min(255) - 128) as i8;
        sum += i64::from(*code);
        sum_sq += i64::from(*code) * i64::from(*code);
    }
    let (dim, scale_f64) = (vector.len() as f64, f64::from(scale));
    let offset = (min + 128.0 * scale_f64) as f32;
    // Exact integers up to the division: dim * 2^14 * dim is below 2^53.
    let deviation_sq = (sum_sq * vector.len() as i64 - sum * sum) as f64 / dim;
    ScalarParams {
        scale,
        offset,
        mean: (f64::from(offset) + scale_f64 * (sum as f64 / dim)) as f32,
        deviation_sq: (scale_f64 * scale_f64 * deviation_sq) as f32,
    }
}
