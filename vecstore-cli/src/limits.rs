//! The limit of open files.

/// Raises the limit to what this user may have. The usual limit is low for the sake of programs that use `select`.
#[cfg(target_os = "linux")]
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // What is refused is no error: a collection that needs more says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn raise_open_files() {}
