//! What is shared between threads, in the form that loom can replace.

#[cfg(not(loom))]
pub(crate) use {
    atomic_waker::AtomicWaker,
    std::sync::Arc,
    std::sync::atomic::{AtomicPtr, AtomicU8},
};

#[cfg(loom)]
pub(crate) use {
    loom::cell::UnsafeCell,
    loom::future::AtomicWaker,
    loom::sync::Arc,
    loom::sync::atomic::{AtomicPtr, AtomicU8},
};

/// The standard one with loom's methods.
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
