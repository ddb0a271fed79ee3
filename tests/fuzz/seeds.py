"""What the fuzzer begins with: inputs that are right, and some that are nearly so. Where a target takes a first byte that
says what the others are, it is the b"\\x00" and the like in front."""

import json
import struct

HANDSHAKE = (
    b"GET /~dog/?instance=cat HTTP/1.1\r\nHost: h:22280\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://h\r\n\r\n"
)

HTTP_REQUEST = [
    HANDSHAKE,
    b"\r\nGET /status/ HTTP/1.1\r\nHost: h\r\n\r\nHEAD http://h/?a=%41+b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b'POST / HTTP/1.1\r\nHost: [::1]:1\r\nExpect: 100-continue\r\nContent-Length: 18\r\n\r\n{"subscribers":[]}OPTIONS * HTT',
    b"POST /?instance=dog HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{}",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nX-A:\rTransfer-Encoding: chunked\r\n folded\r\n\r\n0\r\n\r\n",
    b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    # At the target's bounds, and one past them.
    *(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * (size - 32) + b"\r\n\r\n" for size in (600, 601, 700)),
    *(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * (count - 1) + b"\r\n" for count in (10, 11)),
    *(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size for size in (300, 301)),
]

HANDSHAKE_RESPONSE = [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: aphlict-relay.v1\r\n\r\n",
    b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}',
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end",
]


def frame(first, payload=b"", mask=b""):
    """A frame whose mask leaves the payload as it is."""
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        length = bytes([bit | len(payload)])
    else:
        length = bytes([bit | 126]) + struct.pack("!H", len(payload))
    return bytes([first]) + length + mask + payload


CLIENT, FEED, BUILT = b"\x00", b"\x01", b"\x02"
MASK = bytes(4)
WEBSOCKET_FRAMES = [
    CLIENT + frame(0x81, b'{"command":"ping"}', MASK) + frame(0x8A, b"", MASK) + frame(0x82, bytes(130), MASK),
    CLIENT + frame(0x01, b"\xf0\x9f", MASK) + frame(0x89, b"p" * 125, MASK) + frame(0x80, b"\x98\x80", MASK),
    CLIENT + frame(0x88, b"\x03\xe8bye \xc3\xa9", MASK) + frame(0x81, b"after", MASK),
    CLIENT + frame(0x88, b"", MASK),
    CLIENT + frame(0xC1, b"x", MASK),
    CLIENT + b"\x82\xff" + struct.pack("!Q", 1 << 16) + MASK + b"x",
    CLIENT + b"\x81\xfe\x00\x02" + MASK + b"{}",
    *(CLIENT + frame(0x02, b"x" * 200, MASK) + frame(0x80, b"x" * size, MASK) for size in (200, 201)),
    *(CLIENT + frame(0x01, b"a", MASK) + frame(0x00, b"b", MASK) * (count - 2) + frame(0x80, b"c", MASK) for count in (5, 6)),
    FEED + frame(0x81, b"text") + frame(0x02, b"a") + frame(0x00, b"b") + frame(0x80, b"c") + frame(0x89, b"ping"),
    FEED + frame(0x88, b"\x03\xf5full"),
    BUILT + b"\x07\x00\x00\x00\x00\x05hello\x00\x00\x00\x00\x03abc\x00\x00\x00\x00\x02de",
    BUILT + b"\xfd\x01\x02\x03\x04\x01a\x01\x02\x03\x04\x01b",
    b"\x03\x06\x05hello\x05world\x01!\x07\x03abc",
]

MESSAGE = b'{"type":"notification","subscribers":["PHID-USER-1","\\ud83d\\ude00"],"uniqueID":"a\\ud800"}'
PUBLISH = [
    MESSAGE,
    b'{"subscribers":[],"a":[1,-0.5e+3,1e400,123456789012345678901,true,false,null,{"b":{}}],"uniqueID":7}',
    b'{"subscribers":1,"sub\\u0073cribers":["a"],"uniqueID":"a","uniqueID":"\xc3\xa9\\n\\u0000"}',
    b' {"subscribers" : [ "a" , "b" ] } ',
    b'{"touched":["a",1,[]],"subscribers":["x"],"touched":null}',
    b'{"subscribers":[],"touched":["a","b"] }',
    b'{"subscribers":["a",1]}',
    b'[{"subscribers":["a"]}]',
]

CLIENT_COMMAND = [
    b'{"command":"subscribe","data":["PHID-USER-1",1,"\\u00e9"]}',
    b'{"command":"unsubscribe","data":[]}',
    b'{"command":"replay","data":{"age":90000}}',
    b'{"data":{"age":-1e400,"age":1.5e3},"command":"replay"}',
    b'{"command":"ping"}',
]

EPOCH = b"aaaaaaaaaaaaaaaa"
CONTROL, BUILT_CONTROL, REPORTS, BINARY, BUILT_MESSAGE = (bytes([kind]) for kind in range(5))


def control(**members):
    return json.dumps(members).encode()


def message(body, sequence=7, accepted=1_000_000, instance=b"dog", unique_id=b"u", subscribers=(b"P",)):
    section = b"".join(struct.pack("!I", len(each)) + each for each in subscribers)
    head = struct.pack("!QqHIII", sequence, accepted, len(instance), len(unique_id), len(subscribers), len(section))
    return b"\x01" + EPOCH + head + instance + unique_id + section + frame(0x81, body)


def node(name, **members):
    return {"id": name, "revision": 2, "name": name, "version": "1", "url": "", "above": ["self"], "cursor": {}, **members}


NAMES = {"node": "n", "name": "n", "version": "1"}
CURSOR = {EPOCH.decode(): 12}
REPORT = control(
    type="status",
    nodes=[node("a", cursor=CURSOR, instances={"dog": [2, 3, 9, 40]}), node("b", above=["a"], address="10.0.0.7:5", instances={})],
    gone=["c"],
)
FIGURES = {
    "state": "ready",
    "messages_out": 7,
    "refused": {"client.too_slow": 1},
    "latency": {"bounds_us": [1, 2], "counts": [0, 1, 2]},
    "Not": -1,
}
FEED_MESSAGES = [
    CONTROL + control(type="hello", **NAMES, url="http://h/", resumes=True, cursor=CURSOR, instances=["dog"]),
    CONTROL + control(type="welcome", **NAMES, above=["m"], epochs={EPOCH.decode(): {"floor": 1, "newest": 9}}, clock=-5),
    CONTROL + control(type="heartbeat", clock=1_000_000, cursor=CURSOR, live=True),
    CONTROL + control(type="gap", epoch=EPOCH.decode(), **{"from": 1, "to": 2}),
    CONTROL + control(type="above", nodes=["m", "n"]),
    CONTROL + control(type="drain"),
    REPORTS + control(type="status", nodes=[node("a", revision=1, figures=FIGURES)], gone=[]) + b"\n",
    REPORTS + REPORT + b"\n" + control(type="status", nodes=[node("a", revision=3, instances={"dog": [3, 1, 9, 41]})], gone=["b"]),
    BINARY + bytes(8) + message(b'{"subscribers":["P"]}'),
    BINARY + struct.pack("=q", 1 << 40) + message(b"x" * 200, subscribers=(b"", b"PHID-USER-1")),
    *(BUILT_CONTROL + bytes([kind]) + bytes(range(1, 90)) for kind in range(5)),
    BUILT_MESSAGE + bytes(range(200)),
]

MASTER, REPEATER = b"\x01", b"\x00"
CONFIGURATION = [
    MASTER
    + b"""{
  // Aphlict's own example
  "servers": [
    {"type": "client", "port": 22280, "listen": "0.0.0.0", "ssl.key": null, "ssl.cert": null, "ssl.chain": null},
    {"type": "admin", "port": 22281, "listen": "127.0.0.1"}, {"type": "repeater", "port": null}
  ],
  "logs": [{"path": "/var/log/aphlict.log"}],
  "cluster": [], "memory.hint": 256, /* megabytes */
  "pidfile": "/run/aphlict.pid"
}""",
    MASTER + b'{"state": "/s", "durability": "power", "name": "n", "drain.seconds": 3, "log.level": "debug"}',
    MASTER + b'{"limits": {"publish.bytes": 1000, "json.depth": 7, "clients": 0, "history.seconds": 5, "repeaters": 9}}',
    REPEATER
    + b"""{"upstream": [["http://m:22282", "ws://[::1]:1/feed/"], {"urls": ["http://n"], "instances": ["dog"]}],
  "public.url": "https://h:22280/ws/?x", "reuse.port": true, "servres": 1}""",
    REPEATER + b'{"servers": [{"type": "admin", "port": "1", "listen": "[::]"}, 7], "limits": {"head.bytes": -1}}',
]

V2 = b"\r\n\r\n\0\r\nQUIT\n"
PROXY_HEADER = [
    b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
    V2 + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 1, 198, 51, 100, 1]) + b"\xdc\x04\x01\xbb\x16\x03\x01",
    V2 + b"\x21\x21\x00\x24" + bytes(range(32)) + b"\xdc\x04\x01\xbb",
    V2 + b"\x21\x11\x00\x14" + bytes(12) + b"\x04\x00\x05hello",
    V2 + b"\x20\x00\x00\x00GET",
    V2 + b"\x21\x31\x00\xd8" + bytes(216),
    V2 + b"\x21\x11\xff\xff" + bytes(12),
]

SEEDS = {
    "http_request": HTTP_REQUEST,
    "handshake_response": HANDSHAKE_RESPONSE,
    "websocket_frames": WEBSOCKET_FRAMES,
    "publish": PUBLISH,
    "client_command": CLIENT_COMMAND,
    "feed_messages": FEED_MESSAGES,
    "proxy_header": PROXY_HEADER,
    "configuration": CONFIGURATION,
}
