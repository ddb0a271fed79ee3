"""Who may connect to the client port: pages by their origin, so many of one address, and whom a proxy speaks for."""

import socket
import struct
import time

import pytest

from relay import DEADLINE, run_to_end, wait_until

CONFIG = 78
PAGE = "https://phabricator.example.com"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def client_master(relay, limits=None, **server):
    """A master whose client port is an entry of the file."""
    server = {"type": "client", "port": 0, "listen": "127.0.0.1", **server}
    config = relay.config_file({"servers": [server], "limits": limits or {}})
    node = relay.start("master", "--drain=0", "--admin=127.0.0.1:0", "--repeaters=none", f"--config={config}", "--debug")
    node.address("client")
    return node


def handshake(**headers):
    lines = ["GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Visitor:
    """A connection from an address of its own, which asks for a WebSocket."""

    def __init__(self, node, before=b"", source="127.0.0.1", send=True, **headers):
        self.socket = socket.create_connection(node.address("client"), timeout=DEADLINE, source_address=(source, 0))
        if send:
            self.socket.sendall(before + handshake(**headers))

    def status(self):
        """Of the answer; None where there was none."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            try:
                chunk = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            answer += chunk
        return int(answer.split()[1])

    def close(self):
        self.socket.close()


@pytest.fixture
def visit(relay):
    return lambda *arguments, **options: relay.keep(Visitor(*arguments, **options))


def refused(node):
    return node.status()["refused"]["client"]


def peer_of_the_newest(node, count):
    wait_until(lambda: len(node.events("client_connected")) == count, f"{count} clients")
    return node.events("client_connected")[-1].fields["peer"]


# --- origins -----------------------------------------------------------------------------------------------


def test_any_page_may_connect_where_no_origins_are_listed(relay, visit):
    master = client_master(relay)
    assert [visit(master, **headers).status() for headers in ({}, {"Origin": "https://evil.com"}, {"Origin": "null"})] == [101] * 3


def test_only_pages_of_the_listed_origins_may_connect(relay, visit):
    master = client_master(relay, origins=[PAGE, "https://*.phab.example.com"])
    for origin in (PAGE, "https://a.phab.example.com"):
        assert visit(master, Origin=origin).status() == 101
    strangers = ["https://evil.com", PAGE + ":8443", "http://phabricator.example.com", "https://phab.example.com", "null", ""]
    for origin in strangers:
        assert visit(master, Origin=origin).status() == 403
    assert visit(master).status() == 403
    assert refused(master) == {"origin": len(strangers) + 1}
    master.wait_for_log("request_refused", listener="client", kind="origin", status="403")


def test_a_health_check_needs_no_origin(relay):
    master = client_master(relay, origins=[PAGE])
    connection = relay.connect(master, "client")
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.read_reply().status == 501


@pytest.mark.parametrize(
    "server, word",
    [
        ({"origins": []}, "origins"),
        ({"origins": ["phabricator.example.com"]}, "origins[0]"),
        ({"origins": [PAGE + "/"]}, "origins[0]"),
        ({"origins": ["*"]}, "origins[0]"),
        ({"trusted.proxies": ["proxy.example.com"]}, "trusted.proxies[0]"),
        ({"proxy.protocol": True}, "proxy.protocol"),
        ({"proxy.protocol": "yes", "trusted.proxies": ["10.0.0.0/8"]}, "proxy.protocol"),
        ({"type": "repeater", "trusted.proxies": ["10.0.0.0/8"]}, "trusted.proxies"),
    ],
)
def test_a_wrong_entry_is_an_error_that_names_the_key(relay, server, word):
    config = relay.config_file({"servers": [{"type": "client", "port": 0, "listen": "127.0.0.1", **server}]})
    result = run_to_end("master", f"--config={config}", "--check-config")
    assert result.returncode == CONFIG and f"servers[0].{word}" in result.stderr


# --- connections of one address ----------------------------------------------------------------------------


def test_an_address_has_so_many_connections_and_others_have_theirs(relay, visit):
    master = client_master(relay, limits={"connections.per.address": 3})
    first = [visit(master) for _ in range(3)]
    assert [visitor.status() for visitor in first] == [101] * 3
    over = visit(master, send=False)  # told before it has asked for anything
    assert over.status() == 429
    assert visit(master, source="127.0.0.2").status() == 101
    line = master.wait_for_log("request_refused", kind="per_address", status="429")
    assert int(line.fields["connection"]) > 0
    assert line.fields["peer"].startswith("127.0.0.1:")
    first[0].close()
    wait_until(lambda: visit(master).status() == 101, "room for another")
    assert refused(master)["per_address"] >= 1


def test_connections_that_ask_for_nothing_count_as_well(relay, visit):
    master = client_master(relay, limits={"connections.per.address": 2})
    silent = [visit(master, send=False) for _ in range(2)]
    assert visit(master, send=False).status() == 429
    silent[0].close()
    wait_until(lambda: visit(master).status() == 101, "room for another")


def test_without_a_limit_one_address_may_have_many(relay, visit):
    master = client_master(relay)
    assert {visit(master).status() for _ in range(100)} == {101}


def test_a_flood_of_one_address_leaves_the_others_alone(relay, visit):
    master = client_master(relay, limits={"connections.per.address": 5})
    honest = visit(master, source="127.0.0.9")
    assert honest.status() == 101
    flood = [visit(master, source="127.0.0.8", send=False) for _ in range(500)]
    assert visit(master, source="127.0.0.7").status() == 101
    wait_until(lambda: refused(master)["per_address"] == 495, "the rest refused")
    del flood


# --- X-Forwarded-For ---------------------------------------------------------------------------------------


def test_a_trusted_proxy_tells_whom_it_speaks_for(relay, visit):
    master = client_master(relay, **{"trusted.proxies": ["127.0.0.2", "10.0.0.0/8"]})
    chains = {"192.0.2.1": "192.0.2.1", "6.6.6.6, 192.0.2.1": "192.0.2.1", "192.0.2.1, 10.1.1.1": "192.0.2.1"}
    chains |= {"2001:db8::1": "2001:db8::1"}
    for count, (chain, client) in enumerate(chains.items(), 1):
        assert visit(master, source="127.0.0.2", X_Forwarded_For=chain).status() == 101
        assert peer_of_the_newest(master, count) == client
    assert visit(master, source="127.0.0.3", X_Forwarded_For="192.0.2.1").status() == 101
    assert peer_of_the_newest(master, len(chains) + 1).startswith("127.0.0.3:")


def test_connections_are_counted_by_the_address_that_a_proxy_tells(relay, visit):
    master = client_master(relay, {"connections.per.address": 2}, **{"trusted.proxies": ["127.0.0.2"]})

    def status(client):
        return visit(master, source="127.0.0.2", X_Forwarded_For=client).status()

    assert [status("192.0.2.1") for _ in range(3)] == [101, 101, 429]
    assert status("192.0.2.2") == 101
    assert [status(f"2001:db8:0:1::{n}") for n in range(3)] == [101, 101, 429]
    assert status("2001:db8:0:2::1") == 101
    assert refused(master) == {"per_address": 2}


def test_an_allow_list_goes_by_the_address_that_a_proxy_tells(relay):
    entry = {"type": "admin", "port": 0, "listen": "127.0.0.1", "allow": ["192.0.2.0/24"], "trusted.proxies": ["127.0.0.1"]}
    master = relay.start("master", "--repeaters=none", f"--config={relay.config_file({'servers': [entry]})}")
    for client, status in (("192.0.2.1", 200), ("198.51.100.7", 403), ("192.0.2.1, 198.51.100.7", 403)):
        assert master.request("GET", "/status/", headers={"X-Forwarded-For": client}).status == status
    assert master.request("GET", "/status/").status == 403


# --- the PROXY protocol ------------------------------------------------------------------------------------

PROXIED = {"trusted.proxies": ["127.0.0.2"], "proxy.protocol": True}
TEXT_HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\n"
BINARY_HEADER = (
    SIGNATURE + b"\x21\x11" + struct.pack("!H", 12 + 6) + bytes([192, 0, 2, 1, 198, 51, 100, 7])
    + struct.pack("!HH", 51234, 443) + b"\x04\x00\x03abc"
)
BINARY_IPV6 = (
    SIGNATURE + b"\x21\x21" + struct.pack("!H", 36) + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + bytes(16) + struct.pack("!HH", 51234, 443)
)


@pytest.mark.parametrize(
    "header, client",
    [(TEXT_HEADER, "192.0.2.1:51234"), (BINARY_HEADER, "192.0.2.1:51234"), (BINARY_IPV6, "[2001:db8::1]:51234")],
)
def test_a_proxy_header_tells_the_client(relay, visit, header, client):
    master = client_master(relay, **PROXIED)
    assert visit(master, before=header, source="127.0.0.2").status() == 101
    assert peer_of_the_newest(master, 1) == client


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00", SIGNATURE + b"\x21\x00\x00\x00"])
def test_a_proxy_may_speak_for_itself(relay, visit, header):
    master = client_master(relay, **PROXIED)
    assert visit(master, before=header, source="127.0.0.2").status() == 101
    assert peer_of_the_newest(master, 1).startswith("127.0.0.2:")


@pytest.mark.parametrize("header", [TEXT_HEADER, BINARY_HEADER])
def test_a_proxy_header_may_come_in_pieces(relay, visit, header):
    master = client_master(relay, **PROXIED)
    visitor = visit(master, source="127.0.0.2", send=False)
    for byte in header:
        visitor.socket.sendall(bytes([byte]))
        time.sleep(0.001)
    visitor.socket.sendall(handshake())
    assert visitor.status() == 101
    assert peer_of_the_newest(master, 1) == "192.0.2.1:51234"


@pytest.mark.parametrize("before", [b"", b"PROXY TCP4 x\r\n", b"\x16\x03\x01\x02\x00", SIGNATURE + b"\x99", b"\0" * 100])
def test_a_trusted_proxy_without_a_header_is_refused(relay, visit, before):
    master = client_master(relay, **PROXIED)
    assert visit(master, before=before, source="127.0.0.2").status() is None
    wait_until(lambda: refused(master) == {"proxy_header": 1}, "counted")
    assert master.wait_for_log("request_refused", kind="proxy_header").fields["peer"].startswith("127.0.0.2:")


def test_the_word_of_others_is_not_taken(relay, visit):
    master = client_master(relay, **PROXIED)
    assert visit(master, source="127.0.0.3").status() == 101
    assert visit(master, before=TEXT_HEADER, source="127.0.0.3").status() == 400
    assert refused(master) == {"malformed": 1}


def test_a_proxy_that_says_nothing_is_closed_after_a_heads_time(relay, visit):
    master = client_master(relay, {"head.seconds": 1}, **PROXIED)
    visitor = visit(master, source="127.0.0.2", send=False)
    visitor.socket.sendall(b"PRO")
    assert visitor.status() is None
    assert refused(master) == {"too_slow": 1}


def test_a_port_scan_of_a_load_balancer_is_no_refusal(relay, visit):
    master = client_master(relay, **PROXIED)
    visit(master, source="127.0.0.2", send=False).close()
    assert visit(master, before=TEXT_HEADER, source="127.0.0.2").status() == 101
    assert refused(master) == {}


def test_behind_a_proxy_header_another_proxy_may_tell_further(relay, visit):
    master = client_master(relay, **{"trusted.proxies": ["127.0.0.2", "192.0.2.0/24"], "proxy.protocol": True})
    assert visit(master, before=TEXT_HEADER, source="127.0.0.2", X_Forwarded_For="198.51.100.9").status() == 101
    assert peer_of_the_newest(master, 1) == "198.51.100.9"


def test_a_node_stops_while_proxies_have_not_said_for_whom(relay, visit):
    master = client_master(relay, **PROXIED)
    waiting = [visit(master, source="127.0.0.2", send=False) for _ in range(3)]
    master.stop()
    assert [visitor.status() for visitor in waiting] == [None] * 3
