//! The reader, which turns requests into slices of the map.

use crate::cold::{Advisor, CHUNK};
use crate::map::{SharedMap, map};
use crate::runtime::NAME;
use crate::session::{MapBytes, MapSession};
use io_core::{
    AccessPattern, BackendInfo, FileInfo, FileSession, IoGeometry, IoMode, Links, OpenError, OpenOptions,
    PlanError, ReadControl, ReadError, ReadOutcome, ReadRequest, ReadStats, VectorReader, open_regular,
};
use memmap2::Mmap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads one file through a map of it.
#[derive(Debug)]
pub struct MmapReader {
    /// `None` if the file is empty, since an empty file cannot be mapped.
    map: Option<SharedMap>,
    file: FileInfo,
    info: BackendInfo,
    advisor: Advisor,
    closed: AtomicBool,
}

impl MmapReader {
    pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Self, OpenError> {
        options.check()?;
        let failed = |error| OpenError::io(path, error);
        let file = open_regular(path, Links::Refuse)?;
        let len = file.metadata().map_err(failed)?.len();
        let bytes = usize::try_from(len)
            .map_err(|_| failed(io::Error::other("the file is larger than this machine's address space")))?;
        let map = if bytes == 0 { None } else { Some(map(&file, bytes, options.populate).map_err(failed)?) };
        let map = map.map(SharedMap::new);
        if let Some(map) = &map {
            advise(map, options.access).map_err(failed)?;
        }
        let mut kernel_features = vec!["mmap"];
        if cfg!(target_os = "linux") {
            kernel_features.push("MADV_WILLNEED");
            if options.populate {
                kernel_features.push("MAP_POPULATE");
            }
        }
        let info = BackendInfo {
            choice: None,
            backend: NAME,
            runtime: "none",
            io_mode: IoMode::Mapped,
            queue_depth: options.queue_depth,
            bytes_in_flight_max: options.bytes_in_flight_max,
            device: None,
            geometry: IoGeometry::buffered(options.read_size_max, options.gap_max),
            lanes: false,
            kernel_features,
        };
        Ok(Self {
            map,
            file: FileInfo { path: path.into(), len },
            info,
            advisor: Advisor::new(),
            closed: AtomicBool::new(false),
        })
    }
}

/// Refuses a batch with a request past the end, before any delivery. Returns the bytes of all requests.
pub(crate) fn check(requests: &[ReadRequest], file: &FileInfo) -> Result<u64, ReadError> {
    let mut bytes_wanted = 0;
    for (index, request) in requests.iter().enumerate() {
        if request.end().is_none_or(|end| end > file.len) {
            let &ReadRequest { offset, len } = request;
            let source = PlanError::PastEnd { index, offset, len, file_len: file.len };
            return Err(ReadError::Plan { file: file.path.clone(), source });
        }
        bytes_wanted += u64::from(request.len);
    }
    Ok(bytes_wanted)
}

impl VectorReader for MmapReader {
    async fn read_vectors<S>(
        &self,
        requests: &[ReadRequest],
        control: &ReadControl,
        mut sink: S,
    ) -> Result<ReadOutcome, ReadError>
    where
        S: FnMut(usize, &[u8]) -> ControlFlow<()>,
    {
        if self.closed.load(Ordering::SeqCst) {
            return Err(ReadError::Closed { file: self.file.path.clone() });
        }
        let bytes_wanted = check(requests, &self.file)?;
        if let Some(meter) = &control.meter {
            meter.update(|counters| {
                counters.batches += 1;
                counters.bytes_wanted += bytes_wanted;
            });
        }
        let bytes: &[u8] = self.map.as_ref().map_or(&[], AsRef::as_ref);
        let mut outcome = ReadOutcome {
            delivered: 0,
            stopped: false,
            stats: ReadStats { bytes_wanted, ..ReadStats::default() },
        };
        'chunks: for chunk in requests.chunks(CHUNK) {
            if let Some(map) = &self.map
                && !control.is_stopped()
            {
                self.advisor.before(map, chunk);
            }
            for request in chunk {
                if control.is_stopped() {
                    outcome.stopped = true;
                    break 'chunks;
                }
                let slice = &bytes[request.offset as usize..][..request.len as usize];
                let index = outcome.delivered;
                outcome.delivered += 1;
                if request.len > 0 {
                    outcome.stats.reads += 1;
                    outcome.stats.bytes_read += slice.len() as u64;
                }
                if let Some(meter) = &control.meter {
                    meter.update(|counters| {
                        counters.delivered += 1;
                        if request.len > 0 {
                            counters.started += 1;
                            counters.completed += 1;
                            counters.bytes_read += slice.len() as u64;
                        }
                    });
                }
                if sink(index, slice).is_break() {
                    outcome.stopped = true;
                    break 'chunks;
                }
            }
            self.advisor.after();
        }
        Ok(outcome)
    }

    fn session(&self, control: ReadControl) -> impl FileSession {
        let map = MapBytes::new(&self.file, self.map.as_ref(), control);
        MapSession::new(map, self.map.as_ref(), &self.advisor, &self.closed)
    }

    fn file(&self) -> &FileInfo {
        &self.file
    }

    fn info(&self) -> &BackendInfo {
        &self.info
    }

    /// Later reads fail. The map ends with the reader.
    async fn close(&self) -> io::Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(unix)]
pub(crate) fn advise(map: &Mmap, access: AccessPattern) -> io::Result<()> {
    use memmap2::Advice;
    map.advise(match access {
        AccessPattern::Normal => Advice::Normal,
        AccessPattern::Random => Advice::Random,
        AccessPattern::Sequential => Advice::Sequential,
    })
}

/// Other systems have no such advice.
#[cfg(not(unix))]
pub(crate) fn advise(_map: &Mmap, _access: AccessPattern) -> io::Result<()> {
    Ok(())
}
