//! Building a graph: on all cores, and the same graph for the same points and parameters whatever their number.
//!
//! Points are inserted in batches, as in ParlayANN (Manohar et al., "ParlayANN: Scalable and Deterministic Parallel
//! Graph-Based Approximate Nearest Neighbor Search Algorithms", 2024). A batch searches the graph as it was before the
//! batch, in parallel; the links it chooses are then entered from both ends, in an order that depends on ids only. A
//! batch is a small part of what is inserted already, so that its points not seeing each other does not matter.
//!
//! Points come in the order of their levels, highest first, and in a random order within a level. So the entry point
//! never changes, upper levels are complete before the crowd descends through them, and a batch is a random sample even
//! if the input was sorted by cluster.
//!
//! | module | concern |
//! |---|---|
//! | `growing`, `level` | a graph under construction, and one of its levels |
//! | `insert` | inserting a batch of points |
//! | `selection` | which links a point gets |
//! | `connect` | links for points that have too few |
//! | `scratch` | memory that is used again |

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
use super::pool::ID_END;
use super::scores::PointScores;
use growing::Growing;
use scratch::Scratches;

/// A batch is at most this part of the points inserted before it.
const BATCH_PART: usize = 50;
/// Most points in a batch.
const BATCH_MAX: usize = 1024;

/// A graph that was not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// With these parameters none can be.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// More points than an id can name.
    #[error("{points} points: a graph has at most {ID_END}, split them into several segments")]
    TooManyPoints {
        /// What was given.
        points: usize,
    },
    /// It was asked to stop.
    #[error("building the graph was stopped after {done} points")]
    Stopped {
        /// Points inserted until then.
        done: usize,
    },
}

/// Builds a graph over all points of `scores`, on the cores of the current rayon pool.
///
/// `progress` is told the number of points done after each batch; `stop` is asked before each. The result depends on the
/// scores and the parameters only.
///
/// # Errors
///
/// When the parameters are out of range, there are too many points, or `stop` said so.
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
