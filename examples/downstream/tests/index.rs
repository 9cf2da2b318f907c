//! The index over every backend of the build, against a map in memory.

use downstream::backends;
use downstream::index::{Index, IndexError, build};
use io_core::{BackendFactory, Executor, OpenError, OpenOptions, ReadControl, ReadError, StopFlag};
use std::collections::BTreeMap;
use std::error::Error;
use std::future::poll_fn;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

type Outcome = Result<(), Box<dyn Error>>;

/// Three levels: 391 leaves, 2 pages above them, and the root.
fn entries() -> BTreeMap<u64, u64> {
    (0..100_000u64).map(|at| (at * 3 + 5, at.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

/// Keys below, above and between those of the file, and on both sides of pages.
fn keys() -> Vec<u64> {
    let scattered = (0..600).map(|at| at * 7919 % 320_000);
    let at_pages = [0, 255, 256, 65_535, 65_536, 99_999].map(|at| at * 3 + 5);
    scattered.chain(at_pages).chain([0, 4, u64::MAX]).collect()
}

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn file_of_entries() -> tempfile::NamedTempFile {
    file_of(&build(&entries().into_iter().collect::<Vec<_>>()))
}

async fn open<B: BackendFactory>(backend: &B, path: &Path) -> Result<Index<B::Reader>, Box<dyn Error>> {
    Ok(Index::open(backend.open(path, &OpenOptions::default()).await?).await?)
}

async fn answers_are_right<B: BackendFactory>(backend: &B, path: &Path) -> Outcome {
    let (entries, keys) = (entries(), keys());
    let expected: Vec<_> = keys.iter().map(|key| entries.get(key).copied()).collect();
    assert!(expected.iter().flatten().count() > 150);
    let index = open(backend, path).await?;
    assert_eq!(index.find(&keys, ReadControl::new()).await?, expected);
    assert_eq!(index.find(&[], ReadControl::new()).await?, []);
    // A dropped search takes nothing from the next one.
    {
        let mut dropped = pin!(index.find(&keys, ReadControl::new()));
        poll_fn(|cx| {
            let _ = dropped.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }
    assert_eq!(index.find(&keys, ReadControl::new()).await?, expected);
    Ok(index.close().await?)
}

async fn ends_early<B: BackendFactory>(backend: &B, path: &Path) -> Outcome {
    let index = open(backend, path).await?;
    let late = index.find(&[5], ReadControl::new().with_deadline(Instant::now())).await;
    assert!(matches!(late, Err(IndexError::Read(ReadError::Deadline { .. }))), "{late:?}");
    let stop = StopFlag::new();
    stop.stop();
    let stopped = index.find(&[5], ReadControl::new().with_stop(stop)).await;
    assert!(matches!(stopped, Err(IndexError::Stopped { .. })), "{stopped:?}");
    index.close().await?;
    let closed = index.find(&[5], ReadControl::new()).await;
    assert!(matches!(closed, Err(IndexError::Read(ReadError::Closed { .. }))), "{closed:?}");
    Ok(())
}

fn on_every_backend(path: &Path) -> Outcome {
    fn on<B: BackendFactory>(backend: &B, path: &Path) -> Outcome {
        println!("{}", backend.name());
        backend.run(|| answers_are_right(backend, path))??;
        backend.run(|| ends_early(backend, path))?
    }
    backends::all().iter().try_for_each(|backend| on(backend, path))?;
    backends::send().iter().try_for_each(|backend| on(backend, path))
}

#[test]
fn every_backend_gives_the_answers_of_memory_and_ends_early() -> Outcome {
    on_every_backend(file_of_entries().path())
}

/// What a search of a file of these bytes says, on the first backend.
fn said_of(bytes: &[u8]) -> Option<String> {
    let backend = backends::all().into_iter().next()?;
    let file = file_of(bytes);
    let search = || async {
        let index = open(&backend, file.path()).await?;
        index.find(&[5, 6], ReadControl::new()).await?;
        Outcome::Ok(())
    };
    let error = backend.run(search).unwrap().unwrap_err();
    assert!(!error.is::<OpenError>(), "{error}");
    Some(error.to_string().replace(&file.path().display().to_string(), "FILE"))
}

#[test]
fn a_file_of_another_shape_is_an_error_that_says_so() {
    let good = build(&(0..1000).map(|key| (key, key)).collect::<Vec<_>>());
    let mut wrong_page = good.clone();
    // The page that the first pair of the root names.
    let at = wrong_page.len() - 4096 + 8;
    wrong_page[at] = 200;
    let mut other = good.clone();
    other[0] = b'q';
    for (bytes, what) in [
        (&good[..4096], "4096 bytes are not two or more pages of 4096"),
        (&good[..9000], "9000 bytes are not two or more pages of 4096"),
        (&other, "it does not begin as an index"),
        (&wrong_page, "a page names page 200, and only 1 to 4 can be"),
    ] {
        let Some(said) = said_of(bytes) else { return };
        assert_eq!(said, format!("FILE: {what}; this is no index, or it is damaged"));
    }
}
