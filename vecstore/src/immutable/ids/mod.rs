//! The ids of an immutable segment's points: from an id to its point, from a point to its id, and in order.
//!
//! Sections of `ids.pages`:
//!
//! | section | what it is |
//! |---|---|
//! | 0 | number of points, number of UUIDs, salts of the hashes of numbers and of UUIDs: u64 each |
//! | 1 | table: the id of each point; 8 bytes each if all are numbers, else 16 |
//! | 2 | postings: the points with UUIDs |
//! | 3, 4, 5 | numbers: sorted table (id, point), perfect hash, slot table (id, point) |
//! | 6, 7, 8 | UUIDs: the same |
//!
//! A look-up computes one slot, reads its page and compares the id there. An unknown id is therefore a miss,
//! never a wrong point. Memory holds the perfect hash and the first id of each page of the sorted table.

mod data;
mod key;
mod keys;
mod salvage;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use data::IdsData;
pub(crate) use salvage::{SalvagedIds, salvage_ids};
pub(crate) use table::{id_bytes, id_record};
pub(crate) use write::write_ids;
