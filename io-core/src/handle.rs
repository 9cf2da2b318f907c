//! A runtime's open file, which operations may still use when it is closed.

use crate::{BackendInfo, FileInfo};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;

/// A runtime's open file until it is closed, and what is known about it.
#[derive(Debug)]
pub struct Handle<F> {
    file: RefCell<Option<Rc<F>>>,
    file_info: FileInfo,
    info: BackendInfo,
}

impl<F> Handle<F> {
    /// The handle of an open file.
    #[must_use]
    pub fn new(file: F, file_info: FileInfo, info: BackendInfo) -> Self {
        Self { file: RefCell::new(Some(Rc::new(file))), file_info, info }
    }

    /// The file, for an operation to keep until it ends.
    ///
    /// # Errors
    /// If the file is closed.
    pub fn file(&self) -> io::Result<Rc<F>> {
        self.file.borrow().clone().ok_or_else(|| io::Error::other("the file is closed"))
    }

    /// Closes the file with `close`. A second call does nothing.
    ///
    /// # Errors
    /// The error of `close`.
    pub async fn close<C>(&self, close: impl FnOnce(F) -> C) -> io::Result<()>
    where
        C: Future<Output = io::Result<()>>,
    {
        let file = self.file.borrow_mut().take();
        match file.map(Rc::try_unwrap) {
            Some(Ok(file)) => close(file).await,
            // The last operation that holds the file closes it by dropping it.
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// The file's path and length.
    #[must_use]
    pub fn file_info(&self) -> &FileInfo {
        &self.file_info
    }

    /// The settings that are really in use.
    #[must_use]
    pub fn info(&self) -> &BackendInfo {
        &self.info
    }
}
