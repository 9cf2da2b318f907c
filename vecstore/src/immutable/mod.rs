//! Immutable structures. They are built once, take exactly the space they need, and are read through
//! `io-core`.

pub(crate) mod cells;
pub(crate) mod chunks;
pub(crate) mod deleted;
pub(crate) mod fields;
pub(crate) mod graph;
pub(crate) mod ids;
pub(crate) mod originals;
pub(crate) mod outcome;
pub(crate) mod payload;
pub(crate) mod pinned;
mod point_set;
pub(crate) mod records;
pub(crate) mod search;
pub(crate) mod segment;
#[cfg(test)]
pub(crate) mod testing;
