//! A thing of the ring, or the same thing of the threads: a backend, a file, a page.

use std::ops::{Deref, DerefMut};

#[cfg(target_os = "linux")]
pub(crate) use io_ring::{RingBackend, RingSink, RingSource};
pub(crate) use io_threads::{ThreadsBackend, ThreadsSink, ThreadsSource};

// There is no ring. These stand in the place of its types, and no value is ever made.
#[cfg(not(target_os = "linux"))]
pub(crate) use io_threads::{
    ThreadsBackend as RingBackend, ThreadsSink as RingSink, ThreadsSource as RingSource,
};

/// A thing of the ring, or the same thing of the threads.
#[derive(Debug)]
pub enum Either<R, T> {
    /// The ring was taken.
    Ring(R),
    /// The threads were taken.
    Threads(T),
}

impl<R: Deref<Target = [u8]>, T: Deref<Target = [u8]>> Deref for Either<R, T> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Ring(page) => page,
            Self::Threads(page) => page,
        }
    }
}

impl<R: DerefMut<Target = [u8]>, T: DerefMut<Target = [u8]>> DerefMut for Either<R, T> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Ring(page) => page,
            Self::Threads(page) => page,
        }
    }
}

/// The same expression for both.
macro_rules! of_both {
    ($either:expr, $it:ident => $do:expr) => {
        match $either {
            $crate::either::Either::Ring($it) => $do,
            $crate::either::Either::Threads($it) => $do,
        }
    };
}
