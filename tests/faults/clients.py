"""Those who read: plain clients, which count what one connection brings, and pages, which do as Aphlict's does."""

import asyncio
import bisect
import random
import struct
import time
from array import array

from publisher import MANY
from relay import CLOSE, PONG, TEXT, command_frame, frame, handshake_request, in_loop

PING_OPCODE, PONG_OPCODE = 0x9, 0xA
SETTLING = 10.0  # seconds for a connection and its subscription
REPLAY_AFTER = 0.1  # a page asks for a replay as long after it has subscribed again
REPLAY_MARGIN = 500  # ms more than the page's age
MOST_REPLAY = 60000  # ms
PAGE_PING = 15.0


class _WebSocket(asyncio.Protocol):
    """One connection of a client: knows frames, not what they mean."""

    def __init__(self, owner):
        self._owner = owner
        self.transport = None
        self._buffer = bytearray()
        self._upgraded = False
        self.close_code = 1006

    def connection_made(self, transport):
        self.transport = transport
        transport.write(handshake_request())

    def connection_lost(self, error):
        self._owner.on_closed(self, self.close_code if self._upgraded else None)

    def data_received(self, data):
        buffer = self._buffer
        buffer += data
        at = 0
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101 "):
                self._owner.complain(f"the handshake was answered {bytes(buffer[:40])!r}")
                self.transport.abort()
                return
            self._upgraded = True
            at = end + 4
            self._owner.on_open(self)
        size = len(buffer)
        while size - at >= 2:
            length = buffer[at + 1]
            begin = at + 2
            if length == 126:
                begin = at + 4
            elif length == 127:
                begin = at + 10
            if size < begin:
                break
            if length == 126:
                (length,) = struct.unpack_from("!H", buffer, at + 2)
            elif length == 127:
                (length,) = struct.unpack_from("!Q", buffer, at + 2)
            if size < begin + length:
                break
            opcode = buffer[at] & 0x0F
            payload = bytes(buffer[begin : begin + length])
            at = begin + length
            if opcode == TEXT:
                self._owner.on_text(payload)
            elif opcode == PING_OPCODE:
                self.transport.write(frame(PONG_OPCODE, payload))
            elif opcode == CLOSE:
                self.close_code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                self.transport.write(frame(CLOSE, payload[:2]))
                self.transport.close()
        del buffer[:at]

    def send(self, data):
        if not self.transport.is_closing():
            self.transport.write(data)


class Client:
    """What plain clients and pages share: counting. Public names are for the scenario's thread."""

    def __init__(self, name, ledger, addresses, seed):
        self.name = name
        self.ledger = ledger
        self.addresses = list(addresses)  # of one name, or virtual address, that stands for all
        self.homes = []  # names of the members that these are
        self.copies = bytearray()  # by number: how often it came, 255 for more
        self.numbers = array("L")  # in the order of arrival, first copies only
        self.arrivals = array("d")  # when, on the monotonic clock
        self.complaints = []
        self.close_codes = []
        self.closed_at = []
        self.failed_connects = 0
        self.connections = 0
        self.first_number = 0  # what was published before it subscribed does not concern it
        self._random = random.Random(seed)
        self._socket = None
        self._settled = None
        self._leaving = False

    def connect(self):
        """Connects and subscribes, and returns when that has taken effect."""
        in_loop(self._connect_and_settle())
        return self

    def close(self):
        in_loop(self._close())

    def is_open(self):
        return self._socket is not None

    def first_arrival_after(self, moment):
        """When the first message came at or after a moment, or None."""
        index = bisect.bisect_left(self.arrivals, moment)
        return self.arrivals[index] if index < len(self.arrivals) else None

    def has(self, number):
        return number < len(self.copies) and self.copies[number] > 0

    # In the loop.

    async def _connect_and_settle(self):
        self._settled = asyncio.get_running_loop().create_future()
        if not await self._open():
            raise AssertionError(f"{self.name} cannot connect to {self.addresses}")
        async with asyncio.timeout(SETTLING):
            await self._settled
        self.first_number = len(self.ledger.texts)

    async def _open(self):
        """Tries each address once, as a browser does with those of a name."""
        for host, port in self._random.sample(self.addresses, len(self.addresses)):
            try:
                async with asyncio.timeout(SETTLING):
                    await asyncio.get_running_loop().create_connection(lambda: _WebSocket(self), host, port)
                    return True
            except (OSError, TimeoutError):
                self.failed_connects += 1
        return False

    async def _close(self):
        self._leaving = True
        if self._socket is not None:
            self._socket.transport.abort()

    def complain(self, text):
        if len(self.complaints) < 20:
            self.complaints.append(f"{self.name}: {text}")

    def on_open(self, socket):
        self._socket = socket
        self.connections += 1
        socket.send(command_frame("subscribe", [self.ledger.phid]) + command_frame("ping"))

    def on_closed(self, socket, code):
        self._socket = None
        if not self._leaving:
            self.close_codes.append(code)
            self.closed_at.append(time.monotonic())

    def on_text(self, payload):
        if payload == PONG.encode():
            if self._settled is not None and not self._settled.done():
                self._settled.set_result(None)
            return
        try:
            number = self.ledger.number_of(payload)
            right = self.ledger.texts[number] == payload
        except (ValueError, IndexError):
            right = False
        if not right:
            return self.complain(f"what came is not what was published: {payload[:200]!r}")
        if number >= len(self.copies):
            self.copies.extend(bytes(number + 1000 - len(self.copies)))
        if self.copies[number] == 0:
            self.numbers.append(number)
            self.arrivals.append(time.monotonic())
        if self.copies[number] < 255:
            self.copies[number] += 1
        self.on_number(number)

    def on_number(self, number):
        pass

    def repeated(self):
        """How many messages too many came."""
        raise NotImplementedError

    def disordered(self):
        """How many messages came before one that the same publisher had had accepted by the same master earlier."""
        lanes, masters = self.ledger.lanes, self.ledger.masters
        last = {}
        count = 0
        for number in self.numbers:
            if masters[number] == MANY:
                continue  # in whose order it stands is not known
            key = lanes[number], masters[number]
            if number < last.get(key, -1):
                count += 1
            else:
                last[key] = number
        return count


class PlainClient(Client):
    """Stays on its one connection, on which each message is to come once."""

    def repeated(self):
        return sum(copies - 1 for copies in self.copies if copies > 1)


class Page(Client):
    """Aphlict's page: comes back at once when a connection that worked has closed, and after 2, 4, 8 … s when it could
    not connect; subscribes, and 100 ms later asks for a replay as old as itself; knows messages by their uniqueID."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._born = time.monotonic()
        self._on_this_connection = {}
        self._repeated = 0
        self._tasks = set()

    def on_open(self, socket):
        super().on_open(socket)
        self._on_this_connection = {}
        self._later(PAGE_PING, self._ping, socket)
        if self.connections > 1:
            self._later(REPLAY_AFTER, self._ask_for_a_replay, socket)

    def on_closed(self, socket, code):
        super().on_closed(socket, code)
        if not self._leaving:
            task = asyncio.ensure_future(self._come_back())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _come_back(self):
        pause = 2
        while not self._leaving and not await self._open():
            await asyncio.sleep(pause)
            pause = min(2 * pause, 300)

    def _later(self, seconds, call, *arguments):
        asyncio.get_running_loop().call_later(seconds, call, *arguments)

    def _ping(self, socket):
        if socket is self._socket:
            socket.send(command_frame("ping"))
            self._later(PAGE_PING, self._ping, socket)

    def _ask_for_a_replay(self, socket):
        if socket is self._socket:
            age = int((time.monotonic() - self._born) * 1000) + REPLAY_MARGIN
            socket.send(command_frame("replay", {"age": min(age, MOST_REPLAY)}))

    def on_number(self, number):
        # Once live, before the replay, and once in it: more than that is not for the page to forgive.
        copies = self._on_this_connection.get(number, 0) + 1
        self._on_this_connection[number] = copies
        if copies > (2 if self.connections > 1 else 1):
            self._repeated += 1

    def repeated(self):
        return self._repeated


