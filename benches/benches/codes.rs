//! Recall and cost of each way to quantize. It scores all codes, and then rescores the best candidates by
//! their vectors.
//!
//! `cargo bench -p benches --bench codes` makes its own data. For data of your own:
//! `BENCH_VECTORS=base.npy BENCH_QUERIES=queries.npy cargo bench ...`. The truth is computed.
//! `BENCH_CODES=rotated` measures the methods whose name contains that. `BENCH_SEED=2` trains with another
//! seed than 1.

use benches::cpu_time;
use benches::data::{Error, Vectors, variable};
use benches::report::{Cell, Plot, Report, Table};
use std::cmp::Ordering;
use std::time::Duration;
use vecstore::dataset::Clustered;
use vecstore::schema::Distance;
use vecstore_index::TopK;
use vecstore_quant::{Codec, Compression, Quantization, SAMPLE_MAX, Scorer, train};

const DISTANCE: Distance = Distance::Cosine;
const LIMIT: usize = 10;
const OVERSAMPLING: [usize; 5] = [1, 2, 4, 8, 16];
/// Records scored at once, as in the store.
const BATCH: usize = 1024;
const THREADS: usize = 2;

/// Prepared vectors, concatenated.
struct Data {
    dim: usize,
    vectors: Vec<f32>,
    queries: Vec<f32>,
}

fn load() -> Result<Data, Error> {
    let (vectors, queries) = match (variable("BENCH_VECTORS"), variable("BENCH_QUERIES")) {
        (Some(vectors), Some(queries)) => (Vectors::read(&vectors)?, Vectors::read(&queries)?.components),
        _ => {
            let (count, queries) = if variable("BENCH_QUICK").is_some() { (5000, 50) } else { (60_000, 500) };
            let mut base = Clustered::new(count, 100, 7);
            let queries = base.queries(queries).concat();
            (Vectors::all_of(&mut base)?, queries)
        }
    };
    let mut data = Data { dim: vectors.dim, vectors: vectors.components, queries };
    for vector in data.vectors.chunks_exact_mut(data.dim).chain(data.queries.chunks_exact_mut(data.dim)) {
        DISTANCE.prepare(vector);
    }
    Ok(data)
}

/// A score and its point.
type Candidate = (f32, u32);

fn better_first(a: &Candidate, b: &Candidate) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Runs `act` on equal parts of the items, one part on each thread.
fn in_parallel<T: Send>(items: &mut [T], act: impl Fn(usize, &mut T) + Sync) {
    let part = items.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        for (start, items) in (0..).step_by(part).zip(items.chunks_mut(part)) {
            let act = &act;
            scope.spawn(move || (start..).zip(items).for_each(|(index, item)| act(index, item)));
        }
    });
}

fn truth(data: &Data) -> Vec<Vec<u32>> {
    let mut all = vec![Vec::new(); data.queries.len() / data.dim];
    in_parallel(&mut all, |index, nearest| {
        let query = &data.queries[index * data.dim..][..data.dim];
        let mut best = TopK::new(LIMIT, better_first);
        for (point, vector) in (0..).zip(data.vectors.chunks_exact(data.dim)) {
            best.offer((DISTANCE.score(query, vector), point));
        }
        *nearest = best.into_sorted().into_iter().map(|(_, point)| point).collect();
    });
    all
}

/// Scores all records.
fn candidates(scorer: &dyn Scorer, records: &[u8], count: usize, wanted: usize) -> Vec<Candidate> {
    let mut best = TopK::new(wanted, better_first);
    let mut scores = [0.0; BATCH];
    let points: Vec<u32> = (0..count as u32).collect();
    for points in points.chunks(BATCH) {
        scorer.score_many(records, points, &mut scores);
        points.iter().zip(&scores).for_each(|(&point, &score)| best.offer((score, point)));
    }
    best.into_sorted()
}

#[derive(Default)]
struct Rescored {
    hits: usize,
    read: usize,
}

/// Ranks candidates by their vectors. With bounds, it ranks only those that may be among the best, as the
/// store decides before it reads. Such a candidate's upper bound reaches the `LIMIT`-th best lower bound.
fn rescore(
    candidates: &[Candidate],
    exact: impl Fn(u32) -> f32,
    bound: impl Fn(Candidate) -> f32,
    truth: &[u32],
    rescored: &mut Rescored,
) {
    let bounded: Vec<(Candidate, f32)> = candidates.iter().map(|&found| (found, bound(found))).collect();
    let mut near_ends: Vec<f32> = bounded.iter().map(|((score, _), bound)| score - bound).collect();
    near_ends.sort_unstable_by(|a, b| b.total_cmp(a));
    let worst = near_ends.get(LIMIT - 1).copied().unwrap_or(f32::NEG_INFINITY);
    let possible = bounded.iter().filter(|((score, _), bound)| score + bound >= worst);
    let mut found: Vec<Candidate> = possible.map(|((_, point), _)| (exact(*point), *point)).collect();
    rescored.read += found.len();
    found.sort_unstable_by(better_first);
    rescored.hits += found.iter().take(LIMIT).filter(|found| truth.contains(&found.1)).count();
}

struct Encoded {
    codec: Box<dyn Codec>,
    records: Vec<u8>,
    train: Duration,
    encode: Duration,
}

fn encode(method: Quantization, data: &Data, seed: u64) -> Encoded {
    let started = cpu_time();
    let codec = train(method, DISTANCE, data.dim, &data.vectors, data.vectors.len() / data.dim, seed);
    let trained = cpu_time();
    let (count, len) = (data.vectors.len() / data.dim, codec.record_bytes());
    let mut records = vec![0; count * len];
    let mut slots: Vec<&mut [u8]> = records.chunks_exact_mut(len).collect();
    in_parallel(&mut slots, |index, record| {
        codec.encode(&data.vectors[index * data.dim..][..data.dim], record);
    });
    Encoded { codec, records, train: trained - started, encode: cpu_time() - trained }
}

fn main() -> Result<(), Error> {
    let data = load()?;
    let (count, queries) = (data.vectors.len() / data.dim, data.queries.len() / data.dim);
    let truth = truth(&data);
    let mut methods = Quantization::ALL.to_vec();
    methods.retain(|method| !matches!(method, Quantization::Product { .. }));
    methods.extend(Compression::ALL.map(|compression| Quantization::Product { compression }));
    let seed = variable("BENCH_SEED").map_or(Ok(1), |seed| seed.parse())?;
    let wanted = variable("BENCH_CODES").unwrap_or_default();
    methods.retain(|method| method.to_string().contains(&wanted));

    let title = format!(
        "Codes: {count} vectors of dimension {}, {queries} queries, cosine, trained on {} vectors",
        data.dim,
        count.min(SAMPLE_MAX)
    );
    let mut out = Table::new(
        title,
        &[
            "code",
            "bytes a vector",
            "model bytes",
            "train ms",
            "encode us",
            "scan us a query",
            "ns a code",
            "oversampling",
            "recall@10",
            "vectors read",
            "by bound: recall@10",
            "by bound: vectors read",
            "scores beyond, %",
        ],
    )
    .plot(Plot::new("oversampling", "recall@10", "code"));
    for method in methods {
        let Encoded { codec, records, train, encode } = encode(method, &data, seed);
        let mut scan = Duration::ZERO;
        let mut plain = OVERSAMPLING.map(|_| Rescored::default());
        let mut bounded = OVERSAMPLING.map(|_| Rescored::default());
        let (mut bounds, mut beyond) = (0usize, 0usize);
        for (query, truth) in data.queries.chunks_exact(data.dim).zip(&truth) {
            let started = cpu_time();
            let scorer = codec.query(query);
            let most = LIMIT * OVERSAMPLING[OVERSAMPLING.len() - 1];
            let found = candidates(scorer.as_ref(), &records, count, most);
            scan += cpu_time() - started;
            let exact =
                |point: u32| DISTANCE.score(query, &data.vectors[point as usize * data.dim..][..data.dim]);
            let bound = |(score, point): Candidate| {
                let len = codec.record_bytes();
                scorer.bound(&records[point as usize * len..][..len], score)
            };
            for ((plain, bounded), oversampling) in plain.iter_mut().zip(&mut bounded).zip(OVERSAMPLING) {
                let found = &found[..found.len().min(LIMIT * oversampling)];
                rescore(found, exact, |_| f32::INFINITY, truth, plain);
                rescore(found, exact, |candidate| bound(candidate).unwrap_or(f32::INFINITY), truth, bounded);
            }
            // Bounds are checked on points that were chosen without regard to scores.
            for point in (0..count as u32).step_by((count / 100).max(1)) {
                let len = codec.record_bytes();
                let score = scorer.score(&records[point as usize * len..][..len]);
                if let Some(bound) = bound((score, point)) {
                    bounds += 1;
                    beyond += usize::from((exact(point) - score).abs() > bound);
                }
            }
        }
        let us = |duration: Duration, by: usize| duration.as_secs_f64() * 1e6 / by as f64;
        let costs: [Cell; 7] = [
            method.to_string().into(),
            codec.record_bytes().into(),
            codec.model_bytes().into(),
            (train.as_secs_f64() * 1e3).into(),
            us(encode, count).into(),
            us(scan, queries).into(),
            (us(scan, queries) * 1e3 / count as f64).into(),
        ];
        for ((plain, bounded), oversampling) in plain.iter().zip(&bounded).zip(OVERSAMPLING) {
            let recall = |rescored: &Rescored| rescored.hits as f64 / (queries * LIMIT) as f64;
            let read = |rescored: &Rescored| rescored.read as f64 / queries as f64;
            let by_bound = |figure: f64| if bounds > 0 { figure.into() } else { Cell::from("-") };
            let rescored: [Cell; 6] = [
                oversampling.into(),
                recall(plain).into(),
                read(plain).into(),
                by_bound(recall(bounded)),
                by_bound(read(bounded)),
                by_bound(beyond as f64 * 100.0 / bounds.max(1) as f64),
            ];
            out.row(costs.iter().cloned().chain(rescored));
        }
    }
    let mut report = Report::new("codes");
    report.table(out);
    report.finish()
}
