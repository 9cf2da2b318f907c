//! Builds an immutable segment from points of others. A tenant's points lie together, and so do points near
//! each other.
//!
//! ```text
//! points, ordered by tenant fields ──> codes ──> graph ──> order by locality within equal keys ──> files
//!                                         └────> cells ──> order of cells ────────────────────────────┘
//! ```
//!
//! Memory holds ids, codes, the graph and the values of indexed fields. For linked records it keeps the codes
//! to the end. Vectors and payloads pass through in batches.
//!
//! | module | concern |
//! |---|---|
//! | `builder` | the steps, one after the other |
//! | `source`, `read` | the segments that give the points, and reading them |
//! | `value_links` | links among the points of one value |
//! | `order` | the order of the points |
//! | `write` | the files |
//! | `linked` | the file of linked records |
//! | `cells` | cells, and the file of their codes |

mod builder;
mod cells;
mod linked;
mod order;
mod read;
mod source;
#[cfg(test)]
mod tests;
mod value_links;
mod write;

pub use builder::BuildStage;
pub(crate) use builder::SegmentBuilder;
pub(crate) use source::{Origin, Source};
pub(crate) use value_links::VALUE_LINKS_MIN;
