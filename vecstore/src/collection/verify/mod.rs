//! Verifying: reading every byte of a collection, checking each checksum, and that the files say the same.
//!
//! | module | concern |
//! |---|---|
//! | `collection` | the manifest, what it names, and that the parts fit each other |
//! | `log`, `segment` | each by itself |
//! | `compare` | whether the files of a segment say the same |
//! | `verifier`, `report` | keeping account of what is wrong |

mod collection;
mod compare;
mod log;
mod report;
mod segment;
mod verifier;

pub(super) use collection::verify;
pub use report::VerifyReport;
