"""A message arrives byte for byte as it was published: live, in a replay, and through a repeater."""

import json
import random

import pytest

from relay import TEXT, command_frame, message

PHID = "PHID-USER-1"


def body(value, before="", after=""):
    """A message with a value spelled exactly so."""
    return f'{{{before}"subscribers":["{PHID}"],"value":{value}{after}}}'


BODIES = {
    "unicode": body('"Grüße, мир, 世界, 😀, \u202e"'),
    "characters outside the basic plane": body('"𝄞𐍈😀👩\u200d👩\u200d👧"'),
    "noncharacters": body('"\ufffe\uffff\U0010ffff\ufeff"'),
    "escapes that need not be": body('"\\u0041\\/\\u00e9\\ud83d\\ude00"'),
    "escapes that must be": body('"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f"'),
    "a lone high surrogate": body('"\\ud800"'),
    "a lone low surrogate": body('"\\udc00 and more"'),
    "surrogates in the wrong order": body('"\\udc00\\ud800"'),
    "a lone surrogate in a key": body("1", before='"\\ud800":1,'),
    "a number beyond 53 bits": body("9007199254740993"),
    "a number beyond 64 bits": body("123456789012345678901234567890"),
    "a number beyond doubles": body("1e400"),
    "a negative number beyond doubles": body("-1E+400"),
    "a number below doubles": body("1e-400"),
    "a number of 10,000 digits": body("7" * 10_000),
    "spellings of floats": body("[1.0,1.00,1e0,1E0,0.1e1,-0,-0.0,100e-2,3.141592653589793238462643383279]"),
    "number-like keys": body('{"b":1,"10":2,"9":3,"a":4,"01":5}'),
    "equal keys": body('{"a":1,"a":2}'),
    "white space": " \r\n\t" + body("[ 1 ,\n\t2 ]", before="\n  ", after=" ") + "\n\n",
    "keys in any order": '{"z":1,"subscribers":["%s"],"uniqueID":"u","type":"x","a":{"z":[],"a":{}}}' % PHID,
    "empty things": body('[{},[],"",null,true,false]'),
    "a key that is empty": body("1", before='"":0,'),
    "prototype members": body('{"__proto__":{"x":1},"constructor":null,"toString":[]}'),
    "deep arrays": body("[" * 1000 + "]" * 1000),
    "deep objects": body('{"a":' * 1000 + "1" + "}" * 1000),
    "html": body('"<script>alert(1)</script>&amp;"'),
    "line separators": body('"\u2028\u2029\u0085"'),
    "touched": body("1", after=',"touched":["AAAAAAAAAAAAAAAA"]'),
    "1 MiB of text": body('"' + "x" * 1024 * 1024 + '"'),
    "1 MiB of characters of 4 bytes": body('"' + "😀" * (256 * 1024) + '"'),
    "1 MiB of escapes": body('"' + "\\ud800" * (1024 * 1024 // 6) + '"'),
    "1 MiB of numbers": body("[" + ",".join(["1e400"] * (1024 * 1024 // 6)) + "]"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_message_arrives_byte_for_byte(site, name):
    client = site.client(subscribe=[PHID])
    site.publish(BODIES[name])
    client.expect(BODIES[name])
    client.replay()
    client.expect(BODIES[name])


@pytest.mark.parametrize("target", [60, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537])
def test_a_message_arrives_whatever_its_length(site, target):
    """The lengths around which the header of a frame changes."""
    empty = body('""')
    text = body('"' + "x" * max(0, target - len(empty)) + '"')
    client = site.raw_client()
    client.subscribe(PHID)
    site.publish(text)
    assert client.read_frame() == (TEXT, text.encode())


def test_characters_that_a_segment_splits_arrive_whole(relay, site):
    """On Aphlict, the pieces become replacement characters."""
    client = site.client(subscribe=[PHID])
    text = body('"é 世 😀"')
    data = text.encode()
    for split in range(1, len(data)):
        connection = relay.connect(site.master, "admin")
        head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(data)
        connection.send(head + data[:split])
        connection.send(data[split:])
        assert connection.read_reply().status == 200
        client.expect(text)


def test_a_long_message_that_comes_in_small_pieces_arrives_whole(relay, site):
    client = site.client(subscribe=[PHID])
    text = body('"' + "Grüße 😀 " * 20_000 + '"')
    data = text.encode()
    connection = relay.connect(site.master, "admin")
    connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data))
    for start in range(0, len(data), 997):
        connection.send(data[start : start + 997])
    assert connection.read_reply().status == 200
    client.expect(text)


def random_json(dice, depth=0):
    """JSON text of any shape and spelling."""
    kind = dice.randrange(4 if depth > 4 else 6)
    space = dice.choice(["", "", " ", "\n", "\t "])
    if kind == 0:
        return dice.choice(["null", "true", "false"]) + space
    if kind == 1:
        sign, whole = dice.choice(["", "-"]), str(dice.randrange(10 ** dice.randrange(1, 30)))
        return sign + whole + dice.choice(["", ".0", ".250", "e5", "E-07", "e+999", "." + "3" * 40]) + space
    if kind in (2, 3):
        pieces = ["a", "é", "世", "😀", "\\n", "\\u0000", "\\ud800", "\\udfff", "\\/", '\\"', "\u2028", "\x7f"]
        return '"' + "".join(dice.choices(pieces, k=dice.randrange(8))) + '"' + space
    parts = [random_json(dice, depth + 1) for _ in range(dice.randrange(5))]
    if kind == 4:
        return "[" + space + ",".join(parts) + "]"
    return "{" + space + ",".join(f'"{dice.choice("abc12")}":{space}{part}' for part in parts) + "}"


def test_messages_of_any_shape_arrive_byte_for_byte(site):
    dice = random.Random(20240229)
    client = site.client(subscribe=[PHID])
    texts = [body(random_json(dice)) for _ in range(300)]
    for text in texts:
        site.publish(text)
    client.expect(*texts)
    client.replay()
    client.expect(*texts)


def test_messages_arrive_in_the_order_in_which_they_were_accepted(site):
    clients = [site.client(subscribe=[PHID]) for _ in range(3)]
    texts = [site.publish(message(PHID, number=number)) for number in range(500)]
    for client in clients:
        client.expect(*texts)


def test_publishes_from_several_publishers_arrive_in_one_order_everywhere(relay, site):
    clients = [site.client(subscribe=["PHID-ORDER"]) for _ in range(2)]
    publishers = [relay.publisher(site.master, "PHID-ORDER", rate=1000) for _ in range(4)]
    for publisher in publishers:
        publisher.wait_for_more(100)
    for publisher in publishers:
        publisher.stop()
    count = sum(len(publisher.accepted) for publisher in publishers)
    first, second = (client.take(count) for client in clients)
    assert first == second
    assert len({json.loads(text)["uniqueID"] for text in first}) == count


def test_a_large_message_and_small_ones_around_it_arrive_in_order(site):
    client = site.raw_client()
    client.subscribe(PHID)
    texts = [message(PHID, text="x" * size) for size in (1, 1_000_000, 2, 3, 500_000, 4)]
    for text in texts:
        site.publish(text)
    for text in texts:
        assert client.read_frame() == (TEXT, text.encode())
    client.send(command_frame("ping"))
    assert client.read_frame() == (TEXT, b'{"type":"pong"}')
