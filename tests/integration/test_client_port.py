"""The client port below the commands: plain HTTP, handshakes, frames, and clients that misbehave. The rules of frames are
tested one by one in tests/conformance."""

import os
import time

import pytest

from relay import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE_ACCEPT,
    PING,
    PONG_FRAME,
    TEXT,
    Proxy,
    RawClient,
    RawConnection,
    accept_of,
    command_frame,
    frame,
    handshake_request,
    message,
    request,
    unused_port,
    wait_until,
)

PHID = "PHID-USER-1"


@pytest.fixture
def witness(relay, master):
    """An honest client that is connected all along."""
    return relay.client(master, subscribe=[PHID])


def check_nobody_noticed(master, witness):
    witness.expect(master.publish(message(PHID)))
    wait_until(lambda: master.status()["clients.active"] == 1, "only the witness is left")


# --- plain HTTP --------------------------------------------------------------------------------------------


def check_answers_501(node):
    reply = request(node.address("client"), "GET", "/")
    assert (reply.status, reply.body.rstrip(b"\n")) == (501, b"HTTP/501 Use Websockets")


def test_plain_http_is_answered_501_and_use_websockets_for_phabricators_setup_check(site):
    check_answers_501(site.node)


@pytest.mark.parametrize("path", ["/ws/", "/~dog/", "/status/", "/any/path?instance=dog"])
def test_plain_http_is_answered_501_on_any_path(master, path):
    reply = request(master.address("client"), "GET", path)
    assert (reply.status, reply.body.rstrip(b"\n")) == (501, b"HTTP/501 Use Websockets")


def test_a_head_request_is_answered_501_without_a_body(relay, master):
    connection = relay.connect(master, "client")
    connection.send(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert connection.read_reply(head_request=True).status == 501
    assert connection.ended()


def test_nothing_can_be_published_on_a_client_port(master, witness):
    reply = request(master.address("client"), "POST", "/", message(PHID))
    assert reply.status in (405, 501)
    check_nobody_noticed(master, witness)


def test_a_repeater_that_has_not_synchronised_answers_503_and_501_once_it_has(relay):
    feed = f"127.0.0.1:{unused_port()}"
    repeater = relay.repeater("http://" + feed, synchronised=False)
    assert request(repeater.address("client"), "GET", "/").status == 503
    relay.master(repeaters=feed)
    repeater.wait_for_log("synchronised")
    check_answers_501(repeater)


def test_a_repeater_that_has_lost_its_master_still_answers_501(relay, master):
    repeater = relay.repeater(master)
    master.kill()
    repeater.wait_for_log("upstream_lost")
    check_answers_501(repeater)


# --- handshakes --------------------------------------------------------------------------------------------


def answer_to(relay, master, data):
    connection = relay.connect(master, "client")
    connection.send(data)
    return connection.read_reply()


def test_a_handshake_is_accepted_with_the_answer_of_rfc_6455(relay, master):
    reply = answer_to(relay, master, handshake_request())
    assert reply.status == 101
    assert reply.headers["Upgrade"].lower() == "websocket"
    assert reply.headers["Connection"].lower() == "upgrade"
    assert reply.headers["Sec-WebSocket-Accept"] == HANDSHAKE_ACCEPT


def test_any_key_of_16_bytes_gets_its_own_answer(relay, master):
    for key in ("AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w==", "MDEyMzQ1Njc4OWFiY2RlZg=="):
        reply = answer_to(relay, master, handshake_request(Sec_WebSocket_Key=key))
        assert reply.headers["Sec-WebSocket-Accept"] == accept_of(key)


@pytest.mark.parametrize(
    "changes",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "upgrade"},
        {"Upgrade": "WebSocket"},
        {"Upgrade": "websocket, h2c"},
        {"Origin": "https://phabricator.example.com"},
        {"Origin": "null"},
        {"Cookie": "a=" + "x" * 4000, "User_Agent": "Mozilla/5.0", "Pragma": "no-cache"},
        {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"},
        {"X_Forwarded_For": "10.0.0.1", "X_Forwarded_Proto": "https"},
        {"Host": "[::1]:22280"},
    ],
)
def test_what_browsers_and_proxies_send_in_a_handshake_is_accepted(relay, master, changes):
    assert answer_to(relay, master, handshake_request("/ws/", **changes)).status == 101


def test_neither_an_extension_nor_a_protocol_is_agreed_to_that_we_do_not_speak(relay, master):
    offer = {"Sec_WebSocket_Extensions": "permessage-deflate", "Sec_WebSocket_Protocol": "chat"}
    reply = answer_to(relay, master, handshake_request(**offer))
    assert reply.status == 101
    assert "Sec-WebSocket-Extensions" not in reply.headers
    assert "Sec-WebSocket-Protocol" not in reply.headers


@pytest.mark.parametrize("version", ["99", "12", "8", "0", "-1", "thirteen", "13, 8"])
def test_a_version_other_than_13_is_answered_426_and_told_which(relay, master, version):
    reply = answer_to(relay, master, handshake_request(Sec_WebSocket_Version=version))
    assert (reply.status, reply.headers["Sec-WebSocket-Version"]) == (426, "13")


def test_two_host_headers_are_answered_400(relay, master):
    data = handshake_request().replace(b"\r\n", b"\r\nHost: other.example.com\r\n", 1)
    assert answer_to(relay, master, data).status == 400


@pytest.mark.parametrize(
    "changes, statuses",
    [
        pytest.param({"Host": None}, {400}, id="no_host"),
        pytest.param({"Sec_WebSocket_Key": None}, {400}, id="no_key"),
        pytest.param({"Sec_WebSocket_Key": ""}, {400}, id="an_empty_key"),
        pytest.param({"Sec_WebSocket_Key": "c2hvcnQ="}, {400}, id="a_short_key"),
        pytest.param({"Sec_WebSocket_Key": "x" * 24}, {400}, id="a_key_of_18_bytes"),
        pytest.param({"Sec_WebSocket_Key": "!!!!!!!!!!!!!!!!!!!!!!=="}, {400}, id="a_key_that_is_not_base64"),
        pytest.param({"Sec_WebSocket_Version": None}, {400, 426}, id="no_version"),
        pytest.param({"Connection": None}, {400, 426, 501}, id="no_connection_header"),
        pytest.param({"Connection": "keep-alive"}, {400, 426, 501}, id="a_connection_that_is_not_upgraded"),
        pytest.param({"Upgrade": "h2c"}, {400, 426, 501}, id="another_upgrade"),
        pytest.param({"Content_Length": "zwei"}, {400}, id="a_length_that_is_no_number"),
        pytest.param({"X_Long": "x" * 17_000}, {431}, id="a_head_of_more_than_16_kib"),
        pytest.param({f"X_{n}": "x" for n in range(101)}, {431}, id="more_than_100_headers"),
    ],
)
def test_a_wrong_handshake_is_refused_and_disturbs_nobody(relay, master, witness, changes, statuses):
    assert answer_to(relay, master, handshake_request(**changes)).status in statuses
    check_nobody_noticed(master, witness)


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
def test_a_handshake_is_a_get(relay, master, method):
    connection = relay.connect(master, "client")
    connection.send(handshake_request().replace(b"GET", method.encode(), 1))
    assert connection.read_reply(head_request=method == "HEAD").status in (400, 405, 501)


def test_a_handshake_of_http_1_0_is_refused(relay, master):
    assert answer_to(relay, master, handshake_request().replace(b"HTTP/1.1", b"HTTP/1.0")).status in (400, 426, 501, 505)


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(60), b"GET /\r\n\r\n"])
def test_bytes_that_are_not_http_end_the_connection_and_nothing_else(relay, master, witness, data):
    connection = relay.connect(master, "client")
    connection.send(data + b"\r\n\r\n")
    answer = connection.read_to_end()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    check_nobody_noticed(master, witness)


def test_a_handshake_that_comes_byte_by_byte_is_accepted(relay, master):
    connection = relay.connect(master, "client")
    for byte in handshake_request("/~dog/"):
        connection.send(bytes([byte]))
    assert connection.read_reply().status == 101


def test_commands_that_come_right_behind_the_handshake_are_carried_out(relay, master):
    connection = relay.connect(master, "client")
    connection.send(handshake_request() + command_frame("subscribe", [PHID]) + command_frame("ping"))
    assert connection.read_reply().status == 101
    assert connection.read_exactly(17) == b'\x81\x0f{"type":"pong"}'
    text = master.publish(message(PHID))
    assert connection.read_exactly(2 + 0 + 2 * (len(text) > 125) + len(text)).endswith(text.encode())


def test_a_handshake_that_does_not_end_in_time_is_answered_408(relay):
    master = relay.master(limits={"head.seconds": 1})
    connection = relay.connect(master, "client")
    connection.send(handshake_request()[:-2])
    assert connection.read_reply().status == 408
    assert connection.ended()


def test_a_connected_client_may_be_silent_for_longer_than_a_head_may_take(relay):
    master = relay.master(limits={"head.seconds": 1, "command.seconds": 1})
    client = relay.client(master, subscribe=[PHID])
    time.sleep(3)  # the subject is time
    client.expect(master.publish(message(PHID)))


# --- frames that break a rule ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, code",
    [
        pytest.param(frame(TEXT, "{}", masked=False), 1002, id="a_frame_without_a_mask"),
        pytest.param(frame(TEXT, "{}", rsv=4), 1002, id="a_compressed_frame"),
        pytest.param(frame(TEXT, "{}", rsv=2), 1002, id="the_second_reserved_bit"),
        pytest.param(frame(TEXT, "{}", rsv=1), 1002, id="the_third_reserved_bit"),
        pytest.param(frame(0x3), 1002, id="a_reserved_data_opcode"),
        pytest.param(frame(0xB), 1002, id="a_reserved_control_opcode"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="a_ping_of_more_than_125_bytes"),
        pytest.param(frame(PING, b"x", fin=False), 1002, id="a_ping_in_fragments"),
        pytest.param(frame(CLOSE, b"", fin=False), 1002, id="a_close_in_fragments"),
        pytest.param(frame(CONTINUATION, b"x"), 1002, id="a_continuation_of_nothing"),
        pytest.param(frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002, id="a_message_within_a_message"),
        pytest.param(frame(CLOSE, b"x"), 1002, id="a_close_code_of_one_byte"),
        pytest.param(b"\x81\xfe\x00\x02" + frame(TEXT, "{}")[2:], 1002, id="a_length_that_is_not_the_shortest"),
        pytest.param(b"\x81\xff\x80" + bytes(7) + b"mask", 1002, id="a_length_with_the_top_bit_set"),
        pytest.param(frame(TEXT, b"\xff"), 1007, id="text_that_is_not_utf_8"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="text_with_a_surrogate"),
        pytest.param(frame(TEXT, b"\xc3"), 1007, id="text_that_ends_within_a_character"),
        pytest.param(frame(TEXT, b"\xf0\x9f", fin=False) + frame(CONTINUATION, b"x"), 1007, id="a_character_broken_off"),
    ],
)
def test_a_frame_that_breaks_a_rule_closes_its_connection_with_the_code_that_says_so(relay, master, witness, data, code):
    client = relay.raw_client(master)
    client.send(data)
    assert client.read_close_code() == code
    check_nobody_noticed(master, witness)


def test_what_follows_a_close_is_not_carried_out(relay, master, witness):
    client = relay.raw_client(master)
    client.send(frame(CLOSE, b"\x03\xe8") + command_frame("subscribe", [PHID]) + command_frame("ping"))
    assert client.read_close_code() == 1000
    check_nobody_noticed(master, witness)


# --- pings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff" * 62, b"x" * 125])
def test_a_ping_frame_is_answered_with_its_payload(site, payload):
    client = site.raw_client()
    client.send_frame(PING, payload)
    assert client.read_frame() == (PONG_FRAME, payload)


def test_a_pong_that_nobody_asked_for_is_ignored(site):
    client = site.raw_client()
    client.send_frame(PONG_FRAME, b"hello")
    client.settle()


def test_a_flood_of_pings_from_a_client_that_reads_nothing_disturbs_nobody(relay, master, witness):
    client = relay.raw_client(master, receive_buffer=4096)
    client.socket.settimeout(1)
    try:
        for _ in range(1000):
            client.send(frame(PING, b"x" * 125) * 1000)
    except OSError:
        pass  # refused, or no longer read: both are fine
    witness.expect(master.publish(message(PHID)))
    client.close()
    check_nobody_noticed(master, witness)


# --- bounds ------------------------------------------------------------------------------------------------

MIB = 1024 * 1024


def test_a_message_of_1_mib_from_a_client_is_read_and_one_byte_more_is_closed_with_1009(relay, master):
    client = relay.raw_client(master)
    command = b'{"command":"ping","data":"%s"}'
    client.send_frame(TEXT, command % (b"x" * (MIB - len(command) + 2)))
    assert client.read_frame() == (TEXT, b'{"type":"pong"}')
    client.send_as_far_as_taken(frame(TEXT, b"x" * (MIB + 1)))
    assert client.read_close_code() == 1009


@pytest.mark.parametrize("length", [MIB + 1, 1 << 32, (1 << 63) - 1])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_that_is_announced_too_large_is_closed_with_1009_before_it_comes(relay, master, witness, length, opcode):
    client = relay.raw_client(master)
    client.send(frame(opcode, b"x", length=length))  # with the first byte of many
    assert client.read_close_code() == 1009
    check_nobody_noticed(master, witness)


def test_a_message_too_large_in_fragments_is_closed_with_1009(relay, master):
    client = relay.raw_client(master)
    for number in range(20):
        client.send_as_far_as_taken(frame(CONTINUATION if number else TEXT, b"x" * 64 * 1024, fin=False))
    assert client.read_close_code() == 1009


@pytest.mark.parametrize("piece", [b"", b" "])
def test_a_message_of_more_than_1024_fragments_is_closed_with_1008(relay, master, piece):
    client = relay.raw_client(master)
    data = frame(TEXT, piece, fin=False) + frame(CONTINUATION, piece, fin=False) * 1022
    client.send(data + frame(CONTINUATION, b'{"command":"ping"}'))
    assert client.read_frame() == (TEXT, b'{"type":"pong"}')
    client.send_as_far_as_taken(data + frame(CONTINUATION, piece, fin=False) * 2)
    assert client.read_close_code() == 1008


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(command_frame("ping")[:-1], id="but_for_its_last_byte"),
        pytest.param(command_frame("ping")[:1], id="one_byte"),
        pytest.param(frame(TEXT, b"{", fin=False), id="a_fragment"),
    ],
)
def test_a_message_that_does_not_end_in_time_is_closed_with_1008(relay, beginning):
    master = relay.master(limits={"command.seconds": 1})
    client = relay.raw_client(master)
    client.send(beginning)
    assert client.read_close_code() == 1008


def test_clients_past_the_bound_wait_in_the_listen_queue_until_one_leaves(relay):
    master = relay.master(limits={"clients": 3})
    clients = [relay.raw_client(master) for _ in range(3)]
    for client in clients:
        client.subscribe(PHID)
    waiting = relay.connect(master, "client")
    waiting.send(handshake_request())
    text = master.publish(message(PHID))
    for client in clients:
        assert client.read_frame() == (TEXT, text.encode())
    assert master.status()["clients.active"] == 3
    clients[0].close()
    assert waiting.read_reply().status == 101


def test_a_node_that_runs_out_of_descriptors_keeps_serving_whom_it_has(relay):
    master = relay.master(descriptors=300)
    first = relay.client(master, subscribe=[PHID])
    crowd = [relay.keep(RawConnection(master.address("client"))) for _ in range(400)]
    for connection in crowd:
        connection.send(handshake_request())
    first.expect(master.publish(message(PHID)))
    assert master.status()["clients.active"] < 300
    for connection in crowd:
        connection.close()
    late = relay.client(master, subscribe=[PHID])
    late.expect(master.publish(message(PHID)))


# --- clients that read slowly ------------------------------------------------------------------------------


def publish_until_a_client_is_dropped(master, witness, size, most):
    """Broadcasts of `size` bytes, which the witness reads. Returns how many it took."""
    for count in range(1, most + 1):
        witness.expect(master.publish(message(PHID, text="x" * size)))
        if master.status()["clients.active"] == 1:
            return count
    raise AssertionError(f"a client that reads nothing is still connected after {most} messages of {size} bytes")


def test_a_client_with_more_than_8_mib_unsent_is_cut_off_and_logged_and_nobody_waits_for_it(relay, master, witness):
    stalled = relay.raw_client(master, receive_buffer=4096)
    stalled.subscribe(PHID)
    publish_until_a_client_is_dropped(master, witness, MIB, 30)
    assert int(master.wait_for_log("client_cut", code="1013").fields["unsent"]) > 8 * MIB
    check_nobody_noticed(master, witness)


def test_a_client_that_makes_no_progress_is_cut_off_with_1013(relay):
    master = relay.master(limits={"client.stalled.bytes": 1000, "client.stalled.seconds": 1})
    witness = relay.client(master, subscribe=[PHID])
    stalled = relay.raw_client(master, receive_buffer=4096)
    stalled.subscribe(PHID)
    for _ in range(6):
        witness.expect(master.publish(message(PHID, text="x" * MIB)))
    wait_until(lambda: master.status()["clients.active"] == 1, "the stalled client is cut off")
    master.wait_for_log("client_cut", code="1013")
    check_nobody_noticed(master, witness)


def test_a_slow_client_that_makes_progress_is_not_cut_off(relay):
    master = relay.master(limits={"client.stalled.bytes": 1000, "client.stalled.seconds": 1})
    slow = relay.raw_client(master, receive_buffer=4096)
    slow.subscribe(PHID)
    texts = [master.publish(message(PHID, text="x" * MIB)) for _ in range(4)]
    expected = sum(len(text) + 10 for text in texts)
    received = b""
    while len(received) < expected:  # about 3 s for all of it
        received += slow.read_exactly(min(expected - len(received), MIB // 8))
        time.sleep(0.1)  # the subject is slowness
    assert all(text.encode() in received for text in texts)
    slow.settle()


# --- clients that go ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_client_that_goes_after_any_byte_of_handshake_and_frames_disturbs_nobody(relay, master, witness, ending):
    data = (
        handshake_request("/~dog/?instance=dog")
        + command_frame("subscribe", [PHID])
        + frame(TEXT, b'{"command":', fin=False)
        + frame(PING, b"between")
        + frame(CONTINUATION, b'"replay"}')
        + frame(CLOSE, b"\x03\xe8bye")
    )
    for length in range(len(data) + 1):
        connection = RawConnection(master.address("client"))
        connection.send(data[:length])
        getattr(connection, ending)()
    check_nobody_noticed(master, witness)
    master.wait_for_status(lambda status: status["clients.active"] == 0, "the others have gone", "dog")


def test_a_client_that_vanished_without_a_word_is_not_counted_for_ever_and_one_that_is_silent_stays(relay):
    """As when a laptop is closed: nothing comes any more, not even a FIN. Who answers pings may be silent."""
    master = relay.master(limits={"client.ping.seconds": 1})
    way = relay.keep(Proxy(master.address("client")))
    vanished = relay.keep(RawClient(("127.0.0.1", way.port)))
    vanished.settle()
    silent = relay.client(master, subscribe=[PHID])
    way.go_deaf()
    wait_until(lambda: master.status()["clients.active"] == 1, "the vanished client is forgotten")
    master.wait_for_log("client_cut", reason="no answer to two pings")
    assert silent.open()
    silent.expect(master.publish(message(PHID)))


def test_a_node_that_stood_still_does_not_take_its_clients_for_silent(relay):
    """As when its machine was suspended, or moved to another host: neither pinged anybody nor read what came."""
    master = relay.master(limits={"client.ping.seconds": 1})
    client = relay.client(master, subscribe=[PHID])
    behind = relay.raw_client(master)
    behind.subscribe(PHID)
    master.freeze()
    behind.send(command_frame("ping"))
    time.sleep(5)  # the subject is time
    master.thaw()
    text = master.publish(message(PHID))
    client.expect(text)
    assert behind.read_frame() == (TEXT, b'{"type":"pong"}')
    assert behind.read_frame() == (TEXT, text.encode())
    assert not master.events("client_cut")


def test_clients_that_vanish_while_they_are_written_to_disturb_nobody(relay, master, witness):
    for number in range(30):
        client = RawClient(master.address("client"), receive_buffer=4096)
        client.subscribe(PHID)
        master.post(message(PHID, text="x" * MIB))
        (client.reset if number % 2 else client.close)()
    witness.take(30)
    check_nobody_noticed(master, witness)


def test_random_bytes_after_a_handshake_disturb_nobody(relay, master, witness):
    for _ in range(200):
        client = RawClient(master.address("client"))
        client.send_as_far_as_taken(os.urandom(500))
        client.close()
    check_nobody_noticed(master, witness)
