//! The tests of collections, in one binary: each binary links everything, which takes longer than most of the tests.
//!
//! A test has a binary of its own, beside this directory, where it needs a process of its own: it counts what the process
//! allocates or has open, sets its limits, or kills it.

mod backends;
mod background;
mod collection;
#[path = "../common/mod.rs"]
mod common;
mod complete;
mod crash;
mod damage;
mod faults;
mod filters;
mod fixtures;
mod lanes;
mod log_end;
mod misplaced;
mod near_points;
mod planted;
mod quantization;
mod repair;
mod retry;
mod stress;
mod threads;
mod trace;
