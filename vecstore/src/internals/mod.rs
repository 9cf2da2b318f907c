//! What this repository's fuzz targets and benches reach of the inside. No promises.

pub mod fuzzing;
pub mod structures;
