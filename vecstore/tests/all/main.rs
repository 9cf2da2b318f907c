//! The tests of collections, in one binary. A binary of its own takes longer to link than most tests run.
//!
//! A test that needs its own process has its own binary, beside this directory. Such a test counts what the
//! process allocates or has open, sets its limits, or kills it.

mod backends;
mod background;
mod collection;
#[path = "../common/mod.rs"]
mod common;
mod complete;
mod counters;
mod crash;
mod damage;
mod displaced;
mod exact;
mod family;
mod faults;
mod faulty_backends;
mod filters;
mod fixtures;
mod impossible;
mod lanes;
mod leftovers;
mod linked;
mod log_end;
mod misplaced;
mod near_points;
mod planted;
mod quantization;
mod repair;
mod retry;
mod samples;
mod snapshots;
mod stopping;
mod stress;
mod threads;
mod ties;
mod trace;

use vecstore::schema::{GraphLayout, Schema};

/// As [`Schema::new`], with the layout of graphs that `VECSTORE_TEST_GRAPH` names. All tests have to pass
/// with each.
fn new_schema(dim: u32) -> Schema {
    match std::env::var("VECSTORE_TEST_GRAPH") {
        Ok(layout) => Schema { graph: layout.parse().expect("a layout"), ..Schema::new(dim) },
        Err(_) => Schema::new(dim),
    }
}

/// Whether [`new_schema`] asks for linked graphs. Their segments have one more file.
fn is_linked() -> bool {
    new_schema(1).graph == GraphLayout::Linked
}
