//! What verifying found.

use crate::error::Error;

/// What verifying found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Points of segments whose vector, codes, payload, ids and links were compared.
    pub points: u64,
    /// What is wrong: each names its file, and where in it. Of a file with very many problems the first 100 are told, and
    /// that there are more; its rest is not read.
    pub problems: Vec<Error>,
    /// What kept files from being read, such as permissions: nobody knows whether those are damaged.
    pub unread: Vec<Error>,
    /// What is not wrong, but worth knowing.
    pub notes: Vec<String>,
}
