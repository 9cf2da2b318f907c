//! Codes of 4, 2 or 1 bits a component: their place in a record, and the query that is multiplied with them.
//!
//! ```text
//! record:  parameters | code | zeros up to a multiple of 8
//! ```

use crate::kernels::{Kernels, Records, Scan, WINDOW};

/// The place of the code in a record. The first component is in the lowest bits of the code's first byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<const BITS: usize> {
    dim: usize,
    skip: usize,
}

impl<const BITS: usize> Layout<BITS> {
    /// Components in a byte.
    const PER_BYTE: usize = 8 / BITS;

    /// For records that begin with this many parameters of 4 bytes.
    pub(super) fn new(dim: usize, params: usize) -> Self {
        Self { dim, skip: params * 4 }
    }

    /// As [`Layout::new`], with as many more components as fit without making the record longer.
    pub(super) fn filled(dim: usize, params: usize) -> Self {
        let layout = Self::new(dim, params);
        Self { dim: (layout.record_bytes() - layout.skip) * Self::PER_BYTE, ..layout }
    }

    pub(super) fn dim(self) -> usize {
        self.dim
    }

    fn code_bytes(self) -> usize {
        self.dim.div_ceil(Self::PER_BYTE)
    }

    pub(super) fn record_bytes(self) -> usize {
        (self.skip + self.code_bytes()).next_multiple_of(8).max(WINDOW)
    }

    /// Writes a code, and zeros around it. Each level is below `1 << BITS`.
    pub(super) fn put_levels(self, record: &mut [u8], levels: &[u8]) {
        assert_eq!(record.len(), self.record_bytes(), "a record of the codec's length");
        record.fill(0);
        for (byte, levels) in record[self.skip..].iter_mut().zip(levels.chunks(Self::PER_BYTE)) {
            for (index, level) in levels.iter().enumerate() {
                *byte |= level << (index * BITS);
            }
        }
    }

    fn records(self, bytes: &[u8]) -> Records<'_> {
        Records { bytes, stride: self.record_bytes(), skip: self.skip }
    }

    fn scan(kernels: &Kernels) -> Scan<i8> {
        match BITS {
            4 => kernels.scan_u4,
            2 => kernels.scan_u2,
            1 => kernels.scan_u1,
            _ => unreachable!("codes of 4, 2 or 1 bits"),
        }
    }
}

/// A query of `i8`, laid out by window, as [`WINDOW`] says.
#[derive(Clone, Debug)]
pub(super) struct PackedQuery<const BITS: usize> {
    layout: Layout<BITS>,
    planes: Vec<i8>,
    /// The value of one step of a component.
    step: f32,
    /// The sum of all components, in steps.
    sum: f32,
    /// The norm of the error of rounding to whole steps.
    error: f32,
    scan: Scan<i8>,
}

impl<const BITS: usize> PackedQuery<BITS> {
    pub(super) fn new(layout: Layout<BITS>, values: &[f32]) -> Self {
        let largest = values.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let step = f64::from(largest) / 127.0;
        let (mut steps, mut error_sq) = (Vec::with_capacity(layout.dim), 0.0);
        for &x in values {
            let rounded = if step > 0.0 { (f64::from(x) / step).round() } else { 0.0 };
            steps.push(rounded as i8);
            error_sq += (f64::from(x) - rounded * step).powi(2);
        }
        // Each window has its own planes. If two windows cover a byte, its steps are only in the planes of
        // the first.
        let (code_end, mut planes, mut start) = (layout.skip + layout.code_bytes(), Vec::new(), layout.skip);
        while start < code_end {
            let window = start.min(layout.record_bytes() - WINDOW);
            for plane in 0..Layout::<BITS>::PER_BYTE {
                planes.extend((window..window + WINDOW).map(|byte| {
                    let component =
                        byte.checked_sub(layout.skip).map(|byte| byte * Layout::<BITS>::PER_BYTE + plane);
                    match component {
                        Some(component) if byte >= start => steps.get(component).copied().unwrap_or(0),
                        _ => 0,
                    }
                }));
            }
            start += WINDOW;
        }
        Self {
            layout,
            planes,
            step: step as f32,
            sum: steps.iter().map(|&x| i32::from(x)).sum::<i32>() as f32,
            error: error_sq.sqrt() as f32,
            scan: Layout::<BITS>::scan(Kernels::get()),
        }
    }

    /// For each point, the sum of level times query component, with the components in steps.
    pub(super) fn sums(&self, records: &[u8], points: &[u32], sums: &mut [f32]) {
        (self.scan)(self.layout.records(records), points, &self.planes, sums);
    }

    pub(super) fn step(&self) -> f32 {
        self.step
    }

    pub(super) fn sum(&self) -> f32 {
        self.sum
    }

    pub(super) fn error(&self) -> f32 {
        self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const BITS: usize>(dim: usize, params: usize) {
        let layout = Layout::<BITS>::new(dim, params);
        let len = layout.record_bytes();
        assert!(len.is_multiple_of(8) && len >= WINDOW && len >= params * 4 + (dim * BITS).div_ceil(8));
        let levels: Vec<u8> = (0..dim).map(|at| (at * 7 % (1 << BITS)) as u8).collect();
        let mut records = vec![0xFF; 2 * len];
        layout.put_levels(&mut records[len..], &levels);
        let code = &records[len + params * 4..];
        for (at, &level) in levels.iter().enumerate() {
            assert_eq!((code[at * BITS / 8] >> (at * BITS % 8)) % (1 << BITS), level);
        }
        // Parameters are no part of the sum.
        records[len..len + params * 4].fill(0xA5);
        let values: Vec<f32> = (0..dim).map(|at| (at % 11) as f32 - 5.0 + 0.3).collect();
        let query = PackedQuery::new(layout, &values);
        let mut sums = [0.0];
        query.sums(&records, &[1], &mut sums);
        let steps: Vec<f64> =
            values.iter().map(|&x| (f64::from(x) / f64::from(query.step())).round()).collect();
        let expected: f64 = steps.iter().zip(&levels).map(|(step, &level)| step * f64::from(level)).sum();
        assert_eq!(
            (f64::from(sums[0]), f64::from(query.sum())),
            (expected, steps.iter().sum()),
            "{BITS} bits, {dim}"
        );
        let error_sq: f64 = steps
            .iter()
            .zip(&values)
            .map(|(step, &x)| (f64::from(x) - step * f64::from(query.step())).powi(2))
            .sum();
        assert!((f64::from(query.error()) - error_sq.sqrt()).abs() < 1e-4);
    }

    #[test]
    fn sums_are_those_of_the_levels_at_every_dimension() {
        for dim in (1..=300).chain([384, 768, 1000]) {
            for params in [0, 3] {
                check::<4>(dim, params);
                check::<2>(dim, params);
                check::<1>(dim, params);
            }
        }
    }

    #[test]
    fn a_filled_record_is_no_longer() {
        for dim in 1..300 {
            let (layout, filled) = (Layout::<2>::new(dim, 3), Layout::<2>::filled(dim, 3));
            assert_eq!(filled.record_bytes(), layout.record_bytes());
            assert_eq!(12 + filled.dim() / 4, layout.record_bytes());
        }
        assert_eq!((Layout::<1>::filled(100, 3).dim(), Layout::<1>::filled(384, 3).dim()), (160, 416));
    }

    #[test]
    fn common_records_fall_on_cache_lines() {
        assert_eq!(Layout::<4>::new(100, 3).record_bytes(), 64);
        assert_eq!(Layout::<1>::new(384, 3).record_bytes(), 64);
        assert_eq!(Layout::<1>::new(100, 3).record_bytes(), 32);
        assert_eq!(Layout::<2>::new(384, 3).record_bytes(), 112);
    }
}
