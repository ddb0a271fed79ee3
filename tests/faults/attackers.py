"""What strangers send. Runs one attack until its standard input ends:

    attackers.py NAME client=ADDRESS:PORT admin=ADDRESS:PORT repeater=ADDRESS:PORT [tls=ADDRESS:PORT]

Each attack is a coroutine that makes one go of it, again and again, by some at a time. Prints how many goes there were.
"""

import asyncio
import contextlib
import itertools
import json
import ssl
import struct
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from relay import BINARY, CONTINUATION, PING, TEXT, command_frame, frame, handshake_request, raise_descriptor_limit  # noqa: E402

ATTACKS = {}
UNREAD = 64 * 1024


def attack(server_type="client", at_once=20):
    """An attack on that port, by so many at once."""

    def register(function):
        ATTACKS[function.__name__] = (function, server_type, at_once)
        return function

    return register


class Line:
    """A connection of a stranger's, which the other side may end at any moment."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self):
        """Reads and forgets."""
        while await self.reader.read(UNREAD):
            pass


@contextlib.asynccontextmanager
async def connected(address, **options):
    reader, writer = await asyncio.open_connection(*address, limit=UNREAD, **options)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def page(address):
    """A client: its handshake is done."""
    async with connected(address) as line:
        await line.send(handshake_request())
        await line.reader.readuntil(b"\r\n\r\n")
        yield line


async def send_and_wait(line, data):
    """Sends as far as the other side takes it, and waits for its end."""
    reading = asyncio.ensure_future(line.until_closed())
    try:
        await line.send(data)
        await reading
    finally:
        reading.cancel()


# --- HTTP --------------------------------------------------------------------------------------------------


@attack(at_once=200)
async def slow_heads(address):
    async with connected(address) as line:
        for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 1000:
            await line.send(bytes([byte]))
            await asyncio.sleep(0.3)


@attack(at_once=300)
async def silent_connections(address):
    async with connected(address) as line:
        await line.until_closed()


@attack()
async def endless_heads(address):
    async with connected(address) as line:
        await line.send(b"GET / HTTP/1.1\r\n")
        for number in itertools.count():
            await line.send(b"X-%d: %s\r\n" % (number, b"x" * 1000))


@attack("admin", at_once=4)
async def endless_bodies(address):
    async with connected(address) as line:
        await line.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await line.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")


SMUGGLED = [
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"Content-Length: 2, 3\r\n\r\n{}",
    b"Content-Length: +2\r\n\r\n{}",
    b"X-A:\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    b"X A: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: identity, chunked, identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Host: b\r\nContent-Length: 2\r\n\r\n{}",
]


@attack("admin")
async def smuggled_requests(address):
    for ending in SMUGGLED:
        async with connected(address) as line:
            await send_and_wait(line, b"POST / HTTP/1.1\r\nHost: a\r\n" + ending + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")


@attack(at_once=5)
async def pipelined_requests(address):
    """Whose answers nobody reads."""
    async with connected(address) as line:
        for _ in range(20):
            await line.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500)


@attack("admin")
async def foreign_pages(address):
    """What a page of the web makes a browser send."""
    async with connected(address) as line:
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example.com\r\nContent-Length: 2\r\n\r\n{}"
        await send_and_wait(line, head)


@attack("admin")
async def deep_publishes(address):
    body = b"[" * 100_000
    async with connected(address) as line:
        await line.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await line.until_closed()


@attack("repeater")
async def strangers_at_the_feed(address):
    async with connected(address) as line:
        await send_and_wait(
            line,
            b"GET /feed/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: aphlict-relay.v1\r\n"
            b"Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n\r\n" + frame(TEXT, b'{"type":"hello"}') * 100,
        )


# --- connections -------------------------------------------------------------------------------------------


@attack(at_once=50)
async def resets(address):
    async with connected(address) as line:
        await line.send(handshake_request())


@attack(at_once=1000)
async def too_many_clients(address):
    async with page(address) as line:
        await line.until_closed()


# --- WebSocket ---------------------------------------------------------------------------------------------


@attack(at_once=5)
async def tiny_fragments(address):
    async with page(address) as line:
        await send_and_wait(line, frame(TEXT, b"[", fin=False) + frame(CONTINUATION, b"1", fin=False) * 100_000)


@attack(at_once=5)
async def ping_floods(address):
    """Whose pongs nobody reads."""
    async with page(address) as line:
        for _ in range(50):
            await line.send(frame(PING, b"x" * 125) * 500)


@attack()
async def huge_frames(address):
    async with page(address) as line:
        await send_and_wait(line, frame(TEXT, b"x" * 1000, length=1 << 62))


@attack(at_once=100)
async def unfinished_messages(address):
    """Most of the longest message that is allowed, and then nothing."""
    async with page(address) as line:
        await send_and_wait(line, frame(TEXT, b"x" * 900_000, length=1_000_000))


@attack()
async def broken_frames(address):
    for broken in (frame(TEXT, b"x", masked=False), frame(TEXT, b"x", rsv=4), frame(3, b"x"), frame(CONTINUATION, b"x"),
                   frame(PING, b"x" * 126), frame(PING, b"x", fin=False)):  # fmt: skip
        async with page(address) as line:
            await send_and_wait(line, broken)


@attack()
async def bad_utf8(address):
    async with page(address) as line:
        await send_and_wait(line, frame(TEXT, b"\xf0\x80", fin=False))


@attack()
async def long_commands(address):
    async with page(address) as line:
        await send_and_wait(line, frame(TEXT, b"[" + b"1," * 1_000_000, fin=False))


@attack(at_once=5)
async def deep_commands(address):
    async with page(address) as line:
        for _ in range(10):
            await line.send(frame(TEXT, b"[" * 100_000))


@attack(at_once=5)
async def binary_commands(address):
    async with page(address) as line:
        for _ in range(100):
            await line.send(frame(BINARY, b"x" * 100) * 10)


@attack(at_once=5)
async def equal_keys(address):
    text = b"{" + b'"command":"ping",' * 5000 + b'"command":"none"}'
    async with page(address) as line:
        for _ in range(20):
            await line.send(frame(TEXT, text))


@attack(at_once=5)
async def alike_subscriptions(address):
    """Very many that differ in their last characters only."""
    async with page(address) as line:
        for first in range(0, 50_000, 5_000):
            await line.send(command_frame("subscribe", [f"PHID-USER-{'a' * 40}{n:05}" for n in range(first, first + 5_000)]))
        await line.send(command_frame("ping"))
        await asyncio.sleep(1)


@attack(at_once=5)
async def subscriptions_without_end(address):
    async with page(address) as line:
        reading = asyncio.ensure_future(line.until_closed())
        for first in itertools.count(0, 5_000):
            await line.send(command_frame("subscribe", [f"PHID-USER-{n}" for n in range(first, first + 5_000)]))
            if reading.done():
                break


@attack(at_once=5)
async def replay_floods(address):
    async with page(address) as line:
        reading = asyncio.ensure_future(line.until_closed())
        try:
            await line.send(command_frame("subscribe", [f"PHID-HERD-{n}" for n in range(100)]))
            for _ in range(50):
                await line.send(command_frame("replay", {"age": 60000}) * 20)
        finally:
            reading.cancel()


# --- TLS ---------------------------------------------------------------------------------------------------

RECORD = b"\x16\x03\x01"


@attack("tls", at_once=100)
async def half_handshakes(address):
    async with connected(address) as line:
        await line.send(RECORD + b"\x02\x00\x01\x00\x01\xfc\x03\x03")
        await line.until_closed()


@attack("tls")
async def no_handshakes(address):
    for data in (b"GET / HTTP/1.1\r\n\r\n", RECORD + b"\xff\xff" + b"x" * 70_000, bytes(5) + b"x" * 1000, RECORD + struct.pack("!H", 4) + b"\x01\xff\xff\xff"):
        async with connected(address) as line:
            await send_and_wait(line, data)


def _context(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


@attack("tls")
async def whole_handshakes(address):
    """The dearest thing that a stranger can ask for."""
    async with connected(address, ssl=_context(ssl.TLSVersion.TLSv1_3)):
        pass


# --- running -----------------------------------------------------------------------------------------------


async def again_and_again(function, address, goes):
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.LimitOverrunError):
            await function(address)
        goes["goes"] += 1
        await asyncio.sleep(0.01)


async def run(name, addresses):
    function, server_type, at_once = ATTACKS[name]
    goes = {"goes": 0}
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    tasks = [asyncio.ensure_future(again_and_again(function, addresses[server_type], goes)) for _ in range(at_once)]
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(goes))


def main():
    name, *targets = sys.argv[1:]
    addresses = {}
    for target in targets:
        server_type, address = target.split("=")
        host, port = address.rsplit(":", 1)
        addresses[server_type] = host, int(port)
    raise_descriptor_limit()
    asyncio.run(run(name, addresses))


if __name__ == "__main__":
    main()
