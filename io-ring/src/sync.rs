//! The primitives that threads share, in a form that loom can replace.

#[cfg(not(loom))]
pub(crate) use {
    atomic_waker::AtomicWaker,
    std::sync::Arc,
    std::sync::atomic::{AtomicPtr, AtomicU8},
};

#[cfg(loom)]
pub(crate) use {
    loom::cell::UnsafeCell,
    loom::sync::Arc,
    loom::sync::atomic::{AtomicPtr, AtomicU8},
};

/// The standard library's cell, with loom's methods.
#[cfg(not(loom))]
#[derive(Debug, Default)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

/// Calls `call` and contains its panic.
#[cfg(not(loom))]
pub(crate) fn contain_panic(call: impl FnOnce()) {
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)));
}

/// Lets a panic out under loom: loom reports its findings that way.
#[cfg(loom)]
pub(crate) fn contain_panic(call: impl FnOnce()) {
    call();
}

/// loom's waker, with the methods of `atomic_waker`'s.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

#[cfg(loom)]
impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self(loom::future::AtomicWaker::new())
    }

    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn take(&self) -> Option<std::task::Waker> {
        self.0.take_waker()
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}
