//! The physical reads of a session: planned from the requests that wait, and joined by later ones.

use super::requests::{RequestKey, Requests};
use crate::plan::ReadPlan;
use crate::write_count::WriteCount;
use crate::{FileInfo, IoGeometry, Lane, ReadRequest};
use slab::Slab;
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};

/// A read's place in [`Reads`].
pub(super) type ReadKey = u32;

/// The requests that a read serves.
pub(super) type Serves = SmallVec<[RequestKey; 4]>;

/// A physical read that was planned and has not ended.
struct Read {
    offset: u64,
    len: u32,
    serves: Serves,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Queued(Lane),
    /// In flight, and none of its bytes have come. The file had seen so many writes when it was started.
    Started(u64),
    /// A short completion brought some of its bytes. A late request would miss them.
    Begun,
}

/// What waits in one lane.
#[derive(Default)]
struct Waiting {
    /// Requests that are not planned.
    requests: Vec<RequestKey>,
    /// Reads that are not started.
    reads: VecDeque<ReadKey>,
}

/// How many requests share a read with another one.
#[derive(Clone, Copy, Default)]
pub(super) struct Shared {
    /// With a different request.
    pub(super) merged: u64,
    /// With one for the same range.
    pub(super) duplicates: u64,
}

impl Shared {
    fn add(&mut self, more: Self) {
        self.merged += more.merged;
        self.duplicates += more.duplicates;
    }
}

/// The reads of a session.
#[derive(Default)]
pub(super) struct Reads {
    entries: Slab<Read>,
    /// All reads by offset.
    by_offset: BTreeSet<(u64, ReadKey)>,
    /// The length of the longest read so far.
    len_max: u32,
    foreground: Waiting,
    background: Waiting,
    plan: ReadPlan,
    to_plan: Vec<ReadRequest>,
}

impl Reads {
    fn waiting(&mut self, lane: Lane) -> &mut Waiting {
        match lane {
            Lane::Foreground => &mut self.foreground,
            Lane::Background => &mut self.background,
        }
    }

    /// Adds a request to a read that covers it. `None`: there is none, and the request waits for a plan.
    pub(super) fn add(
        &mut self,
        key: RequestKey,
        lane: Lane,
        requests: &Requests,
        writes: &WriteCount,
    ) -> Option<Shared> {
        let shared = self.join(key, lane, requests, writes);
        if shared.is_none() {
            self.waiting(lane).requests.push(key);
        }
        shared
    }

    fn join(
        &mut self,
        key: RequestKey,
        lane: Lane,
        requests: &Requests,
        writes: &WriteCount,
    ) -> Option<Shared> {
        let request = requests.request(key);
        let end = request.offset + u64::from(request.len);
        let serves = |read: &Read| {
            let is_fresh = match read.state {
                State::Queued(_) => true,
                // The read may have taken its bytes before the write, and the request came after it.
                State::Started(writes_before) => writes_before == writes.get(),
                State::Begun => false,
            };
            is_fresh && end <= read.offset + u64::from(read.len)
        };
        // No read that begins earlier reaches the request's end. A shorter one may lie within a longer one.
        let first = end.saturating_sub(u64::from(self.len_max)).min(request.offset);
        let mut near = self.by_offset.range((first, 0)..=(request.offset, ReadKey::MAX)).rev();
        let &(_, at) = near.find(|&&(_, at)| serves(&self.entries[at as usize]))?;
        let read = &mut self.entries[at as usize];
        let repeated = read.serves.iter().any(|&other| requests.request(other) == request);
        read.serves.push(key);
        if matches!(read.state, State::Queued(Lane::Background)) && lane == Lane::Foreground {
            read.state = State::Queued(lane);
            self.background.reads.retain(|&queued| queued != at);
            self.foreground.reads.push_back(at);
        }
        Some(Shared { merged: u64::from(!repeated), duplicates: u64::from(repeated) })
    }

    /// Plans the requests that wait in a lane and are not over.
    fn plan_waiting(
        &mut self,
        lane: Lane,
        file: &FileInfo,
        geometry: &IoGeometry,
        requests: &mut Requests,
    ) -> Shared {
        let mut waiting = std::mem::take(&mut self.waiting(lane).requests);
        let mut shared = Shared::default();
        waiting.retain(|&key| {
            if requests.is_over(key) {
                requests.release(key);
                return false;
            }
            // A read of the other lane may cover it since it came.
            let joined = self.join(key, lane, requests, &file.writes);
            let is_alone = joined.is_none();
            shared.add(joined.unwrap_or_default());
            is_alone
        });
        self.to_plan.clear();
        self.to_plan.extend(waiting.iter().map(|&key| requests.request(key)));
        let planned = self.plan.build(&self.to_plan, geometry, file.len);
        debug_assert!(planned.is_ok(), "each request was checked when it was submitted");
        for read in self.plan.reads() {
            let positions = read.first..read.first + read.count;
            let serves: Serves =
                positions.map(|position| waiting[self.plan.request_index(position)]).collect();
            serves.iter().for_each(|&key| requests.hold(key));
            let (offset, len, state) = (read.offset, read.len, State::Queued(lane));
            self.len_max = self.len_max.max(len);
            let key = self.entries.insert(Read { offset, len, serves, state }) as ReadKey;
            self.by_offset.insert((offset, key));
            match lane {
                Lane::Foreground => self.foreground.reads.push_back(key),
                Lane::Background => self.background.reads.push_back(key),
            }
        }
        waiting.drain(..).for_each(|key| requests.release(key));
        self.waiting(lane).requests = waiting;
        shared.add(Shared { merged: self.plan.merged(), duplicates: self.plan.duplicates() });
        shared
    }

    /// The next read to start, with its length and its lane: the foreground first. Also says how many
    /// requests share reads since the last call.
    pub(super) fn next(
        &mut self,
        file: &FileInfo,
        geometry: &IoGeometry,
        requests: &mut Requests,
        shared: &mut Shared,
    ) -> Option<(u32, Lane)> {
        for lane in [Lane::Foreground, Lane::Background] {
            loop {
                if self.waiting(lane).reads.is_empty() && !self.waiting(lane).requests.is_empty() {
                    shared.add(self.plan_waiting(lane, file, geometry, requests));
                }
                let Some(&key) = self.waiting(lane).reads.front() else { break };
                if self.is_wanted(key, requests) {
                    return Some((self.entries[key as usize].len, lane));
                }
                self.waiting(lane).reads.pop_front();
                self.forget(key, requests);
            }
        }
        None
    }

    /// Takes the read of [`Reads::next`]. Returns its offset and length.
    pub(super) fn start(&mut self, writes: &WriteCount) -> (ReadKey, u64, u32) {
        let key = self.foreground.reads.pop_front().or_else(|| self.background.reads.pop_front());
        let key = key.expect("`next` returned a read");
        let read = &mut self.entries[key as usize];
        read.state = State::Started(writes.get());
        (key, read.offset, read.len)
    }

    pub(super) fn is_wanted(&self, key: ReadKey, requests: &Requests) -> bool {
        self.serves(key).iter().any(|&request| !requests.is_over(request))
    }

    pub(super) fn serves(&self, key: ReadKey) -> &Serves {
        &self.entries[key as usize].serves
    }

    /// Some bytes of a read have come.
    pub(super) fn begun(&mut self, key: ReadKey) {
        self.entries[key as usize].state = State::Begun;
    }

    /// Forgets a read, and the requests that wait for no other.
    pub(super) fn forget(&mut self, key: ReadKey, requests: &mut Requests) {
        let read = self.entries.remove(key as usize);
        self.by_offset.remove(&(read.offset, key));
        read.serves.into_iter().for_each(|request| requests.release(request));
    }
}
