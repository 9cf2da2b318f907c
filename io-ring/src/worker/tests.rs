//! Tests of joined writes, and of the ends of operations.

use super::{Joined, Running, Shared, What, Worker};
use crate::open_file::OpenFile;
use crate::operation::{self, Idle, Kind, Order};
use crate::options::RingOptions;
use crate::registered::Table;
use crate::ring::Ring;
use io_core::backend::{create_std, open_std};
use io_core::{Lane, OpenOptions, SyncKind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

type Ended = operation::Ended<OpenFile>;
type Pending = operation::Pending<OpenFile>;

/// The ring of files under test. It has no thread, so their operations go to the worker under test only.
fn no_ring() -> Arc<Ring<OpenFile>> {
    Ring::new(Arc::new(Shared::new().expect("an eventfd")), Vec::new())
}

/// A file to write to.
fn new_file(lane: Lane) -> (tempfile::TempDir, Arc<OpenFile>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = OpenOptions::default().with_lane(lane).with_queue_depth(4096);
    let (file, ..) = create_std(&directory.path().join("file"), &options).expect("creates");
    (directory, OpenFile::new(file, no_ring(), &options))
}

fn start(file: &Arc<OpenFile>, kind: Kind, offset: u64, len: u32) -> (Pending, Running) {
    let order = Order { kind, file: Arc::clone(file), offset, len, permit: None };
    file.pool().take(len as usize).start(Some(order))
}

fn end(pending: &mut Pending) -> Ended {
    match pending.poll(&Context::from_waker(Waker::noop())) {
        Poll::Ready(ended) => ended,
        Poll::Pending => panic!("it has ended"),
    }
}

fn worker(options: &RingOptions) -> Worker {
    Worker::new(Arc::new(Shared::new().expect("an eventfd")), options, 0).expect("this system has io_uring")
}

/// Hands in contiguous writes of these lengths. Returns how many operations are in each write of the first
/// submission.
fn joined_as(lane: Lane, lens: &[u32], also: impl FnOnce(&mut Worker)) -> Vec<usize> {
    let (_directory, file) = new_file(lane);
    let (mut worker, now, mut offset) = (worker(&RingOptions::default()), Instant::now(), 0);
    also(&mut worker);
    let mut pending: Vec<_> = Vec::new();
    for &len in lens {
        let (future, running) = start(&file, Kind::Write, offset, len);
        worker.lanes.push(lane, running, now);
        pending.push((future, len));
        offset += u64::from(len);
    }
    worker.issue(now);
    let counts = worker.in_flight.iter().map(|(_, flight)| match &flight.what {
        What::One(_) => 1,
        What::Joined(joined) => joined.io_vectors().1 as usize,
    });
    let counts = counts.collect();
    worker.shared.stop();
    worker.run();
    for (mut pending, len) in pending {
        assert_eq!(end(&mut pending).result.expect("is written"), len);
    }
    counts
}

#[test]
fn writes_that_wait_and_follow_each_other_are_one() {
    assert_eq!(joined_as(Lane::Foreground, &[4096; 10], |_| ()), [10]);
    assert_eq!(joined_as(Lane::Foreground, &[1, 4096, 77], |_| ()), [3]);
}

#[test]
fn not_more_are_joined_than_the_system_takes_buffers_or_the_lane_may_have_bytes() {
    assert_eq!(joined_as(Lane::Foreground, &[1; 1030], |_| ()), [1024, 6]);
    // The foreground always has 4 MiB.
    assert_eq!(joined_as(Lane::Foreground, &[256 << 10; 17], |_| ()), [16, 1]);
    // While there are foreground operations, the background has two operations and 256 KiB.
    let somebody_waits = |worker: &mut Worker| {
        let (_directory, other) = new_file(Lane::Foreground);
        let (pending, running) = start(&other, Kind::Sync(SyncKind::Data), 0, 0);
        drop(pending);
        worker.lanes.push(Lane::Foreground, running, Instant::now());
    };
    assert_eq!(joined_as(Lane::Background, &[64 << 10; 9], somebody_waits), [4]);
    assert_eq!(joined_as(Lane::Background, &[64 << 10; 9], |_| ()), [9]);
}

#[test]
fn only_writes_of_one_file_without_a_gap_are_joined() {
    let ((_a, first), (_b, second)) = (new_file(Lane::Foreground), new_file(Lane::Foreground));
    let (mut worker, now) = (worker(&RingOptions::default()), Instant::now());
    let handed_in = [
        (&first, Kind::Write, 0),
        (&first, Kind::Write, 100),
        (&second, Kind::Write, 200),
        (&second, Kind::Write, 400),
        (&second, Kind::Write, 500),
        (&second, Kind::Sync(SyncKind::Data), 600),
        (&second, Kind::Write, 600),
    ];
    let pending: Vec<_> = handed_in
        .iter()
        .map(|&(file, kind, offset)| {
            let (pending, running) = start(file, kind, offset, if kind == Kind::Write { 100 } else { 0 });
            worker.lanes.push(Lane::Foreground, running, now);
            pending
        })
        .collect();
    worker.issue(now);
    let operations = worker.in_flight.iter().map(|(_, flight)| match &flight.what {
        What::One(operation) => (operation.order().offset, 1),
        What::Joined(joined) => (joined.first().order().offset, joined.io_vectors().1),
    });
    assert_eq!(operations.collect::<Vec<_>>(), [(0, 2), (200, 1), (400, 2), (600, 1), (600, 1)]);
    worker.shared.stop();
    worker.run();
    for mut pending in pending {
        end(&mut pending).result.expect("is done");
    }
}

/// Tries all results that the system may give for a joined write of 3, 4 and 5 bytes.
#[test]
fn each_operation_of_a_joined_write_gets_its_share_or_goes_again() {
    let (_directory, file) = new_file(Lane::Foreground);
    let spans = [(0, 3), (3, 7), (7, 12)];
    for result in (0..=12).chain([-libc::EIO, -libc::ENOSPC, -libc::EAGAIN]) {
        let writes = spans.map(|(from, to)| start(&file, Kind::Write, from, (to - from) as u32));
        let (pending, running): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        let mut running = running.into_iter();
        let mut joined = Joined::new(running.next().expect("three of them"));
        running.for_each(|next| joined.push(next));
        assert_eq!((joined.bytes(), joined.io_vectors().1), (12, 3));
        let again: Vec<_> = joined.finish(result).iter().map(|running| running.order().offset).collect();

        let mut expected_again = Vec::new();
        for ((from, to), mut pending) in spans.into_iter().zip(pending) {
            let written = (i64::from(result) - from as i64).min((to - from) as i64);
            if from > 0 && written <= 0 {
                expected_again.insert(0, from);
                continue;
            }
            match end(&mut pending).result {
                Ok(bytes) => assert_eq!(i64::from(bytes), written, "of {result}"),
                Err(error) => assert_eq!(error.raw_os_error(), Some(-result)),
            }
        }
        assert_eq!(again, expected_again, "of {result}, last first");
    }
}

/// Does the first half of a background write of 4096 bytes. Its pages then go to the disk.
fn written_but_not_on_the_disk(file: &Arc<OpenFile>) -> (Worker, Pending, usize) {
    let mut worker = worker(&RingOptions::default());
    let (pending, running) = start(file, Kind::Write, 0, 4096);
    worker.lanes.push(file.lane, running, Instant::now());
    worker.issue(Instant::now());
    let (index, _) = worker.in_flight.iter().next().expect("one is in flight");
    while worker.in_flight[index].written.is_none() {
        worker.ring.submit_and_wait(1).expect("submits");
        worker.reap();
    }
    (worker, pending, index)
}

#[test]
fn a_background_write_ends_when_its_pages_are_on_the_disk() {
    let (_directory, file) = new_file(Lane::Background);
    let (worker, mut pending, index) = written_but_not_on_the_disk(&file);
    assert_eq!(worker.in_flight[index].written, Some(4096));
    assert!(pending.poll(&Context::from_waker(Waker::noop())).is_pending());
    worker.shared.stop();
    worker.run();
    assert_eq!(end(&mut pending).result.expect("is written"), 4096);
}

/// The system reports such an error once. No later sync reports it again.
#[test]
fn pages_that_cannot_be_written_are_the_writes_error_unless_there_is_nothing_to_write_back() {
    let (_directory, file) = new_file(Lane::Background);
    for (result, expected) in [(-libc::EIO, Err(libc::EIO)), (-libc::EINVAL, Ok(4096)), (0, Ok(4096))] {
        let (mut worker, mut pending, index) = written_but_not_on_the_disk(&file);
        worker.completed(index, result, Instant::now());
        let ended = end(&mut pending).result.map_err(|error| error.raw_os_error().expect("the system's"));
        assert_eq!(ended, expected);
    }
}

#[test]
fn what_has_ended_is_seen_also_where_the_ring_is_kept_from_waiting() {
    let (_directory, file) = new_file(Lane::Foreground);
    for setups_skipped in 0..3 {
        let shared = Arc::new(Shared::new().expect("an eventfd"));
        let Ok(mut worker) = Worker::new(shared, &RingOptions::default(), setups_skipped) else { continue };
        let (mut pending, running) = start(&file, Kind::Sync(SyncKind::All), 0, 0);
        worker.lanes.push(Lane::Foreground, running, Instant::now());
        worker.issue(Instant::now());
        while !worker.in_flight.is_empty() {
            worker.ring.submit_and_wait(0).expect("submits");
            worker.reap();
        }
        end(&mut pending).result.expect("syncs");
        worker.shared.stop();
        worker.run();
    }
}

/// Buffers come and go, and the table is small. In the end each place has had many buffers.
#[test]
fn reads_into_pinned_buffers_bring_their_own_bytes() {
    const BLOCK: usize = 4096;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("file");
    let content: Vec<u8> = (0..64 * BLOCK).map(|at| (at / 16 * 31 + at) as u8).collect();
    std::fs::write(&path, &content).expect("writes");
    let options = OpenOptions::default().with_direct(true);
    let (file, ..) = open_std(&path, &options).expect("this file system has O_DIRECT");
    let file = OpenFile::new(file, no_ring(), &options);
    let mut worker = worker(&RingOptions::default());
    worker.registered = worker.registered.take().map(|_| Table::with_room(3, 1 << 20));
    let mut random = fastrand::Rng::with_seed(5);
    let (mut waiting, mut other, mut pinned): (Vec<Idle<OpenFile>>, _, _) = (Vec::new(), Vec::new(), 0);
    for _ in 0..5000 {
        let len = random.usize(1..=4) * BLOCK;
        let offset = random.usize(0..60) * BLOCK;
        // Other allocations get the memory of dropped buffers.
        while waiting.len() > random.usize(0..16) {
            waiting.swap_remove(random.usize(0..waiting.len()));
        }
        other.push(vec![0u8; random.usize(1..=5) * BLOCK]);
        other.truncate(random.usize(0..16));
        let at = waiting.iter().position(|idle| idle.buffer().len() == len);
        let idle = at.map_or_else(|| Idle::new(len / BLOCK), |at| waiting.swap_remove(at));
        let file = Arc::clone(&file);
        let order = Order { kind: Kind::Read, file, offset: offset as u64, len: len as u32, permit: None };
        let (mut pending, running) = idle.start(Some(order));
        worker.lanes.push(Lane::Foreground, running, Instant::now());
        worker.issue(Instant::now());
        pinned += worker.in_flight.iter().filter(|(_, flight)| flight.what.first().place().is_some()).count();
        while !worker.in_flight.is_empty() {
            worker.ring.submit_and_wait(1).expect("waits");
            worker.reap();
        }
        let Ended { result, idle, .. } = end(&mut pending);
        assert_eq!(result.expect("is read"), len as u32);
        let idle = idle.expect("it comes back");
        assert!(idle.buffer() == &content[offset..offset + len], "{len} bytes at {offset}");
        waiting.push(idle);
    }
    assert!(pinned > 1000, "{pinned} reads went into pinned buffers");
    worker.shared.stop();
    worker.run();
}
