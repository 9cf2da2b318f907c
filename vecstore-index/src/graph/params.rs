//! The parameters of a build.

/// The most links that a point may have on an upper level. Level 0 allows twice as many.
pub const M_MAX: usize = 1024;

/// The most candidates for the links of a new point.
pub const EF_CONSTRUCT_MAX: usize = 1 << 20;

/// The parameters of a graph. Together with the points they define the graph completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HnswParams {
    /// The most links of a point on an upper level. Level 0 allows twice as many. Values from 8 to 64 are
    /// usual. More suit higher dimensions and higher recall, and take `8 * m` bytes a point.
    pub m: usize,
    /// The number of candidates for the links of a new point. More give a better graph and take longer to
    /// build.
    pub ef_construct: usize,
    /// Determines the levels of the points and their order of insertion.
    pub seed: u64,
}

impl Default for HnswParams {
    fn default() -> Self {
        Self { m: 16, ef_construct: 128, seed: 0 }
    }
}

/// Parameters that no graph can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// `m` is out of range.
    #[error("m is {m}: it must be from 2 to {M_MAX}")]
    M {
        /// The value given.
        m: usize,
    },
    /// `ef_construct` is out of range.
    #[error(
        "ef_construct is {ef_construct}: it must be from 1 to {EF_CONSTRUCT_MAX}, and should be several times m"
    )]
    EfConstruct {
        /// The value given.
        ef_construct: usize,
    },
}

impl HnswParams {
    /// Checks that a graph can have these parameters.
    ///
    /// # Errors
    ///
    /// If a parameter is out of its range.
    pub fn check(&self) -> Result<(), ParamsError> {
        if !(2..=M_MAX).contains(&self.m) {
            return Err(ParamsError::M { m: self.m });
        }
        if !(1..=EF_CONSTRUCT_MAX).contains(&self.ef_construct) {
            return Err(ParamsError::EfConstruct { ef_construct: self.ef_construct });
        }
        Ok(())
    }

    /// The most links that a point may have on a level.
    #[must_use]
    pub fn links_max(&self, level: usize) -> usize {
        if level == 0 { 2 * self.m } else { self.m }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_out_of_range_are_refused() {
        let params = HnswParams::default();
        assert_eq!(params.check(), Ok(()));
        assert_eq!(HnswParams { m: 1, ..params }.check(), Err(ParamsError::M { m: 1 }));
        assert_eq!(HnswParams { m: 1025, ..params }.check(), Err(ParamsError::M { m: 1025 }));
        for ef_construct in [0, EF_CONSTRUCT_MAX + 1, usize::MAX] {
            let error = ParamsError::EfConstruct { ef_construct };
            assert_eq!(HnswParams { ef_construct, ..params }.check(), Err(error));
        }
        assert_eq!((params.links_max(0), params.links_max(1), params.links_max(5)), (32, 16, 16));
    }
}
