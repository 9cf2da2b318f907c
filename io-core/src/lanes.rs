//! Decides which operation goes next: foreground before background.
//!
//! A device serves its queue in its own order. So a foreground operation waits for the background work that
//! is in the queue when it comes. The background is therefore limited to a slice while there are foreground
//! operations. After a while without any, it may fill the device.

use crate::Lane;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Background bytes in flight while there are foreground operations. A single operation may be longer.
const SLICE_BYTES: u64 = 256 << 10;
/// Background operations in flight while there are foreground operations.
const SLICE_OPERATIONS: usize = 2;
/// Background bytes in flight after a while without foreground operations.
pub const QUIET_BYTES: u64 = 4 << 20;
/// Background operations in flight after a while without foreground operations.
const QUIET_OPERATIONS: usize = 32;
/// Foreground operations that may overtake a background one while no background one is in flight. A
/// foreground that never pauses would hold it back for ever.
const AHEAD_MAX: usize = 1024;
/// The background fills the device after this time without a foreground operation. Consecutive searches leave
/// gaps.
const QUIET_AFTER: Duration = Duration::from_millis(50);

/// The cost of one operation, or of several joined ones.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The lane it waits in.
    pub lane: Lane,
    /// The bytes it reads or writes.
    pub bytes: u64,
    /// Whether it may hold one of a few threads until it ends.
    pub blocks: bool,
}

/// Operations that wait, and counts of those in flight.
///
/// Operations come in with [`Lanes::push`]. [`Lanes::next`] says whether one may go, and [`Lanes::pop`] takes
/// it. Then call [`Lanes::started`], and [`Lanes::ended`] at its end. An end may let others go.
#[derive(Debug)]
pub struct Lanes<T> {
    foreground: VecDeque<T>,
    background: VecDeque<T>,
    foreground_in_flight: usize,
    /// When the last foreground operation came or ended.
    foreground_last: Option<Instant>,
    background_in_flight: usize,
    /// Foreground operations taken while a background one waits and none is in flight.
    ahead: usize,
    background_bytes: u64,
    background_blocking: usize,
    /// Maximum of background operations that may hold a thread. The other half is for the foreground.
    background_blocking_max: usize,
}

impl<T> Lanes<T> {
    /// Nothing waits. Operations that block share this many threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self {
            foreground: VecDeque::new(),
            background: VecDeque::new(),
            foreground_in_flight: 0,
            foreground_last: None,
            background_in_flight: 0,
            ahead: 0,
            background_bytes: 0,
            background_blocking: 0,
            background_blocking_max: (threads / 2).max(1),
        }
    }

    fn queue(&mut self, lane: Lane) -> &mut VecDeque<T> {
        match lane {
            Lane::Foreground => &mut self.foreground,
            Lane::Background => &mut self.background,
        }
    }

    /// Adds an operation behind those of its lane.
    pub fn push(&mut self, lane: Lane, operation: T, now: Instant) {
        if lane == Lane::Foreground {
            self.foreground_last = Some(now);
        }
        self.queue(lane).push_back(operation);
    }

    /// Puts an operation back as the next one of its lane.
    pub fn push_front(&mut self, lane: Lane, operation: T) {
        self.queue(lane).push_front(operation);
    }

    /// The lane of the next operation, and how many bytes it may have when several are joined. `None`:
    /// nothing may go now.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<(Lane, u64)> {
        let is_held_back = self.ahead >= AHEAD_MAX && !self.background.is_empty();
        if !self.foreground.is_empty() && !is_held_back {
            return Some((Lane::Foreground, u64::MAX));
        }
        if self.background.is_empty() || self.background_blocking >= self.background_blocking_max {
            return None;
        }
        let busy = self.foreground_in_flight > 0
            || self.foreground_last.is_some_and(|last| now.duration_since(last) < QUIET_AFTER);
        let (operations_max, bytes_max) =
            if busy { (SLICE_OPERATIONS, SLICE_BYTES) } else { (QUIET_OPERATIONS, QUIET_BYTES) };
        let room = bytes_max.saturating_sub(self.background_bytes);
        // One of any size goes when none is in flight. So the background always makes progress.
        let goes = self.background_in_flight == 0 || (self.background_in_flight < operations_max && room > 0);
        goes.then_some((Lane::Background, room))
    }

    /// Looks at the next operation of a lane.
    #[must_use]
    pub fn front(&self, lane: Lane) -> Option<&T> {
        match lane {
            Lane::Foreground => self.foreground.front(),
            Lane::Background => self.background.front(),
        }
    }

    /// Takes the next operation of a lane, which [`Lanes::next`] named.
    pub fn pop(&mut self, lane: Lane) -> Option<T> {
        let waits = !self.background.is_empty() && self.background_in_flight == 0;
        self.ahead = if lane == Lane::Foreground && waits { self.ahead + 1 } else { 0 };
        self.queue(lane).pop_front()
    }

    /// An operation began.
    pub fn started(&mut self, load: Load) {
        match load.lane {
            Lane::Foreground => self.foreground_in_flight += 1,
            Lane::Background => {
                self.background_in_flight += 1;
                self.background_bytes += load.bytes;
                self.background_blocking += usize::from(load.blocks);
            }
        }
    }

    /// An operation ended.
    ///
    /// # Panics
    /// If it had not begun.
    pub fn ended(&mut self, load: Load, now: Instant) {
        match load.lane {
            Lane::Foreground => {
                self.foreground_in_flight -= 1;
                self.foreground_last = Some(now);
            }
            Lane::Background => {
                self.background_in_flight -= 1;
                self.background_bytes -= load.bytes;
                self.background_blocking -= usize::from(load.blocks);
            }
        }
    }

    /// Whether no operation waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.foreground.is_empty() && self.background.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn background(bytes: u64, blocks: bool) -> Load {
        Load { lane: Lane::Background, bytes, blocks }
    }

    const FOREGROUND: Load = Load { lane: Lane::Foreground, bytes: 4096, blocks: false };

    #[test]
    fn foreground_goes_ahead_of_background_that_came_before() {
        let (mut lanes, now) = (Lanes::new(8), Instant::now());
        lanes.push(Lane::Background, "segment", now);
        lanes.push(Lane::Foreground, "journal", now);
        let (lane, _) = lanes.next(now).expect("something waits");
        assert_eq!((lane, lanes.pop(lane)), (Lane::Foreground, Some("journal")));
    }

    #[test]
    fn the_background_keeps_to_a_slice_while_somebody_waits_and_for_a_while_after() {
        let (mut lanes, start) = (Lanes::new(8), Instant::now());
        for _ in 0..4 {
            lanes.push(Lane::Background, (), start);
        }
        lanes.push(Lane::Foreground, (), start);
        lanes.pop(Lane::Foreground);
        lanes.started(FOREGROUND);
        assert!(lanes.next(start).is_some(), "one goes in any case");
        lanes.pop(Lane::Background);
        lanes.started(background(SLICE_BYTES, false));
        assert_eq!(lanes.next(start), None, "the slice is used up");
        lanes.ended(FOREGROUND, start);
        assert_eq!(lanes.next(start + QUIET_AFTER / 2), None, "the next search may be on its way");
        let room = QUIET_BYTES - SLICE_BYTES;
        assert_eq!(lanes.next(start + QUIET_AFTER), Some((Lane::Background, room)));
        lanes.push(Lane::Foreground, (), start + QUIET_AFTER);
        lanes.pop(Lane::Foreground);
        assert_eq!(lanes.next(start + QUIET_AFTER), None);
    }

    #[test]
    fn an_operation_longer_than_a_slice_goes_alone() {
        let (mut lanes, now) = (Lanes::new(8), Instant::now());
        lanes.push(Lane::Background, (), now);
        lanes.push(Lane::Background, (), now);
        lanes.started(FOREGROUND);
        lanes.pop(Lane::Background);
        lanes.started(background(QUIET_BYTES, false));
        assert_eq!(lanes.next(now), None);
        lanes.ended(background(QUIET_BYTES, false), now);
        assert!(lanes.next(now).is_some());
    }

    #[test]
    fn a_foreground_that_never_pauses_lets_the_background_go_now_and_then() {
        let (mut lanes, now) = (Lanes::new(8), Instant::now());
        lanes.push(Lane::Background, (), now);
        lanes.push(Lane::Background, (), now);
        let mut went = Vec::new();
        for turn in 0..3 * AHEAD_MAX {
            lanes.push(Lane::Foreground, (), now);
            let (lane, _) = lanes.next(now).expect("something waits");
            lanes.pop(lane);
            lanes.started(Load { lane, ..FOREGROUND });
            if lane == Lane::Background {
                went.push(turn);
                lanes.ended(Load { lane, ..FOREGROUND }, now);
            }
        }
        assert_eq!(went, [AHEAD_MAX, 2 * AHEAD_MAX + 1]);
        assert!(lanes.next(now).is_some_and(|(lane, _)| lane == Lane::Foreground), "none waits any more");
    }

    #[test]
    fn half_of_the_workers_are_left_to_the_foreground() {
        let (mut lanes, now) = (Lanes::new(4), Instant::now());
        for _ in 0..3 {
            lanes.push(Lane::Background, (), now);
        }
        for _ in 0..2 {
            assert!(lanes.next(now).is_some());
            lanes.pop(Lane::Background);
            lanes.started(background(1, true));
        }
        assert_eq!(lanes.next(now), None);
        lanes.ended(background(1, true), now);
        assert!(lanes.next(now).is_some());
    }
}
