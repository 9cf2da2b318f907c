//! The settings that an open file really uses.

use crate::choice::Choice;
use crate::open::DIRECT_NAME;
use crate::{DeviceBudget, IoGeometry, IoMode, Lane, OpenOptions};
use std::fmt;

/// The settings that an open file really uses, as the system granted them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// The backend's name, as users select it.
    pub backend: &'static str,
    /// The runtime and its version, or what takes the place of a runtime.
    pub runtime: &'static str,
    /// How bytes come from the disk.
    pub io_mode: IoMode,
    /// Maximum of physical operations in flight.
    pub queue_depth: u32,
    /// Maximum of bytes in flight.
    pub bytes_in_flight_max: u64,
    /// The budget that the file shares with others. Without one, the file has a budget of its own.
    pub device: Option<DeviceBudget>,
    /// Alignment and size limits of physical operations.
    pub geometry: IoGeometry,
    /// The lane of the file's operations.
    pub lane: Lane,
    /// Whether [`Lane::Background`](crate::Lane) operations give way to others. If so, a background write
    /// ends only when its bytes are on the disk.
    pub lanes: bool,
    /// Kernel features in use, such as `io_uring`, `O_DIRECT`, `MAP_POPULATE`.
    pub kernel_features: Vec<&'static str>,
    /// Which backend was taken, and why, if the backend chooses between others.
    pub choice: Option<Choice>,
}

impl BackendInfo {
    /// Describes a file opened with these options, without lanes. Adds the system's name for direct IO, such
    /// as `O_DIRECT`, to the features if the options have it.
    #[must_use]
    pub fn new(
        backend: &'static str,
        runtime: &'static str,
        options: &OpenOptions,
        geometry: IoGeometry,
        kernel_features: &[&'static str],
    ) -> Self {
        let direct = options.direct.then_some(DIRECT_NAME);
        Self {
            backend,
            runtime,
            io_mode: if options.direct { IoMode::Direct } else { IoMode::Buffered },
            queue_depth: options.queue_depth,
            bytes_in_flight_max: options.bytes_in_flight_max,
            device: options.device.clone(),
            geometry,
            lane: options.lane,
            lanes: false,
            kernel_features: kernel_features.iter().copied().chain(direct).collect(),
            choice: None,
        }
    }

    /// The same settings on a backend whose background operations give way to others.
    #[must_use]
    pub fn with_lanes(self, lanes: bool) -> Self {
        Self { lanes, ..self }
    }

    /// The budget of the file's device, or one of its own.
    pub(crate) fn budget(&self) -> DeviceBudget {
        let own = || DeviceBudget::new(self.queue_depth, self.bytes_in_flight_max);
        self.device.clone().unwrap_or_else(own)
    }
}

impl fmt::Display for BackendInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}", self.backend, self.runtime, self.io_mode)?;
        if self.io_mode != IoMode::Mapped {
            write!(f, ", depth {}, {} KiB in flight", self.queue_depth, self.bytes_in_flight_max / 1024)?;
        }
        if !self.kernel_features.is_empty() {
            write!(f, ", {}", self.kernel_features.join(" + "))?;
        }
        write!(f, ")")?;
        self.choice.as_ref().map_or(Ok(()), |choice| write!(f, "; {choice}"))
    }
}
