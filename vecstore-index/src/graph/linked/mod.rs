//! The linked layout of a graph: the record of a node has its links and codes of its neighbours. One fast
//! scan estimates the scores of all neighbours, so a search scores only the nodes that it expands. After Gou
//! et al., "SymphonyQG" (arXiv 2411.12229).
//!
//! | module | concern |
//! |---|---|
//! | `record` | the record of a node: links and codes |
//! | `fill` | more links, as far as records have room |
//! | `search` | the search, a state machine that does no IO |
//! | `evidence` | what estimates from several nodes say together |
//! | `memory` | its driver over records in memory |
//!
//! The links are those of level 0 of a [`Graph`](super::Graph), and more to near points. Its upper levels
//! stay as they are: they lead to where a search of this layout begins.

mod evidence;
mod fill;
mod memory;
mod record;
mod search;

pub use fill::fill_links;
pub use memory::{LinkedNodes, search_linked_in_memory};
pub use record::{LinkedLayout, LinkedRecordError};
pub use search::{LinkedScratch, LinkedSearch, LinkedWanted};
