"""Both ends of the feed as docs/protocol.md has it: a follower and a master that were written from that page alone."""

import asyncio
import dataclasses
import json
import struct
import time

import pytest
import websockets

from relay import BINARY, CLOSE, PING, TEXT, RawClient, frame, in_loop, message

PHID = "PHID-USER-1"
PROTOCOL = "aphlict-relay.v1"
HEAD = struct.Struct("!B16sQqHIII")


@dataclasses.dataclass
class Message:
    """A message as a binary frame carries it."""

    epoch: str
    sequence: int
    accepted: int
    instance: str
    unique_id: bytes
    subscribers: list  # of bytes
    client_frame: bytes

    @staticmethod
    def parse(data):
        kind, epoch, sequence, accepted, *sizes = HEAD.unpack_from(data)
        assert kind == 1
        instance_size, unique_id_size, count, subscribers_size = sizes
        rest = data[HEAD.size :]

        def take(size):
            nonlocal rest
            taken, rest = rest[:size], rest[size:]
            return taken

        instance, unique_id, packed = take(instance_size), take(unique_id_size), take(subscribers_size)
        subscribers = []
        while packed:
            (size,) = struct.unpack_from("!I", packed)
            subscribers.append(packed[4 : 4 + size])
            packed = packed[4 + size :]
        assert len(subscribers) == count
        return Message(epoch.decode(), sequence, accepted, instance.decode(), unique_id, subscribers, rest)

    def encode(self):
        packed = b"".join(struct.pack("!I", len(each)) + each for each in self.subscribers)
        instance = self.instance.encode()
        sizes = (len(instance), len(self.unique_id), len(self.subscribers), len(packed))
        head = HEAD.pack(1, self.epoch.encode(), self.sequence, self.accepted, *sizes)
        return head + instance + self.unique_id + packed + self.client_frame


def client_frame(text):
    """One whole unmasked text frame, as clients get it."""
    return frame(TEXT, text, masked=False)


class Follower:
    """A repeater, by its connection to the node above it."""

    def __init__(self, node, **hello):
        self._connection = RawClient(node.address("repeater"), "/feed/", Sec_WebSocket_Protocol=PROTOCOL)
        self.id = "followerfollower"
        about = {"node": self.id, "name": "follower", "version": "0", "url": "", "resumes": False, "cursor": {}}
        self.tell(type="hello", **{**about, **hello})
        self.welcome = self.read()
        assert self.welcome["type"] == "welcome"

    def tell(self, **control):
        self._connection.send_frame(TEXT, json.dumps(control))

    def read(self):
        """What comes next: a Message, or a control message."""
        while True:
            opcode, payload = self._connection.read_frame()
            if opcode == BINARY:
                return Message.parse(payload)
            if opcode == TEXT:
                return json.loads(payload)
            assert opcode == PING, (opcode, payload)

    def read_until_live(self):
        """All that comes up to the heartbeat that says there is no more for now, and this heartbeat."""
        before = []
        while True:
            what = self.read()
            if isinstance(what, Message) or what["type"] != "heartbeat":
                before.append(what)
            elif what["live"]:
                return before, what

    def read_message(self):
        """The next message; heartbeats may stand before it."""
        while not isinstance(what := self.read(), Message):
            assert what["type"] == "heartbeat", what
        return what

    def read_control(self, kind):
        while isinstance(what := self.read(), Message) or what["type"] != kind:
            pass
        return what

    def close(self):
        self._connection.close()


@pytest.fixture
def follow(relay):
    return lambda node, **hello: relay.keep(Follower(node, **hello))


# --- following ---------------------------------------------------------------------------------------------


def test_a_new_follower_is_sent_all_of_the_history_and_then_what_comes(master, follow):
    texts = [master.publish(message(PHID, number=number)) for number in range(5)]
    follower = follow(master)
    ((epoch, range_),) = follower.welcome["epochs"].items()
    assert (len(epoch), range_) == (16, {"floor": 1, "newest": 5})
    assert {"node", "name", "version", "above", "epochs", "clock"} <= follower.welcome.keys()
    assert follower.welcome["above"] == []
    received, heartbeat = follower.read_until_live()
    assert [(each.epoch, each.sequence) for each in received] == [(epoch, number) for number in range(1, 6)]
    assert [each.client_frame for each in received] == [client_frame(text) for text in texts]
    assert heartbeat["cursor"] == {epoch: 5}
    text = master.publish(message(PHID))
    live = follower.read_message()
    assert (live.epoch, live.sequence, live.client_frame) == (epoch, 6, client_frame(text))


def test_the_example_of_the_page(master, follow):
    master.publish('{"subscribers":["P"]}', "dog")
    follower = follow(master)
    (received,), _ = follower.read_until_live()
    received.epoch, received.sequence, received.accepted = "a" * 16, 7, 1_000_000
    assert received.encode() == bytes.fromhex(
        "01" + "61" * 16 + "0000000000000007" + "00000000000f4240" + "0003" + "00000000" + "00000001" + "00000005"
        "646f67" + "0000000150" + "8115" + '{"subscribers":["P"]}'.encode().hex()
    )


def test_a_message_has_its_instance_its_unique_id_and_its_subscribers(master, follow):
    follower = follow(master)
    master.publish('{"subscribers":["A","é","\\ud800",""],"uniqueID":"one\\u0000"}', "dög")
    received = follower.read_message()
    assert (received.instance, received.unique_id) == ("dög", b"one\0")
    assert received.subscribers == [b"A", "é".encode(), b"\xed\xa0\x80", b""]


def test_a_message_says_when_it_was_accepted_by_the_clock_of_heartbeats(master, follow):
    master.publish(message(PHID))
    (received,), heartbeat = follow(master).read_until_live()
    age = heartbeat["clock"] - received.accepted
    assert 0 <= age < 30_000_000
    assert abs(master.status()["history.age"] * 1000 - age) < 10_000_000


def test_a_follower_that_resumes_is_sent_what_lies_past_its_cursor(master, follow):
    for _ in range(10):
        master.publish(message(PHID))
    (epoch,) = follow(master).welcome["epochs"]
    received, _ = follow(master, resumes=True, cursor={epoch: 7}).read_until_live()
    assert [each.sequence for each in received] == [8, 9, 10]


def test_a_follower_that_wants_few_instances_gets_theirs_and_a_cursor_past_the_others(master, follow):
    follower = follow(master, instances=["dog"])
    (epoch,) = follower.welcome["epochs"]
    for instance in ("cat", "dog", "cat", "cat"):
        master.publish(message(PHID), instance)
    assert follower.read_message().instance == "dog"
    while follower.read_control("heartbeat")["cursor"] != {epoch: 4}:
        pass


def test_heartbeats_come_each_second(master, follow):
    follower = follow(master)
    follower.read_until_live()
    started = time.monotonic()
    for _ in range(3):
        assert follower.read()["type"] == "heartbeat"
    assert 1.5 < time.monotonic() - started < 10


def test_what_has_left_the_history_is_told_as_a_gap_to_who_resumes(relay, follow):
    master = relay.master(limits={"history.seconds": 1})
    (epoch,) = follow(master).welcome["epochs"]
    for _ in range(5):
        master.publish(message(PHID))
    master.wait_for_status(lambda status: status["history.size"] == 0, "an empty history")
    gap, _ = follow(master, resumes=True, cursor={epoch: 2}).read_until_live()
    assert gap == [{"type": "gap", "epoch": epoch, "from": 3, "to": 5}]
    gap, _ = follow(master, resumes=True, cursor={}).read_until_live()
    assert gap == [{"type": "gap", "epoch": epoch, "from": 1, "to": 5}]
    nothing, _ = follow(master, resumes=False, cursor={}).read_until_live()
    assert nothing == []


def test_a_follower_is_told_who_is_above_and_when_that_changes(relay, master, follow):
    middle = relay.repeater(master, repeaters="127.0.0.1:0")
    follower = follow(middle)
    master_id = master.post(message(PHID)).json()["fingerprint"]
    assert follower.welcome["above"] == [master_id]
    master.kill()
    assert follower.read_control("above")["nodes"] == []


def test_what_a_follower_reports_is_in_the_status_and_goes_with_it(master, follow):
    follower = follow(master)
    node = {"id": follower.id, "revision": 1, "name": "follower", "version": "0", "url": "ws://x/", "cursor": {}}
    node |= {"above": [follower.welcome["node"]], "instances": {"dog": [1, 3, 5, 8]}}
    below = {**node, "id": "belowbelowbelow1", "name": "below", "above": [follower.id], "instances": {"dog": [1, 1, 1, 1]}}

    def check_counts(*counts):
        keys = ("clients.active", "clients.total", "messages.out")
        master.wait_for_status(lambda status: tuple(status[key] for key in keys) == counts, f"{counts}", "dog")

    follower.tell(type="status", nodes=[node, below], gone=[])
    check_counts(4, 6, 9)
    (entry,) = master.status("dog")["repeaters"]
    assert (entry["name"], entry["url"], entry["repeaters"][0]["name"]) == ("follower", "ws://x/", "below")
    assert entry["address"].startswith("127.0.0.1:")
    follower.tell(type="status", nodes=[{**node, "revision": 2, "instances": {"dog": [2, 0, 5, 8]}}], gone=[])
    check_counts(1, 6, 9)
    follower.tell(type="status", nodes=[{**node, "revision": 1, "instances": {"dog": [1, 3, 5, 8]}}], gone=[])  # late
    follower.tell(type="status", nodes=[], gone=[below["id"]])
    check_counts(0, 6, 9)  # what has been counted once stays
    follower.close()
    master.wait_for_status(lambda status: status["repeaters"] == [], "no repeater")


# --- being followed ----------------------------------------------------------------------------------------


class Master:
    """A master to one repeater: what it is told, and what it says."""

    EPOCH = "m" * 16

    def __init__(self):
        self.heard = asyncio.Queue()  # control messages, and None at the end of a connection
        self._connection = None
        self._server = in_loop(self._serve())
        self.url = "http://127.0.0.1:%d" % self._server.sockets[0].getsockname()[1]

    async def _serve(self):
        return await websockets.serve(self._connected, "127.0.0.1", 0, subprotocols=[PROTOCOL], ping_interval=None)

    async def _connected(self, connection, _):
        assert (connection.path, connection.subprotocol) == ("/feed/", PROTOCOL)
        self._connection = connection
        try:
            async for text in connection:
                await self.heard.put(json.loads(text))
        except websockets.ConnectionClosed:
            pass
        self.close_code = connection.close_code
        await self.heard.put(None)

    @staticmethod
    def clock():
        return int(time.monotonic() * 1_000_000) + 5_000_000_000  # nobody's but its own

    def hear(self, kind):
        """The next control message of that type."""
        while (heard := in_loop(self.heard.get())) is not None:
            if heard["type"] == kind:
                return heard
        raise AssertionError(f"the connection was closed, with {self.close_code}, before a {kind} came")

    def end_connection(self):
        in_loop(self._connection.close())
        self.hear_end()

    def hear_end(self):
        """Waits until the connection is closed, and returns the code."""
        while in_loop(self.heard.get()) is not None:
            pass
        return self.close_code

    def say(self, what):
        in_loop(self._connection.send(what if isinstance(what, (str, bytes)) else json.dumps(what)))

    def greet(self, floor=1, newest=0, **changes):
        """Hears the hello, and welcomes."""
        hello = self.hear("hello")
        epochs = {self.EPOCH: {"floor": floor, "newest": newest}}
        welcome = {"type": "welcome", "node": "mastermastermast", "name": "master", "version": "0", "above": []}
        self.say({**welcome, "epochs": epochs, "clock": self.clock(), **changes})
        return hello

    def beat(self, sequence, live=True):
        self.say({"type": "heartbeat", "clock": self.clock(), "cursor": {self.EPOCH: sequence}, "live": live})

    def send(self, sequence, text, instance="default", age=0, **fields):
        unique_id = json.loads(text).get("uniqueID", "").encode()
        subscribers = [each.encode() for each in json.loads(text)["subscribers"]]
        accepted = self.clock() - age
        parts = Message(self.EPOCH, sequence, accepted, instance, unique_id, subscribers, client_frame(text))
        self.say(dataclasses.replace(parts, **fields).encode())

    def close(self):
        in_loop(self._close())

    async def _close(self):
        self._server.close()
        await self._server.wait_closed()


@pytest.fixture
def upstream(relay):
    return relay.keep(Master())


@pytest.fixture
def repeater(relay, upstream):
    """A repeater that the upstream has welcomed, and told that there is nothing yet."""
    options = ["--name=below", "--public-url=ws://below.example.com/"]
    repeater = relay.repeater(upstream, options=options, synchronised=False)
    repeater.hello = upstream.greet()
    upstream.beat(0)
    repeater.wait_for_log("synchronised")
    return repeater


def test_a_repeater_says_hello(repeater):
    hello = dict(repeater.hello)
    assert len(hello.pop("node")) == 16 and hello.pop("version")
    assert hello == {
        "type": "hello",
        "name": "below",
        "url": "ws://below.example.com/",
        "resumes": False,
        "cursor": {},
    }


def test_a_repeater_passes_on_what_it_is_sent(relay, upstream, repeater):
    client, dog = relay.client(repeater, subscribe=[PHID]), relay.client(repeater, "/~dog/", [PHID])
    texts = [message(PHID, text="x" * size) for size in (0, 200, 70_000)]
    for number, text in enumerate(texts, 1):
        upstream.send(number, text)
    client.expect(*texts)
    text = message(PHID)
    upstream.send(4, text, "dog")
    dog.expect(text)


def test_a_repeater_drops_what_is_not_past_its_cursor(relay, upstream, repeater):
    client = relay.client(repeater, subscribe=[PHID])
    first, second, third = (message(PHID) for _ in range(3))
    upstream.send(1, first)
    upstream.send(1, message(PHID))
    upstream.beat(5)
    client.expect(first)
    upstream.send(5, message(PHID))
    upstream.send(6, second)
    upstream.send(9, third)  # what is left out is no gap
    client.expect(second, third)
    assert repeater.status()["gaps"] == 0


def test_a_repeater_counts_ages_by_the_clock_above(relay, upstream, repeater):
    old, new = message(PHID), message(PHID)
    upstream.send(1, old, age=20_000_000)
    upstream.send(2, new)
    client = relay.client(repeater, subscribe=[PHID])
    client.replay(10_000)
    client.expect(new)
    client.replay(60_000)
    client.expect(old, new)


def test_a_repeater_resumes_with_its_cursor(relay, upstream, repeater):
    client = relay.client(repeater, subscribe=[PHID])
    text = message(PHID)
    upstream.send(7, text)
    client.expect(text)
    upstream.end_connection()
    hello = upstream.greet(newest=7)
    assert (hello["resumes"], hello["cursor"], hello["node"]) == (True, {upstream.EPOCH: 7}, repeater.hello["node"])


def test_a_repeater_logs_the_gap_that_it_is_told_of_and_goes_on(relay, upstream, repeater):
    client = relay.client(repeater, subscribe=[PHID])
    upstream.say({"type": "gap", "epoch": upstream.EPOCH, "from": 1, "to": 9})
    text = message(PHID)
    upstream.send(9, message(PHID))
    upstream.send(10, text)
    client.expect(text)
    gap = repeater.wait_for_log("gap").fields
    assert (gap["epoch"], gap["from"], gap["to"]) == (upstream.EPOCH, "1", "9")


def test_a_repeater_reports_its_clients(relay, upstream, repeater):
    clients = [relay.client(repeater, "/~dog/") for _ in range(3)]

    def reported():
        for node in upstream.hear("status")["nodes"]:
            if node["id"] == repeater.hello["node"] and "dog" in node["instances"]:
                return node["instances"]["dog"][1:3]
        return None

    while reported() != [3, 3]:
        pass
    clients[0].close()
    while reported() != [2, 3]:
        pass


def test_a_repeater_leaves_a_node_that_has_it_above_itself(relay, upstream, repeater):
    upstream.say({"type": "above", "nodes": ["x" * 16, repeater.hello["node"]]})
    upstream.hear_end()
    repeater.wait_for_log("loop")


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("nope", id="no_json"),
        pytest.param({}, id="no_type"),
        pytest.param({"type": "nope"}, id="an_unknown_type"),
        pytest.param({"type": "gap"}, id="a_gap_without_its_members"),
        pytest.param({"type": "heartbeat", "clock": 1, "cursor": {"short": 1}, "live": True}, id="an_epoch_of_5_characters"),
        pytest.param(b"", id="an_empty_frame"),
        pytest.param(b"\x02" + bytes(100), id="another_kind"),
        pytest.param(HEAD.pack(1, b"m" * 16, 1, 0, 9, 9, 9, 9), id="sizes_beyond_the_end"),
        pytest.param(HEAD.pack(1, b"m" * 16, 1, 0, 0, 0, 1 << 31, 0) + b"\x81\x00", id="more_subscribers_than_fit"),
        pytest.param(HEAD.pack(1, b"m" * 16, 1, 0, 1, 0, 0, 0) + b"x", id="no_frame_for_clients"),
    ],
)
def test_a_repeater_leaves_a_node_that_speaks_nonsense_and_comes_back(upstream, repeater, what):
    upstream.say(what)
    assert upstream.hear_end() == 1008
    assert upstream.greet()["node"] == repeater.hello["node"]
