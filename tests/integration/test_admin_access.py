"""Who may publish and read on the admin port: networks, tokens, and what a page of the web can make a browser do."""

import os
import socket

import pytest

from relay import message, request, run_to_end, write_secret

CONFIG = 78
PHID = "PHID-USER-1"
TOKEN, OTHER = "the-token-of-the-admin-port", "another-token-of-somebody-else"


def admin_master(relay, *options, listen="127.0.0.1", **server):
    """A master whose admin port is an entry of the file."""
    entry = {"type": "admin", "port": 0, "listen": listen, **server}
    config = relay.config_file({"servers": [entry]})
    node = relay.start("master", "--drain=0", "--clients=127.0.0.1:0", "--repeaters=127.0.0.1:0", f"--config={config}", *options)
    node.address("client")
    return node


@pytest.fixture
def token_file(relay):
    return write_secret(relay.folder / "token", TOKEN)


def ask(node, what, source="127.0.0.1", **headers):
    """The status of the answer to a publish, or to reading the status or metrics, from a loopback address."""
    host, port = node.address("admin")
    host = "127.0.0.1" if host == "0.0.0.0" else host
    method, target, body = {
        "publish": ("POST", "/", message(PHID)),
        "status": ("GET", "/status/", ""),
        "metrics": ("GET", "/metrics", ""),
    }[what]
    connection = socket.create_connection((host, port), source_address=(source, 0))
    headers = {"Host": f"{host}:{port}", "Connection": "close", "Content-Length": len(body), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n{body}".encode())
    answer = b""
    while chunk := connection.recv(1 << 16):
        answer += chunk
    connection.close()
    return int(answer.split()[1])


def may(node, what, **options):
    status = ask(node, what, **options)
    assert status in (200, 403, 404)
    return status != 403


RIGHTS = ["publish", "status", "metrics"]


# --- networks ----------------------------------------------------------------------------------------------


def test_without_a_list_everybody_who_reaches_the_port_may(relay):
    master = admin_master(relay)
    assert all(may(master, right, source="127.0.0.7") for right in RIGHTS)


def test_a_list_says_who_may(relay):
    master = admin_master(relay, allow=["127.0.0.2", "127.1.0.0/16"])
    for right in RIGHTS:
        assert may(master, right, source="127.0.0.2") and may(master, right, source="127.1.2.3")
        assert not may(master, right, source="127.0.0.1") and not may(master, right, source="127.2.0.1")
    line = master.wait_for_log("request_refused", listener="admin", status="403", kind="network")
    assert line.fields["peer"].startswith("127.0.0.1:") and "publish" in line.fields["reason"]
    assert "network" in master.log_text()


def test_each_right_has_a_list_of_its_own(relay):
    master = admin_master(relay, allow={"publish": ["127.0.0.2"], "status": ["127.0.0.3"]})
    rights = {source: [right for right in RIGHTS if may(master, right, source=source)] for source in ("127.0.0.2", "127.0.0.3")}
    assert rights == {"127.0.0.2": ["publish", "metrics"], "127.0.0.3": ["status", "metrics"]}


def test_a_refused_publish_reaches_nobody_and_its_body_is_not_read(relay):
    master = admin_master(relay, allow={"publish": ["127.0.0.2"]})
    reader = relay.client(master, subscribe=[PHID])
    connection = relay.connect(master, "admin")
    connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n{")
    assert connection.read_reply().status == 403
    assert connection.ended()
    assert not may(master, "publish")
    reader.settle()
    assert reader.messages == []
    assert master.status()["refused"]["admin"] == {"network": 2}


def test_an_ipv4_address_is_the_same_through_a_dual_stack_port(relay):
    master = admin_master(relay, listen="::", allow=["127.0.0.2"])
    port = master.address("admin")[1]
    for source, wanted in (("127.0.0.2", 200), ("127.0.0.3", 403)):
        connection = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        connection.sendall(b"GET /status/ HTTP/1.0\r\n\r\n")
        assert int(connection.recv(1 << 16).split()[1]) == wanted
        connection.close()


def test_an_open_port_is_warned_of_with_what_everybody_may_do(relay):
    master = admin_master(relay, listen="0.0.0.0")
    notice = master.wait_for_log("configuration").fields["notice"]
    assert "publish to every user" in notice and "status" in notice and "allow" in notice
    assert all(may(master, right) for right in RIGHTS)
    for closed in ({"listen": "127.0.0.1"}, {"listen": "0.0.0.0", "allow": ["127.0.0.1"]}):
        assert admin_master(relay, **closed).events("configuration") == []


@pytest.mark.parametrize(
    "server, word",
    [
        ({"allow": ["10.0.0.1/8"]}, "allow[0]"),
        ({"allow": ["example.com"]}, "allow[0]"),
        ({"allow": "10.0.0.0/8"}, "allow"),
        ({"allow": {"read": []}}, "allow.read"),
        ({"allow": {"publish": ["x"]}}, "allow.publish[0]"),
        ({"hosts": "x"}, "hosts"),
        ({"hosts": ["http://x"]}, "hosts"),
        ({"type": "client", "allow": []}, "allow"),
    ],
)
def test_a_wrong_list_is_an_error_that_names_the_key(relay, server, word):
    config = relay.config_file({"servers": [{"type": "admin", "port": 0, "listen": "127.0.0.1", **server}]})
    result = run_to_end("master", f"--config={config}", "--check-config")
    assert result.returncode == CONFIG and f"servers[0].{word}" in result.stderr


# --- tokens ------------------------------------------------------------------------------------------------


def test_a_token_opens_the_port_for_those_who_are_not_in_the_list(relay, token_file):
    master = admin_master(relay, f"--admin-secret-file={token_file}", allow=["127.0.0.2"])
    for right in RIGHTS:
        assert may(master, right, source="127.0.0.2")
        assert may(master, right, Authorization=f"Bearer {TOKEN}")
        assert not may(master, right, Authorization=f"Bearer {OTHER}")
        assert not may(master, right)
    assert TOKEN not in master.log_text() and OTHER not in master.log_text()
    refused = request(master.address("admin"), "GET", "/status/", headers={"Authorization": f"Bearer {TOKEN}"}).json()["refused"]
    assert refused["admin"] == {"secret": 3, "network": 3}


def test_with_a_token_and_no_list_only_this_host_needs_none(relay, token_file):
    config = {"admin.secret.file": str(token_file)}
    address = _other_address()
    if address is None:
        pytest.skip("this host has loopback only")
    node = relay.start("master", f"--config={relay.config_file(config)}", "--admin=0.0.0.0:0", "--repeaters=none")
    port = node.address("admin")[1]
    assert request(("127.0.0.1", port), "GET", "/status/").status == 200
    assert request((address, port), "GET", "/status/").status == 403
    assert request((address, port), "GET", "/status/", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200


def _other_address():
    """An address of this host that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = probe.getsockname()[0]
        return None if address.startswith("127.") else address


def test_the_feeds_secret_is_no_token_of_the_admin_port(relay, token_file):
    """Every repeater has it, and none may publish."""
    master = admin_master(relay, f"--secret-file={token_file}", allow=[])
    assert not may(master, "publish", Authorization=f"Bearer {TOKEN}")


# --- pages of the web --------------------------------------------------------------------------------------


def test_phabricator_may_publish_by_any_name(relay):
    """No other server's page can: its browser adds an Origin to what it posts."""
    master = admin_master(relay)
    assert ask(master, "publish", Host="notify.example.com:22281") == 200
    assert ask(master, "publish", Host="evil.example.com:22281", Origin="http://evil.example.com:22281") == 403


@pytest.mark.parametrize("right", ["status", "metrics"])
def test_a_name_of_a_page_is_refused_over_loopback(relay, right):
    """A page lets its own name resolve to 127.0.0.1, and its browser takes the port for the page's server."""
    master = admin_master(relay)
    for host in ("evil.example.com", "evil.example.com:22281", "127.0.0.1.evil.com", "localhost.evil.com"):
        assert ask(master, right, Host=host) == 403
    line = master.wait_for_log("request_refused", kind="host")
    assert "hosts" in line.fields["reason"]
    for host in ("localhost", "localhost:1", "127.0.0.1", "[::1]:22281", "phabricator", os.uname().nodename):
        assert may(master, right, Host=host)
    assert master.status()["refused"]["admin"] == {"host": 4}


def test_names_of_notification_servers_and_of_a_proxy_are_listed(relay):
    master = admin_master(relay, hosts=["aphlict.internal", "Status.Example.com"])
    for host in ("aphlict.internal:22281", "status.example.com", "APHLICT.INTERNAL"):
        assert may(master, "status", Host=host) and may(master, "metrics", Host=host)
    assert not may(master, "status", Host="other.internal")


def test_another_page_may_read_nothing(relay):
    master = admin_master(relay)
    for right in RIGHTS:
        assert ask(master, right, Origin="https://evil.example.com") == 403
        assert ask(master, right, Origin="null") == 403
    assert master.status()["refused"]["admin"] == {"origin": 6}


def test_a_port_that_takes_any_address_knows_which_of_them_is_loopback(relay):
    master = admin_master(relay, listen="0.0.0.0")
    assert ask(master, "status", Host="evil.example.com") == 403
    address = _other_address()
    if address is not None:
        reply = request((address, master.address("admin")[1]), "GET", "/status/", headers={"Host": "master.example.com"})
        assert reply.status == 200
