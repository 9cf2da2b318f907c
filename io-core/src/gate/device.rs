//! The depth and the byte budget of a device, and the queue of those who wait for a part of it.

use crate::{Lane, fork};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Foreground operations that may overtake a background one that waits. A foreground that never pauses would
/// hold it back for ever.
const AHEAD_MAX: u32 = 1024;

/// Limits of what may be in flight at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadLimits {
    /// Physical operations. More than 65,535 count as that many.
    pub(crate) queue_depth: u32,
    /// Bytes of all of them. More than 256 TiB less one count as that many.
    pub(crate) bytes_in_flight_max: u64,
}

/// The depth and the byte budget of one device, for all files that are opened with it.
///
/// Without one, each open file has a budget of its own. Files of one disk together may then have many times
/// its depth in flight. Clones share the budget, also across threads. First come, first served, but
/// the foreground goes before the background.
///
/// A forked process needs a budget of its own. With its parent's, each of its files has the whole budget.
///
/// ```
/// use io_core::{DeviceBudget, OpenOptions};
///
/// let disk = DeviceBudget::new(64, 16 << 20);
/// let options = OpenOptions::default().on_device(&disk);
/// assert_eq!((options.queue_depth, options.bytes_in_flight_max), (64, 16 << 20));
/// ```
#[derive(Clone, Debug)]
pub struct DeviceBudget(Arc<DeviceState>);

#[derive(Debug)]
struct DeviceState {
    generation: u64,
    limits: ReadLimits,
    taken: Taken,
    /// The number of waiters. Returning a permit reads it instead of taking the lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

/// Batches that were refused a permit, the oldest first in each lane.
#[derive(Debug, Default)]
struct Queue {
    ticket_next: u64,
    foreground: VecDeque<Queued>,
    background: VecDeque<Queued>,
    /// Foreground operations that went while a background one waited, since one of those went last.
    ahead: u32,
}

#[derive(Debug)]
struct Queued {
    ticket: u64,
    waker: Waker,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    number: u64,
    lane: Lane,
}

impl Queue {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Queued> {
        match lane {
            Lane::Foreground => &mut self.foreground,
            Lane::Background => &mut self.background,
        }
    }

    fn len(&self) -> usize {
        self.foreground.len() + self.background.len()
    }

    fn push(&mut self, lane: Lane, waker: Waker) -> Ticket {
        let ticket = self.ticket_next;
        self.ticket_next += 1;
        if self.background.is_empty() {
            self.ahead = 0;
        }
        self.lane(lane).push_back(Queued { ticket, waker });
        Ticket { number: ticket, lane }
    }

    fn find(&mut self, ticket: Ticket) -> Option<usize> {
        self.lane(ticket.lane).iter().position(|queued| queued.ticket == ticket.number)
    }

    /// The batch whose turn it is.
    fn first(&self) -> Option<&Queued> {
        let held_back = self.ahead >= AHEAD_MAX && !self.background.is_empty();
        let foreground = self.foreground.front().filter(|_| !held_back);
        foreground.or_else(|| self.background.front())
    }

    /// The first batch of a lane went.
    fn went(&mut self, lane: Lane) {
        let overtook = lane == Lane::Foreground && !self.background.is_empty();
        self.ahead = if overtook { self.ahead + 1 } else { 0 };
    }
}

/// What is in flight: operations in the bits from [`BYTES_BITS`] on, bytes below. One word, so that both
/// change in one step.
#[derive(Debug, Default)]
pub(super) struct Taken(AtomicU64);

const BYTES_BITS: u32 = 48;
const BYTES_MASK: u64 = (1 << BYTES_BITS) - 1;

impl Taken {
    pub(super) fn operations(&self) -> u64 {
        self.0.load(SeqCst) >> BYTES_BITS
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.load(SeqCst) & BYTES_MASK
    }

    pub(super) fn take(&self, bytes: u64) {
        self.0.fetch_add((1 << BYTES_BITS) + bytes, SeqCst);
    }

    fn try_take(&self, bytes: u64, limits: ReadLimits) -> bool {
        let took = self.0.fetch_update(SeqCst, SeqCst, |taken| {
            let (operations, in_flight) = (taken >> BYTES_BITS, taken & BYTES_MASK);
            let fits = operations < u64::from(limits.queue_depth)
                && in_flight.saturating_add(bytes) <= limits.bytes_in_flight_max;
            fits.then(|| taken + (1 << BYTES_BITS) + bytes)
        });
        took.is_ok()
    }

    /// Returns the operations that are left.
    pub(super) fn give_back(&self, bytes: u64) -> u64 {
        let one = (1 << BYTES_BITS) + bytes;
        (self.0.fetch_sub(one, SeqCst) - one) >> BYTES_BITS
    }
}

impl DeviceBudget {
    /// A budget of `queue_depth` physical operations, with `bytes_in_flight_max` bytes in all.
    ///
    /// [`OpenOptions::check`](crate::OpenOptions::check) says which values are allowed.
    #[must_use]
    pub fn new(queue_depth: u32, bytes_in_flight_max: u64) -> Self {
        fork::watch();
        Self(Arc::new(DeviceState {
            generation: fork::generation(),
            limits: ReadLimits {
                queue_depth: queue_depth.min(u32::from(u16::MAX)),
                bytes_in_flight_max: bytes_in_flight_max.min(BYTES_MASK),
            },
            taken: Taken::default(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
        }))
    }

    /// The budget for a file that is opened now. What its parent has in flight never comes back to a forked
    /// process, so a file there gets a budget of its own.
    pub(super) fn of_this_process(self) -> Self {
        let ReadLimits { queue_depth, bytes_in_flight_max } = self.0.limits;
        let is_ours = self.0.generation == fork::generation();
        if is_ours { self } else { Self::new(queue_depth, bytes_in_flight_max) }
    }

    /// The depth and the bytes it was made with.
    pub(crate) fn limits(&self) -> ReadLimits {
        self.0.limits
    }
}

/// Two budgets are equal if they are clones of one.
impl PartialEq for DeviceBudget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for DeviceBudget {}

impl DeviceState {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while the lock is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_waiting(&self, queue: &Queue) {
        self.waiting.store(queue.len(), SeqCst);
    }
}

impl DeviceBudget {
    /// Takes a part if it fits and nobody waits for one. Takes no lock.
    pub(super) fn try_take(&self, bytes: u64) -> bool {
        debug_assert!(bytes <= self.0.limits.bytes_in_flight_max, "a permit that could never be given");
        self.0.waiting.load(SeqCst) == 0 && self.0.taken.try_take(bytes, self.0.limits)
    }

    /// Takes a part if it fits and it is this batch's turn. Queues the batch otherwise. Its ticket is then
    /// in `place`.
    pub(super) fn take_in_turn(
        &self,
        place: &mut Option<Ticket>,
        bytes: u64,
        lane: Lane,
        waker: &Waker,
    ) -> bool {
        if let Some(ticket) = place.take_if(|ticket| ticket.lane != lane) {
            self.leave(ticket);
        }
        let waker = waker.clone();
        let old;
        {
            let mut queue = self.0.queue();
            let at = place.and_then(|ticket| queue.find(ticket));
            old = match at {
                Some(at) => Some(std::mem::replace(&mut queue.lane(lane)[at].waker, waker)),
                None => {
                    *place = Some(queue.push(lane, waker));
                    None
                }
            };
            self.0.note_waiting(&queue);
            let is_first = queue.first().map(|first| first.ticket) == place.map(|ticket| ticket.number);
            // The batch is queued now, so a part that comes back from here on wakes it.
            if !is_first || !self.0.taken.try_take(bytes, self.0.limits) {
                return false;
            }
            queue.went(lane);
        }
        // Wakers are dropped without the lock, because that runs the executor's code.
        drop(old);
        if let Some(ticket) = place.take() {
            self.leave(ticket);
        }
        true
    }

    /// Gives a place in the queue up, so that the next batch may go.
    pub(super) fn leave(&self, ticket: Ticket) {
        let left = {
            let mut queue = self.0.queue();
            let left = queue.find(ticket).and_then(|at| queue.lane(ticket.lane).remove(at));
            self.0.note_waiting(&queue);
            left
        };
        drop(left);
        if let Some(front) = self.front() {
            front.wake();
        }
    }

    /// Gives a part back. [`DeviceBudget::front`] is then to be woken.
    pub(super) fn give_back(&self, bytes: u64) {
        self.0.taken.give_back(bytes);
    }

    /// The first batch in the queue, to wake while no lock is held. The drop of a permit has the reason.
    #[must_use]
    pub(super) fn front(&self) -> Option<Waker> {
        if self.0.waiting.load(SeqCst) == 0 {
            return None;
        }
        self.0.queue().first().map(|queued| queued.waker.clone())
    }
}
