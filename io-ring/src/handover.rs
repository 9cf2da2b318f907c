//! A lock-free stack takes operations from any thread to the ring's thread.
//!
//! The empty stack also says whether the ring sleeps. So one compare-and-swap hands an operation in. Exactly
//! one thread finds the ring asleep, and wakes it.
//!
//! ```text
//!  head:  AWAKE (null) ──push──> operation ──push──> operation ──> ...       push: no wake
//!           │    ^                      │
//!         sleep  └─────── take_all ─────┘   the ring takes all, in the order of arrival
//!           v
//!         ASLEEP ──push──> operation                                          push: wake the ring
//! ```

#![allow(unsafe_code)]

use crate::operation::{Operation, OperationFile, Running};
use crate::sync::{Arc, AtomicPtr};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::Ordering;

/// The stack is empty, and the ring looks again before it sleeps.
const fn awake<F>() -> *mut Operation<F> {
    null_mut()
}

/// The stack is empty, and the ring sleeps. No operation has this address: operations are aligned.
const fn asleep<F>() -> *mut Operation<F> {
    without_provenance_mut(1)
}

/// The stack, from many threads to one.
pub(crate) struct Handover<F: OperationFile> {
    head: AtomicPtr<Operation<F>>,
}

impl<F: OperationFile> Handover<F> {
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(awake()) }
    }

    /// Hands an operation in. `true`: the ring sleeps, and the caller must wake it.
    #[must_use]
    pub(crate) fn push(&self, operation: Running<F>) -> bool {
        let pushed = Arc::into_raw(operation.into_shared()).cast_mut();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let next = if head == asleep() { awake() } else { head };
            // SAFETY: `pushed` came from an Arc whose count this stack now owns, so it is alive.
            unsafe { &*pushed }.next.store(next, Ordering::Relaxed);
            // Release: the ring must see the link and the operation's content.
            match self.head.compare_exchange_weak(head, pushed, Ordering::Release, Ordering::Relaxed) {
                Ok(before) => return before == asleep(),
                Err(now) => head = now,
            }
        }
    }

    /// Takes all operations, oldest first. The ring is awake from here on.
    pub(crate) fn take_all(&self) -> Taken<F> {
        let newest = self.head.swap(awake(), Ordering::Acquire);
        let mut oldest_first = awake();
        let mut at = if newest == asleep() { awake() } else { newest };
        while !at.is_null() {
            // SAFETY: every operation of the chain is alive: the chain owns the count that its push gave
            // away.
            let operation = unsafe { &*at };
            let older = operation.next.load(Ordering::Relaxed);
            operation.next.store(oldest_first, Ordering::Relaxed);
            oldest_first = at;
            at = older;
        }
        Taken(oldest_first)
    }

    /// Marks the ring as asleep. `false`: an operation was handed in, so the ring must not sleep.
    #[must_use]
    pub(crate) fn sleep(&self) -> bool {
        let slept = self.head.compare_exchange(awake(), asleep(), Ordering::Relaxed, Ordering::Relaxed);
        slept.is_ok()
    }
}

impl<F: OperationFile> Drop for Handover<F> {
    fn drop(&mut self) {
        drop(self.take_all());
    }
}

/// Operations taken from the stack.
pub(crate) struct Taken<F: OperationFile>(*mut Operation<F>);

impl<F: OperationFile> Iterator for Taken<F> {
    type Item = Running<F>;

    fn next(&mut self) -> Option<Running<F>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: the operation is alive, as in `take_all`.
        let next = unsafe { &*self.0 }.next.load(Ordering::Relaxed);
        // SAFETY: the pointer came from `Arc::into_raw` in `push`, and leaves the chain here, once.
        let operation = unsafe { Arc::from_raw(self.0) };
        self.0 = next;
        Some(Running::from_shared(operation))
    }
}

impl<F: OperationFile> Drop for Taken<F> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
