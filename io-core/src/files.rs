//! Reads of several files, as one session.

use crate::session::{Completion, FileSession, ReadTerms};
use crate::{ReadRequest, ReadStats};
use std::future::poll_fn;
use std::task::{Context, Poll};

/// Reads of several files in flight at once, to which others are added at any time.
///
/// Each file's reads keep to what [`FileSession`] says. Files of several backends go together if their
/// sessions are boxed: `Session<Box<dyn FileSession>>`.
///
/// ```
/// use io_core::{Completion, ReadControl, ReadError, ReadRequest, Session, VectorReader};
///
/// /// Reads a record of one file, whose first 8 bytes say where to read on in the other file.
/// async fn follow<R: VectorReader>(links: &R, records: &R) -> Result<Vec<u8>, ReadError> {
///     let mut session = Session::new();
///     let links = session.add(links.session(ReadControl::default()));
///     let records = session.add(records.session(ReadControl::default()));
///     session.submit(links, 0, ReadRequest::new(0, 8));
///     let mut found = Vec::new();
///     while let Some((file, Completion { tag, bytes, .. })) = session.next().await {
///         let bytes = bytes?;
///         if file == links {
///             let offset = u64::from_le_bytes(bytes[..].try_into().expect("8 bytes were asked for"));
///             session.submit(records, tag, ReadRequest::new(offset, 100));
///         } else {
///             found.extend_from_slice(&bytes);
///         }
///     }
///     Ok(found)
/// }
/// ```
#[derive(Debug)]
pub struct Session<S> {
    files: Vec<S>,
    /// The file to ask first, so that none is left behind.
    turn: usize,
}

/// A file of a [`Session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionFile(usize);

impl<S> Default for Session<S> {
    fn default() -> Self {
        Self { files: Vec::new(), turn: 0 }
    }
}

impl<S: FileSession> Session<S> {
    /// A session without files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn add(&mut self, session: S) -> SessionFile {
        self.files.push(session);
        SessionFile(self.files.len() - 1)
    }

    /// As [`FileSession::submit`].
    ///
    /// # Panics
    /// If another session gave `file`, and this one has fewer files.
    pub fn submit(&mut self, file: SessionFile, tag: u64, request: ReadRequest) {
        self.files[file.0].submit(tag, request);
    }

    /// As [`FileSession::submit_with`].
    ///
    /// # Panics
    /// As [`Session::submit`].
    pub fn submit_with(&mut self, file: SessionFile, tag: u64, request: ReadRequest, terms: ReadTerms) {
        self.files[file.0].submit_with(tag, request, terms);
    }

    /// As [`FileSession::poll_next`], with the file that the completion belongs to.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(SessionFile, Completion)>> {
        let mut pending = false;
        for step in 0..self.files.len() {
            let at = (self.turn + step) % self.files.len();
            match self.files[at].poll_next(cx) {
                Poll::Ready(Some(completion)) => {
                    self.turn = at + 1;
                    return Poll::Ready(Some((SessionFile(at), completion)));
                }
                Poll::Ready(None) => {}
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(None) }
    }

    /// As [`FileSession::next`], with the file that the completion belongs to.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped. The next call goes on.
    pub async fn next(&mut self) -> Option<(SessionFile, Completion)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Forgets all reads with this tag, of all files.
    pub fn cancel(&mut self, tag: u64) {
        self.files.iter_mut().for_each(|file| file.cancel(tag));
    }

    /// Forgets all reads.
    pub fn cancel_all(&mut self) {
        self.files.iter_mut().for_each(FileSession::cancel_all);
    }

    /// Reads whose completion has not been taken, and that were not cancelled.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.files.iter().map(FileSession::pending).sum()
    }

    /// The cost of the session so far.
    #[must_use]
    pub fn stats(&self) -> ReadStats {
        let mut stats = ReadStats::default();
        self.files.iter().for_each(|file| stats.add(&file.stats()));
        stats
    }
}
