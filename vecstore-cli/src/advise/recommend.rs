//! What follows from what was measured, each with its reason. It computes nothing else, so that it can be tested.

use super::measure::{DEPTH, LEN, LONG_LEN, Measured, Reads, Way};
use crate::error::CliError;
use io_core::OpenOptions;
use serde::Serialize;

/// As good as the best, given what the rounds differ by.
const NEARLY: f64 = 0.95;
/// Data up to this part of memory come to lie in the page cache, beside all else that is there.
const FITS: f64 = 0.7;
/// Codes may take this part of memory.
const CODES_PART: f64 = 0.5;
/// Quantization, and bytes of vectors (`f32`) to one of its codes, finest first.
const CODES: [(&str, f64); 4] = [("int8", 4.0), ("rotated4", 8.0), ("rotated2", 16.0), ("rotated1", 32.0)];

/// What is to be stored where.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Machine {
    pub(super) memory_gib: f64,
    pub(super) data_gib: f64,
}

/// How to open and create collections, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Advice {
    pub(super) backend: String,
    pub(super) direct: bool,
    pub(super) queue_depth: u32,
    pub(super) gap_max: u32,
    pub(super) quantization: &'static str,
    /// In memory, rather than read from disk for every search.
    pub(super) codes_pinned: bool,
    pub(super) reasons: Vec<String>,
}

impl Advice {
    pub(super) fn create_options(&self) -> String {
        let place = if self.codes_pinned { "" } else { " --place codes=cold" };
        format!("--backend {} --quantization {}{place}", self.backend, self.quantization)
    }

    pub(super) fn search_options(&self) -> String {
        let Self { backend, direct, queue_depth, .. } = self;
        let direct = if *direct { " --direct" } else { "" };
        let depth = if backend == "mmap" { String::new() } else { format!(" --queue-depth {queue_depth}") };
        format!("--backend {backend}{direct}{depth}")
    }
}

/// Where a backend does best from the disk.
fn best_of<'a>(measured: &'a Measured, backend: &str) -> Option<&'a Reads> {
    let from_disk = if backend == "mmap" { Way::Cold } else { Way::Direct };
    let own = measured
        .reads
        .iter()
        .filter(|read| read.backend == backend && read.way == from_disk && read.len == LEN);
    own.max_by(|a, b| a.rate.median.total_cmp(&b.rate.median))
}

fn backends(measured: &Measured) -> Vec<&str> {
    let mut backends: Vec<&str> = Vec::new();
    for read in &measured.reads {
        if !backends.contains(&read.backend.as_str()) {
            backends.push(&read.backend);
        }
    }
    backends
}

pub(super) fn recommend(measured: &Measured, machine: Machine) -> Result<Advice, CliError> {
    let mut reasons = Vec::new();
    let bests: Vec<&Reads> =
        backends(measured).into_iter().filter_map(|backend| best_of(measured, backend)).collect();
    let best = bests.iter().copied().max_by(|a, b| a.rate.median.total_cmp(&b.rate.median));
    let best = best.ok_or(CliError::NoBackend)?;
    let warm =
        |backend: &str| measured.reads.iter().find(|read| read.backend == backend && read.way == Way::Warm);
    let map = bests.iter().copied().find(|read| read.backend == "mmap");

    let fits = machine.data_gib <= FITS * machine.memory_gib;
    let chosen = match (fits, map) {
        (true, Some(map)) => {
            let cpu = |read: &Reads| format!("{} {:.2} us", read.backend, read.cpu_us.median);
            let costs: Vec<String> = backends(measured).into_iter().filter_map(warm).map(cpu).collect();
            reasons.push(format!(
                "backend mmap: the vectors fit in memory, so that reads find them in the page cache, where a read of {LEN} \
                 bytes takes CPU time as follows: {}",
                costs.join(", ")
            ));
            map
        }
        _ => from_disk(&bests, best, map, &mut reasons),
    };
    let direct = chosen.backend != "mmap" && !fits;
    if direct {
        reasons.push(
            "past the page cache (--direct): with more vectors than memory few reads would find theirs there, and the memory \
             is better kept for codes and graph"
                .to_owned(),
        );
    }
    // A map has neither: it reads pages, and tells the kernel of a whole batch.
    let (queue_depth, gap_max) = if chosen.backend == "mmap" {
        let OpenOptions { queue_depth, gap_max, .. } = OpenOptions::default();
        (queue_depth, gap_max)
    } else {
        (depth(measured, chosen, &mut reasons), gap_max(measured, chosen, &mut reasons))
    };
    let (quantization, codes_pinned) = codes(machine, &mut reasons);
    Ok(Advice {
        backend: chosen.backend.clone(),
        direct,
        queue_depth,
        gap_max,
        quantization,
        codes_pinned,
        reasons,
    })
}

/// The best one, or one as good that is simpler or takes less CPU.
fn from_disk<'a>(
    bests: &[&'a Reads],
    best: &'a Reads,
    map: Option<&'a Reads>,
    reasons: &mut Vec<String>,
) -> &'a Reads {
    let is_as_good =
        |read: &Reads| read.rate.median >= NEARLY * best.rate.median || read.rate.max >= best.rate.median;
    let rate = |read: &Reads| {
        format!("{} {:.0} ({:.0}..{:.0})", read.backend, read.rate.median, read.rate.min, read.rate.max)
    };
    let all: Vec<String> = bests.iter().map(|read| rate(read)).collect();
    let all = format!("reads a second, each at its best depth: {}", all.join(", "));
    if let Some(map) = map.filter(|map| is_as_good(map)) {
        reasons.push(format!(
            "backend mmap: the simplest one is as fast as any here, as far as the rounds can tell; {all}. A map waits for the \
             disk on the thread that searches, a ring lets it go on: where threads are few, prefer a ring"
        ));
        return map;
    }
    let as_good = bests.iter().copied().filter(|read| is_as_good(read));
    let chosen = as_good.min_by(|a, b| a.cpu_us.median.total_cmp(&b.cpu_us.median)).unwrap_or(best);
    reasons.push(format!(
        "backend {}: of those that are as fast as the best, as far as the rounds can tell, it takes the least CPU, {:.2} us a \
         read; {all}",
        chosen.backend, chosen.cpu_us.median
    ));
    chosen
}

/// The least that comes near the best rate.
fn depth(measured: &Measured, chosen: &Reads, reasons: &mut Vec<String>) -> u32 {
    let own =
        |read: &&Reads| read.backend == chosen.backend && read.way == chosen.way && read.len == chosen.len;
    let mut own: Vec<&Reads> = measured.reads.iter().filter(own).collect();
    own.sort_by_key(|read| read.depth);
    let enough = own.iter().find(|read| read.rate.median >= NEARLY * chosen.rate.median);
    let depth = enough.map_or(chosen.depth, |read| read.depth);
    let rates: Vec<String> =
        own.iter().map(|read| format!("{:.0} with {}", read.rate.median, read.depth)).collect();
    reasons.push(format!(
        "queue depth {depth}: more reads in flight gain less than a twentieth; reads a second: {}",
        rates.join(", ")
    ));
    depth
}

/// Whether it is cheaper to read over a gap than to ask anew behind it.
fn gap_max(measured: &Measured, chosen: &Reads, reasons: &mut Vec<String>) -> u32 {
    let rate = |len: u32| {
        let own = measured.reads.iter().find(|read| {
            read.backend == chosen.backend && read.way == chosen.way && read.depth == DEPTH && read.len == len
        });
        own.map(|read| read.rate.median)
    };
    let (Some(short), Some(long)) = (rate(LEN), rate(LONG_LEN)) else { return LEN };
    let gap = if long >= 0.8 * short { LONG_LEN } else { LEN };
    reasons.push(format!(
        "gaps of up to {} KiB between neighbours are read over (gap_max): {long:.0} reads a second of {} KiB beside {short:.0} of {} KiB",
        gap >> 10,
        LONG_LEN >> 10,
        LEN >> 10
    ));
    gap
}

/// The finest codes that leave room in memory.
fn codes(machine: Machine, reasons: &mut Vec<String>) -> (&'static str, bool) {
    let room = CODES_PART * machine.memory_gib;
    let takes = |share: f64| machine.data_gib / share;
    match CODES.into_iter().find(|(_, share)| takes(*share) <= room) {
        Some((name, share)) => {
            reasons.push(format!(
                "codes in memory, {name}: the finest that take no more than half of it, {:.2} GiB; vectors stay on disk",
                takes(share)
            ));
            (name, true)
        }
        None => {
            let (name, share) = CODES[CODES.len() - 1];
            reasons.push(format!(
                "codes on disk, {name}: even these take {:.2} GiB, more than half of the memory; declare a tenant's field \
                 if searches keep to one tenant, so that its codes lie together",
                takes(share)
            ));
            (name, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::Spread;
    use super::*;

    fn reads(backend: &str, way: Way, depth: u32, len: u32, rate: [f64; 3], cpu: f64) -> Reads {
        let [min, median, max] = rate;
        let cpu_us = Spread { min: cpu, median: cpu, max: cpu };
        Reads { backend: backend.to_owned(), way, depth, len, rate: Spread { min, median, max }, cpu_us }
    }

    fn around(rate: f64) -> [f64; 3] {
        [rate * 0.99, rate, rate * 1.01]
    }

    /// A disk that serves 8 at once: rings reach it at depth 8, a map does at `map`.
    fn measured(map: f64) -> Measured {
        let mut all = Vec::new();
        for (depth, rate) in [(1, 900.0f64), (8, 7000.0), (32, 7300.0), (128, 7310.0)] {
            all.push(reads("mmap", Way::Cold, depth, LEN, around(rate.min(map)), 9.0));
            all.push(reads("monoio", Way::Direct, depth, LEN, around(rate), 4.0));
            all.push(reads("ring", Way::Direct, depth, LEN, around(rate), 6.0));
        }
        all.push(reads("monoio", Way::Direct, 32, LONG_LEN, around(7200.0), 9.0));
        all.push(reads("mmap", Way::Cold, 32, LONG_LEN, around(1000.0), 9.0));
        all.push(reads("mmap", Way::Warm, 32, LEN, around(1e6), 0.5));
        all.push(reads("monoio", Way::Warm, 32, LEN, around(5e5), 1.2));
        Measured { file_mib: 1, rounds: 3, reads: all, refused: Vec::new(), syncs: 100.0, written_mib: 100.0 }
    }

    fn advised(map: f64, memory_gib: f64, data_gib: f64) -> Advice {
        recommend(&measured(map), Machine { memory_gib, data_gib }).unwrap()
    }

    #[test]
    fn a_slow_map_gives_way_to_the_ring_that_takes_the_least_cpu() {
        let advice = advised(1000.0, 8.0, 100.0);
        assert_eq!((advice.backend.as_str(), advice.direct, advice.queue_depth), ("monoio", true, 8));
        assert_eq!(advice.gap_max, LONG_LEN, "a longer read takes as long");
        assert_eq!((advice.quantization, advice.codes_pinned), ("rotated1", true), "100 GiB / 32 in 4 GiB");
        assert_eq!(advice.search_options(), "--backend monoio --direct --queue-depth 8");
    }

    #[test]
    fn a_map_that_is_as_fast_is_simpler() {
        let advice = advised(7200.0, 8.0, 20.0);
        assert_eq!((advice.backend.as_str(), advice.direct), ("mmap", false));
        assert_eq!(advice.search_options(), "--backend mmap");
        assert_eq!(advice.reasons.len(), 2, "a map has no depth and reads over no gaps");
        assert_eq!(advice.quantization, "rotated4", "20 GiB / 4 is more than 4 GiB, 20 / 8 is not");
    }

    #[test]
    fn data_that_fit_are_mapped_however_slow_the_disk() {
        let advice = advised(1000.0, 10.0, 7.0);
        assert_eq!((advice.backend.as_str(), advice.direct, advice.quantization), ("mmap", false, "int8"));
        assert!(advice.reasons[0].contains("monoio 1.20 us"), "{:?}", advice.reasons);
    }

    #[test]
    fn codes_that_do_not_fit_stay_on_disk() {
        let advice = advised(1000.0, 1.0, 1000.0);
        assert!(!advice.codes_pinned);
        assert!(advice.create_options().ends_with("--quantization rotated1 --place codes=cold"));
    }

    #[test]
    fn without_any_backend_there_is_no_advice() {
        let none = Measured { reads: Vec::new(), ..measured(1.0) };
        let machine = Machine { memory_gib: 1.0, data_gib: 1.0 };
        assert!(matches!(recommend(&none, machine), Err(CliError::NoBackend)));
    }
}
