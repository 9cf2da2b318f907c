//! Operations on a file of compio: one read, one write, sync and close.

use crate::buffer::RingBuf;
use crate::runtime::{NAME, RUNTIME};
use crate::spawn::spawn;
use compio_buf::{BufResult, IntoInner};
use compio_driver::op;
use compio_runtime::submit;
use io_core::backend::KernelBuf;
use io_core::backend::RuntimeFile;
use io_core::{LocalBoxFuture, SyncKind};
use std::fs::File;
use std::io;
use std::rc::Rc;

/// A file that is read and written through the ring of this thread.
///
/// Operations share the open file, so that it stays open until the kernel has ended them.
pub struct CompioFile(Rc<File>);

impl RuntimeFile for CompioFile {
    const BACKEND: &'static str = NAME;
    const RUNTIME: &'static str = RUNTIME;

    fn from_std(file: File) -> io::Result<Self> {
        Ok(Self(Rc::new(file)))
    }

    async fn read(self: Rc<Self>, offset: u64, buffer: KernelBuf) -> (io::Result<usize>, KernelBuf) {
        let BufResult(read, operation) =
            submit(op::ReadAt::new(Rc::clone(&self.0), offset, RingBuf(buffer))).await;
        (read, operation.into_inner().0)
    }

    async fn write(self: Rc<Self>, offset: u64, buffer: KernelBuf) -> (io::Result<usize>, KernelBuf) {
        let BufResult(written, operation) =
            submit(op::WriteAt::new(Rc::clone(&self.0), offset, RingBuf(buffer))).await;
        (written, operation.into_inner().0)
    }

    async fn sync(&self, kind: SyncKind) -> io::Result<()> {
        submit(op::Sync::new(Rc::clone(&self.0), kind == SyncKind::Data)).await.0.map(drop)
    }

    async fn close(self) -> io::Result<()> {
        match Rc::try_unwrap(self.0) {
            Ok(file) => submit(op::CloseFile::new(file.into())).await.0.map(drop),
            // The last operation that holds the file closes it by dropping it.
            Err(_) => Ok(()),
        }
    }

    fn spawn(task: LocalBoxFuture<'static, ()>) {
        spawn(task);
    }
}
