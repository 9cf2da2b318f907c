//! Segments: the same files and the same answers through every backend, right answers, and every kind of damage found.

use io_core::testing::{Faults, FaultyBackend, MemoryBackend};
use io_core::{BackendFactory, ElementType, OpenOptions, StopFlag};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vecstore::backends::BackendKind;
use vecstore::dataset::Clustered;
use vecstore::distance::Distance;
use vecstore::hnsw::HnswParams;
use vecstore::input::{Format, InputError, Rows, VectorInput, VectorSource};
use vecstore::pool::{Pool, PoolOptions};
use vecstore::segment::{
    BuildParams, BuildStage, Hit, OpenSegment, SearchParams, SearchResult, SegmentData, SegmentError,
    build_segment,
};

const FILES: [&str; 4] = ["codes.part", "graph.part", "segment.json", "vectors.vec"];

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn build<B: BackendFactory, S: VectorSource>(
    backend: &B,
    source: &mut S,
    path: &Path,
    params: &BuildParams,
) -> Result<(), SegmentError> {
    build_segment(backend, source, path, params, &|_| {}, &StopFlag::new()).map(drop)
}

fn small(count: usize, dim: usize, dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().join("small.vecstore");
    let backend = BackendKind::all()[0].backend();
    build(&backend, &mut Clustered::new(count, dim, 1), &path, &BuildParams::default()).unwrap();
    path
}

fn load<B: BackendFactory>(backend: &B, path: &Path) -> Result<Arc<SegmentData>, SegmentError> {
    let options = OpenOptions::default();
    backend.run(|| SegmentData::load(backend, path, &options)).unwrap().map(Arc::new)
}

fn search_all<B: BackendFactory>(
    backend: &B,
    path: &Path,
    queries: &[Vec<f32>],
    params: SearchParams,
    options: &OpenOptions,
) -> Result<Vec<SearchResult>, SegmentError> {
    let data = load(backend, path)?;
    backend
        .run(|| async {
            let segment = OpenSegment::open(backend, data, options).await?;
            let mut results = Vec::new();
            for query in queries {
                results.push(segment.search(query, &params, None).await?);
            }
            segment.close().await?;
            Ok(results)
        })
        .unwrap()
}

/// All vectors of a source, as they are.
fn all_rows(source: &mut impl VectorSource) -> Vec<Vec<f32>> {
    let (dim, count) = (source.dim(), source.count() as usize);
    let rows: Vec<f32> = match source.next_rows(count).unwrap() {
        Rows::F32(rows) => rows.to_vec(),
        Rows::F16(rows) => rows.iter().map(|x| x.to_f32()).collect(),
        Rows::U8(rows) => rows.iter().map(|&x| f32::from(x)).collect(),
    };
    rows.chunks_exact(dim).map(<[f32]>::to_vec).collect()
}

/// The nearest points in `f64`, by the textbook.
fn nearest(distance: Distance, rows: &[Vec<f32>], query: &[f32], limit: usize) -> Vec<(u32, f64)> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let score = |row: &[f32]| match distance {
        Distance::Dot => dot(row, query),
        Distance::Cosine => dot(row, query) / (dot(row, row) * dot(query, query)).sqrt(),
        Distance::Euclid => {
            -row.iter().zip(query).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>().sqrt()
        }
    };
    let mut scored: Vec<_> = rows.iter().enumerate().map(|(id, row)| (id as u32, score(row))).collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored.truncate(limit);
    scored
        .iter()
        .map(|&(id, score)| (id, if distance == Distance::Euclid { -score } else { score }))
        .collect()
}

#[test]
fn every_backend_writes_the_same_files_and_finds_the_same() {
    let dir = tempdir();
    let queries = Clustered::new(3000, 20, 9).queries(50);
    let mut first: Option<(Vec<Vec<u8>>, Vec<SearchResult>)> = None;
    for kind in BackendKind::all() {
        let backend = kind.backend();
        let path = dir.path().join(kind.name());
        build(&backend, &mut Clustered::new(3000, 20, 9), &path, &BuildParams::default()).unwrap();
        let files: Vec<_> = FILES.iter().map(|name| std::fs::read(path.join(name)).unwrap()).collect();
        let results =
            search_all(&backend, &path, &queries, SearchParams::default(), &OpenOptions::default()).unwrap();
        if let Some((files_before, results_before)) = &first {
            assert!(files == *files_before, "{kind} wrote other bytes");
            let hits = |results: &[SearchResult]| results.iter().map(|r| r.hits.clone()).collect::<Vec<_>>();
            assert_eq!(hits(&results), hits(results_before), "{kind} found something else");
        } else {
            first = Some((files, results));
        }
    }
}

#[test]
fn exact_search_is_the_textbook_for_every_distance_and_element() {
    let dir = tempdir();
    let bytes: Vec<u8> = (0..400 * 12u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
    let halves: Vec<u8> =
        bytes.iter().flat_map(|&b| half::f16::from_f32(f32::from(b) / 9.0 - 14.0).to_le_bytes()).collect();
    let floats: Vec<u8> = bytes.iter().flat_map(|&b| (f32::from(b) / 7.0 - 18.0).to_le_bytes()).collect();
    let inputs = [(ElementType::U8, bytes), (ElementType::F16, halves), (ElementType::F32, floats)];
    for (element, data) in inputs {
        let file = dir.path().join(format!("{element}.bin"));
        std::fs::write(&file, data).unwrap();
        let open = || VectorInput::open(&file, Format::Raw { dim: 12, element }).unwrap();
        let rows = all_rows(&mut open());
        for distance in Distance::ALL {
            let path = dir.path().join(format!("{element}-{distance}"));
            let backend = MemoryBackend::new(1);
            // Codes and graph are built on the real disk or in memory alike; the manifest is always a real file.
            let params = BuildParams { distance, ..BuildParams::default() };
            build(&backend, &mut open(), &path, &params).unwrap();
            let queries: Vec<_> =
                rows.iter().step_by(97).map(|row| row.iter().rev().copied().collect()).collect();
            let params = SearchParams { limit: 5, exact: true, ..SearchParams::default() };
            // The in-memory files kept the name they were written under.
            let staged = staged_name(&path);
            for name in FILES.iter().filter(|name| **name != "segment.json") {
                backend.put(&path.join(name), backend.get(&staged.join(name)).unwrap());
            }
            let found = search_all(&backend, &path, &queries, params, &OpenOptions::default()).unwrap();
            for (query, result) in queries.iter().zip(found) {
                let expected = nearest(distance, &rows, query, 5);
                assert_eq!(result.hits.len(), 5);
                for (hit, (id, score)) in result.hits.iter().zip(expected) {
                    let tolerance = 1e-4 * score.abs().max(1.0);
                    assert!(
                        (f64::from(hit.score) - score).abs() < tolerance,
                        "{element} {distance}: {hit:?} {id} {score}"
                    );
                }
                assert_eq!(result.stats.originals_scored, 400);
            }
        }
    }
}

fn staged_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap().to_owned();
    name.push(format!(".building-{}", std::process::id()));
    path.with_file_name(name)
}

#[test]
fn search_finds_what_exact_search_finds() {
    let dir = tempdir();
    let backend = BackendKind::all()[0].backend();
    let path = dir.path().join("s");
    let mut source = Clustered::new(5000, 32, 4);
    build(&backend, &mut source, &path, &BuildParams::default()).unwrap();
    let queries = source.queries(100);
    let options = OpenOptions::default();
    let exact = SearchParams { exact: true, ..SearchParams::default() };
    let exact = search_all(&backend, &path, &queries, exact, &options).unwrap();
    let found = search_all(&backend, &path, &queries, SearchParams::default(), &options).unwrap();
    let unrescored = SearchParams { rescore: false, ..SearchParams::default() };
    let unrescored = search_all(&backend, &path, &queries, unrescored, &options).unwrap();
    let recall = |results: &[SearchResult]| {
        let ids = |result: &SearchResult| result.hits.iter().map(|hit| hit.id).collect::<Vec<_>>();
        let found = results.iter().zip(&exact).flat_map(|(result, exact)| {
            let exact = ids(exact);
            ids(result).into_iter().filter(move |id| exact.contains(id))
        });
        found.count() as f64 / 1000.0
    };
    assert!(recall(&found) >= 0.98, "{}", recall(&found));
    assert!(recall(&found) > recall(&unrescored), "rescoring must help");
    for result in &found {
        assert_eq!(result.stats.originals_scored, 20, "limit x oversampling");
        assert!(result.hits.is_sorted_by(|a, b| a.score >= b.score));
    }
    assert!(unrescored.iter().all(|result| result.stats.read.reads == 0), "the codes alone need no disk");
}

#[test]
fn a_damaged_segment_is_refused_and_the_file_is_named() {
    let dir = tempdir();
    let path = small(500, 8, &dir);
    let backend = BackendKind::all()[0].backend();
    let query = Clustered::new(500, 8, 1).queries(1);
    let open = || search_all(&backend, &path, &query, SearchParams::default(), &OpenOptions::default());
    open().unwrap();
    for name in FILES {
        let file = path.join(name);
        let whole = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        open().expect_err("a file is missing");
        // The manifest's last byte is a line end, which it can do without.
        for len in [0, 10, whole.len() / 2, whole.len() - 2] {
            std::fs::write(&file, &whole[..len]).unwrap();
            let error = open().expect_err("a file is cut off").to_string();
            assert!(error.contains(name), "{name} cut to {len}: {error}");
        }
        std::fs::write(&file, &whole).unwrap();
    }
    for name in ["codes.part", "graph.part"] {
        let file = path.join(name);
        let whole = std::fs::read(&file).unwrap();
        let sections_end = whole.iter().rposition(|&byte| byte != 0).unwrap();
        for at in [0, 9, 13, 17, 21, 25, 4093, 4096, 4100, sections_end] {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(&file, &flipped).unwrap();
            let error = open().expect_err("a bit flipped").to_string();
            assert!(error.contains(name), "{name}, byte {at}: {error}");
        }
        std::fs::write(&file, &whole).unwrap();
    }
    open().unwrap();
}

#[test]
fn files_of_two_segments_do_not_go_together() {
    let (dir, other) = (tempdir(), tempdir());
    let (path, other) = (small(500, 8, &dir), small(501, 8, &other));
    for name in ["codes.part", "graph.part", "vectors.vec"] {
        let mine = std::fs::read(path.join(name)).unwrap();
        std::fs::copy(other.join(name), path.join(name)).unwrap();
        let backend = BackendKind::all()[0].backend();
        let opened =
            search_all(&backend, &path, &[vec![0.5; 8]], SearchParams::default(), &OpenOptions::default());
        assert!(
            matches!(opened, Err(SegmentError::Mismatch { found: 501, expected: 500, .. })),
            "{opened:?}"
        );
        std::fs::write(path.join(name), mine).unwrap();
    }
}

#[test]
fn what_is_no_segment_and_what_exists_are_named() {
    let dir = tempdir();
    let backend = BackendKind::all()[0].backend();
    assert!(matches!(load(&backend, dir.path()), Err(SegmentError::NotASegment { .. })));
    assert!(matches!(load(&backend, &dir.path().join("missing")), Err(SegmentError::Io { .. })));
    let exists = build(&backend, &mut Clustered::new(10, 4, 1), dir.path(), &BuildParams::default());
    assert!(matches!(exists, Err(SegmentError::Exists { .. })), "{exists:?}");
    let empty = build(&backend, &mut Clustered::new(0, 4, 1), &dir.path().join("e"), &BuildParams::default());
    assert!(matches!(empty, Err(SegmentError::Empty { .. })), "{empty:?}");
    let hnsw = HnswParams { m: 1, ..HnswParams::default() };
    let params = BuildParams { hnsw, ..BuildParams::default() };
    let bad = build(&backend, &mut Clustered::new(10, 4, 1), &dir.path().join("b"), &params);
    assert!(matches!(bad, Err(SegmentError::Build(_))), "{bad:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "failed builds leave nothing");
}

/// A source that fails, or raises a flag, at a row.
struct Failing<F>(Clustered, Cell<u64>, F);

impl<F: FnMut(u64) -> Result<(), InputError>> VectorSource for Failing<F> {
    fn name(&self) -> &Path {
        self.0.name()
    }
    fn count(&self) -> u64 {
        self.0.count()
    }
    fn dim(&self) -> usize {
        self.0.dim()
    }
    fn element(&self) -> ElementType {
        self.0.element()
    }
    fn next_rows(&mut self, rows_max: usize) -> Result<Rows<'_>, InputError> {
        (self.2)(self.1.replace(self.1.get() + 1))?;
        self.0.next_rows(rows_max)
    }
}

#[test]
fn a_build_that_fails_or_is_stopped_leaves_nothing_behind() {
    let dir = tempdir();
    let path = dir.path().join("s");
    let backend = BackendKind::all()[0].backend();
    let mut source = Failing(Clustered::new(5000, 8, 1), Cell::new(0), |block| {
        if block < 3 { Ok(()) } else { Err(InputError::Empty { path: "late".into() }) }
    });
    let failed = build(&backend, &mut source, &path, &BuildParams::default());
    assert!(matches!(failed, Err(SegmentError::Input(InputError::Empty { .. }))), "{failed:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    for stage in [BuildStage::Vectors, BuildStage::Graph, BuildStage::Files] {
        let stop = StopFlag::new();
        let raise = |progress: vecstore::segment::BuildProgress| {
            if progress.stage == stage {
                stop.stop();
            }
        };
        let mut source = Clustered::new(3000, 8, 1);
        let stopped = build_segment(&backend, &mut source, &path, &BuildParams::default(), &raise, &stop);
        assert!(matches!(stopped, Err(SegmentError::Stopped)), "{stage:?}: {stopped:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{stage:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_wherever_it_strikes_and_leaves_nothing_behind() {
    let dir = tempdir();
    let path = dir.path().join("s");
    for transfer in 0..6 {
        let backend = FaultyBackend::new(
            MemoryBackend::new(1),
            Faults { no_space_from: Some(transfer), ..Faults::default() },
        );
        let failed = build(&backend, &mut Clustered::new(2000, 8, 1), &path, &BuildParams::default());
        let error = failed.expect_err("the disk is full").to_string();
        assert!(error.contains("No space left"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn bad_queries_and_parameters_are_named() {
    let dir = tempdir();
    let path = small(200, 8, &dir);
    let backend = BackendKind::all()[0].backend();
    let run = |query: Vec<f32>, params: SearchParams| {
        search_all(&backend, &path, &[query], params, &OpenOptions::default()).expect_err("bad")
    };
    let good = SearchParams::default();
    assert!(matches!(run(vec![0.0; 7], good), SegmentError::QueryDimension { found: 7, dim: 8 }));
    let nan = [1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    assert!(matches!(run(nan.to_vec(), good), SegmentError::QueryNotFinite { component: 1, .. }));
    for (params, wrong) in [
        (SearchParams { limit: 0, ..good }, "limit"),
        (SearchParams { ef: 0, ..good }, "ef"),
        (SearchParams { oversampling: 0.5, ..good }, "oversampling"),
        (SearchParams { oversampling: f32::NAN, ..good }, "oversampling"),
    ] {
        assert!(matches!(run(vec![0.0; 8], params), SegmentError::BadParams { name, .. } if name == wrong));
    }
}

#[test]
fn limits_larger_than_the_segment_give_all_of_it() {
    let dir = tempdir();
    let path = small(30, 8, &dir);
    let backend = BackendKind::all()[0].backend();
    let params = SearchParams { limit: 100, ..SearchParams::default() };
    let found = search_all(&backend, &path, &[vec![0.5; 8]], params, &OpenOptions::default()).unwrap();
    let mut ids: Vec<u32> = found[0].hits.iter().map(|hit| hit.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..30).collect::<Vec<_>>());
}

#[test]
fn the_pool_answers_from_any_thread_like_a_single_core() {
    let dir = tempdir();
    let path = small(2000, 16, &dir);
    let queries = Clustered::new(2000, 16, 1).queries(64);
    for kind in BackendKind::all() {
        let backend = kind.backend();
        let alone =
            search_all(&backend, &path, &queries, SearchParams::default(), &OpenOptions::default()).unwrap();
        let data = load(&backend, &path).unwrap();
        let pool = Pool::start(&backend, &data, &PoolOptions::default()).unwrap();
        let expected: Vec<Vec<Hit>> = alone.into_iter().map(|result| result.hits).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (pool, queries, expected) = (&pool, &queries, &expected);
                scope.spawn(move || {
                    for index in (thread..64).step_by(4) {
                        let found =
                            pool.search_blocking(queries[index].clone(), SearchParams::default()).unwrap();
                        assert_eq!(found.hits, expected[index]);
                    }
                });
            }
        });
        // Futures that are dropped, before and after they were first polled, disturb nobody.
        drop(pool.search(queries[0].clone(), SearchParams::default()));
        let mut pending = Box::pin(pool.search(queries[0].clone(), SearchParams::default()));
        let _ = pending.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        drop(pending);
        let wrong = pool.search_blocking(vec![1.0], SearchParams::default());
        assert!(matches!(wrong, Err(SegmentError::QueryDimension { .. })));
        assert_eq!(
            pool.search_blocking(queries[1].clone(), SearchParams::default()).unwrap().hits,
            expected[1]
        );
        pool.close().unwrap();
    }
}

#[test]
fn a_pool_that_cannot_open_the_originals_says_so_and_leaves_no_thread() {
    let dir = tempdir();
    let path = small(200, 8, &dir);
    let backend = BackendKind::all()[0].backend();
    let data = load(&backend, &path).unwrap();
    std::fs::remove_file(path.join("vectors.vec")).unwrap();
    let error = Pool::start(&backend, &data, &PoolOptions::default()).map(drop).unwrap_err();
    assert!(matches!(error, SegmentError::Open(_)), "{error}");
    assert!(error.to_string().contains("vectors.vec"), "{error}");
}

#[test]
fn read_errors_reach_the_caller_and_the_segment_goes_on() {
    let memory = MemoryBackend::new(3);
    let dir = tempdir();
    let path = dir.path().join("s");
    build(&memory, &mut Clustered::new(1000, 8, 1), &path, &BuildParams::default()).unwrap();
    for name in FILES.iter().filter(|name| **name != "segment.json") {
        memory.put(&path.join(name), memory.get(&staged_name(&path).join(name)).unwrap());
    }
    let data = load(&memory, &path).unwrap();
    let faulty = FaultyBackend::new(memory, Faults { io_error_at: Some(5), ..Faults::default() });
    // Nothing merges but neighbours, so that there are reads enough for one to fail.
    let options = OpenOptions { gap_max: 0, ..OpenOptions::default() };
    faulty
        .run(|| async {
            let segment = OpenSegment::open(&faulty, data, &options).await.unwrap();
            let query = [0.3; 8];
            let params = SearchParams { limit: 30, ..SearchParams::default() };
            let error = segment.search(&query, &params, None).await.unwrap_err();
            assert!(error.to_string().contains("vectors.vec"), "{error}");
            assert_eq!(segment.search(&query, &params, None).await.unwrap().hits.len(), 30);
            let stop = StopFlag::new();
            stop.stop();
            let stopped = segment.search(&query, &params, Some(&stop)).await;
            assert!(matches!(stopped, Err(SegmentError::Stopped)), "{stopped:?}");
        })
        .unwrap();
}
