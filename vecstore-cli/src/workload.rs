//! Runs many queries on a collection, and measures the cost.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use io_core::{ReadStats, StopFlag};
use std::time::{Duration, Instant};
use vecstore::collection::{Collection, Hit, SearchRequest};
use vecstore::error::Error;
use vecstore::point::PointId;

/// Results and cost of many queries.
pub(crate) struct Measured {
    /// Hits of each query.
    pub(crate) hits: Vec<Vec<Hit>>,
    /// Times from submitting a query to its result, in ascending order.
    latencies: Vec<Duration>,
    wall: Duration,
    /// CPU time of all threads of the process, including kernel workers.
    cpu: Duration,
    pub(crate) codes_scored: u64,
    pub(crate) vectors_scored: u64,
    pub(crate) read: ReadStats,
}

impl Measured {
    pub(crate) fn queries_per_second(&self) -> f64 {
        self.hits.len() as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn cpu_us_per_query(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.hits.len() as f64
    }

    /// The latency that `part` (0 to 1) of the queries do not exceed, in microseconds.
    pub(crate) fn latency_us(&self, part: f64) -> f64 {
        let rank = (part * self.latencies.len() as f64).ceil() as usize;
        self.latencies[rank.clamp(1, self.latencies.len()) - 1].as_secs_f64() * 1e6
    }
}

/// Runs every query with the template's other settings. Keeps `in_flight` of them in flight.
pub(crate) fn run(
    collection: &Collection,
    queries: &[Vec<f32>],
    template: &SearchRequest,
    in_flight: usize,
    stop: &StopFlag,
    done: impl Fn(),
) -> Result<Measured, Error> {
    let start = |index: usize| async move {
        let started = Instant::now();
        let request = SearchRequest { vector: queries[index].clone(), ..template.clone() };
        (index, collection.search(request).await, started.elapsed())
    };
    let mut measured = Measured {
        hits: vec![Vec::new(); queries.len()],
        latencies: Vec::with_capacity(queries.len()),
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        codes_scored: 0,
        vectors_scored: 0,
        read: ReadStats::default(),
    };
    let (wall, cpu) = (Instant::now(), cpu_time());
    pollster::block_on(async {
        let mut waiting = 0..queries.len();
        let mut running: FuturesUnordered<_> = waiting.by_ref().take(in_flight).map(start).collect();
        while let Some((index, result, latency)) = running.next().await {
            if stop.is_stopped() {
                return Err(Error::Stopped);
            }
            let result = result?;
            measured.hits[index] = result.hits;
            measured.latencies.push(latency);
            measured.codes_scored += result.stats.codes_scored;
            measured.vectors_scored += result.stats.vectors_scored;
            measured.read.add(&result.stats.read);
            done();
            running.extend(waiting.next().map(start));
        }
        Ok(())
    })?;
    measured.wall = wall.elapsed();
    measured.cpu = cpu_time().saturating_sub(cpu);
    measured.latencies.sort_unstable();
    Ok(measured)
}

/// The part of `truth` that `hits` found, over the first `limit` of each: recall@limit.
pub(crate) fn recall(hits: &[Vec<Hit>], truth: &[Vec<PointId>], limit: usize) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for (hits, truth) in hits.iter().zip(truth) {
        let truth = &truth[..truth.len().min(limit)];
        wanted += truth.len();
        found += hits.iter().take(limit).filter(|hit| truth.contains(&hit.id)).count();
    }
    found as f64 / wanted.max(1) as f64
}

#[cfg(target_os = "linux")]
pub(crate) fn cpu_time() -> Duration {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(clock.tv_sec.unsigned_abs(), clock.tv_nsec.unsigned_abs() as u32)
}

/// Other systems show zero.
#[cfg(not(target_os = "linux"))]
pub(crate) fn cpu_time() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(ids: &[u64]) -> Vec<Hit> {
        let hit = |&id: &u64| Hit { id: id.into(), score: 0.0, payload: None, vector: None };
        ids.iter().map(hit).collect()
    }

    #[test]
    fn recall_counts_the_first_of_the_truth_only() {
        let found = [hits(&[1, 2, 3]), hits(&[7, 8, 9])];
        let truth = [[3, 1, 5, 2], [9, 8, 7, 1]].map(|ids| ids.map(PointId::Num).to_vec());
        assert_eq!(recall(&found, &truth, 3), 5.0 / 6.0);
        assert_eq!(recall(&found, &truth, 1), 0.0);
    }
}
