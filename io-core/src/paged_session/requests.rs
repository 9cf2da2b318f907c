//! The requests of a session: open until they complete, fail or are cancelled.

use crate::alarm::{Alarm, alarm};
use crate::engine::Failure;
use crate::session::{Completion, ReadTerms};
use crate::{ReadError, ReadRequest};
use bytes::Bytes;
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// A request's place in [`Requests`].
pub(super) type RequestKey = u32;

struct Entry {
    request: ReadRequest,
    tag: u64,
    terms: ReadTerms,
    /// The reads that serve it and have not ended, and the list of requests that wait for a plan.
    holders: u32,
    /// Bytes that have not been copied to `buffer`.
    missing: u32,
    /// Bytes that came in more than one completion.
    buffer: Vec<u8>,
    /// It has completed or was cancelled.
    over: bool,
}

/// The requests of a session, and their completions.
pub(super) struct Requests {
    file: Arc<Path>,
    entries: Slab<Entry>,
    completed: VecDeque<Completion>,
    /// Of the requests that are not over.
    deadlines: BTreeSet<(Instant, RequestKey)>,
    alarm: Option<Alarm>,
    /// Requests that are not over.
    open: usize,
    delivered: usize,
}

impl Requests {
    pub(super) fn new(file: Arc<Path>) -> Self {
        Self {
            file,
            entries: Slab::new(),
            completed: VecDeque::new(),
            deadlines: BTreeSet::new(),
            alarm: None,
            open: 0,
            delivered: 0,
        }
    }

    /// Adds a request, with one holder.
    pub(super) fn add(&mut self, tag: u64, request: ReadRequest, terms: ReadTerms) -> RequestKey {
        self.open += 1;
        let (missing, buffer) = (request.len, Vec::new());
        let entry = Entry { request, tag, terms, holders: 1, missing, buffer, over: false };
        let key = self.entries.insert(entry) as RequestKey;
        self.deadlines.extend(terms.deadline.map(|deadline| (deadline, key)));
        key
    }

    pub(super) fn hold(&mut self, key: RequestKey) {
        self.entries[key as usize].holders += 1;
    }

    /// One holder less. The last one forgets the request.
    pub(super) fn release(&mut self, key: RequestKey) {
        let entry = &mut self.entries[key as usize];
        entry.holders -= 1;
        if entry.holders == 0 {
            debug_assert!(entry.over, "nothing serves a request that is open");
            self.entries.remove(key as usize);
        }
    }

    pub(super) fn request(&self, key: RequestKey) -> ReadRequest {
        self.entries[key as usize].request
    }

    pub(super) fn is_over(&self, key: RequestKey) -> bool {
        self.entries[key as usize].over
    }

    /// Requests whose completion has not been taken.
    pub(super) fn pending(&self) -> usize {
        self.open + self.completed.len()
    }

    pub(super) fn next_completion(&mut self) -> Option<Completion> {
        let completion = self.completed.pop_front();
        self.delivered += usize::from(completion.as_ref().is_some_and(|completion| completion.bytes.is_ok()));
        completion
    }

    /// Completions with their bytes that were taken.
    pub(super) fn delivered(&self) -> usize {
        self.delivered
    }

    pub(super) fn has_completed(&self) -> bool {
        !self.completed.is_empty()
    }

    /// Completes a request that was never added.
    pub(super) fn refuse(&mut self, tag: u64, error: ReadError) {
        self.completed.push_back(Completion { tag, bytes: Err(error) });
    }

    /// Completes a request for no bytes, which was never added.
    pub(super) fn complete_empty(&mut self, tag: u64) {
        self.completed.push_back(Completion { tag, bytes: Ok(Bytes::new()) });
    }

    pub(super) fn complete(&mut self, key: RequestKey, bytes: Bytes) {
        let tag = self.close(key);
        self.completed.push_back(Completion { tag, bytes: Ok(bytes) });
    }

    /// Copies some bytes of a request, and completes it with the last ones.
    pub(super) fn assemble(&mut self, key: RequestKey, at: usize, bytes: &[u8]) {
        let entry = &mut self.entries[key as usize];
        entry.buffer.resize(entry.request.len as usize, 0);
        entry.buffer[at..at + bytes.len()].copy_from_slice(bytes);
        entry.missing -= bytes.len() as u32;
        if entry.missing == 0 {
            let whole = std::mem::take(&mut entry.buffer);
            self.complete(key, whole.into());
        }
    }

    /// Completes a request with the reason why its bytes from `available` on are missing.
    pub(super) fn fail(&mut self, key: RequestKey, failure: &Failure, available: u64) {
        let (index, ReadRequest { offset, len }) = (self.index(key), self.request(key));
        let (file, delivered) = (Arc::clone(&self.file), self.delivered);
        let error = match failure {
            Failure::Io(error) => {
                ReadError::Io { file, index, offset, len, delivered, source: copy_of(error) }
            }
            Failure::Truncated => {
                ReadError::Truncated { file, index, offset, len, end: available, delivered }
            }
        };
        let tag = self.close(key);
        self.refuse(tag, error);
    }

    /// Completes the requests whose deadline has passed. Wakes the task at the next one.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>) {
        while let Some(&(deadline, key)) = self.deadlines.first() {
            if deadline <= Instant::now() {
                let (index, ReadRequest { offset, len }) = (self.index(key), self.request(key));
                let file = Arc::clone(&self.file);
                let tag = self.close(key);
                self.refuse(tag, ReadError::Deadline { file, index, offset, len });
                continue;
            }
            let alarm = match &mut self.alarm {
                Some(alarm) if alarm.at() == deadline => alarm,
                other => other.insert(alarm(deadline)),
            };
            match Pin::new(alarm).poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(refused)) => self.fail(key, &Failure::Io(refused), 0),
            }
        }
        self.alarm = None;
    }

    /// Forgets the requests whose tag matches, and their completions.
    pub(super) fn cancel(&mut self, matches: impl Fn(u64) -> bool) {
        self.completed.retain(|completion| !matches(completion.tag));
        for (key, entry) in &mut self.entries {
            if !entry.over && matches(entry.tag) {
                entry.over = true;
                entry.buffer = Vec::new();
                self.open -= 1;
                if let Some(deadline) = entry.terms.deadline {
                    self.deadlines.remove(&(deadline, key as RequestKey));
                }
            }
        }
    }

    fn index(&self, key: RequestKey) -> usize {
        self.entries[key as usize].tag as usize
    }

    /// Marks a request as over.
    fn close(&mut self, key: RequestKey) -> u64 {
        let entry = &mut self.entries[key as usize];
        entry.over = true;
        self.open -= 1;
        if let Some(deadline) = entry.terms.deadline {
            self.deadlines.remove(&(deadline, key));
        }
        entry.tag
    }
}

/// An error of several requests, once for each.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
