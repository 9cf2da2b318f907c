//! Axes: the positions of values, and the labels.

/// An axis and its scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// An axis with room for these values. It begins at 0. A logarithmic one begins at 1, 2 or 5 times a
    /// power of ten.
    pub(super) fn of(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let values: Vec<f64> = values.filter(|value| !log || *value > 0.0).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        if !log {
            return Self { low: 0.0, high: if most > 0.0 { most * 1.05 } else { 1.0 }, log };
        }
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let (least, most) = if most > 0.0 { (least, most) } else { (1.0, 1.0) };
        let low = round_numbers(least / 10.0, &[1.0, 2.0, 5.0]).take_while(|round| *round <= least).last();
        let high = round_numbers(most, &[1.0, 2.0, 5.0]).find(|round| *round >= most && *round > least);
        Self { low: low.unwrap_or(least), high: high.unwrap_or(most), log }
    }

    /// The position of a value, from 0 at the low end to 1 at the high end.
    pub(super) fn part(self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }

    /// A few round numbers along the axis.
    pub(super) fn ticks(self) -> Vec<f64> {
        const FEW: f64 = 6.0;
        if !self.log {
            let step = round_numbers(self.high / FEW / 10.0, &[1.0, 2.0, 5.0])
                .find(|step| *step >= self.high / FEW)
                .unwrap_or(self.high);
            return (0..).map(|at| f64::from(at) * step).take_while(|tick| *tick <= self.high).collect();
        }
        let mantissas: &[f64] = match self.high / self.low {
            range if range <= 50.0 => &[1.0, 2.0, 5.0],
            range if range <= 1000.0 => &[1.0, 3.0],
            _ => &[1.0],
        };
        // Rounding may put a power of ten slightly off the axis.
        let within = |tick: &f64| *tick >= self.low * 0.999 && *tick <= self.high * 1.001;
        let ticks = round_numbers(self.low / 10.0, mantissas).take_while(|tick| *tick <= self.high * 1.001);
        let ticks: Vec<f64> = ticks.filter(within).collect();
        // Skips some if there are too many powers of ten.
        let every = ticks.len().div_ceil(8);
        ticks.into_iter().step_by(every).collect()
    }
}

/// The mantissas times powers of ten, upwards, from the power of ten below `from`.
fn round_numbers(from: f64, mantissas: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let first = from.log10().floor() as i32;
    (first..first + 40).flat_map(move |power| {
        mantissas.iter().map(move |mantissa| format!("{mantissa}e{power}").parse().unwrap_or(f64::NAN))
    })
}

/// A number in few characters: 950, 1.5 k, 10 M.
pub(super) fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        1e9.. => (number / 1e9, " G"),
        1e6.. => (number / 1e6, " M"),
        1e3.. => (number / 1e3, " k"),
        _ => (number, ""),
    };
    let places = match scaled.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let digits = format!("{scaled:.places$}");
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.25, 7.0, 12.5, 950.0, 1500.0, 150_692.0, 10_000_000.0, 2.5e9, -3000.0].map(short);
        assert_eq!(shown, ["0", "0.25", "7", "12.5", "950", "1.5 k", "151 k", "10 M", "2.5 G", "-3 k"]);
    }

    #[test]
    fn all_values_are_on_the_axis_and_in_order() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..1000 {
            let log = random.bool();
            let mut values: Vec<f64> =
                (0..random.usize(1..6)).map(|_| 10f64.powf(random.f64() * 12.0 - 4.0)).collect();
            values.sort_by(f64::total_cmp);
            let axis = Axis::of(values.iter().copied(), log);
            let parts: Vec<f64> = values.iter().map(|value| axis.part(*value)).collect();
            assert!(parts.is_sorted() && axis.low <= values[0] && axis.high >= values[values.len() - 1]);
            assert!((axis.part(axis.low), axis.part(axis.high)) == (0.0, 1.0), "{axis:?}");
            let ticks = axis.ticks();
            assert!((2..=8).contains(&ticks.len()), "{axis:?}: {ticks:?}");
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(Axis::of([38.0, 7.0].into_iter(), false).ticks(), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(Axis::of([0.9, 0.2].into_iter(), false).ticks(), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8]);
        assert_eq!(
            Axis::of([700.0, 15_000.0].into_iter(), true).ticks(),
            [500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0]
        );
        assert_eq!(Axis::of([3.0, 2e6].into_iter(), true).ticks(), [10.0, 100.0, 1e3, 1e4, 1e5, 1e6]);
        // No values, or only zeros.
        assert_eq!(Axis::of([0.0].into_iter(), false).part(0.0), 0.0);
        assert_eq!(Axis::of([0.0].into_iter(), true).part(1.0), 0.0);
    }
}
