//! Helpers that several tests share.

// Each test binary uses only a part of them.
#![allow(dead_code)]

pub(crate) mod backends;
pub(crate) mod collections;
pub(crate) mod steps;
