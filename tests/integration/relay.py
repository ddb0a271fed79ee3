"""The tests' verbs: start nodes, publish, be a browser, be a bad one, cut a connection.

Nothing here shares code with the product. Everything waits for events with one generous deadline, so that
a loaded machine makes the tests slower and not red.
"""

import asyncio
import base64
import contextlib
import ctypes
import dataclasses
import fcntl
import functools
import hashlib
import http.client
import itertools
import json
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

import websockets

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("APHLICT_RELAY_BUILD", ROOT / "build"))
BINARIES = {
    "master": BUILD / "master" / "aphlict-master",
    "repeater": BUILD / "repeater" / "aphlict-repeater",
}
ECHO = BUILD / "tests" / "websocket-echo"
DEADLINE = float(os.environ.get("APHLICT_RELAY_DEADLINE", 30))  # seconds: how long anything may take before it is never

# What a process must not say, at any time.
COMPLAINTS = ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "uv_loop_close", "Assertion")


def wait_until(condition, what, deadline=DEADLINE):
    """Polls until `condition()` is true, and returns its value."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline} s still not: {what}")
        time.sleep(0.01)


DEFAULT_PORTS = range(22280, 22284)


def _ports():
    """Ports below those that the kernel gives out by itself, a range for each of pytest's worker processes.

    A port of the kernel's range may become the near end of any connection between looking and listening.
    """
    first_of_the_kernel = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    size = 5000
    end = first_of_the_kernel - worker * size
    start = secrets.randbelow(size)  # so that a run does not meet what another has left
    ports = (end - 1 - (start + n) % size for n in range(size))
    return itertools.cycle(port for port in ports if port not in DEFAULT_PORTS)


_next_ports = _ports()


def unused_port():
    """A port on which nothing listens, for what must fail at first, or must come back at the same place."""
    for port in _next_ports:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def unused_low_port():
    """One that only root can take."""
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port below 1024")


def shorten(text, limit=200):
    text = repr(text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


# --- messages ----------------------------------------------------------------------------------------------


def message(*subscribers, **fields):
    """A message as Phabricator publishes them: JSON text with `type`, `subscribers` and `uniqueID`."""
    return json.dumps(
        {"type": "notification", "subscribers": list(subscribers), "uniqueID": secrets.token_hex(16), **fields}
    )


# --- HTTP --------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)


def request(address, method, target, body=None, headers=None):
    """One HTTP request on a connection of its own."""
    connection = http.client.HTTPConnection(*address, timeout=DEADLINE)
    try:
        return request_on(connection, method, target, body, headers)
    finally:
        connection.close()


def request_on(connection, method, target, body=None, headers=None):
    if isinstance(body, str):
        body = body.encode()
    connection.request(method, target, body=body, headers=headers or {})
    response = connection.getresponse()
    return Reply(response.status, response.headers, response.read())


def publish_target(instance=None):
    return "/" if instance is None else "/?instance=" + urllib.parse.quote(instance, safe="")


def nodes_below(status):
    """The entries of a status's `repeaters` and of theirs, each as often as it is listed."""
    for node in status["repeaters"]:
        yield node
        yield from nodes_below(node)


# --- processes ---------------------------------------------------------------------------------------------

LOG_FIELD = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')


@dataclasses.dataclass
class LogLine:
    text: str
    fields: dict

    @staticmethod
    def parse(text):
        fields = {}
        for key, value in LOG_FIELD.findall(text):
            fields[key] = value[1:-1].replace('\\"', '"').replace("\\\\", "\\") if value[:1] == '"' else value
        return LogLine(text, fields)


PR_SET_PDEATHSIG, PR_CAPBSET_DROP = 1, 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def ends_with_the_tests():
    """For `preexec_fn`: the process is asked to end when the tests are gone, whatever ended them."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _in_the_child(descriptors, bound_by_modes=False):
    """Between fork and exec: the descriptors a server needs, and no survivor when the tests are killed.

    `bound_by_modes`: the modes of files bind it also when it is root's.
    """
    libc = ctypes.CDLL(None)

    def prepare():
        if bound_by_modes:
            for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
                libc.prctl(PR_CAPBSET_DROP, capability)  # fails for those who have none to drop
        limit = descriptors or resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return prepare


class Node:
    """A running aphlict-master or aphlict-repeater, its log read along.

    `prefix` is a command that runs it, and becomes it by exec, so that signals reach the node. `binary`: another than
    that of the build folder.
    """

    def __init__(
        self,
        role,
        arguments,
        descriptors=None,
        log_pipe_bytes=None,
        log_is_read=True,
        prefix=(),
        environment=None,
        binary=None,
    ):
        self.role = role
        self.arguments = [str(a) for a in arguments]
        self.log = []  # LogLine
        self.ended_by_test = False
        self._asked_to_stop = False
        self._frozen = False
        self._log_changed = threading.Condition()
        self._log_flows = threading.Event()
        self._log_flows.set()
        read_end, write_end = os.pipe()
        if log_pipe_bytes is not None:
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, log_pipe_bytes)
        self.process = subprocess.Popen(
            [*prefix, binary or BINARIES[role], *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=write_end,
            env={**os.environ, **(environment or {})},
            preexec_fn=_in_the_child(descriptors),
        )
        os.close(write_end)
        if not log_is_read:
            os.close(read_end)
            read_end = os.open(os.devnull, os.O_RDONLY)
        self._log_pipe = read_end
        self._log_reader = threading.Thread(target=self._read_log, daemon=True)
        self._log_reader.start()

    # Its log.

    def _read_log(self):
        rest = b""
        while True:
            self._log_flows.wait()
            try:
                chunk = os.read(self._log_pipe, 1 << 16)
            except OSError:
                chunk = b""
            *lines, rest = (rest + chunk).split(b"\n")
            if not chunk and rest:
                lines.append(rest)
            with self._log_changed:
                self.log.extend(LogLine.parse(line.decode(errors="replace")) for line in lines)
                self._log_changed.notify_all()
            if not chunk:
                os.close(self._log_pipe)
                return

    def stop_reading_the_log(self):
        self._log_flows.clear()

    def go_on_reading_the_log(self):
        self._log_flows.set()

    def log_text(self):
        with self._log_changed:
            return "\n".join(line.text for line in self.log)

    def events(self, event, after=0, **fields):
        wanted = {"event": event, **fields}
        with self._log_changed:
            return [line for line in self.log[after:] if wanted.items() <= line.fields.items()]

    def log_mark(self):
        """The log's place now, for waiting for what comes after it."""
        return len(self.log)

    def wait_for_log(self, event, after=0, deadline=DEADLINE, **fields):
        """Waits for a line of that event with these fields, past a mark, and returns it."""

        def found():
            lines = self.events(event, after, **fields)
            if not lines and not self._log_reader.is_alive():
                raise AssertionError(f"{self} ended without event={event} {fields}:\n{self.log_text()}")
            return lines

        return wait_until(found, f"{self} logs event={event} {fields}", deadline)[0]

    # Its ports.

    def address(self, server_type):
        """(host, port) of its listener of that type: admin, client or repeater."""
        text = self.wait_for_log("listening", type=server_type).fields["address"]
        host, _, port = text.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def feed_url(self):
        return "http://%s:%d" % self.address("repeater")

    # Its admin port.

    def request(self, method, target, body=None, headers=None):
        return request(self.address("admin"), method, target, body, headers)

    def post(self, body, target="/", headers=None):
        """Posts whatever it is given, and returns the reply."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", target, body, form if headers is None else headers)

    def publish(self, body, instance=None):
        """Publishes a message that must be accepted, and returns it."""
        reply = self.post(body, publish_target(instance))
        assert reply.status == 200, (reply.status, reply.body)
        return body

    def publish_all(self, bodies):
        """Publishes messages that must be accepted, over one connection: for many of them."""
        connection = http.client.HTTPConnection(*self.address("admin"), timeout=DEADLINE)
        for body in bodies:
            reply = request_on(connection, "POST", "/", body)
            assert reply.status == 200, (reply.status, reply.body)
        connection.close()

    def status(self, instance=None):
        reply = self.request("GET", "/status/" + publish_target(instance)[1:])
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json()

    def metrics_text(self, **headers):
        reply = self.request("GET", "/metrics", headers=headers)
        assert reply.status == 200, (reply.status, reply.body)
        return reply.body.decode()

    def metrics(self):
        """The value of each sample, by what stands before it: `name` or `name{label="value"}`. The prefix is left out."""
        lines = (line for line in self.metrics_text().splitlines() if not line.startswith("#"))
        samples = (line.rpartition(" ") for line in lines)
        return {name.removeprefix("aphlict_relay_"): float(value) for name, _, value in samples}

    def wait_for_metrics(self, condition, what):
        return wait_until(lambda: condition(self.metrics()), f"{what} in the metrics of {self}")

    def wait_for_status(self, condition, what, instance=None):
        return wait_until(lambda: condition(self.status(instance)), f"{what} in the status of {self}")

    # Its life.

    def __str__(self):
        return f"{self.role} {self.process.pid}"

    def running(self):
        return self.process.poll() is None

    def send_signal(self, number):
        self.process.send_signal(number)

    def freeze(self):
        self._frozen = True
        self.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Not more often than it was frozen: while the leak sanitizer looks through an ending process, a SIGCONT takes
        away the signal by which it holds the process, and it waits for ever."""
        if self._frozen:
            self._frozen = False
            self.send_signal(signal.SIGCONT)

    def kill(self):
        """As a power cut: nothing is flushed or closed by the process."""
        self.ended_by_test = True
        self.process.kill()
        self.process.wait(DEADLINE)
        self._log_reader.join(DEADLINE)

    def wait_for_exit(self):
        """Its exit code, once it has gone by itself."""
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} still runs after {DEADLINE} s:\n{self._where_it_is()}") from None

    def _where_it_is(self):
        """What the kernel says about it, and its stack where a debugger is at hand."""
        process = Path(f"/proc/{self.process.pid}")
        facts = [f"{name}: {(process / name).read_text().strip()}" for name in ("wchan", "syscall", "stat")]
        facts += [f"descriptor {each.name}: {os.readlink(each)}" for each in (process / "fd").iterdir()]
        if command_exists("gdb"):
            stack = ["gdb", "-p", str(self.process.pid), "-batch", "-ex", "thread apply all backtrace"]
            facts.append(subprocess.run(stack, capture_output=True, text=True, timeout=DEADLINE).stdout)
        return "\n".join(facts)

    def ask_to_stop(self, number=signal.SIGTERM):
        """Asks once: a second signal may find it on its way out, with its handlers gone."""
        if self.running() and not self._asked_to_stop:
            self._asked_to_stop = True
            self.send_signal(number)
            self.thaw()
        self.go_on_reading_the_log()

    def stop(self, number=signal.SIGTERM):
        """Asks it to stop, and checks that it goes in peace."""
        self.ask_to_stop(number)
        code = self.wait_for_exit()
        self._log_reader.join(DEADLINE)
        assert code == 0, f"{self} exited with {code}:\n{self.log_text()[-4000:]}"

    def clean_up(self):
        """Stops it if it runs. Returns what is wrong with it."""
        problems = []
        if self.running():
            try:
                self.stop()
            except AssertionError as error:
                problems.append(str(error))
                if self.running():
                    self.kill()
        elif not self.ended_by_test and self.process.returncode != 0:
            problems.append(f"{self} exited with {self.process.returncode}")
        self._log_reader.join(DEADLINE)
        text = self.log_text()
        problems += [f"{self} says: {text[text.index(c):][:4000]}" for c in COMPLAINTS if c in text]
        return problems


@functools.cache
def is_sanitized():
    """Whether the binaries are built with the address sanitizer, which keeps freed memory."""
    return b"__asan_init" in BINARIES["master"].read_bytes()


def write_secret(path, *lines, mode=0o600):
    """A file that a node takes secrets or tokens from, a line for each."""
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(mode)
    return path


class Stopwatch:
    """The time since it was made, and whether the machine could spare some: else it says little about the programs."""

    def __init__(self):
        self._begun, self._idle = time.monotonic(), self._idle_seconds()

    @staticmethod
    def _idle_seconds():
        """Of all processors together (proc_stat(5))."""
        return int(Path("/proc/stat").read_text().split()[4]) / os.sysconf("SC_CLK_TCK")

    def seconds(self):
        return time.monotonic() - self._begun

    def is_fair(self):
        idle = self._idle_seconds() - self._idle
        return not is_sanitized() and idle > self.seconds() * os.cpu_count() / 4


def run_to_end(role, *arguments, bound_by_modes=False):
    """Runs a binary that is expected to end by itself."""
    return subprocess.run(
        [BINARIES[role], *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        preexec_fn=_in_the_child(None, bound_by_modes),
    )


# --- one background event loop, for clients and proxies ----------------------------------------------------

_loop = asyncio.new_event_loop()
threading.Thread(target=_loop.run_forever, daemon=True).start()


def in_loop(coroutine, timeout=DEADLINE + 5):
    return asyncio.run_coroutine_threadsafe(coroutine, _loop).result(timeout)


# --- browsers ----------------------------------------------------------------------------------------------

PONG = '{"type":"pong"}'


class Client:
    """A browser's WebSocket, by Python's `websockets`. Its messages are all text frames but Aphlict's pongs."""

    def __init__(self, address, path="/", **options):
        """`options` are those of `websockets`; with `ssl`, the connection has TLS."""
        host, port = address
        self.messages = []
        self.pongs = 0
        self.close_code = None
        self._taken = 0
        self._changed = threading.Condition()
        host = f"[{host}]" if ":" in host else host
        scheme = "wss" if "ssl" in options else "ws"
        self._socket = in_loop(self._open(f"{scheme}://{host}:{port}{path}", options))

    async def _open(self, url, options):
        connection = await websockets.connect(
            url, ping_interval=None, max_size=None, max_queue=None, open_timeout=DEADLINE, close_timeout=5, **options
        )
        asyncio.ensure_future(self._read(connection))
        return connection

    async def _read(self, connection):
        try:
            async for frame in connection:
                with self._changed:
                    if frame == PONG:
                        self.pongs += 1
                    else:
                        self.messages.append(frame)
                    self._changed.notify_all()
        except websockets.ConnectionClosed:
            pass
        with self._changed:
            self.close_code = connection.close_code
            self._changed.notify_all()

    def _wait(self, condition, what):
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.close_code is not None, DEADLINE)
            if not condition():
                state = "is open" if self.close_code is None else f"was closed with {self.close_code}"
                raise AssertionError(f"a client waited for {what}; it {state} and has {len(self.messages)} messages")

    # Commands.

    def send(self, frame):
        """Any frame: text or bytes."""
        in_loop(self._socket.send(frame))

    def command(self, command, *data):
        self.send(json.dumps({"command": command, **({"data": data[0]} if data else {})}))

    def settle(self):
        """Returns when all that was sent before has been dealt with."""
        pongs = self.pongs
        self.command("ping")
        self._wait(lambda: self.pongs > pongs, "a pong")

    def subscribe(self, *phids):
        self.command("subscribe", list(phids))
        self.settle()

    def unsubscribe(self, *phids):
        self.command("unsubscribe", list(phids))
        self.settle()

    def replay(self, age=60000):
        self.command("replay", {"age": age})

    # What came.

    def take(self, count):
        """The next `count` messages."""
        self._wait(lambda: len(self.messages) >= self._taken + count, f"{self._taken + count} messages")
        self._taken += count
        return self.messages[self._taken - count : self._taken]

    def expect(self, *expected):
        """Waits for these messages, next and in this order."""
        received = self.take(len(expected))
        for index, (got, wanted) in enumerate(zip(received, expected)):
            if got != wanted:
                raise AssertionError(f"message {index}: expected {shorten(wanted)}, got {shorten(got)}")

    def wait_for_message(self, condition, what):
        """Waits until the newest message meets the condition."""
        self._wait(lambda: self.messages and condition(self.messages[-1]), what)

    def wait_closed(self):
        """The code that the connection was closed with; 1006 when it broke."""
        with self._changed:
            self._changed.wait_for(lambda: self.close_code is not None, DEADLINE)
        assert self.close_code is not None, "the connection is still open"
        return self.close_code

    def open(self):
        return self.close_code is None

    def close(self):
        with contextlib.suppress(Exception):
            in_loop(self._socket.close())


# --- bytes on a socket -------------------------------------------------------------------------------------

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG_FRAME = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

HANDSHAKE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 section 1.3
HANDSHAKE_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, length=None):
    """A frame as a client sends it, or one with a mistake. `length` is a length to claim."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 1 << 16:
        head += bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", length)
    if masked:
        key = b"\x12\x34\x56\x78"
        head += key
        pattern = key * (len(payload) // 4 + 1)
        payload = (
            int.from_bytes(payload, "big") ^ int.from_bytes(pattern[: len(payload)], "big")
        ).to_bytes(len(payload), "big")
    return head + payload


def command_frame(command, *data):
    return frame(TEXT, json.dumps({"command": command, **({"data": data[0]} if data else {})}))


def handshake_request(path="/", **changes):
    """A correct handshake, with headers changed, added, or left out (None). `_` in a name stands for `-`."""
    headers = {
        "Host": "notify.example.com",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": HANDSHAKE_KEY,
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"GET {path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items() if v is not None)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class RawConnection:
    """Bytes to and from a port, without any library's opinion."""

    def __init__(self, address, receive_buffer=None):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family)
        if receive_buffer is not None:  # before connecting, or the window is not bound by it
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(address)
        self._buffer = bytearray()

    def send(self, data):
        self.socket.sendall(data)

    def send_as_far_as_taken(self, data):
        """Sends to one that may close before it has read all of it."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def _fill(self):
        try:
            chunk = self.socket.recv(1 << 18)
        except ConnectionError:
            chunk = b""
        self._buffer += chunk
        return bool(chunk)

    def read_exactly(self, count):
        while len(self._buffer) < count:
            assert self._fill(), f"the connection ended after {shorten(self._buffer)}"
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def read_until(self, mark):
        while mark not in self._buffer:
            assert self._fill(), f"the connection ended after {shorten(self._buffer)}"
        end = self._buffer.index(mark) + len(mark)
        return self.read_exactly(end)

    def read_to_end(self):
        """What comes until the other side closes."""
        while self._fill():
            pass
        return self.read_exactly(len(self._buffer))

    def ended(self):
        """Whether the other side has closed and nothing more came."""
        return self.read_to_end() == b""

    def read_reply(self, head_request=False):
        """One HTTP response."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = http.client.HTTPMessage()
        for line in filter(None, lines[1:]):
            name, _, value = line.partition(":")
            headers[name] = value.strip()
        status = int(lines[0].split()[1])
        has_body = not head_request and status >= 200 and status != 204
        body = self.read_exactly(int(headers["Content-Length"])) if has_body else b""
        return Reply(status, headers, body)

    def close(self):
        self.socket.close()

    def reset(self):
        """Closes with a RST in place of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class RawClient(RawConnection):
    """A WebSocket, frame by frame."""

    def __init__(self, address, path="/", receive_buffer=None, **headers):
        super().__init__(address, receive_buffer)
        self.send(handshake_request(path, **headers))
        head = self.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    def send_frame(self, *arguments, **options):
        self.send(frame(*arguments, **options))

    def read_frame(self):
        """(opcode, payload) of a frame, which must be whole, unmasked and without reserved bits."""
        first, second = self.read_exactly(2)
        assert first & 0xF0 == 0x80, f"a fragment or reserved bits: {first:#x}"
        assert second < 128, "a server must not mask"
        length = second
        if second == 126:
            (length,) = struct.unpack("!H", self.read_exactly(2))
            assert length > 125, "a length that is not the shortest"
        elif second == 127:
            (length,) = struct.unpack("!Q", self.read_exactly(8))
            assert length > 0xFFFF, "a length that is not the shortest"
        return first & 0x0F, self.read_exactly(length)

    def settle(self):
        """Returns when all that was sent before has been dealt with. Nothing else may come meanwhile."""
        self.send(command_frame("ping"))
        assert self.read_frame() == (TEXT, PONG.encode())

    def subscribe(self, *phids):
        self.send(command_frame("subscribe", list(phids)))
        self.settle()

    def read_close_code(self):
        """The code of the close frame that comes next (None: it has no code), after which the server ends."""
        opcode, payload = self.read_frame()
        assert opcode == CLOSE, (opcode, shorten(payload))
        code = struct.unpack("!H", payload[:2])[0] if payload else None
        payload[2:].decode()
        self.send_as_far_as_taken(frame(CLOSE, payload[:2]))
        assert self.ended(), "bytes after the close frame"
        return code


def accept_of(key):
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


# --- between the nodes -------------------------------------------------------------------------------------


class Proxy:
    """A TCP proxy that can be cut and restored, or go deaf without closing anything."""

    def __init__(self, target):
        self._target = target
        self._pumps = set()
        self._flowing = None
        self._server = None
        self.port = 0
        in_loop(self._start())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _start(self):
        if self._server is not None:
            return
        if self._flowing is None:
            self._flowing = asyncio.Event()
            self._flowing.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader, writer):
        tasks = [asyncio.current_task()]
        self._pumps.update(tasks)
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            ends.append(far_writer)
            there = asyncio.ensure_future(self._pump(reader, far_writer))
            back = asyncio.ensure_future(self._pump(far_reader, writer))
            tasks += [there, back]
            self._pumps.update(tasks)
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for task in tasks[1:]:
                task.cancel()
            self._pumps.difference_update(tasks)
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while True:
                chunk = await reader.read(1 << 16)
                if not chunk:
                    return
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()

    def cut(self):
        """Breaks what is connected and refuses what comes."""
        in_loop(self._cut())

    async def _cut(self):
        if self._server:
            self._server.close()
            self._server = None
        tasks = list(self._pumps)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def restore(self):
        in_loop(self._start())

    def break_connections(self):
        """Breaks what is connected, but takes what comes."""
        self.cut()
        self.restore()

    def go_deaf(self):
        """Keeps connections, and takes more, but nothing gets through any longer."""
        _loop.call_soon_threadsafe(self._flowing.clear)

    def hear_again(self):
        _loop.call_soon_threadsafe(self._flowing.set)

    close = cut


class Impostor:
    """A TCP server that is no node: sends `greeting`, reads, and closes when `linger` is false."""

    def __init__(self, greeting=b"", linger=False):
        self.connections = 0
        self._greeting = greeting
        self._linger = linger
        self._server = in_loop(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self._server.sockets[0].getsockname()[1]

    async def _connected(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(OSError):
            writer.write(self._greeting)
            await writer.drain()
            if self._linger:
                while await reader.read(1 << 16):
                    pass
        writer.close()

    def close(self):
        _loop.call_soon_threadsafe(self._server.close)


# --- a steady publisher ------------------------------------------------------------------------------------


class Publisher:
    """Posts numbered messages at a steady rate over one connection that it keeps, from a thread of its own."""

    def __init__(self, master, phid, rate=200):
        self._address = master.address("admin")
        self._phid = phid
        self._interval = 1 / rate
        self._stopping = threading.Event()
        self.accepted = []  # the numbers that were answered 200
        self.refused = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        connection = http.client.HTTPConnection(*self._address, timeout=DEADLINE)
        started = time.monotonic()
        number = 0
        while not self._stopping.is_set():
            number += 1
            try:
                reply = request_on(connection, "POST", "/", message(self._phid, number=number))
                (self.accepted if reply.status == 200 else self.refused).append(number)
            except (OSError, http.client.HTTPException):
                connection.close()
                self.refused.append(number)
            self._stopping.wait(max(0, started + number * self._interval - time.monotonic()))
        connection.close()

    def wait_for_more(self, count):
        """Returns when `count` more messages have been accepted."""
        goal = len(self.accepted) + count
        wait_until(lambda: len(self.accepted) >= goal, f"{count} more messages accepted")

    def stop(self):
        self._stopping.set()
        self._thread.join(DEADLINE)


def numbers(client):
    """The numbers of a Publisher's messages, as a client received them."""
    return [json.loads(text)["number"] for text in list(client.messages)]


def check_nothing_lost_or_repeated(client, publisher):
    """Waits for the last message that a stopped publisher was answered 200 for, and counts what is wrong."""
    last = publisher.accepted[-1]
    client.wait_for_message(lambda text: json.loads(text)["number"] >= last, f"message number {last}")
    received = numbers(client)
    lost = sorted(set(publisher.accepted) - set(received))
    once = list(dict.fromkeys(received))
    disordered = sum(b < a for a, b in zip(once, once[1:]))
    assert (lost, len(received) - len(once), disordered) == ([], 0, 0), "lost, repeated, out of order"


# --- the stage of one test ---------------------------------------------------------------------------------


def url_of(upstream):
    return upstream if isinstance(upstream, str) else getattr(upstream, "feed_url", None) or upstream.url


class Relay:
    """Starts what a test needs, and ends all of it. The address of a listener is `127.0.0.1:0` by default."""

    def __init__(self, folder):
        self.folder = folder
        self.nodes = []
        self._others = []

    def keep(self, thing):
        """Has `thing` closed when the test ends."""
        self._others.append(thing)
        return thing

    def config_file(self, config, name=None):
        path = self.folder / (name or f"config-{len(list(self.folder.iterdir()))}.json")
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return path

    def open_to_all(self, path):
        """Lets processes of other users reach a file of this stage, and returns its path."""
        for folder in Path(path).parents:
            if folder == Path("/tmp") or folder.stat().st_uid != os.geteuid():
                break
            folder.chmod(folder.stat().st_mode | 0o011)
        return path

    def start(self, role, *arguments, **process):
        """Starts a binary with exactly these arguments."""
        node = Node(role, arguments, **process)
        self.nodes.append(node)
        return node

    def _start_node(self, role, listeners, options, limits, config, process):
        arguments = [f"--{name}={address}" for name, address in listeners.items()]
        if not any(str(option).startswith("--drain") for option in options):
            arguments.append("--drain=0")  # nobody waits for the clients' sake, but where that is what is tested
        if limits or config:
            arguments.append(f"--config={self.config_file({**(config or {}), **({'limits': limits} if limits else {})})}")
        return self.start(role, *arguments, *options, **process)

    def master(
        self, *options, admin="127.0.0.1:0", clients="127.0.0.1:0", repeaters="127.0.0.1:0", limits=None, config=None, **process
    ):
        """A master that listens, for clients too."""
        listeners = {"admin": admin, "clients": clients, "repeaters": repeaters}
        node = self._start_node("master", listeners, options, limits, config, process)
        for server_type, address in zip(("admin", "client", "repeater"), listeners.values()):
            if address != "none":
                node.address(server_type)
        return node

    def repeater(
        self,
        *upstreams,
        options=(),
        admin="127.0.0.1:0",
        clients="127.0.0.1:0",
        repeaters="none",
        limits=None,
        config=None,
        synchronised=True,
        **process,
    ):
        """A repeater of these upstreams. Each is one group: a node, a proxy, a URL, or a list of them.

        Returns when it has synchronised, or if that is not asked for, when it listens for operators.
        """
        groups = [upstream if isinstance(upstream, list) else [upstream] for upstream in upstreams]
        listeners = {"admin": admin, "clients": clients, "repeaters": repeaters}
        upstream_options = ["--upstream=" + ",".join(map(url_of, group)) for group in groups]
        node = self._start_node("repeater", listeners, [*upstream_options, *options], limits, config, process)
        if admin != "none":
            node.address("admin")
        if synchronised:
            node.wait_for_log("synchronised")
            if clients != "none":
                node.address("client")
            if repeaters != "none":
                node.address("repeater")
        return node

    def client(self, node, path="/", subscribe=(), **options):
        """A browser on a node's client port."""
        client = self.keep(Client(node.address("client"), path, **options))
        if subscribe:
            client.subscribe(*subscribe)
        return client

    def raw_client(self, node, path="/", receive_buffer=None):
        return self.keep(RawClient(node.address("client"), path, receive_buffer))

    def connect(self, node, server_type, receive_buffer=None):
        """A bare TCP connection to a node's port."""
        return self.keep(RawConnection(node.address(server_type), receive_buffer))

    def proxy(self, node):
        """A proxy before a node's feed port."""
        return self.keep(Proxy(node.address("repeater")))

    def publisher(self, master, phid, rate=200):
        publisher = Publisher(master, phid, rate)
        self._others.append(_Stopped(publisher))
        return publisher

    def clean_up(self):
        """Ends everything. Returns what was wrong with the processes."""
        problems = []
        for thing in reversed(self._others):
            try:
                thing.close()
            except Exception as error:  # whatever it is, the others are to be ended as well
                problems.append(f"closing {thing}: {error!r}")
        for node in self.nodes:  # all at once, so that a test's end takes as long as the slowest
            node.ask_to_stop()
        return problems + [problem for node in self.nodes for problem in node.clean_up()]


class _Stopped:
    def __init__(self, publisher):
        self._publisher = publisher

    def close(self):
        self._publisher.stop()


def command_exists(name):
    return shutil.which(name) is not None


def raise_descriptor_limit():
    """For this process too: it holds as many clients as the nodes do."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
