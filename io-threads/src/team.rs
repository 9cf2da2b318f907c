//! The threads, and the jobs that wait for them. It knows nothing of files.
//!
//! ```text
//!  submit ──push──> lanes ──take──> a thread: run, then take the next one
//!             │                       │ nothing to take
//!             │ nobody is looking     v
//!             └────── wake ───────> asleep, the last one to fall asleep is woken first
//! ```
//!
//! Waking a thread costs a system call, and so does falling asleep. So a thread that ends a job takes the
//! next one. At most one thread at a time is *looking*: it was woken or started, and has not taken a job yet.
//! It wakes another one when it takes a job and more wait. Meanwhile `submit` wakes no thread.

use io_core::backend::{Lanes, Load, fork};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// After the system refused a thread, no other one is asked for during this time.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// The name of each thread.
pub(crate) const THREAD: &str = "io-threads";

/// The work of a thread.
pub(crate) trait Job: Send + 'static {
    /// Its lane and its cost.
    fn load(&self) -> Load;

    /// Carries it out.
    fn run(self);
}

/// Threads that carry out jobs, the foreground first. They end once it is dropped and no job is left.
pub(crate) struct Team<J: Job> {
    shared: Arc<Shared<J>>,
    generation: u64,
}

struct Shared<J> {
    threads_max: usize,
    idle_for: Duration,
    state: Mutex<State<J>>,
}

struct State<J> {
    lanes: Lanes<J>,
    /// Threads that sleep, the last one to fall asleep at the end.
    asleep: Vec<Thread>,
    threads: usize,
    looking: bool,
    stopping: bool,
    /// When the system last refused a thread.
    refused: Option<Instant>,
}

/// The next thread to look for jobs.
enum Call {
    Wake(Thread),
    Start,
}

impl<J: Job> Team<J> {
    /// Starts the first thread. Others start as they are needed.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn start(threads_max: usize, idle_for: Duration) -> io::Result<Self> {
        let threads_max = threads_max.max(1);
        let state = State {
            lanes: Lanes::new(threads_max),
            asleep: Vec::new(),
            threads: 1,
            looking: true,
            stopping: false,
            refused: None,
        };
        let shared = Arc::new(Shared { threads_max, idle_for, state: Mutex::new(state) });
        fork::watch();
        let generation = fork::generation();
        start_thread(&shared)?;
        Ok(Self { shared, generation })
    }

    /// Whether the threads stayed behind at a fork.
    pub(crate) fn is_of_another_process(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Hands in a job. Do not call it after a fork, since a thread that stayed behind may hold the lock.
    pub(crate) fn submit(&self, job: J) {
        let (now, lane) = (Instant::now(), job.load().lane);
        let mut state = self.shared.state();
        state.lanes.push(lane, job, now);
        let woken = state.wake(now);
        drop(state);
        if let Some(thread) = woken {
            thread.unpark();
        }
    }
}

impl<J: Job> Drop for Team<J> {
    fn drop(&mut self) {
        if self.is_of_another_process() {
            return;
        }
        let mut state = self.shared.state();
        state.stopping = true;
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        asleep.iter().for_each(Thread::unpark);
    }
}

impl<J> Shared<J> {
    fn state(&self) -> MutexGuard<'_, State<J>> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Job> State<J> {
    /// Takes a thread out of its sleep if a job may go and no thread looks for one.
    fn wake(&mut self, now: Instant) -> Option<Thread> {
        if self.looking || self.lanes.next(now).is_none() {
            return None;
        }
        let woken = self.asleep.pop();
        self.looking = woken.is_some();
        woken
    }

    /// The thread that looks next, after this one took a job. If all others are busy, a new thread stands by.
    fn call(&mut self, now: Instant, threads_max: usize) -> Option<Call> {
        if let Some(thread) = self.wake(now) {
            return Some(Call::Wake(thread));
        }
        let refused = self.refused.is_some_and(|refused| now.duration_since(refused) < REFUSED_FOR);
        if self.looking || !self.asleep.is_empty() || self.threads >= threads_max || refused {
            return None;
        }
        self.threads += 1;
        self.looking = true;
        Some(Call::Start)
    }

    fn take(&mut self, now: Instant) -> Option<(Load, J)> {
        let (lane, _) = self.lanes.next(now)?;
        let job = self.lanes.pop(lane)?;
        let load = job.load();
        self.lanes.started(load);
        Some((load, job))
    }
}

fn start_thread<J: Job>(shared: &Arc<Shared<J>>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name(THREAD.into()).spawn(move || work(&shared)).map(drop)
}

/// Calls the next thread. If the system refuses a new one, those that there are go on.
fn call_next<J: Job>(shared: &Arc<Shared<J>>, mut next: Option<Call>) {
    while let Some(call) = next.take() {
        match call {
            Call::Wake(thread) => thread.unpark(),
            Call::Start => {
                if start_thread(shared).is_err() {
                    let (now, mut state) = (Instant::now(), shared.state());
                    state.threads -= 1;
                    state.looking = false;
                    state.refused = Some(now);
                    // Jobs that came meanwhile relied on the new thread.
                    next = state.wake(now).map(Call::Wake);
                }
            }
        }
    }
}

/// The life of a thread.
fn work<J: Job>(shared: &Arc<Shared<J>>) {
    let mut state = shared.state();
    state.looking = false;
    loop {
        let now = Instant::now();
        if let Some((load, job)) = state.take(now) {
            let next = state.call(now, shared.threads_max);
            drop(state);
            call_next(shared, next);
            // What a job leaves behind is dropped. The thread must go on, since others wait for it.
            drop(catch_unwind(AssertUnwindSafe(|| job.run())));
            state = shared.state();
            state.lanes.ended(load, Instant::now());
        } else if state.stopping {
            state.threads -= 1;
            return;
        } else {
            let Some(woken) = sleep(shared, state) else { return };
            state = woken;
            state.looking = false;
        }
    }
}

/// Sleeps until this thread is called. `None`: it was not called for long, and ends.
fn sleep<'a, J: Job>(
    shared: &'a Shared<J>,
    mut state: MutexGuard<'a, State<J>>,
) -> Option<MutexGuard<'a, State<J>>> {
    let (this, since) = (thread::current(), Instant::now());
    let id = this.id();
    state.asleep.push(this);
    loop {
        // One of those asleep stays. If all others are busy, nobody else could take the next job.
        let stays = state.asleep.len() == 1;
        drop(state);
        if stays {
            thread::park();
        } else {
            thread::park_timeout(shared.idle_for);
        }
        state = shared.state();
        let Some(at) = state.asleep.iter().position(|thread| thread.id() == id) else { return Some(state) };
        if since.elapsed() >= shared.idle_for && state.asleep.len() > 1 {
            state.asleep.remove(at);
            state.threads -= 1;
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
