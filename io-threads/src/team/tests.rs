//! Tests of the threads with jobs that wait for the test.

use super::{Job, Team};
use io_core::Lane;
use io_core::backend::Load;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::yield_now;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

struct Closure {
    lane: Lane,
    run: Box<dyn FnOnce() + Send>,
}

impl Job for Closure {
    fn load(&self) -> Load {
        Load { lane: self.lane, bytes: 1, blocks: true }
    }

    fn run(self) {
        (self.run)();
    }
}

fn team(threads_max: usize, idle_for: Duration) -> Team<Closure> {
    Team::start(threads_max, idle_for).expect("a thread starts")
}

impl Team<Closure> {
    fn run(&self, lane: Lane, run: impl FnOnce() + Send + 'static) {
        self.submit(Closure { lane, run: Box::new(run) });
    }

    fn threads(&self) -> usize {
        self.shared.state().threads
    }
}

/// Jobs that enter, and leave when the test lets one go.
struct Held {
    entered: (Sender<Lane>, Receiver<Lane>),
    let_go: Sender<()>,
    is_let_go: Arc<Mutex<Receiver<()>>>,
    inside: Arc<AtomicUsize>,
    inside_max: Arc<AtomicUsize>,
}

impl Held {
    fn new() -> Self {
        let (let_go, is_let_go) = channel();
        Self {
            entered: channel(),
            let_go,
            is_let_go: Arc::new(Mutex::new(is_let_go)),
            inside: Arc::default(),
            inside_max: Arc::default(),
        }
    }

    fn submit(&self, team: &Team<Closure>, lane: Lane) {
        let (entered, is_let_go) = (self.entered.0.clone(), Arc::clone(&self.is_let_go));
        let (inside, inside_max) = (Arc::clone(&self.inside), Arc::clone(&self.inside_max));
        team.run(lane, move || {
            inside_max.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            entered.send(lane).expect("the test is there");
            is_let_go.lock().expect("nobody panics").recv().expect("the test is there");
            inside.fetch_sub(1, SeqCst);
        });
    }

    /// Waits until so many have entered.
    fn entered(&self, count: usize) -> Vec<Lane> {
        (0..count).map(|_| self.entered.1.recv().expect("jobs are there")).collect()
    }

    fn let_go(&self, count: usize) {
        (0..count).for_each(|_| self.let_go.send(()).expect("jobs are there"));
    }
}

#[test]
fn as_many_jobs_run_at_once_as_there_may_be_threads() {
    let (team, held) = (team(3, LONG), Held::new());
    (0..10).for_each(|_| held.submit(&team, Lane::Foreground));
    held.entered(3);
    assert_eq!((team.threads(), team.shared.state().lanes.is_empty()), (3, false));
    held.let_go(10);
    held.entered(7);
    assert_eq!((held.inside_max.load(SeqCst), team.threads()), (3, 3));
}

/// A job that comes while others are busy does not wait for them.
#[test]
fn a_job_that_comes_alone_has_a_thread_while_there_may_be_more() {
    let (team, held) = (team(8, LONG), Held::new());
    for _ in 0..8 {
        held.submit(&team, Lane::Foreground);
        held.entered(1);
    }
    held.let_go(8);
}

#[test]
fn the_foreground_goes_first() {
    let (team, held) = (team(1, LONG), Held::new());
    held.submit(&team, Lane::Foreground);
    held.entered(1);
    for lane in [Lane::Background, Lane::Foreground, Lane::Background, Lane::Foreground] {
        held.submit(&team, lane);
    }
    held.let_go(5);
    let order = [Lane::Foreground, Lane::Foreground, Lane::Background, Lane::Background];
    assert_eq!(held.entered(4), order);
}

#[test]
fn the_background_leaves_half_of_the_threads_to_the_foreground() {
    let (team, held) = (team(4, LONG), Held::new());
    (0..4).for_each(|_| held.submit(&team, Lane::Background));
    (0..2).for_each(|_| held.submit(&team, Lane::Foreground));
    let mut entered = held.entered(4);
    entered.sort_by_key(|lane| *lane == Lane::Background);
    assert_eq!(entered, [Lane::Foreground, Lane::Foreground, Lane::Background, Lane::Background]);
    held.let_go(4);
    assert_eq!(held.entered(2), [Lane::Background; 2]);
    held.let_go(2);
}

#[test]
fn a_job_that_panics_takes_neither_its_thread_nor_its_place_along() {
    let (team, held) = (team(2, LONG), Held::new());
    for lane in [Lane::Foreground, Lane::Background] {
        (0..5).for_each(|_| team.run(lane, || panic!("a job's own panic")));
        held.submit(&team, lane);
        held.let_go(1);
        held.entered(1);
    }
    held.submit(&team, Lane::Foreground);
    held.submit(&team, Lane::Foreground);
    held.entered(2);
    held.let_go(2);
}

#[test]
fn idle_threads_end_but_for_one_which_goes_on() {
    let (team, held) = (team(4, Duration::ZERO), Held::new());
    for _ in 0..3 {
        (0..4).for_each(|_| held.submit(&team, Lane::Foreground));
        held.entered(4);
        assert_eq!(team.threads(), 4);
        held.let_go(4);
        while team.threads() > 1 {
            yield_now();
        }
    }
}

#[test]
fn without_a_team_no_thread_is_left_and_no_job_either() {
    let (team, held) = (team(4, LONG), Held::new());
    (0..3).for_each(|_| held.submit(&team, Lane::Foreground));
    held.entered(3);
    held.let_go(3);
    let shared = Arc::downgrade(&team.shared);
    let (ran, runs) = channel();
    (0..10).for_each(|_| {
        let ran = ran.clone();
        team.run(Lane::Foreground, move || ran.send(()).expect("the test is there"));
    });
    drop((team, ran));
    assert_eq!(runs.iter().count(), 10);
    while shared.strong_count() > 0 {
        yield_now();
    }
}

/// Threads that fall asleep, end and are called at all moments.
#[test]
fn each_job_of_many_runs_once() {
    const SUBMITTERS: usize = 4;
    const JOBS: usize = 5000;
    for (threads_max, idle_for) in [(1, LONG), (3, LONG), (3, Duration::ZERO), (64, Duration::ZERO)] {
        let (team, runs) = (team(threads_max, idle_for), Arc::<AtomicUsize>::default());
        std::thread::scope(|scope| {
            for submitter in 0..SUBMITTERS {
                let (team, runs) = (&team, &runs);
                scope.spawn(move || {
                    for job in 0..JOBS {
                        let runs = Arc::clone(runs);
                        let lane =
                            if (submitter + job) % 3 == 0 { Lane::Background } else { Lane::Foreground };
                        team.run(lane, move || {
                            runs.fetch_add(1, SeqCst);
                        });
                        if job % 7 == 0 {
                            yield_now();
                        }
                    }
                });
            }
        });
        while runs.load(SeqCst) < SUBMITTERS * JOBS {
            yield_now();
        }
        drop(team);
        assert_eq!(runs.load(SeqCst), SUBMITTERS * JOBS);
    }
}
