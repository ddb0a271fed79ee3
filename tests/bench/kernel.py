"""What the kernel keeps for connections: its memory by kind, and its objects by name."""

import contextlib
import dataclasses
import re

# Those lines of /proc/meminfo that are the kernel's own and not a cache of files.
KINDS = ("Slab", "PageTables", "KernelStack", "VmallocUsed", "Percpu")


@dataclasses.dataclass
class KernelMemory:
    """Bytes by kind, and how many objects there are of each name."""

    kinds: dict
    available: int  # of the whole machine, what user space takes is missing, too
    # name -> (number, bytes of each). The kernel keeps objects of one size together, under the name of any of them. Empty
    # where /proc/slabinfo is root's and we are not.
    objects: dict

    @property
    def total(self):
        return sum(self.kinds.values())

    def __sub__(self, other):
        objects = {}
        for name, (number, size) in self.objects.items():
            objects[name] = (number - other.objects.get(name, (0, size))[0], size)
        kinds = {kind: self.kinds[kind] - other.kinds[kind] for kind in self.kinds}
        return KernelMemory(kinds, self.available - other.available, objects)


def kernel_memory():
    # As root: without names and inodes that nobody uses. Whoever reads /proc/PID/fd of these processes leaves more of
    # them behind than the connections take.
    with contextlib.suppress(OSError), open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2")
    with open("/proc/meminfo") as file:
        lines = dict(re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.MULTILINE))
    kinds = {kind: int(lines[kind]) * 1024 for kind in KINDS if kind in lines}
    return KernelMemory(kinds, int(lines["MemAvailable"]) * 1024, _objects())


def connections():
    """Sockets of TCP that are in use: two for each connection of which both ends are here."""
    with open("/proc/net/sockstat") as file:
        return int(re.search(r"^TCP:.*\binuse (\d+)", file.read(), re.MULTILINE).group(1))


def _objects():
    objects = {}
    with contextlib.suppress(PermissionError, FileNotFoundError), open("/proc/slabinfo") as file:
        for line in file:
            fields = line.split()
            if len(fields) > 4 and fields[1].isdigit():
                objects[fields[0]] = (int(fields[1]), int(fields[3]))
    return objects
