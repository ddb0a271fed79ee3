"""Past each bound of README.md's table, and up to it. The bounds are small here; that the defaults are as the table says
is seen where they matter."""

import time

import pytest

from relay import (
    CONTINUATION,
    TEXT,
    command_frame,
    frame,
    handshake_request,
    message,
    wait_until,
)

PHID = "PHID-USER-a"


def publish_of(size):
    """A publish of exactly that many bytes."""
    empty = len(message(PHID, text=""))
    return message(PHID, text="x" * (size - empty))


def test_the_bytes_of_a_publish(relay):
    master = relay.master(limits={"publish.bytes": 1000})
    assert master.post(publish_of(1000)).status == 200
    assert master.post(publish_of(1001)).status == 413
    # What says beforehand how long it is, is refused before it is sent.
    connection = relay.connect(master, "admin")
    connection.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 1001\r\n\r\n")
    assert connection.read_reply().status == 413


def nested(depth):
    return "[" * depth + "]" * depth


def test_the_depth_of_json(relay):
    master = relay.master(limits={"json.depth": 10})
    assert master.post('{"subscribers":[],"x":%s}' % nested(9)).status == 200
    assert master.post('{"subscribers":[],"x":%s}' % nested(10)).status == 400
    client = relay.raw_client(master)
    client.send(frame(TEXT, '{"command":"ping","x":%s}' % nested(9)))
    assert client.read_frame() == (TEXT, b'{"type":"pong"}')
    client.send(frame(TEXT, '{"command":"ping","x":%s}' % nested(10)))
    master.wait_for_log("command_ignored")
    client.settle()  # and goes on


def test_the_subscribers_of_a_message(relay):
    master = relay.master(limits={"message.subscribers": 10})
    assert master.post(message(*map(str, range(10)))).status == 200
    assert master.post(message(*map(str, range(11)))).status == 400


def test_the_length_of_an_instances_name(relay):
    master = relay.master(limits={"instance.bytes": 10})
    assert master.post(message(PHID), "/?instance=1234567890").status == 200
    assert master.post(message(PHID), "/?instance=12345678901").status == 400
    relay.raw_client(master, "/~1234567890/")
    connection = relay.connect(master, "client")
    connection.send(handshake_request("/~12345678901/"))
    assert connection.read_reply().status == 400


def test_the_instances_in_use(relay):
    master = relay.master(limits={"instances": 2})
    assert master.post(message(PHID), "/?instance=one").status == 200
    relay.raw_client(master, "/~two/").settle()
    assert master.post(message(PHID), "/?instance=three").status == 503
    connection = relay.connect(master, "client")
    connection.send(handshake_request("/~three/"))
    assert connection.read_reply().status == 503
    assert master.post(message(PHID), "/?instance=two").status == 200


@pytest.mark.parametrize("server_type", ["admin", "client", "repeater"])
def test_the_head_of_a_request(relay, server_type):
    master = relay.master(limits={"head.bytes": 500, "head.fields": 10, "head.seconds": 1})

    def status_of(data):
        connection = relay.connect(master, server_type)
        connection.send(data)
        return connection.read_reply().status

    fields = b"".join(b"X-%d: y\r\n" % n for n in range(9))
    served = status_of(b"GET /nothing HTTP/1.1\r\nHost: m\r\n" + fields + b"\r\n")
    assert served in (404, 501)
    assert status_of(b"GET /nothing HTTP/1.1\r\nHost: m\r\nX: z\r\n" + fields + b"\r\n") == 431
    assert status_of(b"GET /nothing HTTP/1.1\r\nHost: m\r\nX: %s\r\n\r\n" % (b"y" * 500)) == 431
    begun = time.monotonic()
    assert status_of(b"GET /nothing HTTP/1.1\r\n") == 408
    assert time.monotonic() - begun > 0.9


def test_the_clients(relay):
    master = relay.master(limits={"clients": 2})
    first, second = relay.raw_client(master), relay.raw_client(master)
    third = relay.connect(master, "client")  # taken by the kernel, not by the node
    third.send(handshake_request())
    master.wait_for_log("listener_full")
    second.settle()
    assert master.status()["clients.active"] == 2
    first.close()
    assert third.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")


def test_the_bytes_and_fragments_of_a_command(relay):
    master = relay.master(limits={"command.bytes": 200, "command.fragments": 5})
    client = relay.raw_client(master)
    client.send(frame(TEXT, b'{"command":"ping"}' + b" " * 182))
    assert client.read_frame() == (TEXT, b'{"type":"pong"}')
    client.send(frame(TEXT, b'{"command":"ping"}' + b" " * 183))
    assert client.read_close_code() == 1009

    def in_fragments(count):
        pieces = [b'{"command":"ping"}', *[b" "] * (count - 1)]
        return b"".join(
            frame(CONTINUATION if n else TEXT, piece, fin=n == count - 1) for n, piece in enumerate(pieces)
        )

    client = relay.raw_client(master)
    client.send(in_fragments(5))
    assert client.read_frame() == (TEXT, b'{"type":"pong"}')
    client.send_as_far_as_taken(in_fragments(6))
    assert client.read_close_code() == 1008


def test_the_time_of_a_command(relay):
    master = relay.master(limits={"command.seconds": 1})
    client = relay.raw_client(master)
    client.send(frame(TEXT, b'{"command":', fin=False))
    assert client.read_close_code() == 1008


def test_a_client_with_many_subscriptions_has_gone_at_once(relay):
    """Its subscriptions are forgotten over many turns; nothing is delivered on their account, and its instance stays."""
    master = relay.master(limits={"instances": 2})
    phids = [f"PHID-USER-{number}" for number in range(20_000)]
    client = relay.client(master, "/~large/")
    for first in range(0, len(phids), 5_000):
        client.subscribe(*phids[first : first + 5_000])
    master.publish(message(phids[0]), "large")
    wait_until(lambda: master.status("large")["messages.out"] == 1, "one delivery")
    client.close()
    wait_until(lambda: master.status("large")["clients.active"] == 0, "it has gone")
    for phid in phids[::1000]:
        master.publish(message(phid), "large")
    again = relay.client(master, "/~large/", subscribe=phids[:1])
    text = master.publish(message(*phids[:20]), "large")
    again.expect(text)
    assert master.status("large")["messages.out"] == 2


def test_a_long_command_is_carried_out_at_once_where_too_much_waits_already(relay):
    master = relay.master(limits={"unfinished.bytes": 65_536})
    client = relay.client(master)
    phids = [f"PHID-USER-{number}" for number in range(3_000)]
    client.subscribe(*phids)
    client.unsubscribe(*phids[1:])
    master.publish(message(phids[2_999]))
    client.expect(master.publish(message(phids[0])))


def test_the_subscriptions_of_a_client(relay):
    master = relay.master(limits={"client.subscriptions": 10, "client.subscription.bytes": 100})
    for allowed, too_many in (
        ([f"{n}" for n in range(10)], ["10"]),
        (["x" * 50, "y" * 50], ["z"]),
    ):
        client = relay.raw_client(master)
        client.subscribe(*allowed)
        client.subscribe(*allowed)  # the same, again
        client.send(command_frame("subscribe", too_many))
        assert client.read_close_code() == 1008


def test_the_bytes_that_a_client_leaves_unread(relay):
    """One that takes nothing is cut after a while, and one that is too far behind at once."""
    piece = 256 * 1024
    for limits in (
        {"client.stalled.bytes": 2 * piece, "client.stalled.seconds": 1},
        {"client.unsent.bytes": 2 * piece, "client.stalled.seconds": 3600},
    ):
        master = relay.master(limits=limits)
        slow = relay.raw_client(master, receive_buffer=4096)
        slow.subscribe(PHID)
        master.publish(publish_of(piece))  # below: the kernel has taken some of it
        slow.send(command_frame("ping"))
        time.sleep(1.5)  # the subject is patience
        assert master.status()["clients.active"] == 1
        for _ in range(20):  # the kernel keeps some MiB for a socket by itself
            master.publish(publish_of(piece))
        wait_until(lambda master=master: master.status()["clients.active"] == 0, "it is cut off")
        assert master.wait_for_log("client_cut").fields["code"] == "1013"


def test_the_history(relay):
    master = relay.master(limits={"history.bytes": 10_000, "history.seconds": 2})
    for _ in range(20):
        master.publish(publish_of(1000))
    kept = master.status()["history.size"]
    assert 5 <= kept <= 9
    master.wait_for_status(lambda status: status["history.size"] == 0, "what is too old has left")


def test_the_repeaters(relay):
    master = relay.master(limits={"repeaters": 1})
    relay.repeater(master)
    second = relay.repeater(master, synchronised=False)
    assert "503" in second.wait_for_log("upstream_failed").fields["reason"]
    assert len(master.status()["repeaters"]) == 1
