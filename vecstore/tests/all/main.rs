//! The tests of collections, in one binary. A binary of its own takes longer to link than most tests run.
//!
//! A test that needs its own process has its own binary, beside this directory. Such a test counts what the
//! process allocates or has open, sets its limits, or kills it.

mod backends;
mod background;
mod cells;
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

use vecstore::schema::{GraphLayout, IndexKind, Schema};

/// As [`Schema::new`], with the index that `VECSTORE_TEST_INDEX` names: `linked` graphs or `cells` instead of
/// compact graphs. All tests have to pass with each.
fn new_schema(dim: u32) -> Schema {
    let schema = Schema::new(dim);
    match std::env::var("VECSTORE_TEST_INDEX").as_deref() {
        Ok("cells") => Schema { index: IndexKind::Cells, ..schema },
        Ok(layout) => Schema { graph: layout.parse().expect("linked or cells"), ..schema },
        Err(_) => schema,
    }
}

/// Whether [`new_schema`] asks for linked graphs.
fn is_linked() -> bool {
    new_schema(1).graph == GraphLayout::Linked
}

/// Whether [`new_schema`] asks for cells.
fn has_cells() -> bool {
    new_schema(1).index == IndexKind::Cells
}

/// The files that the index of a segment consists of.
fn index_files() -> &'static [&'static str] {
    match (has_cells(), is_linked()) {
        (true, _) => &["cells.pages", "cells.vec"],
        (false, true) => &["graph.pages", "linked.vec"],
        (false, false) => &["graph.pages"],
    }
}
