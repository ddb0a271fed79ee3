"""What a node tells the service manager that has started it: sd_notify(3), by a datagram socket in systemd's place."""

import contextlib
import re
import secrets
import signal
import socket
import tempfile
import time

import pytest

from relay import DEADLINE, message, unused_port

PHID = "PHID-USER-1"


class Manager:
    """Receives the datagrams, in order. `variables` are what it sets for the node."""

    def __init__(self, name, **variables):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)
        self.socket.settimeout(DEADLINE)
        self.variables = {"NOTIFY_SOCKET": name, **variables}
        self.told = []  # (when, "READY=1")

    def _receive(self):
        text = self.socket.recv(1 << 16).decode()
        assert text.endswith("\n")
        self.told += [(time.monotonic(), line) for line in text.splitlines()]

    def wait_for(self, pattern, after=0):
        """Waits for a line past a place, and returns the place behind it."""
        at = after
        end = time.monotonic() + DEADLINE
        while True:
            for at in range(at, len(self.told)):
                if re.fullmatch(pattern, self.told[at][1]):
                    return at + 1
            at = len(self.told)
            assert time.monotonic() < end, f"no {pattern} among {[line for _, line in self.told[after:]]}"
            self._receive()

    def lines(self, after=0):
        """All that has come by now."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._receive()
        self.socket.settimeout(DEADLINE)
        return [line for _, line in self.told[after:]]

    def close(self):
        self.socket.close()


@pytest.fixture
def manager(relay):
    return relay.keep(Manager("@aphlict-relay-test-" + secrets.token_hex(8)))


# --- readiness ---------------------------------------------------------------------------------------------


def test_a_master_is_ready_when_it_listens(relay, manager):
    master = relay.master(environment=manager.variables)
    manager.wait_for("READY=1")
    assert master.post(message(PHID)).status == 200
    assert manager.lines().count("READY=1") == 1


def test_the_socket_may_be_a_file(relay):
    with tempfile.TemporaryDirectory() as folder:
        manager = relay.keep(Manager(f"{folder}/notify"))
        relay.master(environment=manager.variables)
        manager.wait_for("READY=1")


def test_a_repeater_is_ready_when_it_has_synchronised(relay, manager):
    upstream = unused_port()
    repeater = relay.repeater(f"http://127.0.0.1:{upstream}", synchronised=False, environment=manager.variables)
    repeater.wait_for_log("upstream_failed")
    assert "READY=1" not in manager.lines()
    relay.master(repeaters=f"127.0.0.1:{upstream}")
    manager.wait_for("READY=1")
    repeater.wait_for_log("synchronised")
    repeater.wait_for_log("listening", type="client")


def test_a_repeater_without_a_master_is_ready_when_it_serves_anyway(relay, manager):
    begun = time.monotonic()
    repeater = relay.repeater(f"http://127.0.0.1:{unused_port()}", synchronised=False, environment=manager.variables)
    manager.wait_for("READY=1")
    assert time.monotonic() - begun > 4
    repeater.wait_for_log("listening", type="client")
    manager.wait_for(r"STATUS=0 clients; cut off from 1 of 1 upstream.*")


def test_a_repeater_without_a_client_port_is_ready_all_the_same(relay, master, manager):
    relay.repeater(master, clients="none", environment=manager.variables)
    manager.wait_for("READY=1")


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/nowhere/" + "x" * 200}])
def test_without_a_socket_nothing_is_told_and_everything_works(relay, variables):
    variables = {**variables, "WATCHDOG_USEC": "100000"}
    node = relay.master(environment=variables)
    node.publish(message(PHID))


def test_a_manager_that_has_gone_disturbs_nobody(relay, manager):
    node = relay.master(environment=manager.variables)
    manager.wait_for("READY=1")
    manager.close()
    node.send_signal(signal.SIGHUP)
    node.wait_for_log("reloaded")
    node.publish(message(PHID))


# --- reload, stop ------------------------------------------------------------------------------------------


def test_a_reload_is_told_with_its_time_and_its_end(relay, manager):
    node = relay.master(environment=manager.variables)
    ready = manager.wait_for("READY=1")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    node.send_signal(signal.SIGHUP)
    reloading = manager.wait_for("RELOADING=1", ready)
    manager.wait_for("READY=1", reloading)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    (name, usec) = manager.lines(reloading)[0].split("=")
    assert name == "MONOTONIC_USEC" and before <= int(usec) <= after


def test_a_reload_of_a_node_that_is_not_ready_does_not_make_it_ready(relay, manager):
    repeater = relay.repeater(f"http://127.0.0.1:{unused_port()}", synchronised=False, environment=manager.variables)
    repeater.send_signal(signal.SIGHUP)
    repeater.wait_for_log("reloaded")
    assert manager.lines() == []


def test_a_reload_that_is_refused_shows_in_the_status_until_one_is_taken(relay, manager):
    path = relay.config_file("{}")
    node = relay.master(f"--config={path}", environment=manager.variables)
    ready = manager.wait_for("READY=1")
    path.write_text("{")
    node.send_signal(signal.SIGHUP)
    refused = manager.wait_for("STATUS=the last reload was refused, see the log; 0 clients", ready)
    assert manager.lines(ready).count("READY=1") == 1
    path.write_text("{}")
    node.send_signal(signal.SIGHUP)
    manager.wait_for("STATUS=0 clients", refused)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_is_told_when_it_begins(relay, manager, number):
    node = relay.master("--drain=3600", environment=manager.variables)
    client = relay.client(node)
    manager.wait_for("READY=1")
    node.send_signal(number)
    manager.wait_for("STOPPING=1")
    if number == signal.SIGTERM:
        manager.wait_for("STATUS=draining; 1 client")
        assert client.open()
        node.send_signal(number)
    assert node.wait_for_exit() == 0
    assert manager.lines().count("STOPPING=1") == 1


# --- status ------------------------------------------------------------------------------------------------


def test_the_status_shows_clients_and_lag(relay, manager):
    master = relay.master(environment=manager.variables)
    place = manager.wait_for("STATUS=0 clients")
    clients = [relay.client(master) for _ in range(2)]
    place = manager.wait_for("STATUS=2 clients", place)
    repeater = relay.repeater(master)
    clients.append(relay.client(repeater))
    place = manager.wait_for("STATUS=2 clients; below, 1 repeater with 1 client, none behind", place)
    repeater.freeze()
    for _ in range(3):
        master.publish(message(PHID))
    place = manager.wait_for("STATUS=2 clients; below, 1 repeater with 1 client, up to 3 messages behind", place)
    repeater.thaw()
    manager.wait_for("STATUS=2 clients; below, 1 repeater with 1 client, none behind", place)


def test_a_repeaters_status_shows_whom_it_follows_and_since_when_it_does_not(relay, master, manager):
    proxy = relay.proxy(master)
    relay.repeater(proxy, environment=manager.variables)
    place = manager.wait_for(f"STATUS=0 clients; follows {re.escape(proxy.url)}")
    proxy.cut()
    place = manager.wait_for(r"STATUS=0 clients; cut off from 1 of 1 upstream, for \d+ s", place)
    proxy.restore()
    place = manager.wait_for(f"STATUS=0 clients; follows {re.escape(proxy.url)}", place)
    master.freeze()
    place = manager.wait_for(r"STATUS=0 clients; follows \S+, not level for \d+ s", place)
    master.thaw()
    manager.wait_for(f"STATUS=0 clients; follows {re.escape(proxy.url)}", place)


def test_the_status_is_told_once_a_second_at_most_and_only_when_it_changed(relay, manager):
    master = relay.master(environment=manager.variables)
    place = manager.wait_for("STATUS=0 clients")
    begun = time.monotonic()
    for _ in range(30):
        relay.client(master).settle()
    manager.wait_for("STATUS=30 clients", place)
    took = time.monotonic() - begun
    settled = len(manager.told)
    assert settled - place <= took + 2
    time.sleep(2.5)  # time in which nothing may be told
    assert manager.lines(settled) == []


# --- watchdog ----------------------------------------------------------------------------------------------


def test_the_watchdog_is_fed_by_the_loop(relay, manager):
    variables = {**manager.variables, "WATCHDOG_USEC": "400000"}
    master = relay.master(environment=variables)
    manager.wait_for("READY=1")
    place = len(manager.lines())
    begun = time.monotonic()
    for _ in range(10):
        place = manager.wait_for("WATCHDOG=1", place)
    assert time.monotonic() - begun > 1
    master.freeze()  # a loop that does not turn feeds nobody
    time.sleep(0.5)
    fed = len(manager.lines())
    time.sleep(0.5)
    assert len(manager.lines()) == fed
    master.thaw()
    manager.wait_for("WATCHDOG=1", fed)


@pytest.mark.parametrize("variables", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}])
def test_a_watchdog_that_is_not_this_nodes_is_not_fed(relay, manager, variables):
    master = relay.master(environment={**manager.variables, **variables})
    manager.wait_for("READY=1")
    time.sleep(1)
    client = relay.client(master)
    manager.wait_for("STATUS=1 client.*")  # its loop has turned all the while
    client.close()
    assert "WATCHDOG=1" not in manager.lines()


def test_a_watchdog_is_this_nodes_by_its_pid(relay, manager):
    """The shell's, which becomes the node."""
    shell = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"]
    relay.master(environment={**manager.variables, "WATCHDOG_USEC": "200000"}, prefix=shell)
    manager.wait_for("WATCHDOG=1")
