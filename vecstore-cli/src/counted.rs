//! Numbers of things in messages.

use std::fmt;

/// A number and what it counts: `1 point`, `2 points`.
pub(crate) struct Counted<N>(pub(crate) N, pub(crate) &'static str);

impl<N: Copy + fmt::Display + PartialEq + From<bool>> fmt::Display for Counted<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, thing) = *self;
        write!(f, "{number} {thing}{}", if number == N::from(true) { "" } else { "s" })
    }
}

#[test]
fn one_is_singular() {
    let points = [0, 1, 2, 11].map(|number: u64| Counted(number, "point").to_string());
    assert_eq!(points, ["0 points", "1 point", "2 points", "11 points"]);
}
