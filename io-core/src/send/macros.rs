//! Says of a backend's own types that they may move between threads.

/// Gives a backend the `Send` forms of its files: [`SendFileSystem`](crate::backend::SendFileSystem), and
/// with it [`SendBackend`](crate::SendBackend).
///
/// Backends with a page source and a page sink name both. Others name their reader.
///
/// ```text
/// io_core::send_backend!(RingBackend, source RingSource, sink RingSink);
/// io_core::send_backend!(MmapBackend, reader MmapReader, sink FileSink);
/// ```
///
/// It does not compile for types whose futures may not move.
#[macro_export]
macro_rules! send_backend {
    ($backend:ty $(, $part:ident $type:ty)* $(,)?) => {
        $($crate::send_backend!(@$part $type);)*

        impl $crate::backend::SendFileSystem for $backend {
            fn open_send<'a>(
                &'a self,
                path: &'a ::std::path::Path,
                options: &'a $crate::OpenOptions,
            ) -> $crate::SendBoxFuture<'a, Result<Self::Reader, $crate::OpenError>> {
                Box::pin($crate::FileSystem::open(self, path, options))
            }

            fn create_send<'a>(
                &'a self,
                path: &'a ::std::path::Path,
                options: &'a $crate::OpenOptions,
            ) -> $crate::SendBoxFuture<'a, Result<Self::Writer, $crate::OpenError>> {
                Box::pin($crate::FileSystem::create(self, path, options))
            }

            fn open_for_writing_send<'a>(
                &'a self,
                path: &'a ::std::path::Path,
                options: &'a $crate::OpenOptions,
            ) -> $crate::SendBoxFuture<'a, Result<Self::Writer, $crate::OpenError>> {
                Box::pin($crate::FileSystem::open_for_writing(self, path, options))
            }
        }
    };
    (@reader $reader:ty) => {
        impl $crate::SendVectorReader for $reader {
            fn read_vectors_send<'a>(
                &'a self,
                requests: &'a [$crate::ReadRequest],
                control: &'a $crate::ReadControl,
                sink: &'a mut $crate::SendSink<'_>,
            ) -> $crate::SendBoxFuture<'a, Result<$crate::ReadOutcome, $crate::ReadError>> {
                Box::pin($crate::VectorReader::read_vectors(self, requests, control, sink))
            }

            fn session_send<'a>(
                &'a self,
                control: $crate::ReadControl,
            ) -> Box<dyn $crate::FileSession + Send + 'a> {
                Box::new($crate::VectorReader::session(self, control))
            }

            fn file_send(&self) -> &$crate::FileInfo {
                $crate::VectorReader::file(self)
            }

            fn info_send(&self) -> &$crate::BackendInfo {
                $crate::VectorReader::info(self)
            }

            fn close_send(&self) -> $crate::SendBoxFuture<'_, ::std::io::Result<()>> {
                Box::pin($crate::VectorReader::close(self))
            }
        }
    };
    (@source $source:ty) => {
        impl $crate::backend::SendPageSource for $source {
            fn read_vectors_send<'a>(
                reader: &'a $crate::backend::PagedReader<Self>,
                requests: &'a [$crate::ReadRequest],
                control: &'a $crate::ReadControl,
                sink: &'a mut $crate::SendSink<'_>,
            ) -> $crate::SendBoxFuture<'a, Result<$crate::ReadOutcome, $crate::ReadError>> {
                Box::pin($crate::VectorReader::read_vectors(reader, requests, control, sink))
            }

            fn session_send<'a>(
                reader: &'a $crate::backend::PagedReader<Self>,
                control: $crate::ReadControl,
            ) -> Box<dyn $crate::FileSession + Send + 'a> {
                Box::new($crate::VectorReader::session(reader, control))
            }

            fn close_send(
                reader: &$crate::backend::PagedReader<Self>,
            ) -> $crate::SendBoxFuture<'_, ::std::io::Result<()>> {
                Box::pin($crate::VectorReader::close(reader))
            }
        }
    };
    (@sink $sink:ty) => {
        impl $crate::backend::SendPageSink for $sink {
            fn write_pages_send<'a>(
                writer: &'a $crate::backend::PagedWriter<Self>,
                writes: &'a [$crate::PageWrite<'a>],
            ) -> $crate::SendBoxFuture<'a, Result<$crate::WriteOutcome, $crate::WriteError>> {
                Box::pin($crate::PageWriter::write_pages(writer, writes))
            }

            fn sync_send(
                writer: &$crate::backend::PagedWriter<Self>,
                kind: $crate::SyncKind,
            ) -> $crate::SendBoxFuture<'_, Result<(), $crate::WriteError>> {
                Box::pin($crate::PageWriter::sync(writer, kind))
            }

            fn set_len_send(
                writer: &$crate::backend::PagedWriter<Self>,
                len: u64,
            ) -> $crate::SendBoxFuture<'_, Result<(), $crate::WriteError>> {
                Box::pin($crate::PageWriter::set_len(writer, len))
            }

            fn close_send(
                writer: &$crate::backend::PagedWriter<Self>,
            ) -> $crate::SendBoxFuture<'_, Result<(), $crate::WriteError>> {
                Box::pin($crate::PageWriter::close(writer))
            }
        }
    };
}
