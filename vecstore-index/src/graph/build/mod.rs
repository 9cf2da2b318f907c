//! Builds a graph on all cores. The graph depends on points and parameters only, not on the number of cores.
//!
//! Points are inserted in batches, as in ParlayANN (Manohar et al., "ParlayANN: Scalable and Deterministic
//! Parallel Graph-Based Approximate Nearest Neighbor Search Algorithms", 2024). The points of a batch search
//! in parallel, in the graph without the batch. The links they choose are then stored at both ends, in an
//! order that depends on ids only. The points of a batch do not see each other. This is harmless, because a
//! batch is a small part of the graph.
//!
//! Points are ordered by level, highest first, and randomly within a level. The entry point therefore never
//! changes, and upper levels are complete before most points descend through them. A batch is a random sample
//! even if the input is sorted by cluster.
//!
//! | module | concern |
//! |---|---|
//! | `growing`, `level` | a graph under construction, and one of its levels |
//! | `insert` | inserting a batch of points |
//! | `selection` | which links a point gets |
//! | `connect` | links for points that few walks or none would reach |
//! | `scratch` | memory that threads reuse |

mod connect;
mod growing;
mod insert;
mod level;
mod scratch;
mod selection;
#[cfg(test)]
mod tests;

use super::finished::Graph;
use super::params::{HnswParams, ParamsError};
use super::scores::PointScores;
use crate::pool::ID_END;
use growing::Growing;
use scratch::Scratches;

/// A batch is at most this part of the points inserted before it.
const BATCH_PART: usize = 50;
/// Most points in a batch.
const BATCH_MAX: usize = 1024;

/// Why no graph was built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The parameters are out of range.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// There are more points than ids.
    #[error("{points} points: a graph has at most {ID_END}, split them into several segments")]
    TooManyPoints {
        /// The number of points.
        points: usize,
    },
    /// The caller stopped the build.
    #[error("building the graph was stopped after {done} points")]
    Stopped {
        /// Points inserted before the stop.
        done: usize,
    },
}

/// Builds a graph over all points of `scores`, on the threads of the current rayon pool.
///
/// The builder asks `stop` before each batch. It calls `progress` after each batch, with the number of points
/// done. The result depends on the scores and the parameters only.
///
/// # Errors
///
/// If a parameter is out of range, if there are too many points, or if `stop` returned true.
pub fn build<S: PointScores>(
    scores: &S,
    params: &HnswParams,
    progress: &(dyn Fn(usize) + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Graph, BuildError> {
    params.check()?;
    let points = scores.len();
    if points > ID_END as usize {
        return Err(BuildError::TooManyPoints { points });
    }
    let mut graph = Growing::new(points, params);
    let scratches = Scratches::default();
    let mut done = usize::from(points > 0);
    while done < points {
        if stop() {
            return Err(BuildError::Stopped { done });
        }
        let size = (done / BATCH_PART).clamp(1, BATCH_MAX).min(points - done);
        graph.insert(done..done + size, scores, params, &scratches);
        done += size;
        progress(done);
    }
    graph.connect(scores, params, &scratches, stop).map_err(|_| BuildError::Stopped { done })?;
    Ok(graph.into_graph(params))
}
