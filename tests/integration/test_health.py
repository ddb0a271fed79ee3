"""GET /healthz and /readyz: for whoever starts, stops and replaces nodes."""

import signal
import socket

import pytest

from relay import message, wait_until, write_secret

PHID = "PHID-USER-1"


def ready(node):
    reply = node.request("GET", "/readyz")
    return reply.status, reply.body.decode()


def healthy(node):
    reply = node.request("GET", "/healthz")
    return (reply.status, reply.body) == (200, b"ok\n")


@pytest.mark.parametrize("role", ["master", "master without clients", "repeater"])
def test_a_node_that_serves_is_healthy_and_ready(relay, master, role):
    node = {
        "master": lambda: master,
        "master without clients": lambda: relay.master(clients="none"),
        "repeater": lambda: relay.repeater(master),
    }[role]()
    assert healthy(node)
    assert ready(node) == (200, "ready\n")


def test_a_repeater_is_ready_once_it_has_synchronised_and_stays_so_without_its_master(relay, master):
    proxy = relay.proxy(master)
    proxy.cut()
    repeater = relay.repeater(proxy, synchronised=False)
    assert healthy(repeater)
    assert ready(repeater) == (503, "not ready: not synchronised with the nodes above\n")
    assert repeater.status()["figures"]["state"] == "synchronising"
    repeater.address("client")  # which it opens after a while all the same
    assert ready(repeater)[0] == 503
    proxy.restore()
    wait_until(lambda: ready(repeater) == (200, "ready\n"), "ready")
    proxy.cut()
    repeater.wait_for_log("upstream_lost")
    assert ready(repeater) == (200, "ready\n") and healthy(repeater)


@pytest.mark.parametrize("role", ["master", "repeater"])
def test_a_draining_node_is_healthy_and_not_ready(relay, master, role):
    node = master if role == "master" else relay.repeater(master)
    client = relay.client(node)  # so that the drain does not end at once
    node.send_signal(signal.SIGUSR2)
    node.wait_for_log("drain_began")
    assert ready(node) == (503, "not ready: draining\n")
    assert healthy(node)
    node.send_signal(signal.SIGUSR2)
    node.wait_for_log("drain_ended")
    assert ready(node) == (200, "ready\n")
    client.close()


@pytest.mark.parametrize("role", ["master", "repeater"])
def test_a_node_whose_clients_port_is_not_open_says_so_and_opens_it_once_it_is_free(relay, master, role):
    """Somebody else has taken it while it was closed for a drain."""
    node = master if role == "master" else relay.repeater(master)
    node.send_signal(signal.SIGUSR2)
    node.wait_for_log("drained")
    with socket.create_server(node.address("client")):
        node.send_signal(signal.SIGUSR2)
        assert "EADDRINUSE" in node.wait_for_log("client_port_failed").fields["reason"]
        assert ready(node) == (503, "not ready: the port of the clients is not open yet\n")
        assert node.status()["figures"]["state"] == "not_listening"
        mark = node.log_mark()
    node.wait_for_log("listening", after=mark, type="client")
    assert ready(node) == (200, "ready\n")
    client = relay.client(node, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))


def test_whoever_reaches_the_port_may_ask_without_a_token_and_by_any_name(relay):
    token = write_secret(relay.folder / "token", "the-token-of-the-admin-port")
    entry = {"type": "admin", "port": 0, "listen": "127.0.0.1", "allow": []}
    config = relay.config_file({"servers": [entry]})
    node = relay.start("master", "--drain=0", f"--config={config}", f"--admin-secret-file={token}", "--repeaters=127.0.0.1:0")
    node.address("repeater")
    for path in ("/healthz", "/readyz"):
        for headers in ({}, {"Host": "10.1.2.3:22281"}, {"Host": "a.web.page.example.com"}, {"Authorization": "Bearer x"}):
            assert node.request("GET", path, headers=headers).status == 200
    assert node.request("GET", "/status/").status == 403
    assert node.request("GET", "/metrics").status == 403
    assert node.post(message(PHID), "/healthz").status == 403


def test_health_is_read_with_get_or_head(relay, master):
    for path in ("/healthz", "/readyz"):
        connection = relay.connect(master, "admin")
        connection.send(f"HEAD {path} HTTP/1.1\r\nHost: m\r\n\r\n".encode())
        assert connection.read_reply(head_request=True).status == 200
        reply = master.post(message(PHID), path)
        assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    assert master.status()["messages.in"] == 0


def test_what_is_asked_often_is_not_refused_or_logged(relay, master):
    mark = master.log_mark()
    for _ in range(50):
        assert healthy(master)
    assert master.status()["refused"]["admin"] == {}
    assert len(master.log) == mark
