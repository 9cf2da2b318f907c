//! What several tests share.

// Each test binary uses some of it.
#![allow(dead_code)]

pub(crate) mod backends;
pub(crate) mod steps;
