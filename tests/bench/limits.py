"""What a machine must allow before so many connections fit on it: looked at, set where that is allowed, named else."""

import contextlib
import dataclasses
import fcntl
import math
import socket
import typing
from pathlib import Path

# Of a process: its listeners, pipes, epoll, and what a node keeps free (docs: "clients", descriptors - 256).
RESERVED_DESCRIPTORS = 256
SOURCES = 200  # addresses that the load generator connects from

# Of memory that is available, for both ends of a connection: some 7,500 were measured at a million, and a broadcast that is
# under way takes buffers besides (docs/scaling.md).
CLIENT_BYTES = 10_000
PROCESS_BYTES = 8 << 20


@dataclasses.dataclass
class Plan:
    """How many processes it takes at either end to hold so many clients."""

    clients: int
    descriptors: int  # of a process

    def __post_init__(self):
        most = self.descriptors - RESERVED_DESCRIPTORS
        if most < 1:
            raise SystemExit(f"{self.descriptors} descriptors are too few: {RESERVED_DESCRIPTORS} are not for clients.")
        self.processes = math.ceil(self.clients / most)

    @property
    def of_each(self):
        return math.ceil(self.clients / self.processes)

    def share(self, number):
        """How many clients the load process of that number has."""
        return self.clients // self.processes + (number < self.clients % self.processes)


@dataclasses.dataclass
class Need:
    """One limit. `fits` says of a value how many clients it is enough for; without it, `less` says what having less than
    is wanted does."""

    name: str
    why: str
    wanted: int
    fits: typing.Callable[[int], int] = None
    counts: typing.Callable[[list], int] = lambda values: values[0]  # what of the values in the file it is about
    assign: typing.Callable[[list], str] = None  # what to write instead of `wanted`, given the values as they are
    less: str = "slower without"

    @property
    def path(self):
        return Path("/proc/sys") / self.name.replace(".", "/")

    def text(self):
        return " ".join(self.path.read_text().split())

    def have(self):
        """None where this kernel has no such limit."""
        try:
            return self.counts(self._values())
        except FileNotFoundError:
            return None

    def value(self):
        return self.assign(self._values()) if self.assign else str(self.wanted)

    def _values(self):
        return [int(part) for part in self.text().split()]


def needs(plan, tracked):
    """What so many clients take; `tracked`: whether the firewall keeps an entry for each connection."""
    both = 2 * plan.clients
    yield Need("fs.file-max", "each end of a connection is a file", both + 65_536, lambda have: (have - 65_536) // 2)
    yield Need(
        "fs.epoll.max_user_watches", "each end is watched by an epoll", both + 65_536, lambda have: (have - 65_536) // 2
    )
    yield Need(
        "net.ipv4.tcp_mem",
        "a broadcast that is under way takes a page at either end",
        both + 65_536,
        counts=lambda values: values[1],
        assign=lambda now: f"{now[0]} {both + 65_536} {max(now[2], both + both // 4 + 65_536)}",
    )
    # deploy/systemd/aphlict-relay.sysctl has these, too.
    wanted = 16_384 if plan.of_each > 8_192 else 4_096
    yield Need("net.core.somaxconn", "clients that come back all at once wait to be accepted", wanted)
    yield Need("net.ipv4.tcp_max_syn_backlog", "their handshakes wait as well", wanted)
    # Timers of 60 s fire together for all connections of the same two seconds. The queue is 1,000 by default; what it does
    # not take is dropped (the second column of /proc/net/softnet_stat), and a client that misses two probes counts as gone
    # after 90 s.
    yield Need(
        "net.core.netdev_max_backlog",
        "keepalive probes of clients that came together wait in it together, over loopback",
        max(1_000, plan.clients // 5),
        less="clients that are silent for 90 s may be cut without",
    )
    yield Need(
        "net.ipv4.ip_local_port_range",
        f"one server is reached from {SOURCES} addresses, and the ports of each",
        2 * math.ceil(plan.of_each / SOURCES),
        lambda have: have // 2 * SOURCES * plan.processes,
        counts=lambda values: values[1] - values[0] + 1,
        assign=lambda now: "1024 65535",
    )
    if tracked:
        yield Need(
            "net.netfilter.nf_conntrack_max",
            "the firewall tracks connections over loopback: an entry for each",
            plan.clients + plan.clients // 2,
            lambda have: have * 2 // 3,
        )


def connections_are_tracked():
    """Whether connection tracking counts connections over loopback: tried out, since rules decide it."""
    count = Path("/proc/sys/net/netfilter/nf_conntrack_count")
    if not count.exists():
        return False
    probes = 20
    before = int(count.read_text())
    with contextlib.ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(probes):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        return int(count.read_text()) - before >= probes


def memory_need(plan, available):
    """The memory that is free, as a number of clients."""
    return max(0, available - 2 * plan.processes * PROCESS_BYTES) // CLIENT_BYTES


@contextlib.contextmanager
def granted(plan, available, tell):
    """Within it, what so many clients need is allowed; afterwards all is as it was. `tell` gets a sentence for each limit
    that is touched or stands in the way. Ends the program where the clients do not fit; for memory, before anything is
    touched."""
    refuse_more(plan, tell, {f"{available / 2**30:.1f} GiB of memory are free": memory_need(plan, available)})
    fits = {}
    with contextlib.ExitStack() as undo:
        # One at a time, or the second would put back what the first has set.
        fcntl.flock(undo.enter_context(open(__file__)), fcntl.LOCK_EX)
        for need in needs(plan, connections_are_tracked()):
            have = need.have()
            if have is None or have >= need.wanted:
                continue
            old, new = need.text(), need.value()
            about = f"{need.name} is {old}, and {need.why}"
            try:
                with open(need.path, "w") as file:
                    undo.callback(put_back, need, old, tell)
                    file.write(new)
                tell(f"{about}: set to {new} meanwhile")
            except OSError:
                tell(f"{about}: as root, sysctl -w {need.name}='{new}'" + ("" if need.fits else f"; {need.less}"))
                if need.fits:
                    fits[f"{need.name} is {old}"] = need.fits(have)
        refuse_more(plan, tell, fits)
        yield


def refuse_more(plan, tell, fits):
    """Ends the program where fewer clients fit than are planned. `fits`: how many, by the reason."""
    reason, most = min(fits.items(), key=lambda item: item[1], default=(None, plan.clients))
    if most < plan.clients:
        tell(f"{plan.clients:,} clients do not fit, but {most:,} do (--clients {most}): {reason}")
        raise SystemExit(2)


def put_back(need, value, tell):
    try:
        need.path.write_text(value)
    except OSError as error:
        tell(f"{need.name} could not be set back to {value}: {error}")
