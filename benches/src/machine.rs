//! The machine that a report was made on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The machine, the disk and the tools. A value that could not be determined is "unknown". A value that was
/// not recorded is empty or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors.
    pub cores: usize,
    /// MiB of memory.
    pub memory_mib: u64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// The file system of the local disk's directory.
    pub file_system: String,
    /// The device of the file system.
    pub disk: String,
    /// Version of the compiler.
    pub rustc: String,
}

impl Machine {
    /// This machine, with the disk of a directory.
    #[must_use]
    pub fn with_disk_of(dir: &Path) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory_kib =
            field(&meminfo, "MemTotal").split(' ').next().and_then(|kib| kib.parse::<u64>().ok());
        let dir = dir.display().to_string();
        Self {
            cpu: field(&cpuinfo, "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib.unwrap_or_default() / 1024,
            kernel: said_by("uname", &["-sr"]),
            file_system: last_line(&said_by("df", &["--output=fstype", &dir])),
            disk: last_line(&said_by("df", &["--output=source", &dir])),
            rustc: said_by("rustc", &["--version"]),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_mib, kernel, file_system, disk, rustc } = self;
        let counted =
            |count: u64, unit: &str| if count == 0 { String::new() } else { format!("{count} {unit}") };
        let file_system = match (file_system.as_str(), disk.as_str()) {
            (file_system, "") => file_system.to_owned(),
            ("", disk) => disk.to_owned(),
            (file_system, disk) => format!("{file_system} on {disk}"),
        };
        let (cores, memory) = (counted(*cores as u64, "cores"), counted(*memory_mib, "MiB of memory"));
        let parts = [cpu, &cores, &memory, kernel, &file_system, rustc].map(String::as_str);
        f.write_str(&parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "))
    }
}

/// The current time, in UTC.
#[must_use]
pub fn date() -> String {
    said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
}

/// The commit of the source, if it is a checkout.
#[must_use]
pub fn commit() -> String {
    said_by("git", &["describe", "--always", "--dirty"])
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value of "name : value".
fn field(text: &str, name: &str) -> String {
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(value).unwrap_or_else(unknown)
}

fn said_by(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success());
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.filter(|said| !said.is_empty()).unwrap_or_else(unknown)
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "cpu\t: 1\nmodel name\t: A 3000: fast\nmodel name\t: B\n";
        assert_eq!(field(text, "model name"), "A 3000: fast");
        assert_eq!(field(text, "model"), "unknown");
    }

    #[test]
    fn what_is_not_known_of_a_machine_is_not_shown() {
        let (cpu, kernel) = ("A 3000".to_owned(), "Linux 6.18".to_owned());
        let known = Machine { cpu, cores: 2, kernel, ..Machine::default() };
        assert_eq!(known.to_string(), "A 3000, 2 cores, Linux 6.18");
        let disk =
            Machine { file_system: "ext4".to_owned(), disk: "/dev/vda".to_owned(), ..Machine::default() };
        assert_eq!(disk.to_string(), "ext4 on /dev/vda");
        let disk = Machine { disk: "a network drive".to_owned(), ..Machine::default() };
        assert_eq!(disk.to_string(), "a network drive");
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let machine = Machine::with_disk_of(Path::new("/"));
        assert!(machine.cores > 0 && machine.memory_mib > 0);
    }
}
