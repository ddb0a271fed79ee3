"""Nodes as daemons: signals, logs, pidfiles, and a log that nobody reads."""

import json
import re
import signal

import pytest

from relay import CLOSE, RawClient, RawConnection, message, run_to_end, unused_port, wait_until

PHID = "PHID-USER-1"


@pytest.fixture(params=["master", "repeater"])
def node(request, relay, master):
    """Either kind, serving clients."""
    return master if request.param == "master" else relay.repeater(master)


def with_logs_in(relay, *paths):
    """A master that logs to files, and its admin address read from them."""
    config = {"logs": [{"path": str(path)} for path in paths]}
    options = ["--admin=127.0.0.1:0", "--clients=127.0.0.1:0", "--repeaters=none"]
    master = relay.start("master", f"--config={relay.config_file(config)}", *options)
    for path in paths:
        wait_until(lambda: path.exists() and "type=client" in path.read_text(), f"{path} says where it listens")
    return master


def answers(port):
    try:
        RawConnection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


# --- stopping ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_node_closes_its_clients_with_1001_and_exits_0(relay, node, number):
    clients = [relay.client(node, subscribe=[PHID]) for _ in range(20)]
    node.stop(number)
    assert {client.wait_closed() for client in clients} == {1001}
    node.wait_for_log("stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_without_clients_exits_at_once(relay, number):
    """However long a drain may take."""
    master = relay.master("--drain=3600")
    for node in (relay.repeater(master, options=["--drain=3600"]), master):
        node.stop(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_client_that_does_not_answer_the_close_holds_nobody_up(relay, node, number):
    silent = relay.raw_client(node)
    half_done = relay.connect(node, "client")
    half_done.send(b"GET / HTTP/1.1\r\nHost")
    publisher = relay.connect(node, "admin")
    publisher.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    node.stop(number)
    opcode, payload = silent.read_frame()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xe9")


def test_a_client_that_reads_nothing_does_not_hold_the_end_up(relay, master):
    client = relay.raw_client(master, receive_buffer=4096)
    client.subscribe(PHID)
    for _ in range(7):
        master.publish(message(PHID, text="x" * 1024 * 1024))
    master.stop(signal.SIGINT)


def test_a_master_that_was_stopped_has_sent_what_it_accepted(relay, master):
    repeater = relay.repeater(master)
    client = relay.client(repeater, subscribe=[PHID])
    texts = [master.publish(message(PHID)) for _ in range(200)]
    master.stop()
    client.expect(*texts)
    assert client.open()


def test_a_repeater_that_waits_for_its_master_can_be_stopped(relay):
    repeater = relay.repeater(f"http://127.0.0.1:{unused_port()}", synchronised=False)
    repeater.stop()


def test_the_port_is_free_after_the_end(relay, master):
    client = relay.client(master)
    address = "%s:%d" % master.address("client")
    master.stop()
    client.wait_closed()
    again = relay.master(clients=address)
    relay.client(again).settle()


# --- other signals -----------------------------------------------------------------------------------------


def test_sigpipe_is_ignored(relay, node):
    client = relay.client(node)
    node.send_signal(signal.SIGPIPE)
    client.settle()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_logs_are_opened_anew_after_they_were_moved_away(relay, number):
    first, second = relay.folder / "first.log", relay.folder / "second.log"
    master = with_logs_in(relay, first, second)
    for path in (first, second):
        path.rename(f"{path}.1")
    master.send_signal(number)
    wait_until(lambda: first.exists() and second.exists(), "new log files")
    master.stop()
    for path in (first, second):
        assert "event=stopped" in path.read_text()
        assert "event=stopped" not in (relay.folder / f"{path.name}.1").read_text()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_reopen_logs_disturbs_no_client(relay, node, number):
    client = relay.client(node, subscribe=[PHID])
    for _ in range(5):
        node.send_signal(number)
    client.settle()


def test_a_log_that_cannot_be_opened_anew_is_no_reason_to_stop(relay):
    folder = relay.folder / "logs"
    folder.mkdir()
    master = with_logs_in(relay, folder / "a.log")
    folder.rename(relay.folder / "moved")
    master.send_signal(signal.SIGHUP)
    master.stop()
    assert "event=stopped" in (relay.folder / "moved" / "a.log").read_text()


# --- logs --------------------------------------------------------------------------------------------------

LINE = re.compile(r'time=\S+ level=(debug|info|warning|error) event=[a-z0-9_]+ node=\S+( [\w.]+=("([^"\\\n]|\\.)*"|[^\s"]*))*')


def check_log_lines(node):
    lines = [line.text for line in node.log]
    odd = [line for line in lines if not LINE.fullmatch(line)]
    assert lines and not odd, odd[:5]


def test_every_log_line_is_one_event_with_time_and_level(relay, node):
    client = relay.client(node, subscribe=[PHID])
    client.send("nope")
    client.settle()
    client.close()
    node.stop()
    check_log_lines(node)


def test_nothing_that_a_stranger_sends_can_forge_a_log_line(relay):
    master = relay.master("--debug")
    evil = '\n time=0 level=error event=forged x="\\'
    client = relay.client(master, subscribe=[PHID])
    client.command("evil" + evil)
    client.send(evil)
    client.settle()
    for name in (evil, "a b", '"', "\\", "\x1b[31m", "é", "\u2028"):
        master.post(message(PHID), "/?instance=" + "".join(f"%{byte:02x}" for byte in name.encode()))
        master.post("nope" + name)
        master.request("GET", "/" + "".join(f"%{byte:02x}" for byte in name.encode()))
    raw = relay.raw_client(master, '/~a"b\\c=d/')
    raw.send_frame(CLOSE, b"\x03\xe8" + evil.encode())
    raw.read_close_code()
    master.stop()
    assert not master.events("forged")
    check_log_lines(master)


def test_a_log_can_be_json(relay):
    master = relay.start("master", "--log-format=json", "--name=m1", "--admin=127.0.0.1:0", "--repeaters=none")
    wait_until(lambda: '"event":"listening"' in master.log_text(), "it listens")
    master.stop()
    lines = [json.loads(line.text) for line in master.log]
    assert [line["event"] for line in lines][:2] == ["starting", "listening"]
    assert {line["node"] for line in lines} == {"m1"}
    assert all(set(line) >= {"time", "level"} for line in lines)
    assert lines[-1]["exit"] == 0


def test_debug_shows_each_messages_way(relay):
    master = relay.master("--debug")
    repeater = relay.repeater(master, options=["--debug"])
    clients = [relay.client(repeater, subscribe=[PHID]) for _ in range(3)]
    text = master.publish(message(PHID))
    for client in clients:
        client.expect(text)
    published = master.wait_for_log("publish").fields
    place = {"epoch": published["epoch"], "sequence": published["sequence"]}
    master.wait_for_log("fan_out", clients="0", **place)
    repeater.wait_for_log("message", repeat="no", **place)
    repeater.wait_for_log("fan_out", clients="3", instance="default", **place)


def test_contents_of_messages_stay_out_of_the_log(relay):
    master = relay.master("--debug", "--log-level=debug")
    client = relay.client(master, subscribe=[PHID])
    client.expect(master.publish(message(PHID, text="a-secret-of-phabricator")))
    master.post('{"text":"a-secret-of-phabricator"}')
    master.post('{"text":"a-secret-of-phabricator"')
    master.stop()
    assert "a-secret-of-phabricator" not in master.log_text()


def test_a_log_level_hides_what_is_below_it(relay):
    config = {"logs": [{"path": f"{relay.folder}/quiet.log"}]}
    port = unused_port()
    options = ["--log-level=error", f"--admin=127.0.0.1:{port}", "--repeaters=none", "--clients=none"]
    master = relay.start("master", f"--config={relay.config_file(config)}", *options)
    wait_until(lambda: answers(port), "it listens")
    master.stop()
    assert (relay.folder / "quiet.log").read_text() == ""


def make_it_log(node):
    """More log lines, at the level of debugging, than the pipe and the node itself keep."""
    for _ in range(1500):
        client = RawClient(node.address("client"), "/~" + "x" * 100 + "/")
        client.send_frame(CLOSE, b"\x03\xe8" + b"reason " * 15)
        client.close()


def test_a_full_pipe_never_blocks_a_node(relay):
    """Nobody reads the log: the pipe fills up, and the node goes on."""
    master = relay.master("--debug", log_pipe_bytes=4096)
    master.stop_reading_the_log()
    client = relay.client(master, subscribe=[PHID])
    make_it_log(master)
    client.expect(master.publish(message(PHID)))
    client.settle()
    master.go_on_reading_the_log()
    master.wait_for_log("log_lines_dropped")


def test_a_node_whose_log_is_never_read_again_can_still_be_stopped(relay):
    master = relay.master("--debug", log_pipe_bytes=4096)
    master.stop_reading_the_log()
    make_it_log(master)
    master.send_signal(signal.SIGTERM)
    assert master.wait_for_exit() == 0
    master.go_on_reading_the_log()


def test_a_closed_pipe_ends_no_node(relay):
    """What read the log has gone: writing to it fails, and would raise SIGPIPE."""
    port = unused_port()
    options = [f"--admin=127.0.0.1:{port}", "--repeaters=none", "--clients=none", "--debug"]
    master = relay.start("master", *options, log_is_read=False)
    wait_until(lambda: answers(port), "it listens")
    for _ in range(20):
        connection = RawConnection(("127.0.0.1", port))
        connection.send(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.read_reply().status == 404
        connection.close()
    master.stop()


# --- pidfiles ----------------------------------------------------------------------------------------------


def with_pidfile(relay, path, **settings):
    """A master that has written its id there."""
    master = relay.master(config={"pidfile": str(path)}, **settings)
    wait_until(lambda: path.exists() and path.read_text() == f"{master.process.pid}\n", "its own id in the pidfile")
    return master


def test_a_pidfile_holds_the_process_id_and_goes_with_the_process(relay):
    path = relay.folder / "aphlict.pid"
    with_pidfile(relay, path).stop()
    assert not path.exists()


@pytest.mark.parametrize("content", ["99999999\n", "", "nonsense", "-1", "0", "1"])
def test_a_stale_pidfile_is_no_obstacle(relay, content):
    path = relay.folder / "aphlict.pid"
    path.write_text(content)
    with_pidfile(relay, path)


def test_a_master_that_was_killed_starts_again_over_its_own_pidfile(relay):
    path = relay.folder / "aphlict.pid"
    with_pidfile(relay, path).kill()
    assert path.exists()
    with_pidfile(relay, path)


@pytest.mark.parametrize("listener", ["admin", "clients", "repeaters"])
def test_a_second_node_that_finds_a_port_taken_leaves_the_pidfile_of_the_first(relay, listener):
    path = relay.folder / "aphlict.pid"
    first = with_pidfile(relay, path)
    server_type = {"admin": "admin", "clients": "client", "repeaters": "repeater"}[listener]
    ports = {"admin": "127.0.0.1:0", "clients": "127.0.0.1:0", "repeaters": "127.0.0.1:0"}
    ports[listener] = "%s:%d" % first.address(server_type)
    file = relay.config_file({"pidfile": str(path)})
    second = run_to_end("master", f"--config={file}", *(f"--{name}={address}" for name, address in ports.items()))
    assert second.returncode == 69, second.stderr
    assert path.read_text() == f"{first.process.pid}\n"


def test_of_two_nodes_with_one_pidfile_the_first_that_ends_leaves_the_id_of_the_other(relay):
    path = relay.folder / "aphlict.pid"
    first = with_pidfile(relay, path)
    second = with_pidfile(relay, path)
    first.stop()
    assert path.read_text() == f"{second.process.pid}\n"
    second.stop()
    assert not path.exists()
