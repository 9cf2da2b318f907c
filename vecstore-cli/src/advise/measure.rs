//! Measures a disk through each backend: random reads of vectors, durable small writes, sequential writes.

use crate::demo::is_refusal;
use crate::error::CliError;
use crate::progress::Progress;
use crate::vectors::drop_page_cache;
use crate::workload::cpu_time;
use futures_util::future::try_join_all;
use io_core::{
    BackendInfo, Executor, FileSystem, IoMode, OpenOptions, PageWrite, PageWriter, ReadControl, ReadError,
    ReadRequest, StopFlag, SyncKind, VectorReader, with_causes,
};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vecstore::backends::BackendKind;
use vecstore::collection::CollectionOptions;
use vecstore::error::Error;

/// The number of rounds. Each round measures every contender, so a disturbance affects all of them.
const ROUNDS: usize = 5;
pub(crate) const DEPTHS: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// About the number of vectors that a search rescores at a time.
const BATCH: usize = 64;
const PAGE: usize = 4096;
const MIB: usize = 1 << 20;
/// Bytes of the file for sequential writes.
const BULK: usize = 32 * MIB;
/// Bytes of the file for durable page writes. Its length is fixed, as that of a log that grows ahead.
const LOG: usize = MIB;
/// The most bytes written beside the file of vectors.
pub(crate) const WRITTEN: u64 = (BULK + LOG) as u64;
/// The part of the time for timed runs. Opening, dropping the page cache and bulk writes take the rest.
const TIMED: f64 = 0.7;

/// Least, median and most of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { min, median: values[values.len() / 2], max })
    }
}

/// Cold reads at one depth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AtDepth {
    /// `None` for a map, which has no depth.
    pub(crate) queue_depth: Option<u32>,
    pub(crate) reads_per_second: Spread,
    pub(crate) cpu_us_per_read: Spread,
}

/// One way to read: a backend with buffered or direct IO.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Reads {
    pub(crate) backend: &'static str,
    pub(crate) mode: String,
    pub(crate) direct: bool,
    /// Cold reads by depth, in ascending order. The page cache has nothing of the file.
    pub(crate) cold: Vec<AtDepth>,
    /// Reads with the whole file in the page cache. `None` for direct IO.
    pub(crate) warm_reads_per_second: Option<Spread>,
}

/// The write rates of a backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Writes {
    pub(crate) backend: &'static str,
    pub(crate) durable_writes_per_second: Spread,
    pub(crate) sequential_mib_per_second: Spread,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    pub(crate) reads: Vec<Reads>,
    pub(crate) writes: Vec<Writes>,
    pub(crate) skipped: Vec<Skipped>,
    /// What each backend has taken that chooses between others, and why.
    pub(crate) choices: Vec<String>,
}

/// A way to read that the system refuses.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Skipped {
    pub(crate) backend: &'static str,
    pub(crate) direct: bool,
    pub(crate) reason: String,
}

/// The file of vectors on the disk, and the time to measure.
pub(crate) struct Bench<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) file_bytes: u64,
    pub(crate) vector_bytes: u32,
    pub(crate) time: Duration,
    pub(crate) stop: &'a StopFlag,
}

/// A backend in one mode, at one depth, with the figures of its rounds.
struct Contender {
    kind: BackendKind,
    options: OpenOptions,
    warm: bool,
    mode: Option<IoMode>,
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

impl Contender {
    fn new(kind: BackendKind, direct: bool, warm: bool, queue_depth: u32) -> Self {
        let options = OpenOptions::default().with_direct(direct).with_queue_depth(queue_depth);
        Self { kind, options, warm, mode: None, rates: Vec::new(), cpu: Vec::new() }
    }
}

impl Bench<'_> {
    pub(crate) fn run(&self, kinds: &[BackendKind]) -> Result<Measured, CliError> {
        self.make_file()?;
        let mut measured = Measured::default();
        let mut contenders = self.contenders(kinds, &mut measured)?;
        let writers: Vec<_> =
            kinds.iter().filter(|kind| contenders.iter().any(|contender| contender.kind == **kind)).collect();
        let runs = ROUNDS * (contenders.len() + writers.len());
        let slice = self.time.mul_f64(TIMED / runs.max(1) as f64);
        let bar = Progress::new("measuring", runs as u64);
        let mut written = vec![(Vec::new(), Vec::new()); writers.len()];
        for round in 0..ROUNDS {
            // Cold reads come first. Then the whole file is read into the page cache for the warm ones.
            for warm in [false, true] {
                let mut of_round: Vec<_> = contenders.iter_mut().filter(|it| it.warm == warm).collect();
                let count = of_round.len();
                if warm && count > 0 {
                    std::io::copy(
                        &mut File::open(self.file()).map_err(|e| self.failed(&e))?,
                        &mut std::io::sink(),
                    )
                    .map_err(|e| self.failed(&e))?;
                }
                for at in 0..count {
                    // Each round begins with another contender.
                    self.reads(round, of_round[(at + round * count / ROUNDS) % count], slice)?;
                    bar.inc();
                }
            }
            for at in 0..writers.len() {
                let at = (at + round) % writers.len();
                written[at].0.push(self.durable_writes(*writers[at], slice)?);
                written[at].1.push(self.sequential_write(*writers[at])?);
                bar.inc();
            }
        }
        measured.reads = gather(&contenders);
        for (kind, (durable, sequential)) in writers.into_iter().zip(&written) {
            if let (Some(durable), Some(sequential)) = (Spread::of(durable), Spread::of(sequential)) {
                measured.writes.push(Writes {
                    backend: kind.name(),
                    durable_writes_per_second: durable,
                    sequential_mib_per_second: sequential,
                });
            }
        }
        Ok(measured)
    }

    fn file(&self) -> PathBuf {
        self.dir.join("vectors")
    }

    fn failed(&self, error: &std::io::Error) -> CliError {
        CliError::File { path: self.dir.to_owned(), problem: error.to_string() }
    }

    /// Fills the file with bytes that a file system can neither omit nor compress.
    fn make_file(&self) -> Result<(), CliError> {
        let mut file = File::create_new(self.file()).map_err(|error| self.failed(&error))?;
        let bar = Progress::new("making the file", self.file_bytes);
        let (mut at, mut chunk) = (0u64, vec![0u8; MIB]);
        while at < self.file_bytes {
            self.check_stop()?;
            for (word, place) in chunk.chunks_exact_mut(8).zip(at / 8..) {
                word.copy_from_slice(&scrambled(place).to_le_bytes());
            }
            file.write_all(&chunk).map_err(|error| self.failed(&error))?;
            at += chunk.len() as u64;
            bar.set(at);
        }
        file.sync_all().map_err(|error| self.failed(&error))
    }

    fn check_stop(&self) -> Result<(), CliError> {
        if self.stop.is_stopped() { Err(Error::Stopped.into()) } else { Ok(()) }
    }

    /// All contenders that work here. Refused ones go to `skipped`.
    fn contenders(&self, kinds: &[BackendKind], measured: &mut Measured) -> Result<Vec<Contender>, CliError> {
        let mut contenders = Vec::new();
        for &kind in kinds {
            for direct in [false, true] {
                let info = match self.info(kind, direct) {
                    Ok(info) => info,
                    Err(CliError::Store(error)) if is_refusal(&error) => {
                        measured.skipped.push(Skipped {
                            backend: kind.name(),
                            direct,
                            reason: with_causes(&error).to_string(),
                        });
                        // If buffered reads are refused, the whole backend is refused.
                        break;
                    }
                    Err(error) => return Err(error),
                };
                if let (false, Some(choice)) = (direct, &info.choice) {
                    measured.choices.push(format!("{kind} {choice}"));
                }
                let mode = info.io_mode;
                let warm = Contender::new(kind, direct, true, OpenOptions::default().queue_depth);
                let depths: &[u32] = if mode == IoMode::Mapped { &DEPTHS[..1] } else { &DEPTHS };
                let cold = depths.iter().map(|&depth| Contender::new(kind, direct, false, depth));
                contenders.extend(
                    cold.chain((!direct).then_some(warm)).map(|it| Contender { mode: Some(mode), ..it }),
                );
            }
        }
        Ok(contenders)
    }

    fn info(&self, kind: BackendKind, direct: bool) -> Result<BackendInfo, CliError> {
        let (backend, path) = (kind.backend(), self.file());
        let options = OpenOptions::default().with_direct(direct);
        let info = backend
            .run(|| async {
                let reader = backend.open(&path, &options).await?;
                let info = reader.info().clone();
                reader.close().await.map_err(|error| io_core::OpenError::io(&path, error))?;
                Ok(info)
            })
            .map_err(Error::from)?;
        Ok(info.map_err(|error: io_core::OpenError| Error::from(error))?)
    }

    /// Reads as a core of a store does: a few concurrent searches, each waiting for a batch. No page is read
    /// twice.
    fn reads(&self, round: usize, contender: &mut Contender, slice: Duration) -> Result<(), CliError> {
        self.check_stop()?;
        if !contender.warm {
            drop_page_cache(self.dir)?;
        }
        let (backend, path) = (contender.kind.backend(), self.file());
        let requests = requests(self.file_bytes, self.vector_bytes, round as u64);
        let ran = backend
            .run(|| async {
                let reader = backend.open(&path, &contender.options).await.map_err(Error::from)?;
                let batches = RefCell::new(requests.chunks(BATCH));
                let (delivered, over) = (Cell::new(0u64), Cell::new(false));
                let control = ReadControl::new().with_stop(self.stop.clone());
                let (cpu, started) = (cpu_time(), Instant::now());
                let reading = async || -> Result<(), ReadError> {
                    while !over.get() {
                        let Some(batch) = batches.borrow_mut().next() else { break };
                        let take = |_: usize, bytes: &[u8]| {
                            // A map reads only the bytes that are touched.
                            black_box(
                                bytes.iter().step_by(64).fold(0u8, |sum, byte| sum.wrapping_add(*byte)),
                            );
                            delivered.set(delivered.get() + 1);
                            if started.elapsed() < slice {
                                return ControlFlow::Continue(());
                            }
                            over.set(true);
                            ControlFlow::Break(())
                        };
                        reader.read_vectors(batch, &control, take).await?;
                    }
                    Ok(())
                };
                let reads_per_core = CollectionOptions::default().reads_per_core;
                try_join_all((0..reads_per_core).map(|_| reading())).await.map_err(Error::from)?;
                let (elapsed, cpu) = (started.elapsed(), cpu_time().saturating_sub(cpu));
                reader.close().await.map_err(|error| self.failed(&error))?;
                Ok::<_, CliError>((delivered.get() as f64, elapsed, cpu))
            })
            .map_err(Error::from)?;
        let (delivered, elapsed, cpu) = ran?;
        self.check_stop()?;
        contender.rates.push(delivered / elapsed.as_secs_f64());
        contender.cpu.push(cpu.as_secs_f64() * 1e6 / delivered.max(1.0));
        Ok(())
    }

    /// Pages a second. Each page is on the disk before the next one is written.
    fn durable_writes(&self, kind: BackendKind, slice: Duration) -> Result<f64, CliError> {
        self.check_stop()?;
        let page = page_of(PAGE);
        self.write(kind, async |writer| {
            writer.write_pages(&[PageWrite { offset: 0, bytes: &page_of(LOG) }]).await?;
            writer.sync(SyncKind::All).await?;
            let (mut count, started) = (0, Instant::now());
            while count == 0 || started.elapsed() < slice && !self.stop.is_stopped() {
                let offset = (count * PAGE % LOG) as u64;
                writer.write_pages(&[PageWrite { offset, bytes: &page }]).await?;
                writer.sync(SyncKind::Data).await?;
                count += 1;
            }
            Ok(count as f64 / started.elapsed().as_secs_f64())
        })
    }

    /// MiB a second, from front to back, durable at the end.
    fn sequential_write(&self, kind: BackendKind) -> Result<f64, CliError> {
        self.check_stop()?;
        let chunk = page_of(MIB);
        self.write(kind, async |writer| {
            let started = Instant::now();
            for at in 0..BULK / MIB {
                writer.write_pages(&[PageWrite { offset: (at * MIB) as u64, bytes: &chunk }]).await?;
            }
            writer.sync(SyncKind::Data).await?;
            Ok((BULK / MIB) as f64 / started.elapsed().as_secs_f64())
        })
    }

    /// Runs `work` on a new file, and removes the file.
    fn write<W>(&self, kind: BackendKind, work: W) -> Result<f64, CliError>
    where
        W: AsyncFnOnce(&<io_core::DynBackend as FileSystem>::Writer) -> Result<f64, io_core::WriteError>,
    {
        let (backend, path) = (kind.backend(), self.dir.join("written"));
        let rate = backend
            .run(|| async {
                let writer = backend.create(&path, &OpenOptions::default()).await.map_err(Error::from)?;
                let rate = work(&writer).await.map_err(Error::from)?;
                writer.close().await.map_err(Error::from)?;
                Ok::<_, Error>(rate)
            })
            .map_err(Error::from)??;
        std::fs::remove_file(&path).map_err(|error| self.failed(&error))?;
        Ok(rate)
    }
}

/// Groups contenders that differ only in depth or warmth.
fn gather(contenders: &[Contender]) -> Vec<Reads> {
    let mut all: Vec<Reads> = Vec::new();
    for contender in contenders {
        let (Some(mode), Some(rate), Some(cpu)) =
            (contender.mode, Spread::of(&contender.rates), Spread::of(&contender.cpu))
        else {
            continue;
        };
        let (backend, direct) = (contender.kind.name(), contender.options.direct);
        let at = all.iter().position(|reads| (reads.backend, reads.direct) == (backend, direct));
        let at = at.unwrap_or_else(|| {
            all.push(Reads {
                backend,
                mode: mode.to_string(),
                direct,
                cold: Vec::new(),
                warm_reads_per_second: None,
            });
            all.len() - 1
        });
        if contender.warm {
            all[at].warm_reads_per_second = Some(rate);
        } else {
            let queue_depth = (mode != IoMode::Mapped).then_some(contender.options.queue_depth);
            all[at].cold.push(AtDepth { queue_depth, reads_per_second: rate, cpu_us_per_read: cpu });
        }
    }
    all
}

/// Requests for vectors in random order, of a file full of them. Each vector has at least two pages of its
/// own. Reads can therefore not be merged, and none warms the page of another.
fn requests(file_bytes: u64, vector_bytes: u32, seed: u64) -> Vec<ReadRequest> {
    let bytes = u64::from(vector_bytes);
    let slot = (2 * bytes).next_multiple_of(2 * PAGE as u64);
    let mut slots: Vec<u64> = (0..file_bytes / slot).collect();
    slots.sort_by_cached_key(|&at| scrambled(at ^ seed << 48));
    slots.into_iter().map(|at| ReadRequest::new((at * slot).next_multiple_of(bytes), vector_bytes)).collect()
}

/// The finalizer of SplitMix64. It maps each number to another, random-looking one.
fn scrambled(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn page_of(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8).flat_map(|word| scrambled(word).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_page_is_read_twice_and_all_vectors_are_whole() {
        for vector_bytes in [4, 400, 3072, 4096, 6000, 16_384] {
            let file_bytes = 16 << 20;
            let requests = requests(file_bytes, vector_bytes, 1);
            let slot = (2 * u64::from(vector_bytes)).div_ceil(8192) * 8192;
            assert_eq!(requests.len() as u64, file_bytes / slot);
            let mut pages = HashSet::new();
            for request in &requests {
                let end = request.offset + u64::from(request.len);
                assert!(end <= file_bytes && request.offset % u64::from(vector_bytes) == 0);
                assert!((request.offset / 4096..end.div_ceil(4096)).all(|page| pages.insert(page)));
            }
            assert!(!requests.is_sorted_by_key(|request| request.offset));
        }
    }

    #[test]
    fn a_spread_is_in_order() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
