//! For authors of backends: what a runtime implements, and what it gets for that.
//!
//! Engines need nothing of this. They call what is at the root of the crate.

pub use crate::handle::Handle;
#[cfg(unix)]
pub use crate::runtime_file::{RuntimeFile, RuntimeSink, RuntimeSource};
