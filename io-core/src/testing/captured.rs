//! A `tracing` subscriber that keeps what it sees as text.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{ThreadId, current};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Collects spans and events of all threads that it is the subscriber of. Clones share them.
///
/// A span or an event is a line: `LEVEL TARGET SPAN/SPAN/NAME FIELD=VALUE …`. The fields have the order of
/// the code. The message of an event is left out.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    /// The path of each span, by its id less 1.
    spans: Vec<String>,
    entered: HashMap<ThreadId, Vec<usize>>,
}

impl Captured {
    /// Nothing, so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the lines so far.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().lines)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a line, and returns the path of its span or event.
    fn add(&mut self, metadata: &Metadata<'_>, fields: &str) -> String {
        let within = self.entered.get(&current().id()).and_then(|entered| entered.last());
        let within = within.map_or(String::new(), |&span| format!("{}/", self.spans[span]));
        let path = within + metadata.name();
        self.lines.push(format!("{} {} {path}{fields}", metadata.level(), metadata.target()));
        path
    }
}

/// Fields, each as ` NAME=VALUE`.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "message" {
            write!(self.0, " {field}={value:?}").expect("a string grows");
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{}", crate::with_causes(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl Subscriber for Captured {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(String::new());
        span.record(&mut fields);
        let mut state = self.lock();
        let path = state.add(span.metadata(), &fields.0);
        state.spans.push(path);
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.lock().add(event.metadata(), &fields.0);
    }

    fn enter(&self, span: &Id) {
        self.lock().entered.entry(current().id()).or_default().push(span.into_u64() as usize - 1);
    }

    fn exit(&self, _span: &Id) {
        self.lock().entered.entry(current().id()).or_default().pop();
    }
}
