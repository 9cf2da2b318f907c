//! Merges of segments, beside building one segment of all points: what they cost, and what searches of the
//! merged segment cost.
//!
//! `cargo bench -p benches --bench merges` makes its own data. For data of your own:
//! `BENCH_VECTORS=base.npy BENCH_QUERIES=queries.npy BENCH_TRUTH=neighbours.npy cargo bench ...`.
//! `BENCH_INDEX=compact,linked,cells` chooses the indexes, and `BENCH_THREADS=2` the cores.

use benches::cpu_time;
use benches::data::{Error, Vectors, variable};
use benches::index::{IN_MEMORY, Index};
use benches::report::{Plot, Report, Table};
use benches::search_data::{LIMIT, SearchData, ids, recall};
use io_core::DynBackend;
use io_mmap::MmapBackend;
use std::ops::Range;
use vecstore::collection::{
    Collection, CollectionOptions, Durability, SearchParams, SearchRequest, SearchResult,
};
use vecstore::point::{Point, PointId};
use vecstore::schema::Schema;

const EFS: [usize; 9] = [12, 16, 24, 32, 48, 64, 96, 128, 192];
/// The recall at which searches are compared.
const RECALL: f64 = 0.95;
const REPEATS: usize = 3;

/// How the points come together.
#[derive(Clone, Copy)]
enum Way {
    /// All at once.
    New,
    /// This many segments, which are merged at once.
    Together(usize),
    /// This many parts. Each is merged with all before it.
    OneByOne(usize),
}

impl Way {
    const ALL: [Self; 4] = [Self::New, Self::Together(2), Self::Together(8), Self::OneByOne(8)];

    fn name(self) -> String {
        match self {
            Self::New => "all at once".to_owned(),
            Self::Together(parts) => format!("{parts} segments, merged together"),
            Self::OneByOne(parts) => format!("{parts} parts, merged one by one"),
        }
    }
}

/// The CPU seconds of the last merge and of everything, and points that were written again.
struct Built {
    last_seconds: f64,
    all_seconds: f64,
    rewritten: u64,
}

/// CPU us a query and codes scored at [`RECALL`], between the two nearest settings, and the recall of the
/// default one.
struct Searched {
    cpu_us: f64,
    codes: f64,
    default_recall: f64,
}

fn upsert(collection: &Collection, data: &SearchData, points: Range<usize>) -> Result<(), Error> {
    let vectors = (0..).zip(data.vectors.iter()).skip(points.start).take(points.len());
    let points: Vec<Point> = vectors.map(|(id, vector)| Point::new(id, vector.to_vec())).collect();
    for batch in points.chunks(1024) {
        collection.upsert(batch.to_vec(), Durability::Written).wait()?;
    }
    Ok(())
}

fn build(collection: &Collection, data: &SearchData, way: Way) -> Result<Built, Error> {
    let count = data.vectors.len();
    let (mut last, mut all) = (0.0, 0.0);
    let mut timed = |work: &dyn Fn() -> Result<(), Error>| -> Result<(), Error> {
        let cpu = cpu_time();
        work()?;
        last = (cpu_time() - cpu).as_secs_f64();
        all += last;
        Ok(())
    };
    let seal = || Ok(collection.seal(|_| {}).wait().map(drop)?);
    let merge = || Ok(collection.optimize(|_| {}).wait().map(drop)?);
    let part = |part: usize, parts: usize| part * count / parts..(part + 1) * count / parts;
    match way {
        Way::New => {
            upsert(collection, data, 0..count)?;
            timed(&seal)?;
        }
        Way::Together(parts) => {
            for number in 0..parts {
                upsert(collection, data, part(number, parts))?;
                timed(&seal)?;
            }
            timed(&merge)?;
        }
        Way::OneByOne(parts) => {
            for number in 0..parts {
                upsert(collection, data, part(number, parts))?;
                timed(&merge)?;
            }
        }
    }
    let segments = collection.info()?.segments.len();
    if segments != 1 {
        return Err(format!("{segments} segments are left instead of one").into());
    }
    Ok(Built { last_seconds: last, all_seconds: all, rewritten: collection.counters().points_rewritten })
}

fn search(collection: &Collection, data: &SearchData) -> Result<Searched, Error> {
    let once = |params: SearchParams| -> Result<(Vec<SearchResult>, f64), Error> {
        let request =
            |query: &[f32]| SearchRequest { params, limit: LIMIT, ..SearchRequest::new(query.to_vec()) };
        let requests: Vec<SearchRequest> = data.queries.iter().map(request).collect();
        let cpu = cpu_time();
        let found = collection.search_batch(requests).wait()?;
        Ok((found, (cpu_time() - cpu).as_secs_f64() / data.queries.len() as f64 * 1e6))
    };
    let truth: Vec<Vec<PointId>> = match &data.truth {
        Some(truth) => truth.clone(),
        None => once(SearchParams { exact: true, ..SearchParams::default() })?.0.iter().map(ids).collect(),
    };
    let default_recall = recall(&once(SearchParams::default())?.0, &truth);
    let mut before: Option<(f64, f64, f64)> = None;
    for ef in EFS {
        let params = SearchParams { ef, ..SearchParams::default() };
        let (found, mut cpu_us) = once(params)?;
        for _ in 1..REPEATS {
            cpu_us = cpu_us.min(once(params)?.1);
        }
        let codes: u64 = found.iter().map(|found| found.stats.codes_scored).sum();
        let now = (recall(&found, &truth), cpu_us, codes as f64 / data.queries.len() as f64);
        let low = before.unwrap_or(now);
        if now.0 >= RECALL {
            let part = if now.0 > low.0 { (RECALL - low.0) / (now.0 - low.0) } else { 1.0 };
            let between = |low: f64, high: f64| low + part * (high - low);
            let (cpu_us, codes) = (between(low.1, now.1), between(low.2, now.2));
            return Ok(Searched { cpu_us, codes, default_recall });
        }
        before = Some(now);
    }
    Err(format!("no setting reaches a recall of {RECALL}").into())
}

fn main() -> Result<(), Error> {
    let data = SearchData::load(if variable("BENCH_QUICK").is_some() { 4000 } else { 60_000 })?;
    let threads = variable("BENCH_THREADS").map_or(Ok(2), |threads| threads.parse())?;
    let indexes = variable("BENCH_INDEX").unwrap_or_else(|| "compact,linked,cells".to_owned());
    let Vectors { dim, element, .. } = data.vectors;
    let count = data.vectors.len();
    let title =
        format!("Merges: {count} vectors of dimension {dim}, {threads} threads, everything in memory");
    let columns = [
        "index",
        "way",
        "points written again",
        "CPU s of all",
        "CPU s of the last",
        "to all at once",
        "CPU us a query",
        "codes scored",
        "default recall",
    ];
    let mut table = Table::new(title, &columns)
        .note(
            "*to all at once*: the CPU time of the last build, to that of building the same points all at once. *CPU us a \
             query* and *codes scored* are those at a recall of 0.95, between the two nearest settings.",
        )
        .plot(Plot::new("way", "CPU s of the last", "index"));
    for name in indexes.split(',') {
        let index: Index = name.parse()?;
        let mut of_new = None;
        for way in Way::ALL {
            let dir = tempfile::tempdir_in(variable("BENCH_DIR").unwrap_or_else(|| ".".to_owned()))?;
            let schema = index.of(Schema { element, placement: IN_MEMORY, ..Schema::new(dim as u32) });
            let options = CollectionOptions {
                background: false,
                cores: threads,
                reads_per_core: 1,
                seal_points: usize::MAX,
                ..CollectionOptions::default()
            };
            let backend = DynBackend::new(MmapBackend::default());
            let collection = Collection::create(&backend, &dir.path().join("c"), &schema, &options)?;
            let built = build(&collection, &data, way)?;
            let searched = search(&collection, &data)?;
            collection.close()?;
            let of_new = *of_new.get_or_insert(built.last_seconds);
            table.row([
                name.into(),
                way.name().into(),
                built.rewritten.into(),
                built.all_seconds.into(),
                built.last_seconds.into(),
                (built.last_seconds / of_new).into(),
                searched.cpu_us.into(),
                searched.codes.into(),
                searched.default_recall.into(),
            ]);
        }
    }
    let mut report = Report::new("merges");
    report.table(table);
    report.finish()
}
