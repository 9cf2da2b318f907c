//! What the feature `tracing` says about reads: a span for each batch and session, and events in them.

use io_core::testing::{Captured, Faults, FaultyBackend, MemoryBackend};
use io_core::{
    Completion, DynVectorReader, Executor, FileSession, FileSystem, OpenOptions, ReadControl, ReadError,
    ReadOutcome, ReadRequest,
};
use std::ops::ControlFlow;
use std::path::Path;

const SPAN: &str = "DEBUG io_core::read batch file=vectors backend=memory";

/// Runs `read` over a file of 64 KiB with these faults. Returns its result, and what was captured meanwhile.
fn captured<T>(faults: Faults, read: impl AsyncFnOnce(&dyn DynVectorReader) -> T) -> (T, Vec<String>) {
    let captured = Captured::new();
    let memory = MemoryBackend::new(1);
    memory.put(Path::new("vectors"), vec![7; 1 << 16]);
    let backend = FaultyBackend::new(memory, faults);
    let run = tracing::subscriber::with_default(captured.clone(), || {
        backend.run(|| async {
            let reader = backend.open(Path::new("vectors"), &OpenOptions::default()).await.expect("opens");
            read(&reader).await
        })
    });
    (run.expect("starts"), captured.take())
}

async fn batch(
    reader: &dyn DynVectorReader,
    requests: &[ReadRequest],
    mut sink: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<ReadOutcome, ReadError> {
    reader.read_vectors_dyn(requests, &ReadControl::default(), &mut |index, _| sink(index)).await
}

fn all(_index: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Requests that are too far apart for a common read.
fn eight() -> [ReadRequest; 8] {
    std::array::from_fn(|read| ReadRequest::new(read as u64 * 8192, 100))
}

#[test]
fn a_batch_is_a_span_with_an_event_at_its_end() {
    // The first two are one read, and the last one is a duplicate.
    let requests = [(0, 400), (400, 100), (60_000, 10), (60_000, 10)];
    let requests = requests.map(|(offset, len)| ReadRequest::new(offset, len));
    let (_, lines) = captured(Faults::default(), async |reader| {
        batch(reader, &requests, |index| {
            tracing::info!(target: "caller", index, "delivered");
            ControlFlow::Continue(())
        })
        .await
        .unwrap()
    });
    let (from_sink, lines): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line.starts_with("INFO caller batch/"));
    assert_eq!(from_sink.len(), 4, "the sink runs within the span");
    let end = "delivered=4 end=Complete reads=2 bytes_read=510 merged=1 duplicates=1";
    assert_eq!(
        lines,
        [
            format!("{SPAN} requests=4 bytes_wanted=520"),
            format!("DEBUG io_core::read batch/batch_ended {end}"),
        ]
    );
}

#[test]
fn a_stopped_batch_says_so() {
    let requests = [ReadRequest::new(0, 400), ReadRequest::new(400, 400)];
    let (_, lines) = captured(Faults::default(), async |reader| {
        batch(reader, &requests, |_| ControlFlow::Break(())).await.unwrap()
    });
    let end = "delivered=1 end=Stopped reads=1 bytes_read=800 merged=1 duplicates=0";
    assert_eq!(lines[1..], [format!("DEBUG io_core::read batch/batch_ended {end}")]);
}

#[test]
fn short_reads_are_events_of_their_batch() {
    let faults = Faults { seed: 1, short: 0.5, ..Faults::default() };
    let (outcome, lines) = captured(faults, async |reader| batch(reader, &eight(), all).await.unwrap());
    assert!(outcome.stats.reads > 8, "the seed has a short read");
    let short = |line: &String| line.starts_with("DEBUG io_core::read batch/short_read offset=");
    let (short, others): (Vec<_>, Vec<_>) = lines.into_iter().partition(short);
    assert_eq!((short.len() as u64, others.len()), (outcome.stats.reads - 8, 2), "{short:#?} {others:#?}");
}

#[test]
fn repeated_reads_are_events_of_their_batch() {
    let faults = Faults { seed: 1, interrupted: 0.5, ..Faults::default() };
    let (outcome, lines) = captured(faults, async |reader| batch(reader, &eight(), all).await.unwrap());
    assert_eq!(outcome.delivered, 8);
    let repeated = "len=100 error=operation interrupted repeated=true";
    let (retries, others): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| {
        line.starts_with("DEBUG io_core::read batch/read_failed offset=") && line.ends_with(repeated)
    });
    assert!(!retries.is_empty(), "the seed interrupts a read");
    assert_eq!(others.len(), 2, "{others:#?}");
}

#[test]
fn an_error_is_an_event_with_its_causes() {
    let faults = Faults { io_error_at: Some(0), ..Faults::default() };
    let (error, lines) =
        captured(faults, async |reader| batch(reader, &[ReadRequest::new(0, 100)], all).await.unwrap_err());
    let error = io_core::with_causes(&error).to_string();
    assert!(error.contains("os error 5"), "{error}");
    let eio = std::io::Error::from_raw_os_error(5);
    assert_eq!(
        lines[1..],
        [
            format!("DEBUG io_core::read batch/read_failed offset=0 len=100 error={eio} repeated=false"),
            format!("DEBUG io_core::read batch/batch_failed error={error}"),
        ]
    );
}

#[test]
fn a_session_is_a_span_with_an_event_at_its_end() {
    let faults = Faults { io_error_at: Some(1), ..Faults::default() };
    let (_, lines) = captured(faults, async |reader| {
        let mut session = reader.session_dyn(ReadControl::default());
        for (tag, offset) in [(1, 0), (2, 0), (3, 32_768)] {
            session.submit(tag, ReadRequest::new(offset, 100));
        }
        let mut failed = 0;
        while let Some(Completion { bytes, .. }) = std::future::poll_fn(|cx| session.poll_next(cx)).await {
            failed += u64::from(bytes.is_err());
        }
        assert_eq!(failed, 1, "the second read is that of the last request");
    });
    let eio = std::io::Error::from_raw_os_error(5);
    let end = "delivered=2 bytes_wanted=300 reads=1 bytes_read=100 merged=0 duplicates=1";
    assert_eq!(
        lines,
        [
            "DEBUG io_core::read session file=vectors backend=memory".to_owned(),
            format!(
                "DEBUG io_core::read session/read_failed offset=32768 len=100 error={eio} repeated=false"
            ),
            format!("DEBUG io_core::read session/session_ended {end}"),
        ]
    );
}
