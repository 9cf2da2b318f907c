//! The handle of an open collection, which any thread may use.
//!
//! | module | concern |
//! |---|---|
//! | `lifecycle` | creating, opening, closing |
//! | `start` | starting the threads that write |
//! | `writes` | operations of the writer and the optimizer |
//! | `reads` | operations of the cores |
//! | `offline` | verifying, repairing, restoring: operations without an open collection |

mod lifecycle;
mod offline;
mod reads;
mod start;
mod writes;

pub use lifecycle::Collection;
