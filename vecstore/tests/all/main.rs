//! The tests of collections, in one binary. Each binary links everything, which takes longer than most tests run.
//!
//! A test that needs a process of its own has a binary of its own, beside this directory. Such a test counts what
//! the process allocates or has open, sets its limits, or kills it.

mod backends;
mod background;
mod collection;
#[path = "../common/mod.rs"]
mod common;
mod complete;
mod crash;
mod damage;
mod displaced;
mod faults;
mod filters;
mod fixtures;
mod lanes;
mod leftovers;
mod log_end;
mod misplaced;
mod near_points;
mod planted;
mod quantization;
mod repair;
mod retry;
mod stopping;
mod stress;
mod threads;
mod trace;
