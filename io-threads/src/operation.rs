//! One operation on a file, as a thread carries it out.

use crate::open_file::OpenFile;
use crate::team::Job;
use crate::write_back::write_back;
use io_core::backend::{Load, RunningPage, read_at, write_at};
use io_core::{Lane, SyncKind};
use std::io;
use std::sync::Arc;

/// What an operation does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Reads the page's bytes at this offset of the file.
    Read(u64),
    /// Writes the page's bytes at this offset of the file.
    Write(u64),
    Sync(SyncKind),
    SetLen(u64),
}

/// An operation that waits for a thread. It keeps its file open.
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    pub(crate) lane: Lane,
    pub(crate) file: Arc<OpenFile>,
    pub(crate) page: RunningPage,
}

impl Job for Operation {
    fn load(&self) -> Load {
        Load { lane: self.lane, bytes: self.page.len() as u64, blocks: true }
    }

    fn run(self) {
        let Self { kind, file, mut page, .. } = self;
        // Nobody learns the result of an operation that was abandoned.
        let result = if page.is_abandoned() { Ok(0) } else { carry_out(kind, &file, &mut page) };
        // The file goes first. Once nothing is in flight, the one who closes it has its last handle.
        drop(file);
        page.finish(result);
    }
}

fn carry_out(kind: Kind, file: &OpenFile, page: &mut RunningPage) -> io::Result<usize> {
    let std = file.std();
    match kind {
        Kind::Read(offset) => read_at(std, page, offset),
        Kind::Write(offset) => {
            let written = write_at(std, page, offset)?;
            if written > 0 && file.writes_back() {
                write_back(std, offset, written)?;
            }
            Ok(written)
        }
        Kind::Sync(SyncKind::Data) => std.sync_data().map(|()| 0),
        Kind::Sync(SyncKind::All) => std.sync_all().map(|()| 0),
        Kind::SetLen(len) => std.set_len(len).map(|()| 0),
    }
}
