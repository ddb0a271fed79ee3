"""SIGHUP: what a running node takes anew, what it refuses, and that nobody who is connected notices."""

import contextlib
import json
import os
import pwd
import signal
import socket
import ssl

import pytest
import websockets

from authority import Authority
from relay import (
    PING,
    Client,
    RawConnection,
    check_nothing_lost_or_repeated,
    handshake_request,
    message,
    unused_low_port,
    unused_port,
    wait_until,
    write_secret,
)

PHID = "PHID-USER-1"
ONE, TWO = "first-secret-that-nobody-else-knows", "second-secret-that-nobody-else-knows"


def entry(server_type, port=0, **others):
    return {"type": server_type, "listen": "127.0.0.1", "port": port, **others}


class Configured:
    """A node that has its configuration from a file, which can be changed while it runs."""

    def __init__(self, relay, role, config, *options):
        self.config = {"drain.seconds": 0, **config}
        self.path = relay.config_file(self.config)
        self.node = relay.start(role, f"--config={self.path}", *options)

    def _hup(self, text):
        self.path.write_text(text)
        mark = self.node.log_mark()
        self.node.send_signal(signal.SIGHUP)
        return mark

    def take(self, **changes):
        """Changes keys (`_` stands for `.`; None: not set), which must be taken. Returns what the log says has changed."""
        self.config.update({key.replace("_", "."): value for key, value in changes.items()})
        mark = self._hup(json.dumps(self.config))
        return self.node.wait_for_log("reloaded", after=mark).fields["changed"]

    def refuse(self, text=None, **changes):
        """Tries what must be refused, and returns the lines of the log that say why. The file is put back."""
        changed = {**self.config, **{key.replace("_", "."): value for key, value in changes.items()}}
        mark = self._hup(json.dumps(changed) if text is None else text)
        self.node.wait_for_log("reload_refused", after=mark)
        assert self.take() == "nothing"
        return self.node.events("reload_refused", after=mark)


def servers(**others):
    """The entries of a master that listens for everybody, with further keys by type: `client={"origins": […]}`."""
    return [entry(each, **others.get(each, {})) for each in ("admin", "client", "repeater")]


class Traffic:
    """Messages that flow to clients of some nodes, who must get each of them once and stay connected."""

    def __init__(self, relay, master, nodes, phid=PHID):
        self.clients = [relay.client(node, subscribe=[phid]) for node in nodes]
        self.publisher = relay.publisher(master, phid)
        self.publisher.wait_for_more(20)

    def flow_on(self):
        self.publisher.wait_for_more(20)

    def check(self):
        self.flow_on()
        self.publisher.stop()
        assert self.publisher.refused == []
        for client in self.clients:
            check_nothing_lost_or_repeated(client, self.publisher)
            assert client.open()


@pytest.fixture
def master(relay):
    """A master by a file, with a repeater below it, messages flowing to clients of both, and a check at the end."""
    configured = Configured(relay, "master", {"servers": servers()})
    configured.node.address("client")
    repeater = relay.repeater(configured.node)
    traffic = Traffic(relay, configured.node, [configured.node, repeater])
    yield configured
    assert not repeater.events("upstream_lost")
    traffic.check()


# --- nothing, and what is wrong ----------------------------------------------------------------------------


def test_an_unchanged_file_changes_nothing(master):
    for _ in range(5):
        assert master.take() == "nothing"
    assert len(master.node.events("listening")) == 3


def test_a_node_without_a_file_reloads_too(relay):
    node = relay.master()
    node.send_signal(signal.SIGHUP)
    assert node.wait_for_log("reloaded").fields["changed"] == "nothing"


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "FILE: "),
        ('{\n"limits": {,}}', "line 2"),
        ('{"limits": {"history.seconds": "60"}}', "FILE: limits.history.seconds: expected a whole number"),
        ('{"servers": [{"type": "client", "orgins": []}]}', "FILE: servers[0].orgins: unknown key; did you mean `origins`?"),
        ('{"servers": [{"type": "client", "ssl.cert": "/nowhere", "ssl.key": "/nowhere"}]}', "FILE: servers[0]: /nowhere: "),
        ('{"secret.file": "/nowhere"}', "FILE: secret.file: /nowhere: "),
    ],
)
def test_a_bad_file_changes_nothing_and_says_why_with_file_and_key(master, text, reason):
    lines = master.refuse(text)
    assert any(reason.replace("FILE", str(master.path)) in line.fields["reason"] for line in lines), lines


def test_every_problem_of_a_bad_file_is_said(master):
    reasons = [line.fields["reason"] for line in master.refuse(servrs=[], limits={"nope": 1}, pidfile=7)]
    assert len(reasons) == 3
    for key in ("servrs", "limits.nope", "pidfile"):
        assert any(f"{master.path}: {key}: " in reason for reason in reasons)


def test_a_file_that_has_gone_changes_nothing(master):
    text = master.path.read_text()
    master.path.unlink()
    master.node.send_signal(signal.SIGHUP)
    assert str(master.path) in master.node.wait_for_log("reload_refused").fields["reason"]
    master.path.write_text(text)


@pytest.mark.parametrize(
    "key, value",
    [("name", "other"), ("state", "/tmp/nowhere"), ("durability", "power"), ("reuse.port", True), ("pidfile", "/tmp/nowhere.pid")],
)
def test_what_only_another_start_takes_is_named_and_nothing_else_is_taken_either(master, key, value):
    limits = {"message.subscribers": 1}
    assert [line.fields["key"] for line in master.refuse(**{key: value}, limits=limits)] == [key]
    assert master.node.post(message(PHID + "a", PHID + "b")).status == 200


def test_several_that_only_another_start_takes_are_named_in_a_line_each(master):
    lines = master.refuse(name="other", pidfile="/tmp/nowhere.pid")
    assert [line.fields["key"] for line in lines] == ["name", "pidfile"]


def test_options_keep_winning(relay):
    configured = Configured(relay, "master", {"log.level": "info", "name": "file"}, "--log-level=warning", "--name=option",
                            "--admin=127.0.0.1:0", "--repeaters=none", "--debug")  # fmt: skip
    configured.node.address("admin")
    assert configured.take(name="another", log_level="error") == "nothing"


def test_a_node_that_is_about_to_stop_takes_nothing(relay):
    configured = Configured(relay, "master", {"servers": servers(), "drain.seconds": 20})
    client = relay.client(configured.node)
    configured.node.send_signal(signal.SIGTERM)
    configured.node.wait_for_log("drain_began")
    configured.node.send_signal(signal.SIGHUP)
    assert "about to stop" in configured.node.wait_for_log("reload_refused").fields["reason"]
    client.close()
    configured.node.wait_for_exit()


# --- limits ------------------------------------------------------------------------------------------------


def test_limits_of_publishes(master):
    two = message(PHID + "a", PHID + "b")
    assert master.node.post(two).status == 200
    assert master.take(limits={"message.subscribers": 1}) == "limits.message.subscribers"
    assert master.node.post(two).status == 400
    master.take(limits={"publish.bytes": 1000})
    assert master.node.post(message(PHID + "a", text="x" * 1000)).status == 413
    master.take(limits={})
    assert master.node.post(two).status == 200


def test_limits_of_commands(relay, master):
    long, many = relay.client(master.node), relay.client(master.node)
    long.subscribe("x" * 200)
    many.subscribe("a", "b", "c")
    master.take(limits={"command.bytes": 128, "client.subscriptions": 2})
    many.settle()
    many.command("subscribe", ["d"])
    assert many.wait_closed() == 1008
    long.command("subscribe", ["x" * 200])
    assert long.wait_closed() == 1009


def test_connections_of_an_address_count_those_who_were_there_before(relay, master):
    there = [relay.client(master.node) for _ in range(3)]  # beside the one of the traffic
    assert master.take(limits={"connections.per.address": 4}) == "limits.connections.per.address"

    def status():
        connection = relay.connect(master.node, "client")
        connection.send(handshake_request())
        return connection.read_reply().status

    assert status() == 429
    there[0].close()
    wait_until(lambda: status() == 101, "there is room for another")
    assert status() == 429
    master.take(limits={})
    assert status() == 101
    for client in there[1:]:
        client.settle()


def test_bounds_of_the_history(master):
    master.node.wait_for_status(lambda status: status["history.size"] > 20, "a history")
    master.take(limits={"history.bytes": 1})
    master.node.wait_for_status(lambda status: status["history.size"] <= 1, "next to no history")
    master.take(limits={"history.seconds": 1})
    master.node.wait_for_status(lambda status: status["history.size"] > 20, "a history again")


def test_a_larger_history_needs_another_start_where_it_is_kept_in_a_folder(relay):
    config = {"servers": [entry("admin")], "limits": {"history.bytes": 2_000_000}, "state": str(relay.folder / "state")}
    master = Configured(relay, "master", config, "--repeaters=none")
    master.node.publish(message(PHID))
    (line,) = master.refuse(limits={"history.bytes": 3_000_000})
    assert line.fields["key"] == "limits.history.bytes"
    assert master.take(limits={"history.bytes": 1_000_000}) == "limits.history.bytes"
    assert master.take(limits={"history.bytes": 2_000_000}) == "limits.history.bytes"  # what the folder was opened for
    master.refuse(limits={"history.bytes": 2_000_001})
    master.node.publish(message(PHID))


def test_the_interval_of_pings(relay, master):
    silent = relay.raw_client(master.node)
    master.take(limits={"client.ping.seconds": 1})
    assert silent.read_frame()[0] == PING


def test_the_bound_on_clients(relay, master):
    master.take(limits={"clients": 1})  # the traffic's
    waiting = relay.connect(master.node, "client")
    waiting.send(handshake_request())
    master.node.wait_for_log("listener_full", listener="client")
    master.node.wait_for_status(lambda status: status["clients.active"] == 2, "one here, and one of the repeater's")
    master.take(limits={})
    assert waiting.read_reply().status == 101


# --- who may -----------------------------------------------------------------------------------------------


def enters(relay, node, origin):
    with contextlib.suppress(websockets.InvalidHandshake):
        return relay.keep(Client(node.address("client"), origin=origin))
    return None


def test_origins(relay, master):
    before = enters(relay, master.node, "https://evil.example.com")
    good = {"client": {"origins": ["https://phabricator.example.com"]}}
    assert master.take(servers=servers(**good)) == "servers[].origins"
    assert not enters(relay, master.node, "https://evil.example.com")
    assert enters(relay, master.node, "https://phabricator.example.com")
    before.settle()
    master.take(servers=servers())
    assert enters(relay, master.node, "https://evil.example.com")


def test_allow_lists_and_trusted_proxies(master):
    status = lambda **headers: master.node.request("GET", "/status/", headers=headers).status  # noqa: E731
    allow = {"allow": {"status": ["10.0.0.0/8"]}}
    assert status() == 200
    assert master.take(servers=servers(admin=allow)) == "servers[].allow"
    assert status() == 403 == status(**{"X-Forwarded-For": "10.1.1.1"})
    assert master.take(servers=servers(admin={**allow, "trusted.proxies": ["127.0.0.1"]})) == "servers[].trusted.proxies"
    assert (status(**{"X-Forwarded-For": "10.1.1.1"}), status()) == (200, 403)


def secret_file(relay, text):
    return write_secret(relay.folder / "secret", text)


def test_admin_tokens(relay, master):
    status = lambda token: master.node.request("GET", "/status/", headers={"Authorization": f"Bearer {token}"}).status  # noqa: E731
    path = secret_file(relay, ONE)
    master.take(admin_secret_file=str(path), servers=servers(admin={"allow": {"status": []}}))
    assert (status(ONE), status(TWO)) == (200, 403)
    secret_file(relay, TWO)
    assert master.take() == "admin.secret.file"
    assert (status(ONE), status(TWO)) == (403, 200)


def test_the_secret_of_the_feed_is_changed_without_a_connection_that_ends(relay):
    path = secret_file(relay, ONE)
    master = Configured(relay, "master", {"servers": servers(), "secret.file": str(path)})
    proxy = relay.proxy(master.node)
    repeater = Configured(relay, "repeater", {"servers": [entry("admin"), entry("client")], "upstream": [[proxy.url]], "secret.file": str(path)})
    repeater.node.wait_for_log("synchronised")
    traffic = Traffic(relay, master.node, [repeater.node])
    secret_file(relay, TWO)
    assert (master.take(), repeater.take()) == ("secret.file", "secret.file")
    traffic.flow_on()
    assert not repeater.node.events("upstream_lost")
    mark = repeater.node.log_mark()
    proxy.break_connections()
    repeater.node.wait_for_log("synchronised", after=mark)
    traffic.check()


def test_a_repeater_that_was_refused_tries_its_new_secret(relay):
    master = relay.master(f"--secret-file={secret_file(relay, ONE)}")
    wrong = relay.folder / "wrong"
    wrong.write_text(f"{TWO}\n")
    repeater = Configured(relay, "repeater", {"servers": [entry("admin")], "upstream": [[master.feed_url]], "secret.file": str(wrong)})
    wait_until(lambda: len(repeater.node.events("upstream_refused")) >= 4, "it is refused again and again")
    mark = repeater.node.log_mark()
    wrong.write_text(f"{ONE}\n")
    repeater.node.send_signal(signal.SIGHUP)
    repeater.node.wait_for_log("synchronised", after=mark)


# --- certificates ------------------------------------------------------------------------------------------


def test_tls_begins_changes_its_files_and_ends_on_a_port_that_stays(relay, master):
    authority = Authority(relay.folder / "authority")
    trust = ssl.create_default_context(cafile=authority.pem)
    enter = lambda name: relay.keep(Client(master.node.address("client"), ssl=trust, server_hostname=name))  # noqa: E731
    clients = [relay.client(master.node)]
    for name in ("first", "second"):
        certificate = authority.sign(name, f"DNS:{name}")
        assert "servers[].ssl.cert" in master.take(servers=servers(client=certificate.keys()))
        clients.append(enter(name))
        with pytest.raises(Exception):
            enter("other")
    master.take(servers=servers())
    clients.append(relay.client(master.node))
    for client in clients:
        client.settle()


def test_sessions_are_resumed_after_a_reload(relay):
    authority = Authority(relay.folder / "authority")
    master = Configured(relay, "master", {"servers": servers(client=authority.sign().keys())})
    context = ssl.create_default_context(cafile=authority.pem)

    def session(known=None):
        with socket.create_connection(master.node.address("client"), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", session=known) as secure:
                secure.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                secure.recv(1000)  # and with it the ticket
                return secure.session, secure.session_reused

    first, _ = session()
    master.take(limits={"clients": 100})
    assert session(first)[1]


# --- logs --------------------------------------------------------------------------------------------------


def test_the_level_of_the_log(relay, master):
    master.take(log_level="debug")
    mark = master.node.log_mark()
    relay.client(master.node)
    master.node.wait_for_log("client_connected", after=mark)
    master.take(log_level="info")
    mark = master.node.log_mark()
    relay.client(master.node).settle()
    assert not master.node.events("client_connected", after=mark)


def test_the_files_of_the_log(relay, master):
    first, second = relay.folder / "logs" / "first.log", relay.folder / "second.log"
    text = lambda path: path.read_text() if path.exists() else ""  # noqa: E731

    def hup(*paths):
        master.config["logs"] = [{"path": str(path)} for path in paths]
        master.path.write_text(json.dumps(master.config))
        master.node.send_signal(signal.SIGHUP)

    hup(first)
    wait_until(lambda: "changed=logs[].path" in text(first), "the new log")
    hup(first, second)
    wait_until(lambda: "event=reloaded" in text(second), "both logs")
    hup(second)
    wait_until(lambda: text(second).count("event=reloaded") == 2, "the second log")
    assert text(first).count("event=reloaded") == 2
    assert master.take(logs=None) == "logs[].path"  # on stderr again


# --- listeners ---------------------------------------------------------------------------------------------


def test_a_listener_is_added_and_another_removed_whose_clients_stay(relay, master):
    first_port = master.node.address("client")
    client = relay.client(master.node, subscribe=[PHID + "x"])
    port = unused_port()
    assert master.take(servers=[*servers(), entry("client", port)]) == "servers[].type, servers[].listen, servers[].port"
    second = relay.keep(Client(("127.0.0.1", port)))
    second.subscribe(PHID + "x")
    moved = [entry("admin"), entry("repeater"), entry("client", port)]
    assert master.take(servers=moved) == "servers[].type, servers[].listen, servers[].port"
    master.node.wait_for_log("listening_ended", type="client")
    with pytest.raises(OSError):
        RawConnection(first_port)
    text = master.node.publish(message(PHID + "x"))
    client.expect(text)
    second.expect(text)
    relay.keep(Client(("127.0.0.1", port))).settle()


def test_clients_are_served_where_none_were_before_and_not_any_more_after(relay):
    config = {"servers": [entry("admin"), entry("client")]}
    master = relay.master(clients="none")
    repeater = Configured(relay, "repeater", {**config, "servers": [entry("admin"), entry("client", None)], "upstream": [[master.feed_url]]})
    repeater.node.wait_for_log("synchronised")
    port = unused_port()
    repeater.take(servers=[entry("admin"), entry("client", port), entry("repeater")])
    client = relay.client(repeater.node, subscribe=[PHID])
    below = relay.repeater(repeater.node)
    far = relay.client(below, subscribe=[PHID])
    repeater.take(servers=[entry("admin"), entry("client", None)])
    with pytest.raises(OSError):
        RawConnection(("127.0.0.1", port))
    text = master.publish(message(PHID))
    client.expect(text)
    far.expect(text)


def test_an_admin_port_that_is_removed_answers_what_was_asked_and_closes(relay, master):
    port = unused_port()
    master.take(servers=[*servers(), entry("admin", port)])
    idle = relay.keep(RawConnection(("127.0.0.1", port)))
    get = b"GET /status/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    idle.send(get)
    assert idle.read_reply().status == 200
    master.take(servers=servers())
    idle.send(get)
    assert idle.read_reply().status == 200
    assert idle.ended()


def test_a_listener_that_cannot_be_bound_makes_the_whole_reload_fail(relay, master):
    taken = socket.create_server(("127.0.0.1", 0))
    free = unused_port()
    (line,) = master.refuse(
        servers=[*servers(), entry("client", free), entry("admin", taken.getsockname()[1])], limits={"message.subscribers": 1}
    )
    assert f"{master.path}: servers[4]: " in line.fields["reason"] and "EADDRINUSE" in line.fields["reason"]
    with pytest.raises(OSError):
        RawConnection(("127.0.0.1", free))
    assert master.node.post(message(PHID + "a", PHID + "b")).status == 200
    taken.close()
    relay.client(master.node).settle()


def test_a_log_that_cannot_be_opened_takes_the_new_listeners_back(relay, master):
    """Opening it is the last thing that can fail: that of a FIFO does while nobody reads, which no check can know."""
    free = unused_port()
    fifo = relay.folder / "fifo"
    os.mkfifo(fifo)
    (line,) = master.refuse(servers=[*servers(), entry("client", free)], logs=[{"path": str(fifo)}])
    assert str(fifo) in line.fields["reason"]
    with pytest.raises(OSError):
        RawConnection(("127.0.0.1", free))


def test_a_client_port_that_comes_before_the_first_synchronisation_waits_for_it(relay):
    upstream = unused_port()
    config = {"servers": [entry("admin"), entry("client", None)], "upstream": [[f"http://127.0.0.1:{upstream}"]]}
    repeater = Configured(relay, "repeater", config)
    repeater.node.address("admin")
    port = unused_port()
    repeater.take(servers=[entry("admin"), entry("client", port)])
    assert not repeater.node.events("listening", type="client")
    with pytest.raises(OSError):
        RawConnection(("127.0.0.1", port))
    relay.master(repeaters=f"127.0.0.1:{upstream}")
    assert repeater.node.address("client") == ("127.0.0.1", port)


def test_a_reload_during_a_drain_that_is_taken_back(relay):
    """New clients' ports wait for the drain's end, and those that were removed do not come back."""
    idle = Configured(relay, "master", {"servers": servers(), "drain.seconds": 0})
    first = idle.node.address("client")
    idle.node.send_signal(signal.SIGUSR2)
    idle.node.wait_for_log("drained")
    port = unused_port()
    idle.take(servers=[entry("admin"), entry("repeater"), entry("client", port)])
    with pytest.raises(OSError):
        RawConnection(("127.0.0.1", port))
    idle.node.send_signal(signal.SIGUSR2)
    wait_until(lambda: idle.node.events("listening", address=f"127.0.0.1:{port}"), "the new port")
    relay.keep(Client(("127.0.0.1", port))).settle()
    with pytest.raises(OSError):
        RawConnection(first)


def test_an_upstream_that_comes_back_during_a_drain_does_not_open_the_clients_port(relay):
    master = relay.master()
    proxy = relay.proxy(master)
    repeater = relay.repeater(proxy)
    address = repeater.address("client")
    repeater.send_signal(signal.SIGUSR2)
    repeater.wait_for_log("drained")
    mark = repeater.log_mark()
    proxy.break_connections()
    repeater.wait_for_log("synchronised", after=mark)
    repeater.wait_for_status(lambda status: status["upstreams"][0]["synchronised"], "it follows again")
    with pytest.raises(OSError):
        RawConnection(address)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_node_that_has_become_another_user_reloads_as_that_user(relay):
    nobody = pwd.getpwnam("nobody")
    secret = relay.open_to_all(secret_file(relay, ONE))
    os.chown(secret, nobody.pw_uid, nobody.pw_gid)
    master = Configured(relay, "master", {"servers": servers(), "user": "nobody", "secret.file": str(secret)})
    relay.open_to_all(master.path).chmod(0o644)
    repeater = relay.repeater(master.node, options=[f"--secret-file={secret}"])
    traffic = Traffic(relay, master.node, [repeater, master.node])
    assert master.take(limits={"message.subscribers": 1}) == "limits.message.subscribers"
    assert master.node.post(message(PHID + "a", PHID + "b")).status == 400
    (line,) = master.refuse(servers=[*servers(), entry("admin", unused_low_port())])
    assert "EACCES" in line.fields["reason"]
    secret.chmod(0o600)
    os.chown(secret, 0, 0)
    mark = master.node.log_mark()
    master.node.send_signal(signal.SIGHUP)
    assert "secret.file" in master.node.wait_for_log("reload_refused", after=mark).fields["reason"]
    traffic.check()


# --- upstream groups ---------------------------------------------------------------------------------------


def follower(relay, *groups):
    """A repeater by a file, that follows these groups."""
    repeater = Configured(relay, "repeater", {"servers": [entry("admin"), entry("client")], "upstream": list(groups)})
    wait_until(lambda: len(repeater.node.events("synchronised")) == len(groups), "every group is synchronised")
    return repeater


def test_a_group_is_added_and_removed_while_the_other_flows_on(relay):
    first, second = relay.master(), relay.master()
    repeater = follower(relay, [first.feed_url])
    traffic = Traffic(relay, first, [repeater.node])
    client = relay.client(repeater.node, subscribe=[PHID + "2"])
    assert repeater.take(upstream=[[second.feed_url], [first.feed_url]]) == "upstream"
    wait_until(lambda: len(repeater.node.events("synchronised")) == 2, "the second group")
    client.expect(second.publish(message(PHID + "2")))
    traffic.flow_on()
    assert repeater.take(upstream=[[first.feed_url]]) == "upstream"
    second.wait_for_log("repeater_disconnected")
    assert len(repeater.node.status()["upstreams"]) == 1
    traffic.flow_on()
    assert not repeater.node.events("upstream_lost")
    traffic.check()


def test_a_group_moves_to_other_urls_and_loses_nothing(relay):
    master = relay.master()
    proxies = [relay.proxy(master) for _ in range(2)]
    repeater = follower(relay, [proxies[0].url])
    traffic = Traffic(relay, master, [repeater.node])
    repeater.take(upstream=[[proxies[0].url, proxies[1].url]])
    traffic.flow_on()
    assert not repeater.node.events("upstream_lost")
    mark = repeater.node.log_mark()
    repeater.take(upstream=[[proxies[1].url]])
    repeater.node.wait_for_log("synchronised", after=mark, url=proxies[1].url)
    assert len(repeater.node.status()["upstreams"]) == 1
    traffic.check()
    assert not repeater.node.events("gap")
    assert not repeater.node.events("upstream_ended")  # it is the same group


def test_a_group_that_has_no_url_of_before_is_another_and_loses_nothing_either(relay):
    master = relay.master()
    proxies = [relay.proxy(master) for _ in range(2)]
    repeater = follower(relay, [proxies[0].url])
    traffic = Traffic(relay, master, [repeater.node])
    mark = repeater.node.log_mark()
    repeater.take(upstream=[[proxies[1].url]])
    repeater.node.wait_for_log("synchronised", after=mark)
    traffic.check()


def test_a_group_asks_for_other_instances(relay):
    master = relay.master()
    group = {"urls": [master.feed_url], "instances": ["default"]}
    repeater = follower(relay, group)
    traffic = Traffic(relay, master, [repeater.node])
    dog = relay.client(repeater.node, "/~dog/", subscribe=[PHID])
    master.publish(message(PHID), "dog")
    mark = repeater.node.log_mark()
    repeater.take(upstream=[{**group, "instances": ["default", "dog"]}])
    repeater.node.wait_for_log("synchronised", after=mark)
    text = master.publish(message(PHID), "dog")
    dog.wait_for_message(lambda received: received == text, "what is published now")
    traffic.check()


def test_a_group_that_finds_nobody_is_replaced(relay):
    master = relay.master()
    nowhere = f"http://127.0.0.1:{unused_port()}"
    repeater = Configured(relay, "repeater", {"servers": [entry("admin"), entry("client")], "upstream": [[nowhere]]})
    repeater.node.wait_for_log("upstream_failed")
    repeater.take(upstream=[[nowhere, master.feed_url]])
    repeater.node.wait_for_log("synchronised")
    client = relay.client(repeater.node, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))


def test_a_repeater_can_take_away_the_group_that_it_waits_for(relay):
    master = relay.master()
    repeater = Configured(
        relay, "repeater", {"servers": [entry("admin"), entry("client")], "upstream": [[master.feed_url], [f"http://127.0.0.1:{unused_port()}"]]}
    )
    repeater.node.wait_for_log("synchronised")
    repeater.take(upstream=[[master.feed_url]])
    client = relay.client(repeater.node)
    assert repeater.node.status()["clients.active"] == 1
    client.settle()


# --- further ones ------------------------------------------------------------------------------------------


def test_the_public_url_is_told_above(relay, master):
    repeater = follower(relay, [master.node.feed_url])
    assert repeater.take(public_url="wss://notify.example.com/") == "public.url"
    urls = lambda status: {each["url"] for each in status["repeaters"]}  # noqa: E731
    master.node.wait_for_status(lambda status: "wss://notify.example.com/" in urls(status), "the new URL")


def test_the_time_of_a_drain(relay):
    master = Configured(relay, "master", {"servers": servers(), "drain.seconds": 3600})
    client = relay.client(master.node)
    assert master.take(drain_seconds=0) == "drain.seconds"
    master.node.stop()
    assert client.wait_closed() == 1001
