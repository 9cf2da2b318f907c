//! The `Send` forms of the reader and the writer over a page source and a page sink.

use super::{SendPageWriter, SendSink, SendVectorReader};
use crate::reader::{PagedReader, VectorReader};
use crate::session::FileSession;
use crate::source::{PageSink, PageSource};
use crate::write::{PageWrite, PageWriter, PagedWriter, WriteOutcome};
use crate::{
    BackendInfo, FileInfo, ReadControl, ReadError, ReadOutcome, ReadRequest, SendBoxFuture, SyncKind,
    WriteError,
};
use std::io;

/// A source whose reader may move between threads, with its futures.
/// [`send_backend!`](crate::send_backend) implements it.
pub trait SendPageSource: PageSource + Send + Sync {
    /// As [`VectorReader::read_vectors`].
    fn read_vectors_send<'a>(
        reader: &'a PagedReader<Self>,
        requests: &'a [ReadRequest],
        control: &'a ReadControl,
        sink: &'a mut SendSink<'_>,
    ) -> SendBoxFuture<'a, Result<ReadOutcome, ReadError>>
    where
        Self: Sized;

    /// As [`VectorReader::session`].
    fn session_send<'a>(
        reader: &'a PagedReader<Self>,
        control: ReadControl,
    ) -> Box<dyn FileSession + Send + 'a>
    where
        Self: Sized;

    /// As [`VectorReader::close`].
    fn close_send(reader: &PagedReader<Self>) -> SendBoxFuture<'_, io::Result<()>>
    where
        Self: Sized;
}

impl<S: SendPageSource> SendVectorReader for PagedReader<S> {
    fn read_vectors_send<'a>(
        &'a self,
        requests: &'a [ReadRequest],
        control: &'a ReadControl,
        sink: &'a mut SendSink<'_>,
    ) -> SendBoxFuture<'a, Result<ReadOutcome, ReadError>> {
        S::read_vectors_send(self, requests, control, sink)
    }

    fn session_send<'a>(&'a self, control: ReadControl) -> Box<dyn FileSession + Send + 'a> {
        S::session_send(self, control)
    }

    fn file_send(&self) -> &FileInfo {
        self.file()
    }

    fn info_send(&self) -> &BackendInfo {
        self.info()
    }

    fn close_send(&self) -> SendBoxFuture<'_, io::Result<()>> {
        S::close_send(self)
    }
}

/// A sink whose writer may move between threads, with its futures.
/// [`send_backend!`](crate::send_backend) implements it.
pub trait SendPageSink: PageSink + Send + Sync {
    /// As [`PageWriter::write_pages`].
    fn write_pages_send<'a>(
        writer: &'a PagedWriter<Self>,
        writes: &'a [PageWrite<'a>],
    ) -> SendBoxFuture<'a, Result<WriteOutcome, WriteError>>
    where
        Self: Sized;

    /// As [`PageWriter::sync`].
    fn sync_send(writer: &PagedWriter<Self>, kind: SyncKind) -> SendBoxFuture<'_, Result<(), WriteError>>
    where
        Self: Sized;

    /// As [`PageWriter::set_len`].
    fn set_len_send(writer: &PagedWriter<Self>, len: u64) -> SendBoxFuture<'_, Result<(), WriteError>>
    where
        Self: Sized;

    /// As [`PageWriter::close`].
    fn close_send(writer: &PagedWriter<Self>) -> SendBoxFuture<'_, Result<(), WriteError>>
    where
        Self: Sized;
}

impl<S: SendPageSink> SendPageWriter for PagedWriter<S> {
    fn write_pages_send<'a>(
        &'a self,
        writes: &'a [PageWrite<'a>],
    ) -> SendBoxFuture<'a, Result<WriteOutcome, WriteError>> {
        S::write_pages_send(self, writes)
    }

    fn sync_send(&self, kind: SyncKind) -> SendBoxFuture<'_, Result<(), WriteError>> {
        S::sync_send(self, kind)
    }

    fn set_len_send(&self, len: u64) -> SendBoxFuture<'_, Result<(), WriteError>> {
        S::set_len_send(self, len)
    }

    fn file_send(&self) -> &FileInfo {
        self.file()
    }

    fn info_send(&self) -> &BackendInfo {
        self.info()
    }

    fn close_send(&self) -> SendBoxFuture<'_, Result<(), WriteError>> {
        S::close_send(self)
    }
}
