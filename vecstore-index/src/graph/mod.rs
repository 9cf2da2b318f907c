//! HNSW, a graph that makes a search score few points instead of all. After Malkov and Yashunin, "Efficient
//! and robust approximate nearest neighbor search using hierarchical navigable small world graphs", 2016.
//!
//! | module | concern |
//! |---|---|
//! | `params` | the parameters of a build |
//! | `scores` | how the builder asks for scores between points |
//! | `build` | building a graph on all cores; the same seed gives the same graph |
//! | `finished` | the finished graph: flat, immutable, validated |
//! | `search` | the search, a state machine that does no IO, and its driver over a graph in memory |
//! | `visited` | the points a search has seen |
//! | `linked` | a layout whose nodes hold codes of their neighbours, and its search |
//!
//! The graph knows ids and scores only. Other crates keep vectors, codes and files.

mod build;
mod finished;
mod linked;
mod params;
mod scores;
mod search;
mod visited;

pub use crate::pool::Candidate;
pub use build::{BuildError, build};
pub use finished::{Graph, GraphError, GraphParts, UpperLevel, check_upper};
pub use linked::{
    LinkedLayout, LinkedNodes, LinkedRecordError, LinkedScratch, LinkedSearch, LinkedWanted, fill_links,
    search_linked_in_memory,
};
pub use params::{EF_CONSTRUCT_MAX, HnswParams, M_MAX, ParamsError};
pub use scores::PointScores;
pub use search::{GraphSearch, SearchScratch, SearchStoppedError, Step, search_in_memory};
