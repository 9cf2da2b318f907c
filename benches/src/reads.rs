//! Random reads of the data file: the requests, the expected content, and a contender's cost.

use crate::rounds::Round;
use crate::{cpu_time, data_word, touch};
use io_core::ReadRequest;
use std::error::Error;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The figures that [`Recorder::finish`] returns.
pub const FIGURES: [&str; 5] = ["reads/s", "CPU us/read", "p50 us", "p99 us", "disk/wanted"];

/// At most `count` vectors of `len` bytes in random order, of a file full of them. No two are neighbours or
/// touch the same page. Reads can therefore not be merged, and none warms the page of another.
#[must_use]
pub fn random_requests(file_bytes: u64, len: u32, count: usize, seed: u64) -> Vec<ReadRequest> {
    let mut random = fastrand::Rng::with_seed(seed);
    // One vector of each group is taken, from the first half of the group.
    let group = u64::from(8192 / len).max(2);
    let groups = file_bytes / u64::from(len) / group;
    let mut chosen = random.choose_multiple(0..groups, count.min(groups as usize));
    random.shuffle(&mut chosen);
    let request = |at| ReadRequest::new((at * group + random.u64(..group / 2)) * u64::from(len), len);
    chosen.into_iter().map(request).collect()
}

/// The expected sum of [`touch`] over all requests. It follows from how the file is made, without reading it.
#[must_use]
pub fn expected(requests: &[ReadRequest]) -> u64 {
    let byte = |at: u64| u64::from(data_word(at / 8).to_le_bytes()[(at % 8) as usize]);
    let mut sum = 0u64;
    for &ReadRequest { offset, len } in requests {
        let end = offset + u64::from(len);
        for line in (offset..end).step_by(64) {
            sum += byte(line) + byte((line + 64).min(end) - 1);
        }
    }
    sum
}

/// The moment at which a contender may begin a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issue {
    /// In the order of the requests. A read begins once fewer than this many are in flight.
    InOrder(usize),
    /// In the order of the file, as planned batches do. A read begins once fewer than this many are in
    /// flight.
    ByOffset(usize),
    /// In the order of the requests, this many together. They begin once all before are done.
    Together(usize),
}

impl Issue {
    /// For each read, the number of reads that must be done before it begins.
    fn after(self, requests: &[ReadRequest]) -> Vec<usize> {
        let reads = requests.len();
        match self {
            Self::InOrder(depth) => (0..reads).map(|at| (at + 1).saturating_sub(depth)).collect(),
            Self::Together(depth) => (0..reads).map(|at| at - at % depth).collect(),
            Self::ByOffset(depth) => {
                let mut order: Vec<usize> = (0..reads).collect();
                order.sort_unstable_by_key(|&index| requests[index].offset);
                let mut after = vec![0; reads];
                for (at, index) in order.into_iter().enumerate() {
                    after[index] = (at + 1).saturating_sub(depth);
                }
                after
            }
        }
    }
}

/// Records the reads of one contender in one round, and the time.
#[derive(Debug)]
pub struct Recorder {
    sum: u64,
    /// The index of the request, and the time since the start.
    delivered: Vec<(usize, Duration)>,
    disk_bytes: Option<u64>,
    cpu: Duration,
    started: Instant,
}

impl Recorder {
    /// Starts the clocks for `reads` reads.
    #[must_use]
    pub fn start(reads: usize) -> Self {
        let (delivered, disk_bytes, cpu) = (Vec::with_capacity(reads), disk_bytes(), cpu_time());
        Self { sum: 0, delivered, disk_bytes, cpu, started: Instant::now() }
    }

    /// Takes the bytes of a request.
    pub fn take(&mut self, index: usize, bytes: &[u8]) {
        self.sum = self.sum.wrapping_add(touch(bytes));
        self.delivered.push((index, self.started.elapsed()));
    }

    /// Stops the clocks and returns [`FIGURES`]. A read lasts from the moment it could begin, by `issue`,
    /// until [`Recorder::take`].
    ///
    /// # Errors
    /// If bytes were read that are not the file's, or not all requests were read.
    pub fn finish(self, requests: &[ReadRequest], issue: Issue) -> Result<Round> {
        let (elapsed, cpu) = (self.started.elapsed(), cpu_time() - self.cpu);
        let disk_bytes = disk_bytes().zip(self.disk_bytes).map(|(now, before)| now - before);
        let (reads, expected) = (requests.len(), expected(requests));
        if self.delivered.len() != reads || self.sum != expected {
            return Err(format!(
                "{} of {reads} reads came, with a sum of {} instead of {expected}",
                self.delivered.len(),
                self.sum
            )
            .into());
        }
        let after = issue.after(requests);
        let latency = |&(index, at): &(usize, Duration)| match after[index] {
            0 => at,
            done => at - self.delivered[done - 1].1,
        };
        let mut latencies: Vec<_> = self.delivered.iter().map(latency).collect();
        latencies.sort_unstable();
        let percentile = |percent: usize| latencies[(reads * percent / 100).min(reads - 1)];
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let wanted: u64 = requests.iter().map(|request| u64::from(request.len)).sum();
        Ok(Round::rate(reads as f64, elapsed)
            .with(us(cpu) / reads as f64)
            .with(us(percentile(50)))
            .with(us(percentile(99)))
            .with(disk_bytes.map(|bytes| bytes as f64 / wanted as f64)))
    }
}

/// Bytes that this process has caused to be read from disks, if the kernel counts them.
#[must_use]
pub fn disk_bytes() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("read_bytes: "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::os::unix::fs::FileExt;

    const FILE_BYTES: u64 = 4 << 20;

    #[test]
    fn no_page_is_read_twice_and_no_read_has_a_neighbour() {
        for len in [512, 3072, 4096, 16_384] {
            let requests = random_requests(FILE_BYTES, len, 128, 7);
            assert_eq!(requests.len(), 128);
            let starts: HashSet<_> = requests.iter().map(|request| request.offset).collect();
            let mut pages = HashSet::new();
            for request in requests {
                let end = request.end().unwrap();
                assert!(end <= FILE_BYTES && !starts.contains(&end));
                assert!(request.offset.is_multiple_of(u64::from(len)));
                assert!((request.offset / 4096..end.div_ceil(4096)).all(|page| pages.insert(page)));
            }
        }
    }

    #[test]
    fn what_is_expected_is_what_the_file_gives() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::open(crate::data_file(dir.path(), FILE_BYTES).unwrap()).unwrap();
        for len in [1, 100, 3072, 4096] {
            let requests = random_requests(FILE_BYTES, len, 50, 1);
            let sum: u64 = requests
                .iter()
                .map(|request| {
                    let mut bytes = vec![0; len as usize];
                    file.read_exact_at(&mut bytes, request.offset).unwrap();
                    touch(&bytes)
                })
                .sum();
            assert_eq!(expected(&requests), sum, "{len}");
        }
    }

    #[test]
    fn a_read_waits_for_its_turn() {
        let requests = [40, 10, 30, 20, 0].map(|offset| ReadRequest::new(offset, 1));
        assert_eq!(Issue::InOrder(1).after(&requests), [0, 1, 2, 3, 4]);
        assert_eq!(Issue::InOrder(3).after(&requests), [0, 0, 0, 1, 2]);
        assert_eq!(Issue::ByOffset(2).after(&requests), [3, 0, 2, 1, 0]);
        assert_eq!(Issue::Together(2).after(&requests), [0, 0, 2, 2, 4]);
    }
}
