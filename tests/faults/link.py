"""A TCP proxy between two members, with which a connection is made bad in every way that a network knows."""

import asyncio
import contextlib
import time

from relay import in_loop

WINDOW = 256 * 1024  # bytes under way in one direction, beyond which the sender is left waiting
SLICE = 0.05  # seconds: how often something is let through when the link is throttled


class FrameTracker:
    """Finds the payload of a server's WebSocket frames in the bytes that pass."""

    def __init__(self):
        self._head = b""  # of the HTTP response, or of a frame, as far as it has come
        self._upgraded = False
        self._rest = 0  # bytes of the present payload still to come

    def middle_of_a_payload(self, chunk, least=64):
        """Where in the chunk the middle of a payload of at least that size lies, if there is one."""
        at = 0
        found = None
        while at < len(chunk):
            if not self._upgraded:
                self._head += chunk[at : at + 1]
                at += 1
                if self._head.endswith(b"\r\n\r\n"):
                    self._upgraded, self._head = True, b""
            elif self._rest:
                taken = min(self._rest, len(chunk) - at)
                if found is None and taken >= least:
                    found = at + taken // 2
                self._rest -= taken
                at += taken
            else:
                self._head += chunk[at : at + 1]
                at += 1
                length = self._payload_length()
                if length is not None:
                    self._rest, self._head = length, b""
        return found

    def _payload_length(self):
        if len(self._head) < 2:
            return None
        short = self._head[1] & 0x7F
        extended = {126: 2, 127: 8}.get(short, 0)
        if len(self._head) < 2 + extended:
            return None
        return int.from_bytes(self._head[2:], "big") if extended else short


class Link:
    """Stands before a member's port. Faults apply to all connections through it, and to those that come."""

    def __init__(self, lab, member, server_type="repeater", name=None):
        self._name = name or f"the link to {member}"
        self._target = member.address(server_type)
        self._address = lab.network.suite_address
        self._port = 0
        self._server = None
        self._ends = set()  # writers of both ends of all connections
        self._flowing = None
        self._answers = True
        self._delay = 0.0
        self._bytes_per_second = None
        self._cut_in_a_frame = None  # a future while that is to happen
        in_loop(self._open())
        lab.keep(self)

    def __str__(self):
        return self._name

    @property
    def feed_url(self):
        return f"http://{self._address}:{self._port}"

    def address(self, _server_type):
        return self._address, self._port

    # The faults.

    def cut(self):
        """Breaks what is connected, and refuses what comes."""
        in_loop(self._cut())

    def restore(self):
        """As if nothing had been: no fault is left."""
        in_loop(self._restore())

    def black_hole(self):
        """Nothing gets through any longer, and nothing is closed."""
        in_loop(self._set(flowing=False))

    def swallow_answers(self):
        """What the member sends is lost, what is sent to it is not."""
        in_loop(self._set(answers=False))

    def delay(self, seconds):
        """What passes takes as long, one way."""
        in_loop(self._set(delay=seconds))

    def throttle(self, bytes_per_second):
        in_loop(self._set(bytes_per_second=bytes_per_second))

    def cut_in_the_middle_of_a_frame(self, at_once=True):
        """Lets half of the next frame on its way down through, and breaks the connection. `at_once`: that is waited for."""
        in_loop(self._cut_in_the_next_frame(at_once))

    def close(self):
        in_loop(self._cut())

    # How.

    async def _set(self, flowing=True, answers=True, delay=0.0, bytes_per_second=None):
        (self._flowing.set if flowing else self._flowing.clear)()
        self._answers = answers
        self._delay = delay
        self._bytes_per_second = bytes_per_second

    async def _open(self):
        if self._flowing is None:
            self._flowing = asyncio.Event()
            self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, self._address, self._port, limit=WINDOW)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _cut(self):
        if self._server is not None:
            self._server.close()
            self._server = None
        self._break_all()

    async def _restore(self):
        await self._set()
        await self._open()

    async def _cut_in_the_next_frame(self, at_once):
        self._cut_in_a_frame = asyncio.get_running_loop().create_future()
        if at_once:
            await self._cut_in_a_frame

    def _break_all(self):
        for writer in list(self._ends):
            writer.transport.abort()

    async def _connected(self, reader, writer):
        self._ends.add(writer)
        far_writer = None
        tasks = []
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target, limit=WINDOW)
            self._ends.add(far_writer)
            tracker = FrameTracker()
            tasks = [
                asyncio.ensure_future(self._carry(reader, far_writer, None)),
                asyncio.ensure_future(self._carry(far_reader, writer, tracker)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in filter(None, (writer, far_writer)):
                self._ends.discard(end)
                end.transport.abort()

    async def _carry(self, reader, writer, tracker):
        """Passes bytes on until an end of the connection fails or closes."""
        under_way = asyncio.Queue()
        room = asyncio.Semaphore(WINDOW // 4096)
        deliver = asyncio.ensure_future(self._deliver(under_way, room, writer))
        try:
            while chunk := await reader.read(4096):
                if tracker and not self._answers:
                    continue
                await room.acquire()
                middle = tracker.middle_of_a_payload(chunk) if tracker else None
                if middle is not None and self._cut_in_a_frame is not None:
                    under_way.put_nowait((0, chunk[:middle]))
                    under_way.put_nowait((0, None))
                    break
                under_way.put_nowait((time.monotonic() + self._delay, chunk))
            else:
                under_way.put_nowait((0, b""))
            await deliver
        finally:
            deliver.cancel()

    async def _deliver(self, under_way, room, writer):
        with contextlib.suppress(OSError):
            while True:
                due, chunk = await under_way.get()
                if chunk is None:
                    cut, self._cut_in_a_frame = self._cut_in_a_frame, None
                    if cut is not None and not cut.done():
                        cut.set_result(None)
                    return
                if not chunk:
                    return
                if due > time.monotonic():
                    await asyncio.sleep(due - time.monotonic())
                await self._flowing.wait()
                await self._write(chunk, writer)
                room.release()

    async def _write(self, chunk, writer):
        while chunk:
            rate = self._bytes_per_second
            share = max(1, int(rate * SLICE)) if rate else len(chunk)
            writer.write(chunk[:share])
            chunk = chunk[share:]
            await writer.drain()
            if rate:
                await asyncio.sleep(share / rate)

