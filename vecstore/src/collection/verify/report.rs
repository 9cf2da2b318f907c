//! The result of verifying.

use crate::error::Error;

/// The result of verifying.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Number of files read.
    pub files: u64,
    /// Length of these files in bytes.
    pub bytes: u64,
    /// Points of segments whose vector, codes, payload, ids and links were compared.
    pub points: u64,
    /// Points that the logs put or delete, each as often as they do. All of them were checked.
    pub points_of_logs: u64,
    /// The faults. Each names its file, and the place in it. For a file with very many faults, the list has
    /// the first 100 and a remark that there are more. The rest of that file is not read.
    pub problems: Vec<Error>,
    /// Errors that prevented reading files, such as missing permissions. It is unknown whether these files
    /// are damaged.
    pub unread: Vec<Error>,
    /// Remarks that are not faults.
    pub notes: Vec<String>,
}
