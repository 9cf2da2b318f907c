//! Counting what readers do. Metering is a wrapper: a reader without one counts nothing.

use crate::{
    BackendInfo, FileInfo, FileSession, ReadControl, ReadError, ReadOutcome, ReadRequest, VectorReader,
};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The counts of a [`Meter`] at one moment.
///
/// `started = completed + failed + abandoned + in_flight` at every moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Physical reads handed to the runtime. Over a memory map, slices delivered.
    pub started: u64,
    /// Physical reads that returned bytes.
    pub completed: u64,
    /// Physical reads that returned an error, retried ones included.
    pub failed: u64,
    /// Physical reads that had not ended when their batch was dropped.
    pub abandoned: u64,
    /// Physical reads that have not ended.
    pub in_flight: u64,
    /// Batches started.
    pub batches: u64,
    /// Requests handed to a sink.
    pub delivered: u64,
    /// Bytes asked for, over all batches that could be planned.
    pub bytes_wanted: u64,
    /// Bytes that completed reads returned.
    pub bytes_read: u64,
    /// Requests served by a read that another, different request had started.
    pub merged: u64,
    /// Requests for exactly the range of another request of their batch.
    pub duplicates: u64,
}

/// Counts reads. Clones share the counts, also across threads. Counting takes no lock.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counts>);

/// Aligned, so that no other data shares the cache lines which every read changes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counts {
    started: AtomicU64,
    completed: AtomicU64,
    bytes_read: AtomicU64,
    delivered: AtomicU64,
    /// Slices of a memory map. Each is a read that starts, completes and is delivered at once.
    slices: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    batches: AtomicU64,
    bytes_wanted: AtomicU64,
    merged: AtomicU64,
    duplicates: AtomicU64,
    #[cfg(feature = "histograms")]
    latencies: crate::latencies::LatencyCounts,
}

impl Counts {
    /// Reads that were completed, failed, and abandoned.
    fn ended(&self) -> [u64; 3] {
        [&self.completed, &self.failed, &self.abandoned].map(|count| count.load(SeqCst))
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, SeqCst);
}

impl Meter {
    /// A meter at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts so far.
    ///
    /// Those of reads are of one moment, and so hold the identity. The others may be of slightly later ones.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let counts = &*self.0;
        let mut before = counts.ended();
        // Counts only grow. Those of ended reads that are the same before and after a look did not change
        // meanwhile.
        let (started, [completed, failed, abandoned]) = loop {
            let started = counts.started.load(SeqCst);
            let after = counts.ended();
            if before == after {
                break (started, after);
            }
            before = after;
        };
        let slices = counts.slices.load(SeqCst);
        Counters {
            started: started + slices,
            completed: completed + slices,
            failed,
            abandoned,
            in_flight: started - completed - failed - abandoned,
            batches: counts.batches.load(SeqCst),
            delivered: counts.delivered.load(SeqCst) + slices,
            bytes_wanted: counts.bytes_wanted.load(SeqCst),
            bytes_read: counts.bytes_read.load(SeqCst),
            merged: counts.merged.load(SeqCst),
            duplicates: counts.duplicates.load(SeqCst),
        }
    }

    /// How long the physical reads took that completed or failed. Slices of a memory map are not among them.
    #[cfg(feature = "histograms")]
    #[must_use]
    pub fn latencies(&self) -> crate::Latencies {
        self.0.latencies.snapshot()
    }

    /// Counts a batch that was planned. For readers that count themselves, as all methods below.
    pub fn batch_started(&self, bytes_wanted: u64, merged: u64, duplicates: u64) {
        add(&self.0.batches, 1);
        self.wanted(bytes_wanted);
        self.shared(merged, duplicates);
    }

    /// Counts bytes that are asked for outside of a batch, such as in a session.
    pub fn wanted(&self, bytes: u64) {
        add(&self.0.bytes_wanted, bytes);
    }

    /// Counts requests that need no read of their own.
    pub fn shared(&self, merged: u64, duplicates: u64) {
        if merged > 0 {
            add(&self.0.merged, merged);
        }
        if duplicates > 0 {
            add(&self.0.duplicates, duplicates);
        }
    }

    /// Counts a request that was delivered.
    pub fn delivered(&self) {
        add(&self.0.delivered, 1);
    }

    /// Counts a request that a memory map serves: a read that starts, completes and is delivered at once. An
    /// empty slice is delivered without a read.
    pub fn slice_delivered(&self, bytes: u64) {
        if bytes == 0 {
            return self.delivered();
        }
        add(&self.0.slices, 1);
        add(&self.0.bytes_read, bytes);
    }
}

/// One physical read in flight. It is counted when it ends. Dropped before, it counts as abandoned.
pub(crate) struct Started(Option<Timed>);

struct Timed {
    counts: Arc<Counts>,
    #[cfg(feature = "histograms")]
    since: std::time::Instant,
}

impl Started {
    pub(crate) fn new(meter: Option<&Meter>) -> Self {
        Self(meter.map(|Meter(counts)| {
            add(&counts.started, 1);
            Timed {
                counts: Arc::clone(counts),
                #[cfg(feature = "histograms")]
                since: std::time::Instant::now(),
            }
        }))
    }

    pub(crate) fn completed(mut self, bytes: u64) {
        if let Some(timed) = self.0.take() {
            add(&timed.counts.bytes_read, bytes);
            timed.ended(&timed.counts.completed);
        }
    }

    pub(crate) fn failed(mut self) {
        if let Some(timed) = self.0.take() {
            timed.ended(&timed.counts.failed);
        }
    }
}

impl Timed {
    fn ended(&self, count: &AtomicU64) {
        #[cfg(feature = "histograms")]
        self.counts.latencies.add(self.since.elapsed());
        add(count, 1);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(timed) = self.0.take() {
            add(&timed.counts.abandoned, 1);
        }
    }
}

/// A reader that counts what it does.
///
/// ```
/// # use io_core::{Meter, Metered, VectorReader};
/// fn count<R: VectorReader>(reader: R) -> Metered<R> {
///     let metered = Metered::new(reader);
///     assert_eq!(metered.meter().counters().started, 0);
///     metered
/// }
/// ```
#[derive(Debug)]
pub struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R> Metered<R> {
    /// Wraps a reader and counts from zero.
    pub fn new(inner: R) -> Self {
        Self::with_meter(inner, Meter::new())
    }

    /// Wraps a reader and adds to a meter, which several readers may share.
    pub fn with_meter(inner: R, meter: Meter) -> Self {
        Self { inner, meter }
    }

    /// The counts.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl<R: VectorReader> VectorReader for Metered<R> {
    /// Counts into this wrapper's meter. The batch ignores a meter that is already in `control`.
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        let control = control.clone().with_meter(self.meter.clone());
        self.inner.read_vectors(requests, &control, sink).await
    }

    /// Counts into this wrapper's meter. The session ignores a meter that is already in `control`.
    fn session(&self, control: ReadControl) -> impl FileSession {
        self.inner.session(control.with_meter(self.meter.clone()))
    }

    fn file(&self) -> &FileInfo {
        self.inner.file()
    }

    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    async fn close(&self) -> io::Result<()> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    const THREADS: u64 = 2;
    /// Snapshots that differ.
    const LOOKS: u64 = 100_000;

    /// A thread has at most four reads in flight, and they end in all three ways. Returns its rounds.
    fn count(meter: &Meter, over: &AtomicBool) -> u64 {
        let mut rounds = 0;
        while !over.load(SeqCst) {
            let reads = [(); 4].map(|()| Started::new(Some(meter)));
            let [first, second, third, fourth] = reads;
            first.completed(3);
            second.failed();
            third.completed(4);
            drop(fourth);
            meter.slice_delivered(5);
            rounds += 1;
        }
        rounds
    }

    fn look(meter: &Meter) {
        let mut before = Counters::default();
        let mut different = 0;
        while different < LOOKS {
            let now = meter.counters();
            let Counters { started, completed, failed, abandoned, in_flight, .. } = now;
            assert_eq!(started, completed + failed + abandoned + in_flight, "{now:?}");
            assert!(in_flight <= 4 * THREADS, "{now:?}, after {before:?}");
            assert!(started >= before.started && completed >= before.completed, "{now:?}, after {before:?}");
            assert!(failed >= before.failed && abandoned >= before.abandoned, "{now:?}, after {before:?}");
            different += u64::from(started > before.started);
            before = now;
        }
    }

    #[test]
    fn every_snapshot_is_of_one_moment() {
        let (meter, over) = (Meter::new(), AtomicBool::new(false));
        let rounds: u64 = thread::scope(|scope| {
            let counting: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| count(&meter, &over))).collect();
            let looked = scope.spawn(|| look(&meter)).join();
            over.store(true, SeqCst);
            let rounds = counting.into_iter().map(|thread| thread.join().unwrap()).sum();
            looked.unwrap();
            rounds
        });
        let all = Counters {
            started: 5 * rounds,
            completed: 3 * rounds,
            failed: rounds,
            abandoned: rounds,
            delivered: rounds,
            bytes_read: 12 * rounds,
            ..Counters::default()
        };
        assert_eq!(meter.counters(), all);
        #[cfg(feature = "histograms")]
        assert_eq!(meter.latencies().count(), 3 * rounds, "abandoned reads and slices have no latency");
    }
}
