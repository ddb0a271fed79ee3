"""Many clients, many subscriptions, many subscribers, many messages."""

import contextlib
import errno
import select
import socket
import threading
import time
import zlib

import pytest

from relay import PONG_FRAME, TEXT, command_frame, frame, handshake_request, message

PHID = "PHID-USER-1"


class Crowd:
    """Many clients in one thread. What each has received is kept as a length and a checksum only."""

    BEAT = 5  # seconds: well within the silence after which a node pings, which would stand in what is received

    def __init__(self, address, count, phid=PHID):
        self.received = {}  # by file descriptor: bytes
        self.checksums = {}
        self._sockets = {}
        self._poll = select.epoll()
        self._buffer = bytearray(1 << 18)
        self._last_beat = time.monotonic()
        try:
            for _ in range(count):
                self._open(address, phid)
                self._beat_in_time()
        except BaseException:
            self.close()
            raise

    def _open(self, address, phid):
        connection = socket.create_connection(address)
        self._sockets[connection.fileno()] = connection
        connection.sendall(handshake_request() + command_frame("subscribe", [phid]) + command_frame("ping"))
        self._read_greeting(connection)
        connection.setblocking(False)
        self._poll.register(connection.fileno(), select.EPOLLIN)
        self.received[connection.fileno()] = 0
        self.checksums[connection.fileno()] = 0

    @staticmethod
    def _read_greeting(connection):
        """The handshake's answer and the pong, behind which the client is subscribed."""
        pong = b'\x81\x0f{"type":"pong"}'
        data = b""
        while not data.endswith(pong):
            chunk = connection.recv(4096)
            assert chunk, f"refused: {data!r}"
            data += chunk
        assert data.startswith(b"HTTP/1.1 101 ") and len(data) == data.index(b"\r\n\r\n") + 4 + len(pong)

    def _beat_in_time(self):
        """Lets every client say something that needs no answer."""
        if time.monotonic() - self._last_beat < self.BEAT:
            return
        self._last_beat = time.monotonic()
        for connection in self._sockets.values():
            with contextlib.suppress(ConnectionError):  # seen when it is read
                connection.send(frame(PONG_FRAME))

    def read_until_all_have(self, size, deadline):
        """Reads until each client has received so many bytes."""
        waiting = len(self._sockets)
        end = time.monotonic() + deadline
        view = memoryview(self._buffer)
        while waiting and time.monotonic() < end:
            self._beat_in_time()
            for descriptor, _ in self._poll.poll(1):
                try:
                    count = self._sockets[descriptor].recv_into(self._buffer)
                except OSError as error:
                    if error.errno == errno.EAGAIN:
                        continue
                    count = 0
                if count == 0:
                    self._poll.unregister(descriptor)
                    waiting -= 1
                    continue
                before = self.received[descriptor]
                self.received[descriptor] = before + count
                self.checksums[descriptor] = zlib.crc32(view[:count], self.checksums[descriptor])
                if before < size <= before + count:
                    waiting -= 1

    def close(self):
        self._poll.close()
        for connection in self._sockets.values():
            connection.close()


def frame_to_client(text):
    payload = text.encode()
    assert len(payload) < 1 << 16
    if len(payload) < 126:
        return bytes([0x81, len(payload)]) + payload
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


@pytest.mark.slow
def test_10000_clients_of_one_repeater_get_every_one_of_1000_broadcasts(relay, master):
    """Byte for byte and in order: each client's stream has the length and the checksum of all frames."""
    repeater = relay.repeater(master)
    crowd = relay.keep(Crowd(repeater.address("client"), 10_000))
    assert repeater.status()["clients.active"] == 10_000
    texts = [message(PHID, number=number, text="x" * 60) for number in range(1000)]
    stream = b"".join(map(frame_to_client, texts))
    publisher = threading.Thread(target=master.publish_all, args=[texts])
    publisher.start()
    crowd.read_until_all_have(len(stream), deadline=240)
    publisher.join()
    assert set(crowd.received.values()) == {len(stream)}
    assert set(crowd.checksums.values()) == {zlib.crc32(stream)}
    master.wait_for_status(lambda status: status["messages.out"] == 10_000_000, "ten million messages out")
    assert repeater.status()["clients.active"] == 10_000


@pytest.mark.slow
def test_10000_clients_that_leave_at_once_are_forgotten(relay, master):
    repeater = relay.repeater(master)
    crowd = Crowd(repeater.address("client"), 10_000)
    witness = relay.client(repeater, subscribe=[PHID])
    crowd.close()
    witness.expect(master.publish(message(PHID)))
    master.wait_for_status(lambda status: status["clients.active"] == 1, "one client is left")


def test_one_client_may_have_50000_subscriptions(site):
    phids = [f"PHID-TASK-{number:020}" for number in range(50_000)]
    client = site.client()
    for start in range(0, len(phids), 10_000):
        client.subscribe(*phids[start : start + 10_000])
    client.expect(*[site.publish(message(phid)) for phid in (phids[0], phids[25_000], phids[-1])])
    client.expect(site.publish(message(*phids[:20_000])))
    client.unsubscribe(*phids[:25_000])
    site.publish(message(phids[0]))
    client.expect(site.publish(message(phids[-1])))
    client.close()
    site.master.wait_for_status(lambda status: status["clients.active"] == 0, "no client")


def test_a_message_may_have_20000_subscribers(site):
    phids = [f"PHID-USER-{number:020}" for number in range(20_000)]
    clients = [site.client(subscribe=[phid]) for phid in (phids[0], phids[10_000], phids[-1])]
    many = site.client(subscribe=phids[:100])
    stranger = site.client(subscribe=["PHID-STRANGER"])
    text = site.publish(message(*phids))
    for client in [*clients, many]:
        client.expect(text)
    stranger.expect(site.publish(message("PHID-STRANGER")))


def test_4000_messages_are_replayed_at_once_to_a_client_that_reads_slowly(site):
    """4 MB through a small window, in pieces with pauses: streamed, not queued, and nobody else waits."""
    texts = [message(PHID, number=number, text="x" * 1000) for number in range(4000)]
    witness = site.client(subscribe=[PHID, "PHID-OTHER"])
    site.master.publish_all(texts)
    witness.expect(*texts)
    slow = site.raw_client(receive_buffer=8192)
    slow.send(command_frame("subscribe", [PHID]) + command_frame("replay", {"age": 60000}))
    for number, text in enumerate(texts):
        assert slow.read_frame() == (TEXT, text.encode()), f"message {number}"
        if number % 400 == 0:
            time.sleep(0.2)  # the subject is slowness
            witness.expect(site.publish(message("PHID-OTHER")))
    slow.settle()


def test_100_clients_that_replay_4000_messages_each_get_all_of_them(site):
    texts = [message(PHID, number=number) for number in range(4000)]
    witness = site.client(subscribe=[PHID])
    site.master.publish_all(texts)
    witness.expect(*texts)
    clients = [site.raw_client() for _ in range(100)]
    for client in clients:
        client.send(command_frame("subscribe", [PHID]) + command_frame("replay", {"age": 60000}))
    stream = b"".join(map(frame_to_client, texts))
    for client in clients:
        assert client.read_exactly(len(stream)) == stream


def test_a_burst_of_publishes_on_many_connections_arrives_whole(relay, site):
    client = site.client(subscribe=[PHID])
    publishers = [relay.connect(site.master, "admin") for _ in range(50)]
    for round_number in range(20):
        for publisher in publishers:
            body = message(PHID, round=round_number)
            publisher.send(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    for publisher in publishers:
        assert [publisher.read_reply().status for _ in range(20)] == [200] * 20
    assert len(set(client.take(1000))) == 1000
