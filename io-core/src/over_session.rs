//! A batch that is read through a session, for readers that have only that.

use crate::session::FileSession;
use crate::{BatchEnd, ReadControl, ReadError, ReadOutcome, ReadRequest};
use std::future::poll_fn;
use std::ops::ControlFlow;

/// Reads every request through `session`, which must have `control` and nothing pending. Each request was
/// found to lie within the file.
///
/// The promises of a batch hold, but each read allocates.
pub(crate) async fn read_over_session(
    mut session: impl FileSession,
    requests: &[ReadRequest],
    control: &ReadControl,
    mut sink: impl FnMut(usize, &[u8]) -> ControlFlow<()>,
) -> Result<ReadOutcome, ReadError> {
    if let Some(meter) = &control.meter {
        meter.batch_started(0, 0, 0);
    }
    let mut outcome = ReadOutcome::new();
    let mut failure = None;
    for (tag, &request) in (0..).zip(requests) {
        session.submit(tag, request);
    }
    while let Some(completion) = poll_fn(|cx| session.poll_next(cx)).await {
        outcome.end = control.end();
        match completion.bytes {
            Err(ReadError::Deadline { .. }) => outcome.end = BatchEnd::Deadline,
            Err(error) => failure = Some(error.after(outcome.delivered)),
            Ok(bytes) if outcome.is_complete() => {
                outcome.delivered += 1;
                if sink(completion.tag as usize, &bytes).is_break() {
                    outcome.end = BatchEnd::Stopped;
                }
            }
            Ok(_) => {}
        }
        if failure.is_some() || !outcome.is_complete() {
            session.cancel_all();
            break;
        }
    }
    // Reads in flight are drained.
    while poll_fn(|cx| session.poll_next(cx)).await.is_some() {}
    if let Some(error) = failure {
        return Err(error);
    }
    if outcome.is_complete() && outcome.delivered < requests.len() {
        outcome.end = control.end();
    }
    outcome.stats = session.stats();
    Ok(outcome)
}
