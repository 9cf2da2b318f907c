"""A cap on the memory of a process, with the pages that the page cache holds for it; the disk's counts."""

import os
import pathlib

# As in benches/src/slow_disk/cgroup.rs.
HIERARCHIES = [
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
]


class Cap:
    """A memory cgroup, at first without a limit."""

    def __init__(self):
        for root, limit, usage in HIERARCHIES:
            folder = pathlib.Path(root) / f"vecstore-peers-{os.getpid()}"
            if not (pathlib.Path(root) / "cgroup.procs").exists():
                continue
            folder.mkdir()
            if (folder / limit).exists():
                self.folder, self.limit, self.usage = folder, folder / limit, folder / usage
                return
            folder.rmdir()
        raise FileNotFoundError("no cgroup version has a memory controller that children get")

    def command(self, command):
        """One that enters the cgroup before it begins."""
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', self.folder / "cgroup.procs", *command]

    def set(self, mib):
        """Caps what comes from now on. The interpreter and its libraries are not compared."""
        self.limit.write_text(str(int(self.usage.read_text()) + (mib << 20)))

    def remove(self):
        self.folder.rmdir()


def make_cold(folder):
    """Drops the files from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def disk_counts(folder):
    """Reads, and bytes read, of the disk that the folder is on."""
    device = os.stat(folder).st_dev
    counts = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    return int(counts[0]), int(counts[2]) * 512
