//! A pool: threads, and buffers for their operations.

use crate::operation::Operation;
use crate::options::ThreadsOptions;
use crate::team::Team;
use io_core::StartError;
use io_core::backend::{OfProcess, SharedBufferPool};
use std::sync::Arc;

pub(crate) const NAME: &str = "threads";
pub(crate) const RUNTIME: &str = "a pool of threads";

/// Threads, and buffers for their operations. It ends when all handles and all operations are gone.
pub(crate) struct Pool {
    pub(crate) team: Team<Operation>,
    pub(crate) buffers: SharedBufferPool,
}

/// Starts a pool with its first thread.
pub(crate) fn start(options: &ThreadsOptions) -> Result<Arc<Pool>, StartError> {
    let team = Team::start(options.threads_max, options.idle_for)
        .map_err(|source| StartError::Threads { runtime: RUNTIME, source })?;
    Ok(Arc::new(Pool { team, buffers: SharedBufferPool::new() }))
}

/// The process's pool: the running one, or a new one.
pub(crate) fn of_process() -> Result<Arc<Pool>, StartError> {
    static OF_PROCESS: OfProcess<Pool> = OfProcess::new();
    OF_PROCESS.get_or_start(|| start(&ThreadsOptions::default()))
}
