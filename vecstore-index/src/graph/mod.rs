//! The graph that is searched instead of scoring every point: HNSW, after Malkov and Yashunin, "Efficient and robust
//! approximate nearest neighbor search using hierarchical navigable small world graphs", 2016.
//!
//! | module | concern |
//! |---|---|
//! | `params` | what a graph is built with |
//! | `scores` | how the builder asks for scores between points |
//! | `build` | building a graph, on all cores, the same one for the same seed |
//! | `finished` | the finished graph: flat, immutable, validated |
//! | `search` | the search, a state machine that does no IO, and its driver over a graph in memory |
//! | `pool` | the best candidates of one search |
//! | `visited` | the points a search has seen |
//!
//! Vectors, codes and files are left to others: the graph knows ids and scores only.

mod build;
mod finished;
mod params;
mod pool;
mod scores;
mod search;
mod visited;

pub use build::{BuildError, build};
pub use finished::{Graph, GraphError, GraphParts, UpperLevel, check_upper};
pub use params::{EF_CONSTRUCT_MAX, HnswParams, M_MAX, ParamsError};
pub use pool::Candidate;
pub use scores::PointScores;
pub use search::{GraphSearch, SearchScratch, SearchStoppedError, Step, search_in_memory};
