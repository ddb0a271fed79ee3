"""Runs tests/faults/herd.cc: thousands of pages in a process of their own."""

import collections
import errno
import json
import subprocess
import threading
import time

from publisher import Ledger
from relay import DEADLINE
from tools import build


class HerdLedger(Ledger):
    """Each message is for one of `groups` groups, in turn."""

    def __init__(self, groups, salt):
        super().__init__("", salt)
        self._groups = groups

    def text(self, number):
        return json.dumps(
            {
                "at": time.monotonic_ns(),
                "n": number // self._groups,
                "subscribers": [f"PHID-HERD-{number % self._groups}"],
                "uniqueID": f"{self._salt}{number:020}",
            }
        ).encode()


class Herd:
    def __init__(self, network, clients, groups, members):
        self.clients = clients
        self.lines = []
        self.last = None  # what it says at its end
        addresses = ["%s:%d" % member.address("client") for member in members]
        self._process = subprocess.Popen(
            [build("herd.cc", "-std=c++20"), str(clients), str(groups), ",".join(network.client_addresses()), *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            line = json.loads(line)
            if "t" in line:
                self.lines.append(line)
            else:
                self.last = line

    def open(self):
        return self.lines[-1]["open"] if self.lines else 0

    def has_all(self):
        """Whether nobody lacks what others of the group have, and nothing new has come for a second."""
        return self.lines[-1]["missing"] == 0 and not any(line["messages"] for line in self.lines[-10:])

    def between(self, begin, end):
        return [line for line in self.lines if begin <= line["t"] < end]

    def when_all_were_open_after(self, moment):
        """When it first said so, after it had said otherwise."""
        lines = iter(self.between(moment, float("inf")))
        for line in lines:
            if line["open"] < self.clients:
                break
        return next((line["t"] for line in lines if line["open"] == self.clients), None)

    def failed(self, address_index):
        """What connections to one of its addresses failed of."""
        failed = self.lines[-1]["failed"][address_index]
        return {"closed unanswered" if code < 0 else errno.errorcode[code]: count for code, count in failed}

    def kill(self):
        """All at once, without a word."""
        self._process.kill()
        self._process.wait()

    def close(self):
        self._process.stdin.close()
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)


def percentile(lines, share):
    """Milliseconds within which this share of the messages of some lines came."""
    buckets = collections.Counter()
    for line in lines:
        for bucket, count in line["latency"].items():
            buckets[int(bucket)] += count
    rest = share * sum(buckets.values())
    for bucket in sorted(buckets):
        rest -= buckets[bucket]
        if rest <= 0:
            return 1.1 ** (bucket + 1) / 1000
    return None
