//! Futures of code that is generic over readers and writers may be spawned, if the reader and the writer were
//! chosen at run time. This compiles, or it does not.

use io_core::{
    FileSession, FileSystem, OpenOptions, PageWriter, ReadControl, SendBackend, SendPageWriter,
    SendVectorReader, SyncKind, VectorReader,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

struct Engine<T>(T);

impl<R: VectorReader> Engine<R> {
    async fn search(&self) {
        let mut session = self.0.session(ReadControl::new());
        session.next().await;
        drop(session);
        let _ = self.0.read_vectors(&[], &ReadControl::new(), |_, _| ControlFlow::Continue(())).await;
        let _ = self.0.close().await;
    }
}

impl<W: PageWriter> Engine<W> {
    async fn write(&self) {
        let _ = self.0.write_pages(&[]).await;
        let _ = self.0.sync(SyncKind::Data).await;
        let _ = self.0.close().await;
    }
}

async fn open<F: FileSystem>(files: &F, path: &Path) {
    let _ = files.open(path, &OpenOptions::default()).await;
    let _ = files.create(path, &OpenOptions::default()).await;
}

fn spawn(_: impl Future + Send + 'static) {}

#[test]
fn futures_of_generic_code_may_move() {
    let _search =
        |engine: Arc<Engine<Box<dyn SendVectorReader>>>| spawn(async move { engine.search().await });
    let _write = |engine: Arc<Engine<Box<dyn SendPageWriter>>>| spawn(async move { engine.write().await });
    let _open = |files: SendBackend| spawn(async move { open(&files, Path::new("file")).await });
}
