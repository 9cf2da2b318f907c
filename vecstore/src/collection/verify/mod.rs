//! Verifying reads every byte of a collection, checks each checksum, and checks that the files agree.
//!
//! | module | concern |
//! |---|---|
//! | `collection` | the manifest, the files that it names, and whether the parts fit each other |
//! | `log`, `segment` | checking each by itself |
//! | `compare` | whether the files of a segment agree |
//! | `verifier`, `report` | collecting the faults |

mod collection;
mod compare;
mod index;
mod log;
mod report;
mod segment;
mod verifier;

pub(super) use collection::verify;
pub use report::VerifyReport;
