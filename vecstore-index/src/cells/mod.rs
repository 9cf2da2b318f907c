//! Cells: groups of near points, each with a centroid. A search scans the codes of the cells that are nearest
//! to it, and scores the points whose codes promise most.
//!
//! ```text
//! vectors ──> k-means in two levels ──> cells ──> a block of 1-bit codes for each 32 points of a cell
//!
//! search: cells by promise ──> fast scan of their codes ──> points by estimate ──> scores
//! ```
//!
//! | module | concern |
//! |---|---|
//! | `divide` | points into cells |
//! | `merge` | cells of cells that are there |
//! | `kmeans`, `centroids` | centroids of near vectors, in two levels |
//! | `map` | where cells are, and what they promise a query |
//! | `reach` | learning how far to look |
//! | `layout` | the codes of a cell |
//! | `search` | the search, a state machine that does no IO |
//!
//! Cells are built many times faster than a graph. All codes of a cell lie together, and so do its points. So
//! a cell is one read, and points that a search scores share pages.

mod centroids;
mod divide;
mod kmeans;
mod layout;
mod map;
mod merge;
mod reach;
mod search;

pub use divide::{CellVectors, Cells, divide};
pub use layout::CellLayout;
pub use map::{CellMap, CellParts, CellPartsError};
pub use merge::{CellsBefore, merge};
pub use search::{CellScratch, CellSearch, CellStep};
