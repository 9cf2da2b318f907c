//! The handle of an open collection, which any thread may use.
//!
//! | module | concern |
//! |---|---|
//! | `lifecycle` | creating, opening, closing |
//! | `start` | starting the threads that write |
//! | `writes` | what the writer and the optimizer do for a caller |
//! | `reads` | what the cores do for a caller |
//! | `offline` | verifying, repairing, restoring: what needs no open collection |

mod lifecycle;
mod offline;
mod reads;
mod start;
mod writes;

pub use lifecycle::Collection;
