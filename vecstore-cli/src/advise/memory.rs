//! The memory that a process may use: that of the machine, or the limit of its container.

use std::path::{Path, PathBuf};

/// The memory in bytes, if the system tells it.
pub(crate) fn bytes() -> Option<u64> {
    least(&|path: &Path| std::fs::read_to_string(path).ok())
}

fn least(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let counts = read(Path::new("/proc/meminfo"))?;
    let total = counts.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix(" kB")?.parse().ok()?;
    let cgroups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = cgroups.lines().flat_map(limit_files).filter_map(|file| read(&file)?.trim().parse().ok());
    Some(limits.fold(kib * 1024, u64::min))
}

/// The files that may limit the memory of a cgroup, given its line in `/proc/self/cgroup`: its own, and those
/// of its ancestors. Without a limit, they contain `max` or a number beyond any memory.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors().map(|within| Path::new(root).join(within).join(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn bytes(files: &[(&str, &str)]) -> Option<u64> {
        least(&|path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn the_least_limit_counts() {
        let total = ("/proc/meminfo", "MemFree: 1 kB\nMemTotal:   4194304 kB\nBuffers: 2 kB\n");
        assert_eq!(bytes(&[total]), Some(4096 * MIB));
        // Version 2: the limit of an ancestor, and a container that does not see the path.
        let cgroup = ("/proc/self/cgroup", "0::/a.slice/b\n");
        let own = ("/sys/fs/cgroup/a.slice/b/memory.max", "max\n");
        let around = ("/sys/fs/cgroup/a.slice/memory.max", "1073741824\n");
        assert_eq!(bytes(&[total, cgroup, own]), Some(4096 * MIB));
        assert_eq!(bytes(&[total, cgroup, own, around]), Some(1024 * MIB));
        assert_eq!(bytes(&[total, cgroup, ("/sys/fs/cgroup/memory.max", "536870912")]), Some(512 * MIB));
        // Version 1, whose number for no limit is larger than any memory.
        let cgroup = ("/proc/self/cgroup", "9:cpu:/x\n4:memory:/c\n0::/\n");
        let limit = |bytes| ("/sys/fs/cgroup/memory/c/memory.limit_in_bytes", bytes);
        assert_eq!(bytes(&[total, cgroup, limit("9223372036854771712\n")]), Some(4096 * MIB));
        assert_eq!(bytes(&[total, cgroup, limit("268435456\n")]), Some(256 * MIB));
        assert_eq!(bytes(&[cgroup]), None);
    }
}
