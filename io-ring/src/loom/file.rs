//! A file as far as an operation knows it: where it goes when it has ended.

use crate::operation::Idle;
use loom::sync::Mutex;
use std::sync::Arc;

pub(crate) struct OpenFile {
    pub(crate) pool: Pool,
}

pub(crate) type SharedFile = Arc<OpenFile>;

/// Hands operations from one thread to another as the real one does: what happened before `put` is seen after `take`.
pub(crate) struct Pool(Mutex<Vec<Idle>>);

impl OpenFile {
    pub(crate) fn new() -> SharedFile {
        Arc::new(Self { pool: Pool(Mutex::new(Vec::new())) })
    }
}

impl Pool {
    pub(crate) fn put(&self, idle: Idle) {
        self.0.lock().expect("no panic").push(idle);
    }

    pub(crate) fn take_all(&self) -> Vec<Idle> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }
}
