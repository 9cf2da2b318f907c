//! Internals for the fuzz targets and benches of this repository. They may change at any time.

pub mod fuzzing;
pub mod structures;
