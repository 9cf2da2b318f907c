//! What a graph is built with.

/// Most links a point may have on an upper level; level 0 has twice as many.
pub const M_MAX: usize = 1024;

/// The parameters of a graph. Together with the points they define the graph completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HnswParams {
    /// Links of a point on each upper level, at most; twice as many on level 0. 8 to 64 is usual: more for higher
    /// dimensions and higher recall, at `8 * m` bytes a point.
    pub m: usize,
    /// Candidates among which the links of a new point are chosen. More take longer to build and give a better graph.
    pub ef_construct: usize,
    /// Decides the levels of the points and the order they are inserted in.
    pub seed: u64,
}

impl Default for HnswParams {
    fn default() -> Self {
        Self { m: 16, ef_construct: 128, seed: 0 }
    }
}

/// Parameters no graph can be built with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// `m` is out of range.
    #[error("m is {m}: it must be from 2 to {M_MAX}")]
    M {
        /// What was given.
        m: usize,
    },
    /// `ef_construct` is zero.
    #[error("ef_construct is 0: it must be at least 1, and should be several times m")]
    EfConstruct,
}

impl HnswParams {
    /// Whether a graph can be built with these.
    ///
    /// # Errors
    ///
    /// When a parameter is out of its range.
    pub fn check(&self) -> Result<(), ParamsError> {
        if !(2..=M_MAX).contains(&self.m) {
            return Err(ParamsError::M { m: self.m });
        }
        if self.ef_construct == 0 {
            return Err(ParamsError::EfConstruct);
        }
        Ok(())
    }

    /// Links a point may have on a level.
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
        assert_eq!(HnswParams { ef_construct: 0, ..params }.check(), Err(ParamsError::EfConstruct));
        assert_eq!((params.links_max(0), params.links_max(1), params.links_max(5)), (32, 16, 16));
    }
}
