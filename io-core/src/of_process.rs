//! One of something for the whole process.

use crate::fork;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One of something for the whole process, such as a ring or a pool of threads, in a `static`.
///
/// It starts with its first user, and ends after the last one. A forked process gets its own.
#[derive(Debug)]
pub struct OfProcess<T>(
    /// One for each generation of forks. A thread that stayed behind may hold the lock of an earlier one.
    [Mutex<Running<T>>; 16],
);

#[derive(Debug)]
struct Running<T> {
    generation: u64,
    running: Weak<T>,
}

impl<T> OfProcess<T> {
    /// Nothing is running.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a `static` needs a constant function")]
    pub const fn new() -> Self {
        Self([const { Mutex::new(Running { generation: 0, running: Weak::new() }) }; 16])
    }

    /// The running one of this process, or a new one.
    ///
    /// # Errors
    /// The error of `start`.
    pub fn get_or_start<E>(&self, start: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        fork::watch();
        let generation = fork::generation();
        // It is replaced in one step, so a panic leaves it whole.
        let mut of_process =
            self.0[generation as usize % self.0.len()].lock().unwrap_or_else(PoisonError::into_inner);
        if of_process.generation == generation
            && let Some(running) = of_process.running.upgrade()
        {
            return Ok(running);
        }
        let started = start()?;
        *of_process = Running { generation, running: Arc::downgrade(&started) };
        Ok(started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shared_while_it_is_used_and_then_starts_anew() {
        static OF_PROCESS: OfProcess<u32> = OfProcess::new();
        let get = |number| OF_PROCESS.get_or_start(|| Ok::<_, ()>(Arc::new(number))).expect("starts");
        let (first, second) = (get(1), get(2));
        assert_eq!((*first, *second), (1, 1));
        drop((first, second));
        assert_eq!(OF_PROCESS.get_or_start(|| Err("refused")), Err("refused"));
        assert_eq!(*get(3), 3);
    }
}
