"""Processes under measurement: started on a core of their own, their CPU and memory read from /proc."""

import contextlib
import ctypes
import dataclasses
import json
import os
import re
import resource
import signal
import subprocess
import threading
import time

PATIENCE = 30  # seconds: how long a server may take to say that it listens


class Failed(Exception):
    """A run that has no figure: something was lost, or something did not work at all."""


def raise_descriptor_limit(most=None):
    """Children inherit it. Never above the hard limit; with `most`, that is lowered. Says what it is now."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most:
        hard = min(hard, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@dataclasses.dataclass
class Cpu:
    """CPU that a process has used: the scheduler's exact sum, and the ticks that split it."""

    seconds: float
    user_ticks: int
    system_ticks: int

    def __add__(self, other):
        return Cpu(
            self.seconds + other.seconds, self.user_ticks + other.user_ticks, self.system_ticks + other.system_ticks
        )

    def __sub__(self, other):
        return Cpu(
            self.seconds - other.seconds, self.user_ticks - other.user_ticks, self.system_ticks - other.system_ticks
        )

    @property
    def user_part(self):
        ticks = self.user_ticks + self.system_ticks
        return self.user_ticks / ticks if ticks else 0.0


def cpu_of(pid):
    """Time on a CPU of all threads, by schedstat (ns); user and system time by stat (ticks)."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            pass  # a thread that has just ended
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return Cpu(total * 1e-9, int(fields[11]), int(fields[12]))


def pss_of(pid):
    """Proportional set size in bytes: pages that are shared count by their share."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(re.search(r"^Pss:\s+(\d+) kB", file.read(), re.MULTILINE).group(1)) * 1024


def child_of(pid):
    """Its first, once there is one: a server may listen before it has forked."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = file.read().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise Failed(f"process {pid} has no child")


def machine_busy_seconds():
    """CPU that the whole machine has used."""
    with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    idle, waiting = ticks[3], ticks[4]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def _in_the_child(core):
    libc = ctypes.CDLL(None)

    def prepare():
        os.sched_setaffinity(0, {core})
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing survives the benchmark

    return prepare


class Server:
    """A server process. What it says on stderr is read along, and tells its ports where it is one of ours."""

    def __init__(self, name, command, core, log, cwd=None):
        self.name = name
        self.lines = []
        self._log = log
        self._changed = threading.Condition()
        self._ended = False
        log(f"$ {' '.join(map(str, command))}")
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=cwd,
            preexec_fn=_in_the_child(core),
        )
        self.pid = self._process.pid
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stderr:
            self._log(f"{self.name}: {line.rstrip()}")
            with self._changed:
                if len(self.lines) < 1000:
                    self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern, times=1):
        """The match of the first line with `pattern`, or of a later one."""
        deadline = time.monotonic() + PATIENCE
        seen = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if match := re.search(pattern, line):
                        times -= 1
                        if times == 0:
                            return match
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise Failed(f"{self.name} did not start: {''.join(self.lines[-3:]).strip() or 'it says nothing'}")
                self._changed.wait(left)

    def address(self, kind):
        return self.wait_for(rf"event=listening\b.*\btype={kind}\b.*\baddress=(\S+)").group(1)

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Load:
    """A load generator, asked by lines and answering by lines."""

    def __init__(self, binary, core, log, name="load"):
        self.name = name
        self._log = log
        self._process = subprocess.Popen(
            [str(binary)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_in_the_child(core),
        )
        self.pid = self._process.pid

    def ask(self, command, **options):
        self.tell(command, **options)
        return self.answer()

    def tell(self, command, **options):
        """Asks, and leaves the answer for answer()."""
        self._line = " ".join([command, *(f"{key}={value}" for key, value in options.items() if value is not None)])
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(self._line + "\n")
            self._process.stdin.flush()

    def answer(self):
        answer = self._process.stdout.readline()
        self._log(f"{self.name}: {self._line} -> {answer.rstrip()}")
        if not answer:
            raise Failed("the load generator has ended")
        result = json.loads(answer)
        if "error" in result:
            raise Failed(result["error"])
        return result

    def hang_up(self):
        """Lets it end, without waiting for that."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def stop(self, patience=20):
        self.hang_up()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
