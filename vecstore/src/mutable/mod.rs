//! What is in memory and changes: the newest points, protected by the log.

pub(crate) mod fields;
