"""Publishes numbered messages as Phabricator does, and writes down what came of each."""

import asyncio
import collections
import itertools
import random
import time

from relay import in_loop

# Of several attempts, the lowest counts.
PENDING, ANSWERED, UNCERTAIN, REFUSED = range(4)

PATIENCE = 2.0  # seconds that Phabricator gives one master, from connecting to the last byte
PERSISTENCE = 20.0  # seconds that a persistent publish is tried again for
MOST_LANES = 1000  # publishes under way at once; a machine that cannot keep up skips the others
MANY = 0xFF  # more than one master was tried


class Ledger:
    """What is known of each message. Numbers count from 0."""

    HEAD = b'{"number":'

    def __init__(self, phid, salt):
        self.phid = phid
        self._salt = salt
        self.padding = 0  # bytes that make messages larger
        self.texts = []
        self.fates = bytearray()
        self.lanes = []  # which of the publisher's lanes: one is a sequence of publishes, each after the answer before
        self.masters = bytearray()  # index of the only master that was tried, or MANY
        self.answer_order = []  # the numbers that were answered 200

    def text(self, number):
        """The message of that number, made now."""
        return b'%s%d,"type":"notification","subscribers":["%s"],"uniqueID":"%s%020d","padding":"%s"}' % (
            self.HEAD,
            number,
            self.phid.encode(),
            self._salt.encode(),
            number,
            b"-" * self.padding,
        )

    def open(self, lane):
        number = len(self.texts)
        self.texts.append(self.text(number))
        self.fates.append(PENDING)
        self.lanes.append(lane)
        self.masters.append(MANY)
        return number

    def close(self, number, fate, master):
        self.fates[number] = fate
        self.masters[number] = master
        if fate == ANSWERED:
            self.answer_order.append(number)

    @classmethod
    def number_of(cls, text):
        """The number of a message, by its bytes."""
        begin = len(cls.HEAD)
        return int(text[begin : text.index(b",", begin)])

    def count(self, fate):
        return self.fates.count(fate)


class _Broken(Exception):
    """The connection ended before the answer."""


class _HttpLine(asyncio.Protocol):
    """A connection that is kept, with one request at a time."""

    def __init__(self):
        self.transport = None
        self.open = True
        self._buffer = b""
        self._answer = None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_Broken())

    def data_received(self, data):
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(body) < length:
            return
        self._buffer = b""
        if b"connection: close" in lines:
            self.open = False
            self.transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(int(lines[0].split()[1]))

    async def post(self, host, body):
        """The status. Raises _Broken."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(
            b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
            % (host, len(body), body)
        )
        return await self._answer

    def abort(self):
        self.open = False
        self.transport.abort()


class Publisher:
    """Publishes at a steady rate until it is stopped, whatever comes of the publishes before.

    Each message goes to one master after the other, in random order, until one answers 200 within 2 s. When all have
    failed it is given up; `persistent` ones, picked by their number, are tried again until that works: their uniqueID
    is all that keeps them from being delivered twice.
    """

    def __init__(self, masters, rate, ledger, seed, lanes=MOST_LANES, persistent=lambda number: False):
        self.ledger = ledger
        self.rate = rate
        self._addresses = [master.address("admin") for master in masters]
        self._random = random.Random(seed)
        self._most_lanes = lanes
        self._persistent = persistent
        self._idle_lanes = []  # the one that was used last is used first, so that most publishes share one
        self._lane_numbers = itertools.count()
        self._lines = {}  # (lane, master) -> _HttpLine
        self._under_way = set()
        self._stopping = False
        self._ticker = None
        self.skipped = 0
        self.statuses = collections.Counter()  # of all answers
        self.started = 0.0  # on the monotonic clock
        self.seconds = 0.0  # that it has published for, once stopped

    # From the scenario's thread.

    def start(self):
        self.started = self.now()
        self._ticker = in_loop(self._start())
        return self

    @staticmethod
    def now():
        return time.monotonic()

    def stop(self):
        """Returns when the fate of all messages is known."""
        in_loop(self._stop(), timeout=PERSISTENCE + 60)

    def publish_at_each(self):
        """Publishes one more message at each master, which must take it: whatever is before it in that master's order
        has come when it has come. REQUIRES: stopped; all masters run."""
        for master in range(len(self._addresses)):
            in_loop(self._publish([master], True))

    def is_steady(self):
        """Whether it keeps its rate although publishes take their time."""
        return self._most_lanes == MOST_LANES

    # In the loop of all traffic.

    async def _start(self):
        return asyncio.ensure_future(self._tick())

    async def _tick(self):
        started = time.monotonic()
        begun = 0
        while not self._stopping:
            due = int((time.monotonic() - started) * self.rate)
            for _ in range(due - begun):
                if len(self._under_way) >= self._most_lanes:
                    self.skipped += 1
                    continue
                task = asyncio.ensure_future(self._publish(self._in_random_order(), None))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            begun = due
            await asyncio.sleep(max(0.001, started + (begun + 1) / self.rate - time.monotonic()))

    async def _stop(self):
        if not self._stopping:
            self.seconds = self.now() - self.started
        self._stopping = True
        if self._ticker is not None:
            await self._ticker
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    async def close_lines(self):
        for line in self._lines.values():
            line.abort()

    def close(self):
        self.stop()
        in_loop(self.close_lines())

    def _in_random_order(self):
        order = list(range(len(self._addresses)))
        self._random.shuffle(order)
        return order

    async def _publish(self, masters, persistent):
        lane = self._idle_lanes.pop() if self._idle_lanes else next(self._lane_numbers)
        try:
            number = self.ledger.open(lane)
            persistent = self._persistent(number) if persistent is None else persistent
            fate, master = await self._try_all(lane, masters, number)
            give_up = time.monotonic() + PERSISTENCE
            while fate != ANSWERED and persistent and time.monotonic() < give_up:
                await asyncio.sleep(0.1)
                again, _ = await self._try_all(lane, masters, number)
                fate, master = min(fate, again), MANY
            self.ledger.close(number, fate, master)
        finally:
            self._idle_lanes.append(lane)

    async def _try_all(self, lane, masters, number):
        """What came of it, and the only master that can have taken it, or MANY."""
        may_have_it = []
        for master in masters:
            fate = await self._try(lane, master, self.ledger.texts[number])
            if fate != REFUSED:
                may_have_it.append(master)
            if fate == ANSWERED:
                break
        else:
            fate = UNCERTAIN if may_have_it else REFUSED
        return fate, (may_have_it[0] if len(may_have_it) == 1 else MANY)

    async def _try(self, lane, master, text):
        address = self._addresses[master]
        key = lane, master
        line = None
        sent = False
        try:
            async with asyncio.timeout(PATIENCE):
                line = self._lines.get(key)
                if line is None or not line.open:
                    _, line = await asyncio.get_running_loop().create_connection(_HttpLine, *address)
                    self._lines[key] = line
                sent = True
                status = await line.post(address[0].encode(), text)
                self.statuses[status] += 1
                return ANSWERED if 200 <= status < 300 else REFUSED
        except (OSError, TimeoutError, _Broken):
            if line is not None:
                line.abort()
            return UNCERTAIN if sent else REFUSED
