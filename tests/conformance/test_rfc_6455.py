"""The WebSocket protocol, section by section, on the project's own layer: tests/conformance/websocket_echo.cc sends back
what it gets. What the nodes add to it (their bounds, times and commands) is in tests/integration/test_client_port.py."""

import random
import struct
import threading
import time

import pytest

from relay import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG_FRAME,
    TEXT,
    RawClient,
    RawConnection,
    accept_of,
    frame,
    handshake_request,
)

KIB, MIB = 1024, 1024 * 1024
PONG = PONG_FRAME

# The forms of section 5.2's length, and the places where one ends and the next begins.
LENGTHS = [0, 1, 124, 125, 126, 127, 128, 65535, 65536, 65537]


def fragments(opcode, pieces):
    """A message in as many frames as there are pieces."""
    last = len(pieces) - 1
    return [frame(CONTINUATION if n else opcode, piece, fin=n == last) for n, piece in enumerate(pieces)]


def cut(payload, size):
    return [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]


def check_echo(client, opcode, payload):
    """What comes next is that message, whole."""
    payload = payload.encode() if isinstance(payload, str) else payload
    got = client.read_frame()
    assert got[0] == opcode and len(got[1]) == len(payload) and got[1] == payload


def check_serves_on(client):
    """The connection is open, and nothing is left over from what was before."""
    client.send_frame(TEXT, "still here")
    check_echo(client, TEXT, "still here")


def check_closed(client, *codes):
    """The server closes with one of the codes, then ends the connection. What it said before must have been read."""
    code = client.read_close_code()
    assert code in codes, code


def check_refused(client, data, *codes):
    client.send_as_far_as_taken(data)
    check_closed(client, *codes)


# --- section 4: opening handshake --------------------------------------------------------------------------


def answer_to(echo_address, data):
    connection = RawConnection(echo_address)
    connection.send(data)
    reply = connection.read_reply()
    connection.close()
    return reply


def test_4_2_2_the_accept_value_is_computed_from_the_key(echo_address):
    for key in ("dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "/////////////////////w=="):
        reply = answer_to(echo_address, handshake_request(Sec_WebSocket_Key=key))
        assert (reply.status, reply.headers["Sec-WebSocket-Accept"]) == (101, accept_of(key))
        assert reply.headers["Upgrade"].lower() == "websocket"
        assert reply.headers["Connection"].lower() == "upgrade"


@pytest.mark.parametrize(
    "changes, status",
    [
        pytest.param({"Connection": "keep-alive, Upgrade"}, 101, id="connection_is_a_list"),
        pytest.param({"Upgrade": "WebSocket"}, 101, id="upgrade_in_any_case"),
        pytest.param({"Sec_WebSocket_Protocol": "chat, superchat"}, 101, id="a_subprotocol_may_be_offered"),
        pytest.param({"Sec_WebSocket_Extensions": "permessage-deflate"}, 101, id="an_extension_may_be_offered"),
        pytest.param({"Upgrade": None}, 400, id="no_upgrade"),
        pytest.param({"Connection": "close"}, 400, id="connection_does_not_upgrade"),
        pytest.param({"Host": None}, 400, id="no_host"),
        pytest.param({"Sec_WebSocket_Key": None}, 400, id="no_key"),
        pytest.param({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, id="a_key_that_is_not_16_bytes"),
        pytest.param({"Sec_WebSocket_Version": None}, 426, id="no_version"),
        pytest.param({"Sec_WebSocket_Version": "8"}, 426, id="another_version"),
    ],
)
def test_4_2_1_the_client_s_handshake_is_checked(echo_address, changes, status):
    reply = answer_to(echo_address, handshake_request(**changes))
    assert reply.status == status
    if status == 101:
        assert "Sec-WebSocket-Extensions" not in reply.headers and "Sec-WebSocket-Protocol" not in reply.headers
    if status == 426:
        assert reply.headers["Sec-WebSocket-Version"] == "13"


def test_4_1_frames_may_come_right_behind_the_handshake(echo_address):
    client = RawConnection(echo_address)
    client.send(handshake_request() + frame(TEXT, "early"))
    assert client.read_reply().status == 101
    assert client.read_exactly(7) == b"\x81\x05early"
    client.close()


# --- section 5.2: base framing protocol --------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_5_2_messages_of_every_form_of_length_come_back(echo, opcode, length):
    payload = b"*" * length if opcode == TEXT else bytes(n * 7 & 0xFF for n in range(length))
    echo.send_frame(opcode, payload)
    check_echo(echo, opcode, payload)
    check_serves_on(echo)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 128, 300])
def test_5_2_frames_may_come_byte_by_byte(echo, length):
    payload = b"*" * length
    for byte in frame(TEXT, payload):
        echo.send(bytes([byte]))
    check_echo(echo, TEXT, payload)


@pytest.mark.parametrize("size", [1, 3, 997, 1460])
def test_5_2_large_frames_may_come_in_pieces_of_any_size(echo, size):
    payload = bytes(n * 31 & 0xFF for n in range(65536 if size > 3 else 2000))
    for piece in cut(frame(BINARY, payload), size):
        echo.send(piece)
    check_echo(echo, BINARY, payload)


def test_5_2_many_frames_in_one_piece_are_as_many_messages(echo):
    texts = [f"message {n}" * (n % 40) for n in range(500)]
    echo.send(b"".join(frame(TEXT, text) for text in texts))
    for text in texts:
        check_echo(echo, TEXT, text)


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize(
    "opcode, payload",
    [(TEXT, b""), (TEXT, b"x" * 200), (BINARY, b"x"), (PING, b""), (PING, b"x"), (PONG, b"x"), (CLOSE, b""), (CLOSE, b"\x03\xe8")],
)
def test_5_2_a_reserved_bit_fails_the_connection(echo, rsv, opcode, payload):
    check_refused(echo, frame(opcode, payload, rsv=rsv) + frame(TEXT, "not this"), 1002)


@pytest.mark.parametrize("rsv", [1, 2, 4])
def test_5_2_a_reserved_bit_in_a_later_frame_fails_the_connection_after_the_messages_before_it(echo, rsv):
    echo.send(frame(TEXT, "before") + frame(TEXT, "a", fin=False) + frame(CONTINUATION, "b", rsv=rsv) + frame(PING))
    check_echo(echo, TEXT, "before")
    check_closed(echo, 1002)


@pytest.mark.parametrize("opcode", [*range(0x3, 0x8), *range(0xB, 0x10)])
@pytest.mark.parametrize("payload", [b"", b"reserved"])
def test_5_2_a_reserved_opcode_fails_the_connection(echo, opcode, payload):
    check_refused(echo, frame(opcode, payload) + frame(TEXT, "not this"), 1002)


@pytest.mark.parametrize("opcode", [0x3, 0x7, 0xB, 0xF])
def test_5_2_a_reserved_opcode_between_other_frames_fails_the_connection_after_the_messages_before_it(echo, opcode):
    echo.send(frame(TEXT, "before") + frame(opcode, "x") + frame(TEXT, "after"))
    check_echo(echo, TEXT, "before")
    check_closed(echo, 1002)


@pytest.mark.parametrize("opcode", [0x3, 0xB])
def test_5_2_a_reserved_opcode_within_a_fragmented_message_fails_the_connection(echo, opcode):
    check_refused(echo, frame(TEXT, "a", fin=False) + frame(opcode, "x") + frame(CONTINUATION, "b"), 1002)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"\x81\xfe\x00\x00", id="0_in_16_bits"),
        pytest.param(b"\x81\xfe\x00\x7d", id="125_in_16_bits"),
        pytest.param(b"\x82\xff" + struct.pack("!Q", 0), id="0_in_64_bits"),
        pytest.param(b"\x82\xff" + struct.pack("!Q", 125), id="125_in_64_bits"),
        pytest.param(b"\x82\xff" + struct.pack("!Q", 126), id="126_in_64_bits"),
        pytest.param(b"\x82\xff" + struct.pack("!Q", 65535), id="65535_in_64_bits"),
    ],
)
def test_5_2_a_length_that_is_not_in_its_shortest_form_fails_the_connection(echo, head):
    check_refused(echo, head + bytes(4) + b"x" * 65535, 1002)


@pytest.mark.parametrize("length", [1 << 63, (1 << 63) + 5, (1 << 64) - 1])
def test_5_2_a_length_of_64_bits_with_the_top_bit_set_fails_the_connection(echo, length):
    check_refused(echo, b"\x82\xff" + struct.pack("!Q", length) + bytes(4) + b"x", 1002)


# --- section 5.3: masking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x01\x80\x7f\xfe"])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 126, 1000])
def test_5_3_any_mask_is_taken_off(echo, key, length):
    payload = bytes(n * 13 & 0xFF for n in range(length))
    masked = bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))
    head = bytes([0x82, 0x80 | length]) if length < 126 else b"\x82\xfe" + struct.pack("!H", length)
    echo.send(head + key + masked)
    check_echo(echo, BINARY, payload)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
@pytest.mark.parametrize("payload", [b"", b"\x03\xe8unmasked"])
def test_5_1_a_frame_without_a_mask_fails_the_connection(echo, opcode, payload):
    check_refused(echo, frame(opcode, payload, masked=False) + frame(TEXT, "not this"), 1002)


def test_5_1_a_continuation_without_a_mask_fails_the_connection(echo):
    check_refused(echo, frame(TEXT, "a", fin=False) + frame(CONTINUATION, "b", masked=False), 1002)


# --- section 5.4: fragmentation ----------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [1, 2, 7, 125, 126, 5000])
def test_5_4_a_message_in_fragments_comes_back_whole(echo, opcode, size):
    payload = b"0123456789" * 50 if size < 5000 else b"0123456789" * 2000
    echo.send(b"".join(fragments(opcode, cut(payload, size))))
    check_echo(echo, opcode, payload)
    check_serves_on(echo)


@pytest.mark.parametrize(
    "pieces",
    [["", ""], ["", "", ""], ["a", ""], ["", "a"], ["", "a", ""], ["a", "", "b"], ["", "", "", "", "last"]],
)
def test_5_4_fragments_may_be_empty(echo, pieces):
    echo.send(b"".join(fragments(TEXT, pieces)))
    check_echo(echo, TEXT, "".join(pieces))


def test_5_4_the_fragments_of_a_message_may_take_their_time(echo):
    for piece in fragments(TEXT, ["slow", " and", " steady"]):
        echo.send(piece)
        time.sleep(0.05)  # the subject is time
    check_echo(echo, TEXT, "slow and steady")


def test_5_4_messages_in_fragments_follow_one_another(echo):
    for number in range(50):
        echo.send(b"".join(fragments(BINARY if number % 2 else TEXT, [b"%d" % number, b"-", b"x" * number])))
    for number in range(50):
        check_echo(echo, BINARY if number % 2 else TEXT, b"%d-" % number + b"x" * number)


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("before", [b"", frame(TEXT, "before"), b"".join(fragments(TEXT, ["be", "fore"]))])
def test_5_4_a_continuation_of_nothing_fails_the_connection(echo, fin, before):
    echo.send(before + frame(CONTINUATION, "x", fin=fin) + frame(TEXT, "after"))
    if before:
        check_echo(echo, TEXT, "before")
    check_closed(echo, 1002)


@pytest.mark.parametrize("first", [TEXT, BINARY])
@pytest.mark.parametrize("second", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_5_4_a_new_message_within_a_fragmented_one_fails_the_connection(echo, first, second, fin):
    check_refused(echo, frame(first, "a", fin=False) + frame(second, "b", fin=fin) + frame(CONTINUATION, "c"), 1002)


def test_5_4_a_new_message_after_some_continuations_fails_the_connection(echo):
    data = b"".join(fragments(TEXT, ["a", "b", "c"])[:2])
    check_refused(echo, data + frame(TEXT, "new"), 1002)


# --- section 5.5: control frames ---------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 2, 124, 125])
def test_5_5_2_a_ping_is_answered_with_its_payload(echo, length):
    payload = bytes(255 - n for n in range(length))
    echo.send_frame(PING, payload)
    check_echo(echo, PONG, payload)
    check_serves_on(echo)


def test_5_5_2_a_ping_may_come_byte_by_byte(echo):
    for byte in frame(PING, b"p" * 125):
        echo.send(bytes([byte]))
    check_echo(echo, PONG, b"p" * 125)


def test_5_5_2_ten_pings_at_once_are_answered_in_their_order(echo):
    echo.send(b"".join(frame(PING, f"ping {n}") for n in range(10)))
    for n in range(10):
        check_echo(echo, PONG, f"ping {n}")


def test_5_5_2_a_ping_between_messages_is_answered_between_their_echoes(echo):
    echo.send(frame(TEXT, "one") + frame(PING, "p") + frame(TEXT, "two"))
    check_echo(echo, TEXT, "one")
    check_echo(echo, PONG, "p")
    check_echo(echo, TEXT, "two")


@pytest.mark.parametrize("size", [1, 5, 100])
def test_5_5_2_pings_within_a_fragmented_message_are_answered_before_it_ends(echo, size):
    pieces = fragments(TEXT, cut(b"0123456789" * 10, size))
    for number, piece in enumerate(pieces[:-1]):
        echo.send(piece + frame(PING, f"{number}"))
        check_echo(echo, PONG, f"{number}")
    echo.send(pieces[-1])
    check_echo(echo, TEXT, b"0123456789" * 10)


def test_5_5_2_the_last_of_a_flood_of_pings_is_answered(echo):
    """Who has not answered yet may answer the most recent one only (section 5.5.3)."""
    echo.send(b"".join(frame(PING, b"%d" % n * 20) for n in range(2000)) + frame(PING, "the last"))
    while echo.read_frame() != (PONG, b"the last"):
        pass
    check_serves_on(echo)


@pytest.mark.parametrize("payload", [b"", b"unasked", b"x" * 125])
def test_5_5_3_a_pong_that_nobody_asked_for_is_ignored(echo, payload):
    echo.send(frame(PONG, payload) + frame(TEXT, "a", fin=False) + frame(PONG, payload) + frame(CONTINUATION, "b"))
    check_echo(echo, TEXT, "ab")


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("length", [126, 127, 65535, 65536])
def test_5_5_a_control_frame_of_more_than_125_bytes_fails_the_connection(echo, opcode, length):
    check_refused(echo, frame(opcode, b"\x03\xe8" + b"x" * (length - 2)), 1002)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("payload", [b"", b"\x03\xe8"])
def test_5_5_a_control_frame_in_fragments_fails_the_connection(echo, opcode, payload):
    check_refused(echo, frame(opcode, payload, fin=False) + frame(CONTINUATION, b"x"), 1002)


# --- section 7: closing ------------------------------------------------------------------------------------


def may_be_sent(code):
    """Section 7.4, and the codes 1012 to 1014 of IANA's registry."""
    return code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or 3000 <= code <= 4999


def test_5_5_1_a_close_without_a_code_is_answered_by_one_without_a_code(echo):
    echo.send_frame(CLOSE)
    check_closed(echo, None)


def test_5_5_1_half_a_code_fails_the_connection(echo):
    check_refused(echo, frame(CLOSE, b"\x03"), 1002)


def test_7_4_every_code_that_may_be_sent_is_answered_with_itself_and_any_other_with_1002(echo_address):
    wrong = []
    for code in [*range(5001), 5001, 9999, 32768, 65535]:
        client = RawClient(echo_address)
        client.send_frame(CLOSE, struct.pack("!H", code))
        opcode, payload = client.read_frame()
        answer = struct.unpack("!H", payload[:2])[0]
        if opcode != CLOSE or answer != (code if may_be_sent(code) else 1002):
            wrong.append((code, answer))
        client.close()
    assert not wrong


@pytest.mark.parametrize("reason", ["", "x", "bye ☃ 😀", "x" * 123, "é" * 61])
def test_5_5_1_a_close_may_have_a_reason_of_up_to_123_bytes(echo, reason):
    echo.send_frame(CLOSE, struct.pack("!H", 1000) + reason.encode())
    check_closed(echo, 1000)


def test_5_5_1_a_close_with_a_reason_of_124_bytes_fails_the_connection(echo):
    check_refused(echo, frame(CLOSE, struct.pack("!H", 1000) + b"x" * 124), 1002)


@pytest.mark.parametrize("reason", [b"\xff", b"ok \xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"x" * 122 + b"\xc3"])
def test_5_5_1_a_reason_that_is_not_utf_8_fails_the_connection(echo, reason):
    check_refused(echo, frame(CLOSE, struct.pack("!H", 1000) + reason), 1007)


def test_5_5_1_a_close_that_comes_byte_by_byte_is_answered(echo):
    for byte in frame(CLOSE, struct.pack("!H", 1001) + "adieu ☃".encode()):
        echo.send(bytes([byte]))
    check_closed(echo, 1001)


@pytest.mark.parametrize("after", [frame(TEXT, "x"), frame(PING, "x"), frame(CLOSE, b"\x03\xe9"), b"\xff" * 100, frame(CONTINUATION)])
def test_5_5_1_nothing_that_follows_a_close_is_answered(echo, after):
    check_refused(echo, frame(CLOSE, b"\x03\xe8") + after, 1000)


def test_5_5_1_a_close_within_a_fragmented_message_ends_it(echo):
    check_refused(echo, frame(TEXT, "a", fin=False) + frame(CLOSE, b"\x03\xe8") + frame(CONTINUATION, "b"), 1000)


def test_5_5_1_what_came_before_a_close_is_answered_before_it(echo):
    payload = b"x" * (256 * KIB)
    echo.send(frame(BINARY, payload) + frame(PING, "p") + frame(CLOSE, b"\x03\xe8"))
    check_echo(echo, BINARY, payload)
    assert echo.read_frame() in ((PONG, b"p"), (CLOSE, b"\x03\xe8"))  # the answer to a close may come first


def test_7_1_1_a_connection_may_end_without_a_close(echo_address):
    for ending in ("close", "reset"):
        client = RawClient(echo_address)
        client.send_frame(TEXT, "x", fin=False)
        getattr(client, ending)()
    client = RawClient(echo_address)
    check_serves_on(client)
    client.close()


# --- section 8.1: UTF-8 ------------------------------------------------------------------------------------

WELL_FORMED = {
    "ascii": b"Hello-\x00-\x7f",
    "two_bytes": "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "greek": "κόσμε".encode(),
    "first_and_last_of_each_length": b"\x00 \x7f \xc2\x80 \xdf\xbf \xe0\xa0\x80 \xef\xbf\xbf \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf",
    "around_the_surrogates": b"\xed\x9f\xbf \xee\x80\x80",
    "replacement_character": b"\xef\xbf\xbd",
    "non_characters": b"\xef\xbf\xbe \xef\xbf\xbf \xf0\x9f\xbf\xbe \xf0\x9f\xbf\xbf \xf4\x8f\xbf\xbe \xf4\x8f\xbf\xbf",
    "byte_order_mark": b"\xef\xbb\xbfx",
}

# Valid text, then what is not, whose last byte is the first that no continuation can mend.
MALFORMED = {
    "a_continuation_alone": b"\x80",
    "the_last_continuation_alone": b"\xbf",
    "a_continuation_too_many": b"\xce\xba\x80",
    "a_start_after_a_start": b"\xc3\xc3",
    "two_bytes_broken_off": b"\xc3 ",
    "three_bytes_broken_off": b"\xe2\x98 ",
    "four_bytes_broken_off": b"\xf0\x9f\x98 ",
    "overlong_in_two": b"\xc0",
    "overlong_in_two_at_the_end": b"\xc1",
    "overlong_in_three": b"\xe0\x80",
    "overlong_in_three_at_the_end": b"\xe0\x9f",
    "overlong_in_four": b"\xf0\x80",
    "overlong_in_four_at_the_end": b"\xf0\x8f",
    "the_first_surrogate": b"\xed\xa0",
    "the_last_surrogate": b"\xed\xbf",
    "past_the_last_character": b"\xf4\x90",
    "five_bytes": b"\xf8",
    "six_bytes": b"\xfc",
    "fe": b"\xfe",
    "ff": b"\xff",
}


@pytest.mark.parametrize("text", WELL_FORMED.values(), ids=WELL_FORMED)
def test_8_1_well_formed_text_comes_back_however_it_is_cut(echo, text):
    echo.send_frame(TEXT, text)
    check_echo(echo, TEXT, text)
    echo.send(b"".join(fragments(TEXT, cut(text, 1))))  # within its characters
    check_echo(echo, TEXT, text)
    for byte in frame(TEXT, text):
        echo.send(bytes([byte]))
    check_echo(echo, TEXT, text)


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("before", ["", "κόσμε", "x" * 200])
def test_8_1_text_that_is_not_utf_8_fails_the_connection(echo, wrong, before):
    check_refused(echo, frame(TEXT, before.encode() + wrong + b"after"), 1007)


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED)
def test_8_1_it_does_so_in_fragments_of_one_byte_before_the_message_ends(echo, wrong):
    for piece in fragments(TEXT, [*cut("κόσμε".encode() + wrong, 1), b"the last, which is not sent"])[:-1]:
        echo.send_as_far_as_taken(piece)
    check_closed(echo, 1007)


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED)
def test_8_1_it_does_so_within_a_frame_before_that_ends(echo, wrong):
    """Fail-fast: the rest of the frame never comes."""
    data = frame(TEXT, "κόσμε".encode() + wrong + b"x" * 1000)
    echo.send(data[: len(data) - 1000])
    check_closed(echo, 1007)


@pytest.mark.parametrize("end", [b"\xc3", b"\xe2\x98", b"\xf0\x9f\x98", b"\xf0"])
def test_8_1_text_that_ends_within_a_character_fails_the_connection(echo, end):
    check_refused(echo, frame(TEXT, b"text" + end), 1007)


@pytest.mark.parametrize("end", [b"\xc3", b"\xe2\x98", b"\xf0\x9f\x98"])
def test_8_1_and_so_does_text_in_fragments_that_ends_within_one(echo, end):
    check_refused(echo, frame(TEXT, b"text" + end, fin=False) + frame(CONTINUATION, b""), 1007)


def test_8_1_a_character_that_is_incomplete_at_the_end_of_a_fragment_is_waited_for(echo):
    echo.send(frame(TEXT, b"\xf0\x9f", fin=False) + frame(PING, "p"))
    check_echo(echo, PONG, "p")
    echo.send(frame(CONTINUATION, b"\x98\x80"))
    check_echo(echo, TEXT, "😀")


def test_8_1_each_message_s_text_begins_anew(echo):
    echo.send(frame(TEXT, "é") + frame(BINARY, b"\xc3") + frame(TEXT, "é"))
    check_echo(echo, TEXT, "é")
    check_echo(echo, BINARY, b"\xc3")
    check_echo(echo, TEXT, "é")


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED)
def test_5_6_binary_messages_may_be_anything(echo, wrong):
    echo.send_frame(BINARY, wrong)
    check_echo(echo, BINARY, wrong)
    echo.send(b"".join(fragments(BINARY, cut(wrong * 3, 1))))
    check_echo(echo, BINARY, wrong * 3)


# --- section 10.4: limits, and large messages ---------------------------------------------------------------


def exchange(client, data, size):
    """Sends, and reads an echo of `size` bytes, at the same time: neither side has room for all of it."""
    sender = threading.Thread(target=client.send, args=(data,), daemon=True)
    sender.start()
    opcode, payload = client.read_frame()
    sender.join()
    assert len(payload) == size
    return opcode, payload


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB])
def test_10_4_large_messages_come_back_from_one_frame(echo, opcode, size):
    payload = b"*" * size if opcode == TEXT else random.Random(1).randbytes(size)
    assert exchange(echo, frame(opcode, payload), size) == (opcode, payload)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size, piece", [(64 * KIB, 64), (MIB, 256), (4 * MIB, 1 * KIB), (4 * MIB, 64 * KIB), (16 * MIB, MIB)])
def test_10_4_large_messages_come_back_from_fragments(echo, opcode, size, piece):
    payload = ("0123456789abcde☃" * (size // 16 + 1)).encode()[:size] if opcode == BINARY else b"0123456789abcdef" * (size // 16)
    assert exchange(echo, b"".join(fragments(opcode, cut(payload, piece))), size) == (opcode, payload)


@pytest.mark.parametrize("seed", range(3))
def test_10_4_large_messages_come_back_from_fragments_of_varied_sizes_with_pings_between(echo, seed):
    chance = random.Random(seed)
    payload = chance.randbytes(2 * MIB)
    pieces, at = [], 0
    while at < len(payload):
        size = chance.choice([0, 1, 125, 126, 1000, 65535, 65536, 200_000])
        pieces.append(payload[at : at + size])
        at += size
    frames = fragments(BINARY, pieces)
    for number, each in enumerate(frames[:-1]):
        echo.send(each)
        if number % 5 == 0:
            echo.send_frame(PING, b"%d" % number)
            check_echo(echo, PONG, b"%d" % number)
    opcode, got = exchange(echo, frames[-1], len(payload))
    assert (opcode, got) == (BINARY, payload)


def test_10_4_the_largest_message_comes_back_and_a_larger_one_is_closed_with_1009(echo, echo_address):
    size = 64 * MIB
    payload = b"*" * size
    assert exchange(echo, frame(BINARY, payload), size) == (BINARY, payload)
    check_refused(echo, frame(BINARY, b"x", length=size + 1), 1009)
    client = RawClient(echo_address)
    client.send(frame(BINARY, b"x" * (MIB), fin=False))
    check_refused(client, frame(CONTINUATION, b"x", length=63 * MIB + 1), 1009)


@pytest.mark.parametrize("count", [1000, 20_000])
def test_10_4_any_number_of_fragments_is_one_message(echo, count):
    echo.send(b"".join(fragments(TEXT, [b"x"] * count)))
    check_echo(echo, TEXT, b"x" * count)


def test_10_4_whoever_does_not_read_is_not_read_from(echo_address):
    client = RawClient(echo_address, receive_buffer=4096)
    payload = b"x" * 60_000
    client.socket.settimeout(0.5)
    sent = 0
    try:
        for _ in range(2000):
            client.send(frame(BINARY, payload))
            sent += 1
    except TimeoutError:
        pass
    assert sent < 2000, "an echo server that keeps 120 MB for one that does not read"
    client.close()
