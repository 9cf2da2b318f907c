//! The ring's thread takes operations, gives them to the kernel, and ends them at their completions.

#![allow(unsafe_code)]

use crate::joined;
use crate::open_file::OpenFile;
use crate::operation::{self, Kind, Order};
use crate::options::RingOptions;
use crate::registered::Table;
use crate::ring;
use crate::setup::make_ring;
use io_core::backend::{Lanes, Load, Permit, QUIET_BYTES};
use io_core::{Lane, SyncKind};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};
use slab::Slab;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The user data of the eventfd's read. The others are indices of the slab.
const WAKE: u64 = u64::MAX;

/// The kernel's IO priority of background operations: the lowest of the usual class.
///
/// A scheduler may starve the idle class, and writers may wait for a seal. Searches fare the same in both
/// classes (`benches/METHOD.md`), since slices keep them from waiting. Buffered writes keep the usual
/// priority, since a journal's commit may wait for them.
const LOW: u16 = (2 << 13) | 7;

type Joined = joined::Joined<OpenFile>;
type Running = operation::Running<OpenFile>;
type Shared = ring::Shared<OpenFile>;

pub(crate) struct Worker {
    ring: IoUring,
    shared: Arc<Shared>,
    features: Vec<&'static str>,
    lanes: Lanes<Running>,
    in_flight: Slab<Flight>,
    in_flight_max: usize,
    registered: Option<Table>,
    /// The target of the eventfd's read.
    wake_count: Box<u64>,
    wake_armed: bool,
}

/// The content of one entry that the kernel has.
struct Flight {
    what: What,
    load: Load,
    /// The bytes of a background write, while its pages go to the disk.
    written: Option<i32>,
}

enum What {
    One(Running),
    Joined(Box<Joined>),
}

impl What {
    fn first(&self) -> &Running {
        match self {
            Self::One(operation) => operation,
            Self::Joined(joined) => joined.first(),
        }
    }

    fn has_room(&self) -> bool {
        match self {
            Self::One(_) => true,
            Self::Joined(joined) => joined.has_room(),
        }
    }

    /// Adds a write that begins where this one ends.
    fn and(self, next: Running) -> Self {
        let mut joined = match self {
            Self::One(first) => Box::new(Joined::new(first)),
            Self::Joined(joined) => joined,
        };
        joined.push(next);
        Self::Joined(joined)
    }
}

/// A panic of this thread would leave all callers waiting, and buffers with the kernel.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl Worker {
    /// Makes the ring. The first `setups_skipped` setups are not tried. The calling thread must also run it.
    pub(crate) fn new(shared: Arc<Shared>, options: &RingOptions, setups_skipped: usize) -> io::Result<Self> {
        let (mut ring, mut features) = make_ring(options, setups_skipped)?;
        try_out(&mut ring)?;
        // Before 5.15 the kernel does not know the call and bounds the threads itself.
        if ring.submitter().register_iowq_max_workers(&mut [options.workers_max.max(1), 0]).is_ok() {
            features.push("IOWQ_MAX_WORKERS");
        }
        let registered = Table::new(&ring, options.registered_bytes_max);
        features.extend(registered.is_some().then_some("REGISTERED_BUFFERS"));
        // One completion is the eventfd's. The queue has room for all others in flight, so none overflows.
        let room = ring.params().cq_entries().saturating_sub(1).max(1);
        Ok(Self {
            in_flight_max: room.min(options.in_flight_max).max(1) as usize,
            ring,
            registered,
            shared,
            features,
            lanes: Lanes::new(options.workers_max as usize),
            in_flight: Slab::new(),
            wake_count: Box::new(0),
            wake_armed: false,
        })
    }

    pub(crate) fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// Runs until no handle is left and nothing is in flight.
    pub(crate) fn run(mut self) {
        let _abort = AbortOnPanic;
        loop {
            let now = Instant::now();
            for operation in self.shared.handover.take_all() {
                let lane = lane_of(operation.order());
                self.lanes.push(lane, operation, now);
            }
            let submit_more = self.issue(now);
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            if stopping && self.lanes.is_empty() && self.in_flight.is_empty() && !self.wake_armed {
                return;
            }
            let wait = !submit_more && self.shared.handover.sleep();
            match self.ring.submit_and_wait(usize::from(wait)) {
                Ok(_) => {}
                // A signal came, or the kernel lacks memory or room for completions at the moment.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM)) =>
                {
                    std::thread::yield_now();
                }
                Err(error) => panic!("io_uring_enter: {error}; what is in flight cannot be taken back"),
            }
            self.reap();
        }
    }

    /// Fills the submission queue. `true`: it is full, and there is more to submit.
    fn issue(&mut self, now: Instant) -> bool {
        if !self.wake_armed && !self.shared.stopping.load(Ordering::Acquire) {
            let read =
                opcode::Read::new(Fd(self.shared.wake.as_raw_fd()), (&raw mut *self.wake_count).cast(), 8);
            if !self.push(&read.build().user_data(WAKE)) {
                return true;
            }
            self.wake_armed = true;
        }
        while self.in_flight.len() < self.in_flight_max {
            let Some((lane, bytes_max)) = self.lanes.next(now) else { return false };
            if self.ring.submission().is_full() {
                return true;
            }
            let Some(first) = self.lanes.pop(lane) else { return false };
            if first.is_abandoned() {
                first.finish(-libc::ECANCELED);
                continue;
            }
            let mut what = self.joined(first, lane, bytes_max);
            let place = self.place(&mut what);
            let (entry, load) = entry(&what, lane, place);
            let index = self.in_flight.insert(Flight { what, load, written: None });
            self.lanes.started(load);
            let pushed = self.push(&entry.user_data(index as u64));
            assert!(pushed, "there was room, and an operation that is not pushed never ends");
        }
        false
    }

    /// Joins a write with those behind it that continue it.
    fn joined(&mut self, first: Running, lane: Lane, bytes_max: u64) -> What {
        let order = first.order();
        if order.kind != Kind::Write {
            return What::One(first);
        }
        let (file, offset) = (Arc::clone(&order.file), order.offset);
        let (mut end, end_max) = (order.end(), offset.saturating_add(bytes_max.min(QUIET_BYTES)));
        let mut what = What::One(first);
        let goes_on = |next: &Running, what: &What, end| {
            let order = next.order();
            let is_next = order.kind == Kind::Write && Arc::ptr_eq(&order.file, &file) && order.offset == end;
            is_next && order.end() <= end_max && what.has_room()
        };
        while self.lanes.front(lane).is_some_and(|next| goes_on(next, &what, end)) {
            let Some(next) = self.lanes.pop(lane) else { break };
            end = next.order().end();
            what = what.and(next);
        }
        what
    }

    /// The place of the operation's registered buffer. Only direct operations gain from one.
    fn place(&mut self, what: &mut What) -> Option<u16> {
        let What::One(operation) = what else { return None };
        let order = operation.order();
        let fits = order.file.direct && matches!(order.kind, Kind::Read | Kind::Write);
        self.registered.as_mut().filter(|_| fits)?.place(&self.ring, operation)
    }

    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: `in_flight` keeps the entry's buffers, io vectors and descriptors until the completion, and
        // `self` keeps the eventfd and its count. `run` ends only when all completions have come.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    fn reap(&mut self) {
        let now = Instant::now();
        while let Some((index, result)) = self.next_completion() {
            if index == WAKE {
                self.wake_armed = false;
            } else {
                self.completed(index as usize, result, now);
            }
        }
    }

    fn next_completion(&mut self) -> Option<(u64, i32)> {
        let completion = self.ring.completion().next()?;
        Some((completion.user_data(), completion.result()))
    }

    fn completed(&mut self, index: usize, result: i32, now: Instant) {
        if result > 0 && self.write_back(index, result) {
            return;
        }
        let Flight { what, load, written } = self.in_flight.remove(index);
        let result = match written {
            // The pages could not be written. No later sync reports that again.
            Some(_) if result < 0 && !is_unsupported(result) => result,
            Some(written) => written,
            None => result,
        };
        self.lanes.ended(load, now);
        match what {
            What::One(operation) => operation.finish(result),
            What::Joined(joined) => {
                for again in joined.finish(result) {
                    self.lanes.push_front(load.lane, again);
                }
            }
        }
    }

    /// Begins the second half of a background write: its pages go to the disk. `false`: there is no second
    /// half.
    fn write_back(&mut self, index: usize, written: i32) -> bool {
        let flight = &mut self.in_flight[index];
        let order = flight.what.first().order();
        if order.kind != Kind::Write || flight.written.is_some() || !order.file.writes_back() {
            return false;
        }
        let whole = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        let range = opcode::SyncFileRange::new(Fd(order.file.descriptor.raw()), written as u32)
            .offset(order.offset)
            .flags(whole)
            .build()
            .user_data(index as u64);
        flight.written = Some(written);
        // If the queue is full, the caller's sync writes the pages.
        self.push(&range)
    }
}

/// The lane of an operation. Syncs and closes have their file's.
fn lane_of(order: &Order<OpenFile>) -> Lane {
    order.permit.as_ref().map_or(order.file.lane, Permit::lane)
}

/// Carries out an operation that does nothing. A sandbox may allow a ring, and refuse to use it. That must be
/// an error of the start, since [`Worker::run`] cannot tell anybody.
fn try_out(ring: &mut IoUring) -> io::Result<()> {
    // SAFETY: the entry refers to no memory.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    assert!(pushed.is_ok(), "a new queue has room");
    while ring.completion().next().is_none() {
        match ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the file system has nothing to write back. That is no failure.
fn is_unsupported(result: i32) -> bool {
    matches!(-result, libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ESPIPE)
}

/// The kernel's entry, and its load for the lanes.
fn entry(what: &What, lane: Lane, place: Option<u16>) -> (squeue::Entry, Load) {
    let order = what.first().order();
    let (file, fd) = (&order.file, Fd(order.file.descriptor.raw()));
    let buffered_write = order.kind == Kind::Write && !file.direct;
    let priority = if lane == Lane::Background && !buffered_write { LOW } else { 0 };
    let load = |bytes, blocks| Load { lane, bytes, blocks };
    let len = u64::from(order.len);
    match (what, order.kind) {
        (What::Joined(joined), _) => {
            let (vectors, count) = joined.io_vectors();
            let write = opcode::Writev::new(fd, vectors, count).offset(order.offset).ioprio(priority);
            (write.build(), load(joined.bytes(), !file.direct))
        }
        (What::One(operation), Kind::Read) => {
            let (buffer, offset) = (operation.buffer_ptr(), order.offset);
            let read = match place {
                Some(place) => opcode::ReadFixed::new(fd, buffer, order.len, place)
                    .offset(offset)
                    .ioprio(priority)
                    .build(),
                None => opcode::Read::new(fd, buffer, order.len).offset(offset).ioprio(priority).build(),
            };
            (read, load(len, false))
        }
        (What::One(operation), Kind::Write) => {
            let (buffer, offset) = (operation.buffer_ptr(), order.offset);
            let write = match place {
                Some(place) => opcode::WriteFixed::new(fd, buffer, order.len, place)
                    .offset(offset)
                    .ioprio(priority)
                    .build(),
                None => opcode::Write::new(fd, buffer, order.len).offset(offset).ioprio(priority).build(),
            };
            (write, load(len, !file.direct))
        }
        (What::One(_), Kind::Sync(kind)) => {
            let sync = opcode::Fsync::new(fd);
            let sync = if kind == SyncKind::Data { sync.flags(FsyncFlags::DATASYNC) } else { sync };
            (sync.build(), load(0, true))
        }
        (What::One(_), Kind::Close) => {
            (opcode::Close::new(Fd(file.descriptor.take())).build(), load(0, false))
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
