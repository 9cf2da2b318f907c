//! The limit on open files.

/// Raises the limit to this user's maximum. The usual limit is low only for programs that use `select`.
#[cfg(target_os = "linux")]
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal is not an error, because a collection that needs more reports it.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn raise_open_files() {}
