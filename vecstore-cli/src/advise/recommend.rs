//! Derives a recommendation and its reasons from measurements. It measures nothing itself.

use super::measure::{Measured, Reads, Spread};
use serde::Serialize;
use vecstore::schema::HnswParams;
use vecstore::schema::Quantization;
use vecstore::schema::{Placement, Placements};

/// The smallest depth with this part of the best rate is enough. A deeper queue only makes each read wait
/// longer.
const ENOUGH: f64 = 0.95;
/// The part of memory for data. The process, its payloads and the system need the rest.
const FOR_DATA: f64 = 0.5;
/// About the number of codes that a search scores.
const CODES_SCORED: f64 = 2000.0;
/// The codes to choose from, the most exact first, each with its bits for a component.
const CODES: [(Quantization, f64); 4] = [
    (Quantization::Int8, 8.0),
    (Quantization::Rotated4, 4.0),
    (Quantization::Rotated2, 2.0),
    (Quantization::Rotated1, 1.0),
];

/// The sizes of data and memory, in GiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sizes {
    pub(crate) data_gib: f64,
    pub(crate) memory_gib: f64,
    pub(crate) vector_bytes: u32,
}

impl Sizes {
    /// The part of the vectors that the page cache can hold. If all are equally likely, it is also the part
    /// of reads that hit.
    fn cached(&self) -> f64 {
        (FOR_DATA * self.memory_gib / self.data_gib).min(1.0)
    }

    /// GiB of codes and graph, for f32 components.
    fn searched_gib(&self, bits: f64) -> f64 {
        let graph = (8 * HnswParams::default().m) as f64 / f64::from(self.vector_bytes);
        self.data_gib * (bits / 32.0 + graph)
    }
}

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Advice {
    pub(crate) backend: &'static str,
    /// `None` for a map, which has no depth.
    pub(crate) queue_depth: Option<u32>,
    pub(crate) direct: bool,
    pub(crate) placement: Placements,
    pub(crate) quantization: Quantization,
    /// The reasons, one sentence each, with its figures.
    pub(crate) reasons: Vec<String>,
}

/// A way to read, at the depth that is enough for it, with the expected rate for data of these sizes.
struct Candidate<'a> {
    reads: &'a Reads,
    depth: usize,
    expected: Spread,
}

impl<'a> Candidate<'a> {
    fn new(reads: &'a Reads, cached: f64) -> Option<Self> {
        let best = reads.cold.iter().map(|at| at.reads_per_second.median).max_by(f64::total_cmp)?;
        let depth = reads.cold.iter().position(|at| at.reads_per_second.median >= ENOUGH * best)?;
        let cold = reads.cold[depth].reads_per_second;
        let expected = match reads.warm_reads_per_second {
            Some(warm) => {
                let mixed = |cold: f64, warm: f64| 1.0 / ((1.0 - cached) / cold + cached / warm);
                Spread {
                    min: mixed(cold.min, warm.min),
                    median: mixed(cold.median, warm.median),
                    max: mixed(cold.max, warm.max),
                }
            }
            None => cold,
        };
        Some(Self { reads, depth, expected })
    }

    fn name(&self) -> String {
        format!("{} ({})", self.reads.backend, self.reads.mode)
    }
}

/// The recommendation. `None` if nothing could be measured.
pub(crate) fn recommend(measured: &Measured, sizes: &Sizes) -> Option<Advice> {
    let cached = sizes.cached();
    // The simpler candidates come first: the default backend, and buffered before direct IO.
    let candidates: Vec<_> =
        measured.reads.iter().filter_map(|reads| Candidate::new(reads, cached)).collect();
    let best = candidates.iter().max_by(|a, b| a.expected.median.total_cmp(&b.expected.median))?;
    let chosen = candidates.iter().find(|it| it.expected.median >= best.expected.min)?;
    let mut reasons = vec![format!(
        "{:.0} GiB of data, {:.0} GiB of memory: with half of it for the page cache, {:.0} % of reads find their vector there",
        sizes.data_gib,
        sizes.memory_gib,
        cached * 100.0
    )];
    reasons.push(why_backend(chosen, best, &candidates));
    reasons.extend(why_mode(chosen, &candidates));
    let at = &chosen.reads.cold[chosen.depth];
    reasons.push(match at.queue_depth {
        Some(depth) => format!(
            "depth {depth}: {} reads/s cold, the least depth that reaches {:.0} % of the best of all",
            shown(at.reads_per_second),
            ENOUGH * 100.0
        ),
        None => format!(
            "no depth: a map hands whole batches to the kernel; {} reads/s cold",
            shown(at.reads_per_second)
        ),
    });
    let (placement, quantization, why) = place(sizes, at.reads_per_second.median);
    reasons.push(why);
    reasons.extend(why_write(measured, chosen.reads.backend));
    Some(Advice {
        backend: chosen.reads.backend,
        queue_depth: at.queue_depth,
        direct: chosen.reads.direct,
        placement,
        quantization,
        reasons,
    })
}

fn why_backend(chosen: &Candidate<'_>, best: &Candidate<'_>, all: &[Candidate<'_>]) -> String {
    let expected = shown(chosen.expected);
    if !std::ptr::eq(chosen, best) {
        return format!(
            "{}: {expected} reads/s of such data; {} is not measurably faster (its slowest round: {:.0}), so take the simpler one",
            chosen.name(),
            best.name(),
            best.expected.min
        );
    }
    let others = all.iter().filter(|it| it.reads.backend != chosen.reads.backend);
    match others.max_by(|a, b| a.expected.median.total_cmp(&b.expected.median)) {
        Some(next) => format!(
            "{}: {expected} reads/s of such data; the best of the other backends, {}, gives {}",
            chosen.name(),
            next.name(),
            shown(next.expected)
        ),
        None => {
            format!("{}: {expected} reads/s of such data; no other backend could be measured", chosen.name())
        }
    }
}

/// Why buffered or direct IO, if the backend can do both.
fn why_mode(chosen: &Candidate<'_>, all: &[Candidate<'_>]) -> Option<String> {
    let other = all
        .iter()
        .find(|it| it.reads.backend == chosen.reads.backend && it.reads.direct != chosen.reads.direct)?;
    let (here, there) = (shown(chosen.expected), shown(other.expected));
    Some(if chosen.reads.direct {
        format!("past the page cache: {here} reads/s instead of {there} through it")
    } else {
        format!("through the page cache: {here} reads/s, past it {there}")
    })
}

/// Vectors are in memory if they fit, and so are codes and graph. Codes are the most exact ones that fit.
fn place(sizes: &Sizes, cold: f64) -> (Placements, Quantization, String) {
    let room = FOR_DATA * sizes.memory_gib;
    let on_disk = CODES_SCORED / cold * 1000.0;
    let searched = sizes.searched_gib(CODES[0].1);
    if sizes.data_gib + searched <= room {
        let placement = Placements { vectors: Placement::Cached, ..Placements::default() };
        let why = format!(
            "vectors in the page cache, codes and graph in memory: together {:.1} GiB, and there is room for {room:.1}",
            sizes.data_gib + searched
        );
        return (placement, CODES[0].0, why);
    }
    for (method, bits) in CODES {
        let searched = sizes.searched_gib(bits);
        if searched <= room {
            let why = format!(
                "vectors on disk, {method} codes and the graph in memory: these are {searched:.1} GiB, and there is room for \
                 {room:.1}; at the cold rate, the {CODES_SCORED} codes of a search would take {on_disk:.0} ms"
            );
            return (Placements::default(), method, why);
        }
    }
    let (method, bits) = CODES[CODES.len() - 1];
    let placement = Placements { codes: Placement::Cold, graph: Placement::Cold, ..Placements::default() };
    let why = format!(
        "all on disk: even {method} codes and the graph are {:.1} GiB, and there is room for {room:.1}; the {CODES_SCORED} codes of \
         a search then take up to {on_disk:.0} ms, and a tenant field (--tenant) helps most",
        sizes.searched_gib(bits)
    );
    (placement, method, why)
}

/// Writes do not affect the choice, because the backend with the best reads must also write. They show what
/// to expect.
fn why_write(measured: &Measured, backend: &str) -> Option<String> {
    let writes = measured.writes.iter().find(|writes| writes.backend == backend)?;
    Some(format!(
        "writing: {} durable writes/s one after the other, so put many points into a change; {} MiB/s from front to back",
        shown(writes.durable_writes_per_second),
        shown(writes.sequential_mib_per_second)
    ))
}

pub(crate) fn shown(spread: Spread) -> String {
    format!("{:.0} ({:.0}..{:.0})", spread.median, spread.min, spread.max)
}

#[cfg(test)]
mod tests {
    use super::super::measure::{AtDepth, DEPTHS, Writes};
    use super::*;

    fn around(median: f64) -> Spread {
        Spread { min: median * 0.99, median, max: median * 1.01 }
    }

    /// A backend with these cold rates by depth, and this warm rate.
    fn reads(backend: &'static str, direct: bool, rates: &[f64], warm: Option<f64>) -> Reads {
        let mapped = backend == "mmap";
        let cold = rates.iter().zip(DEPTHS).map(|(&rate, depth)| AtDepth {
            queue_depth: (!mapped).then_some(depth),
            reads_per_second: around(rate),
            cpu_us_per_read: around(1.0),
        });
        let mode = if mapped {
            "mapped"
        } else if direct {
            "O_DIRECT"
        } else {
            "buffered"
        };
        Reads {
            backend,
            mode: mode.to_owned(),
            direct,
            cold: cold.collect(),
            warm_reads_per_second: warm.map(around),
        }
    }

    /// A disk that asynchronous reads keep busy, unlike a map.
    fn deep_disk() -> Measured {
        Measured {
            reads: vec![
                reads("mmap", false, &[10_000.0], Some(2_000_000.0)),
                reads("ring", false, &[8e3, 16e3, 30e3, 55e3, 80e3, 96e3, 100e3, 100e3], Some(300_000.0)),
                reads("ring", true, &[10e3, 20e3, 40e3, 70e3, 115e3, 119e3, 120e3, 118e3], None),
            ],
            writes: vec![Writes {
                backend: "ring",
                durable_writes_per_second: around(500.0),
                sequential_mib_per_second: around(200.0),
            }],
            skipped: Vec::new(),
            choices: Vec::new(),
        }
    }

    fn sizes(data_gib: f64, memory_gib: f64) -> Sizes {
        Sizes { data_gib, memory_gib, vector_bytes: 3072 }
    }

    #[test]
    fn large_data_go_past_the_page_cache_at_the_least_depth_that_is_enough() {
        let advice = recommend(&deep_disk(), &sizes(1000.0, 10.0)).unwrap();
        // 115,000 of 120,000 is 0.958.
        assert_eq!((advice.backend, advice.direct, advice.queue_depth), ("ring", true, Some(16)));
        assert!(advice.reasons.iter().any(|reason| reason.contains("115000 (113850..116150)")));
        assert!(advice.reasons.iter().any(|reason| reason.contains("500 (495..505) durable writes")));
    }

    #[test]
    fn data_that_fit_are_mapped() {
        let advice = recommend(&deep_disk(), &sizes(1.0, 16.0)).unwrap();
        assert_eq!((advice.backend, advice.direct, advice.queue_depth), ("mmap", false, None));
        assert_eq!(
            (advice.placement.vectors, advice.placement.codes),
            (Placement::Cached, Placement::Pinned)
        );
    }

    /// Half of the vectors are cached: 1 / (0.5/96,000 + 0.5/300,000) = 145,455 buffered, and 115,000 with
    /// direct IO.
    #[test]
    fn what_the_page_cache_holds_counts() {
        let advice = recommend(&deep_disk(), &sizes(16.0, 16.0)).unwrap();
        assert_eq!((advice.backend, advice.direct, advice.queue_depth), ("ring", false, Some(32)));
        assert!(
            advice.reasons.iter().any(|reason| reason.contains("buffered): 145455 (")),
            "{:?}",
            advice.reasons
        );
    }

    #[test]
    fn within_the_noise_the_simpler_one_is_taken() {
        let noisy = |backend, rate| reads(backend, false, &[rate], Some(rate));
        let both = |ring| Measured {
            reads: vec![noisy("mmap", 1000.0), noisy("ring", ring)],
            ..Measured::default()
        };
        // 1000 reaches 1010 * 0.99, but not 1011 * 0.99.
        let close = recommend(&both(1010.0), &sizes(100.0, 1.0)).unwrap();
        assert_eq!(close.backend, "mmap");
        assert!(
            close
                .reasons
                .iter()
                .any(|reason| reason.contains("is not measurably faster (its slowest round: "))
        );
        assert_eq!(recommend(&both(1011.0), &sizes(100.0, 1.0)).unwrap().backend, "ring");
    }

    /// 3072 bytes are 768 components. With a graph of 128 bytes a vector, codes and graph are 7/24, 1/6, 5/48
    /// or 7/96 of the data.
    #[test]
    fn codes_are_the_most_exact_that_fit() {
        let codes = |memory| {
            let (placement, method, _) = place(&sizes(96.0, memory), 1000.0);
            (method, placement.codes, placement.vectors)
        };
        let expected = [
            (248.5, Quantization::Int8, Placement::Pinned, Placement::Cached),
            (247.5, Quantization::Int8, Placement::Pinned, Placement::Cold),
            (56.5, Quantization::Int8, Placement::Pinned, Placement::Cold),
            (55.5, Quantization::Rotated4, Placement::Pinned, Placement::Cold),
            (31.5, Quantization::Rotated2, Placement::Pinned, Placement::Cold),
            (19.5, Quantization::Rotated1, Placement::Pinned, Placement::Cold),
            (13.5, Quantization::Rotated1, Placement::Cold, Placement::Cold),
        ];
        for (memory, method, placed, vectors) in expected {
            assert_eq!(codes(memory), (method, placed, vectors), "{memory}");
        }
    }

    #[test]
    fn of_nothing_there_is_no_advice() {
        assert_eq!(recommend(&Measured::default(), &sizes(1.0, 1.0)), None);
    }
}
