"""The commands that ask running nodes, and what is generated from their declarations."""

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import threading
import time

import pytest

from authority import Authority
from relay import (
    BINARIES,
    DEADLINE,
    Impostor,
    _in_the_child,
    command_exists,
    message,
    run_to_end,
    unused_port,
    wait_until,
    write_secret,
)

PHID = "PHID-USER-1"
EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE, EX_PROTOCOL, EX_NOPERM, EX_CONFIG = 64, 65, 66, 69, 76, 77, 78


def url_of(node, server_type="admin", scheme="http"):
    return "%s://%s:%d" % (scheme, *node.address(server_type))


def asked(node, command, *options, role="master"):
    """What a command says that asks this node."""
    return run_to_end(role, command, f"--admin={url_of(node)}", *options)


def good(done):
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    assert done.stderr == ""
    return done.stdout


def bad(done, code, *words):
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, (word, done.stderr)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


class Running:
    """A command that runs until it ends or is ended; its lines are read along."""

    def __init__(self, role, *arguments):
        self.lines = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            [BINARIES[role], *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_in_the_child(None),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for_lines(self, count):
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.lines) >= count, DEADLINE)
            assert enough, f"{count} lines were expected, and there are: {self.lines}"
            return self.lines[:count]

    def wait_for_line(self, condition, what):
        with self._changed:
            there = self._changed.wait_for(lambda: any(map(condition, self.lines)), DEADLINE)
            assert there, f"no {what} in {self.lines}"

    def end(self):
        """Its exit code and what it said on stderr, once it has ended by itself."""
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code, self.process.stderr.read()

    def close(self):
        self.process.kill()
        self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def running(relay):
    return lambda *arguments, role="master": relay.keep(Running(role, *arguments))


def wait_for_client(node, count=1, instance=None):
    node.wait_for_status(lambda status: status["clients.active"] == count, f"{count} clients", instance)


def repeater_with_url(relay, master, name, scheme="http", **options):
    """A repeater that tells the URL by which it is reached."""
    port = unused_port()
    told = [f"--name={name}", f"--public-url={scheme}://127.0.0.1:{port}/"]
    return relay.repeater(master, clients=f"127.0.0.1:{port}", options=told, **options)


def wait_for_repeaters(node, *names):
    def there(status):
        return {each["name"] for each in status["repeaters"]} >= set(names)

    node.wait_for_status(there, f"repeaters {names}")


# --- status ------------------------------------------------------------------------------------------------


def test_status_shows_the_tree_as_a_table(relay, master):
    middle = repeater_with_url(relay, master, "middle", repeaters="127.0.0.1:0")
    relay.repeater(middle, options=["--name=leaf"])
    wait_for_repeaters(master, "middle")
    wait_until(lambda: master.status()["repeaters"][0]["repeaters"], "a leaf")
    relay.client(middle)
    wait_for_client(master)
    lines = good(asked(master, "status")).splitlines()
    assert lines[0].split() == "NODE STATE CLIENTS OUT LAG LAG-TIME UNSENT GAPS VERSION SINCE URL".split()
    assert lines[2].startswith("  middle ") and url_of(middle, "client") in lines[2] and lines[2].split()[2] == "1"
    assert lines[3].startswith("    leaf ") and lines[3].rstrip().endswith("-")
    assert lines[4].startswith("instance default: 1 clients in the tree")
    assert all(len(line) <= 105 for line in lines), lines


def test_status_prints_the_status_as_it_is(relay, master):
    relay.client(master, "/~dog/")
    wait_for_client(master, instance="dog")
    status = json.loads(good(asked(master, "status", "--json", "--instance", "dog")))
    assert (status["instance"], status["clients.active"]) == ("dog", 1)
    assert status.keys() == master.status("dog").keys()


@pytest.mark.parametrize("instance", ["a b", "é&x=1", "100%"])
def test_an_instance_arrives_as_it_is(master, instance):
    assert json.loads(good(asked(master, "status", "--json", "--instance", instance)))["instance"] == instance


def test_a_repeater_has_a_status_too(relay, master):
    repeater = relay.repeater(master, options=["--name=below"])
    assert good(asked(repeater, "status", role="repeater")).splitlines()[1].startswith("below ")


def test_watched_in_a_pipe_each_table_comes_behind_the_last(master, running):
    command = running("status", f"--admin={url_of(master)}", "--watch", "0.1")
    lines = command.wait_for_lines(9)
    assert not any("\x1b" in line for line in lines)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[0])
    assert [line.startswith("NODE") for line in lines[:9]] == [False, True] + [False] * 4 + [True] + [False] * 2


def test_watching_goes_on_while_the_node_is_away(relay, running):
    port = unused_port()
    master = relay.master(admin=f"127.0.0.1:{port}")
    command = running("status", f"--admin=http://127.0.0.1:{port}", "--watch", "0.1")
    command.wait_for_line(lambda line: line.startswith("NODE"), "table")
    master.stop()
    command.wait_for_line(lambda line: "ECONNREFUSED" in line, "word that it is away")
    relay.master("--name=back", admin=f"127.0.0.1:{port}")
    command.wait_for_line(lambda line: line.startswith("back "), "table of the node that is back")


def test_watched_as_json_each_status_is_a_line(master, running):
    command = running("status", f"--admin={url_of(master)}", "--watch=0.1", "--json")
    assert all(json.loads(line)["instance"] == "default" for line in command.wait_for_lines(3))


def test_watched_on_a_terminal_the_table_is_drawn_again(master):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [BINARIES["master"], "status", f"--admin={url_of(master)}", "--watch=0.1"],
        stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=_in_the_child(None),
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):
        while seen.count(b"\x1b[H\x1b[2J") < 3 and select.select([ours], [], [], DEADLINE)[0]:
            seen += os.read(ours, 4096)
    process.kill()
    process.wait(DEADLINE)
    os.close(ours)
    assert seen.count(b"NODE") >= 2


def test_whoever_reads_no_further_ends_it(master):
    command = f"{BINARIES['master']} status --admin={url_of(master)} --watch 0.05 | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout


# --- what is not a node ------------------------------------------------------------------------------------

class Answering(Impostor):
    """Sends its greeting in answer to a request, and closes in good order."""

    async def _connected(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await super()._connected(reader, writer)


COMMANDS_THAT_ASK = [("status",), ("status", "--json"), ("notify", "--phid", PHID), ("config",)]


@pytest.mark.parametrize("command", COMMANDS_THAT_ASK, ids=" ".join)
def test_a_node_that_is_not_there_cannot_be_reached(command):
    port = unused_port()
    done = run_to_end("master", *command, f"--admin=http://127.0.0.1:{port}")
    bad(done, EX_UNAVAILABLE, f"127.0.0.1:{port}", "ECONNREFUSED")


@pytest.mark.parametrize("command", COMMANDS_THAT_ASK, ids=" ".join)
def test_a_proxys_page_is_no_answer_of_a_node(relay, command):
    page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
    answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)
    proxy = relay.keep(Impostor(answer, linger=True))
    bad(run_to_end("master", *command, f"--admin={proxy.url}"), EX_UNAVAILABLE, "502 Bad Gateway", "proxy")


@pytest.mark.parametrize(
    "answer, code, words",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", EX_PROTOCOL, "not a node"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", EX_PROTOCOL, "not a node"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", EX_PROTOCOL, "404 Not Found"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", EX_UNAVAILABLE, "cut off after 2 of 99 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", EX_PROTOCOL, "not a node"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", EX_UNAVAILABLE, "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", EX_UNAVAILABLE, "Content-Length"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", EX_UNAVAILABLE, "not HTTP"),
        (b"", EX_UNAVAILABLE, "no answer"),
    ],
)
def test_what_answers_in_a_nodes_place_is_told(relay, answer, code, words):
    bad(run_to_end("master", "status", f"--admin={relay.keep(Answering(answer)).url}"), code, words)


def test_a_node_that_does_not_answer_is_waited_for_so_long(relay):
    silent = relay.keep(Impostor(linger=True))
    begin = time.monotonic()
    done = run_to_end("master", "status", f"--admin={silent.url}", "--timeout", "0.3")
    bad(done, EX_UNAVAILABLE, "no whole answer within 300 ms")
    assert time.monotonic() - begin > 0.3


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--what"),
        ("status", "--admin=nowhere"),
        ("status", "--admin="),
        ("status", "--timeout=0"),
        ("notify",),
        ("listen", "ws://127.0.0.1:1"),
        ("listen", "--phid", PHID),
        ("check", "--node", "nowhere"),
        ("generate", "cake"),
    ],
    ids=" ".join,
)
def test_wrong_options_are_64(arguments):
    done = run_to_end("master", *arguments)
    assert done.returncode == EX_USAGE and done.stderr.startswith(f"aphlict-master {arguments[0]}: "), done


# --- the token ---------------------------------------------------------------------------------------------


def token_file(folder, text, name="token"):
    return write_secret(folder / name, text)


def test_a_token_opens_the_port_and_a_wrong_one_does_not(relay, tmp_path):
    right = token_file(tmp_path, "a-token-of-some-length")
    wrong = token_file(tmp_path, "another-token-of-length", "wrong")
    server = {"type": "admin", "listen": "127.0.0.1", "port": 0, "allow": []}
    off = [{"type": "repeater", "port": None}]
    config = relay.config_file({"servers": [server, *off], "admin.secret.file": str(right), "drain.seconds": 0})
    master = relay.start("master", f"--config={config}")
    master.address("admin")
    good(asked(master, "status", "--token-file", right))
    good(asked(master, "notify", "--phid", PHID, "--token-file", right))
    bad(asked(master, "status", "--token-file", wrong), EX_NOPERM, "403")
    bad(asked(master, "status"), EX_NOPERM, "403")
    bad(asked(master, "notify", "--phid", PHID, "--token-file", wrong), EX_NOPERM, "403")
    error = bad(asked(master, "status", "--token-file", tmp_path / "none"), EX_CONFIG, "--token-file")
    assert "a-token" not in error


# --- TLS ---------------------------------------------------------------------------------------------------


def test_tls_is_checked_against_the_authority_that_is_named(relay, tmp_path):
    authority = Authority(tmp_path / "authority")
    stranger = Authority(tmp_path / "stranger", "A stranger")
    keys = authority.sign().keys()
    types = ("admin", "client")
    servers = [{"type": each, "listen": "127.0.0.1", "port": 0, **keys} for each in types]
    config = {"servers": [*servers, {"type": "repeater", "port": None}], "drain.seconds": 0}
    master = relay.start("master", f"--config={relay.config_file(config)}")
    admin, client = (url_of(master, each, "https") for each in types)
    trust = f"--ca={authority.pem}"
    good(run_to_end("master", "status", f"--admin={admin}", trust))
    good(run_to_end("master", "notify", f"--admin={admin}", trust, "--phid", PHID))
    good(run_to_end("master", "check", f"--admin={admin}", trust, "--client", client.replace("https", "wss")))
    bad(run_to_end("master", "status", f"--admin={admin}", f"--ca={stranger.pem}"), EX_UNAVAILABLE, "TLS")
    bad(run_to_end("master", "status", f"--admin={admin}"), EX_UNAVAILABLE, "TLS")
    bad(run_to_end("master", "status", f"--admin={admin}", "--ca", tmp_path / "none"), EX_NOINPUT, "--ca")
    bad(run_to_end("master", "status", f"--admin={url_of(master)}"), EX_UNAVAILABLE)


# --- notify ------------------------------------------------------------------------------------------------


def test_notify_publishes_a_test_message_to_each_phid(relay, master):
    client = relay.client(master, subscribe=[PHID])
    said = good(asked(master, "notify", "--phid", PHID, "--phid", "PHID-USER-2", "--type", "hello"))
    fingerprint = master.status()["fingerprint"]
    assert re.fullmatch(r'200 OK: \{"fingerprint":"%s"\} \([\d.]+ m?s\)\n' % fingerprint, said)
    (text,) = client.take(1)
    sent = json.loads(text)
    assert (sent["type"], sent["subscribers"]) == ("hello", [PHID, "PHID-USER-2"])
    assert len(sent["uniqueID"]) >= 16


def test_notify_publishes_a_message_as_it_is_given_to_an_instance(relay, master):
    dog = relay.client(master, "/~dog/", [PHID])
    text = '{ "subscribers": ["%s"], "n": 1.0, "text": "é" }' % PHID
    good(asked(master, "notify", "--instance", "dog", "--message", text))
    dog.expect(text)


def test_notify_says_why_a_message_is_not_taken(relay, master):
    bad(asked(master, "notify", "--message", "[]"), EX_DATAERR, "400")
    repeater = relay.repeater(master)
    bad(asked(repeater, "notify", "--phid", PHID, role="repeater"), EX_UNAVAILABLE, "this is a repeater")


# --- listen ------------------------------------------------------------------------------------------------


def listener(running, *urls, options=()):
    """Prints also what came for PHID in the last 30 s: it may subscribe after a test has published."""
    return running("listen", *urls, "--phid", PHID, "--replay", "30", *options)


def test_listen_prints_a_line_for_each_message(master, running):
    command = listener(running, url_of(master, "client", "ws"), options=["--phid=PHID-2", "--count=3"])
    wait_for_client(master)
    texts = [message(PHID, text="é\n"), message("PHID-2"), message(PHID, "PHID-2")]
    for text in (texts[0], message("PHID-3"), *texts[1:]):
        master.publish(text)
    assert command.wait_for_lines(3) == texts
    assert command.end() == (0, "")


def test_a_message_of_several_lines_is_printed_on_one(master, running):
    command = listener(running, url_of(master, "client", "ws"), options=["--count=1"])
    wait_for_client(master)
    master.publish('{"subscribers":\r\n ["%s"]}' % PHID)
    assert command.wait_for_lines(1) == ['{"subscribers":   ["%s"]}' % PHID]


def test_listen_can_begin_with_what_was_before_and_tell_the_time(master, running):
    text = master.publish(message(PHID), "dog")
    master.publish(message(PHID))
    url = url_of(master, "client", "ws")
    command = running("listen", url, "--phid", PHID, "--instance=dog", "--replay", "30", "--count", "1", "--time")
    (line,) = command.wait_for_lines(1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z " + re.escape(text), line)
    assert command.end() == (0, "")


def test_listen_goes_on_elsewhere_when_a_node_is_lost_and_misses_nothing(relay, master, running):
    repeaters = [relay.repeater(master, options=[f"--name={n}"]) for n in range(2)]
    urls = [url_of(each, "client", "ws") for each in repeaters]
    command = listener(running, *urls, options=["--count=3"])
    chosen = wait_until(lambda: [each for each in repeaters if each.status()["clients.active"] == 1], "a client")[0]
    other = next(each for each in repeaters if each is not chosen)
    texts = [master.publish(message(PHID))]
    command.wait_for_lines(1)
    chosen.kill()
    texts.append(master.publish(message(PHID)))
    wait_for_client(other)
    texts.append(master.publish(message(PHID)))
    assert command.wait_for_lines(3) == texts
    assert command.end() == (0, "")


def test_messages_that_are_equal_are_each_printed(master, running):
    """Without a uniqueID, two of them are two."""
    command = running("listen", url_of(master, "client", "ws"), "--phid", PHID, "--count", "2")
    wait_for_client(master)
    text = json.dumps({"subscribers": [PHID]})
    wait_until(lambda: master.publish(text) and command.process.poll() is not None, "the command's end")
    assert command.end() == (0, "")
    assert command.lines == [text, text]


def test_what_a_lost_node_had_brought_is_not_printed_again_and_what_is_equal_to_it_is(relay, running):
    """The nodes share a port, so that what the listener comes back to is another node with the same history."""
    top = relay.master()
    port = unused_port()
    first = relay.repeater(top, clients=f"127.0.0.1:{port}")
    command = listener(running, f"ws://127.0.0.1:{port}", options=["--count=4"])
    wait_for_client(first)
    same = json.dumps({"subscribers": [PHID]})
    texts = [top.publish(text) for text in (same, message(PHID), same)]
    command.wait_for_lines(3)
    first.kill()
    top.publish(same)
    relay.repeater(top, clients=f"127.0.0.1:{port}")
    assert command.end() == (0, "")
    assert command.lines == [*texts, same]


def test_hosts_are_picked_at_random(relay, running):
    masters = [relay.master() for _ in range(2)]
    urls = [url_of(each, "client", "ws") for each in masters]
    for n in range(1, 30):
        running("listen", *urls, "--phid", PHID)
        wait_until(lambda: sum(each.status()["clients.active"] for each in masters) == n, f"{n} clients")
        if all(each.status()["clients.active"] for each in masters):
            return
    raise AssertionError("the same host 29 times")


def test_a_host_that_is_away_is_passed_over(master, running):
    nobody = f"ws://127.0.0.1:{unused_port()}"
    for n in range(1, 5):  # whatever the order
        running("listen", nobody, url_of(master, "client", "ws"), "--phid", PHID)
        wait_for_client(master, n)


def test_listen_says_why_no_host_lets_it_in(relay, master):
    urls = [f"ws://127.0.0.1:{unused_port()}", url_of(master, "admin", "ws")]
    done = run_to_end("master", "listen", *urls, "--phid", PHID)
    bad(done, EX_UNAVAILABLE, "127.0.0.1")


def test_an_origin_is_told_where_it_is_asked_for(relay, running):
    server = {"type": "client", "listen": "127.0.0.1", "port": 0, "origins": ["https://phabricator.example.com"]}
    config = relay.config_file({"servers": [server], "drain.seconds": 0})
    strict = relay.start("master", f"--config={config}", "--admin=127.0.0.1:0", "--repeaters=none")
    url = url_of(strict, "client", "ws")
    bad(run_to_end("master", "listen", url, "--phid", PHID), EX_UNAVAILABLE, "403")
    running("listen", url, "--phid", PHID, "--origin", "https://phabricator.example.com")
    wait_for_client(strict)


# --- check -------------------------------------------------------------------------------------------------


def findings(done):
    """(check, what, result) of each line, and that the exit code says the same."""
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    result = lines[0].index("RESULT")
    assert lines[0].split() == ["CHECK", "WHAT", "TIME", "RESULT"]
    found = [(line.split()[0], line.split()[1], line[result:]) for line in lines[1:]]
    well = all(each[2] == "ok" or each[2].startswith("not checked: ") for each in found)
    assert done.returncode == (0 if well else 1), done.stdout
    return found


def test_check_says_that_all_is_well(relay, master):
    names = ["one", "two"]
    repeaters = [repeater_with_url(relay, master, name) for name in names]
    wait_for_repeaters(master, *names)
    urls = [url_of(each, "client") + "/" for each in repeaters]
    options = [f"--node={url_of(each)}" for each in repeaters]
    done = asked(master, "check", *options, "--client", url_of(master, "client", "ws"))
    found = findings(done)
    assert done.returncode == 0
    wanted = [("status", url_of(each).removeprefix("http://"), "ok") for each in (master, *repeaters)]
    given = url_of(master, "client", "ws")
    wanted += [(check, url, "ok") for check in ("client", "delivery") for url in (*urls, given)]
    wanted.append(("publish", url_of(master).removeprefix("http://"), "ok"))
    assert sorted(found) == sorted(wanted)
    for line in done.stdout.splitlines()[1:]:
        assert re.search(r" \d+(\.\d+)? m?s  ok$", line), line


def test_check_names_what_it_could_not_check(relay, master):
    relay.repeater(master, options=["--name=shy"])
    wait_for_repeaters(master, "shy")
    found = findings(asked(master, "check"))
    assert ("client", "shy", "not checked: it has no public URL") in found
    assert any(check == "delivery" and result.startswith("not checked: no client URL") for check, _, result in found)


def test_check_names_the_nodes_whose_admin_ports_it_does_not_know(relay, master):
    known, _, _ = (relay.repeater(master, options=[f"--name={name}"]) for name in ("known", "far", "further"))
    wait_for_repeaters(master, "known", "far", "further")
    nobody = f"http://127.0.0.1:{unused_port()}"
    found = findings(asked(master, "check", f"--node={url_of(known)}", f"--node={nobody}"))
    unknown = "not checked: its admin port is not known; --node URL"
    assert {what for check, what, result in found if (check, result) == ("status", unknown)} == {"far", "further"}


def test_check_says_on_a_terminal_what_it_is_about(relay, master):
    repeater_with_url(relay, master, "one")
    wait_for_repeaters(master, "one")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [BINARIES["master"], "check", f"--admin={url_of(master)}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, text=True, preexec_fn=_in_the_child(None),
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal's way to say that nobody has it open any more
        while select.select([ours], [], [], DEADLINE)[0]:
            seen += os.read(ours, 4096)
    table = process.communicate(timeout=DEADLINE)[0]
    os.close(ours)
    assert process.returncode == 0
    assert table.startswith("CHECK") and "\x1b" not in table
    begin, *said = seen.decode().split("\r\x1b[K")
    assert begin == "" and said[-1] == ""  # the last line is taken away
    for words in ("asking 127.0.0.1:", "asking 1 client ports", "subscribing", "publishing", "waiting for the message"):
        assert any(each.startswith(words) for each in said), (words, said)


def test_check_finds_what_is_gone_or_is_no_node(relay, master):
    repeater_with_url(relay, master, "fine")
    wait_for_repeaters(master, "fine")
    nobody = f"http://127.0.0.1:{unused_port()}/"
    page = relay.keep(Impostor(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", linger=True)).url + "/"
    found = findings(asked(master, "check", "--client", nobody, "--client", page, "--node", nobody))
    results = {(check, what): result for check, what, result in found}
    assert "ECONNREFUSED" in results["client", nobody] and "ECONNREFUSED" in results["delivery", nobody]
    assert "answers 200 OK" in results["client", page] and "in place of 101" in results["delivery", page]
    assert "ECONNREFUSED" in results["status", nobody.removeprefix("http://").rstrip("/")]
    assert sum(result == "ok" for result in results.values()) == 4  # the master, the publish, and what is fine


def test_check_finds_a_repeater_that_messages_do_not_reach(relay, master):
    """Its master is another one."""
    other = relay.repeater(relay.master())
    url = url_of(other, "client") + "/"
    found = findings(asked(master, "check", "--client", url, "--timeout", "3"))
    assert ("client", url, "ok") in found and ("delivery", url, "no message within 3.0 s") in found


def test_check_of_a_master_that_is_gone_still_looks_at_the_rest(relay, master):
    url = url_of(master, "client") + "/"
    nobody = f"http://127.0.0.1:{unused_port()}"
    found = findings(run_to_end("master", "check", f"--admin={nobody}", "--client", url, f"--node={url_of(master)}"))
    assert "ECONNREFUSED" in found[0][2]
    assert ("client", url, "ok") in found and ("status", url_of(master).removeprefix("http://"), "ok") in found
    assert ("delivery", "all", "not checked: the status could not be read") in found


def test_check_of_a_repeater_does_not_publish(relay, master):
    repeater = repeater_with_url(relay, master, "below")
    found = findings(asked(repeater, "check", role="repeater"))
    assert any(check == "delivery" and "is a repeater" in result for check, _, result in found)
    assert master.status()["messages.in"] == 0


# --- config ------------------------------------------------------------------------------------------------


def test_config_prints_the_servers_for_phabricator(relay, master):
    port = repeater_with_url(relay, master, "near").address("client")[1]
    relay.repeater(master, options=["--name=far", "--public-url=wss://far.example.com/ws/"])
    relay.repeater(master, options=["--name=shy"])
    wait_for_repeaters(master, "near", "far", "shy")
    done = asked(master, "config")
    assert done.returncode == 0
    first, *rest = json.loads(done.stdout)
    assert first == {"type": "admin", "host": "127.0.0.1", "port": master.address("admin")[1], "protocol": "http"}
    assert sorted(rest, key=lambda each: each["host"]) == [
        {"type": "client", "host": "127.0.0.1", "port": port, "protocol": "http"},
        {"type": "client", "host": "far.example.com", "port": 443, "protocol": "https", "path": "/ws/"},
    ]
    assert "shy is left out" in done.stderr


APHLICT_FILE = {
    "servers": [{"type": "client", "port": 0, "listen": "127.0.0.1", "ssl.key": None}, {"type": "admin", "port": 0}],
    "logs": [{"path": "/var/log/aphlict.log"}],
    "pidfile": "/var/tmp/aphlict/pid/aphlict.pid",
    "cluster": [{"host": "127.0.0.1", "port": 9}],
    "memory.hint": 512,
}


def test_config_converts_aphlicts_file_to_one_that_runs(relay):
    old = relay.config_file(APHLICT_FILE)
    done = run_to_end("master", "config", "--from", old)
    assert done.returncode == 0, done.stderr
    for word in ("memory.hint", "no `listen`", "logs: left out", "pidfile: left out", "serves browsers on port 0"):
        assert word in done.stderr, (word, done.stderr)
    new = json.loads(done.stdout)
    assert new.keys() == {"servers", "cluster"}
    assert new["cluster"] == APHLICT_FILE["cluster"]
    assert new["servers"][1] == {"type": "admin", "listen": "127.0.0.1", "port": 0}
    new["servers"][2]["port"] = 0
    master = relay.start("master", f"--config={relay.config_file(new)}", "--drain=0")
    for server_type in ("admin", "client", "repeater"):
        master.address(server_type)
    assert not master.events("configuration")


def test_config_of_a_file_that_is_wrong_says_so(relay, tmp_path):
    assert run_to_end("master", "config", "--from", tmp_path / "none").returncode == EX_NOINPUT
    done = run_to_end("master", "config", "--from", relay.config_file({"sevrers": []}))
    assert done.returncode == EX_CONFIG and "did you mean `servers`" in done.stderr and done.stdout == ""


# --- manual pages and completions --------------------------------------------------------------------------

ROLES = pytest.mark.parametrize("role", ["master", "repeater"])
COMMANDS = ["status", "notify", "listen", "check", "config"]


@ROLES
def test_the_nodes_help_lists_the_commands(role):
    text = good(run_to_end(role, "--help"))
    assert "--log-level" in text
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", text, re.M)
        assert "--timeout" in good(run_to_end(role, command, "--help"))


def generated(role, what, folder):
    path = folder / f"aphlict-{role}.{'8' if what == 'man' else what}"
    path.write_text(good(run_to_end(role, "generate", what)))
    return path


def checked(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@ROLES
def test_the_manual_page_has_no_warnings(role, tmp_path):
    page = generated(role, "man", tmp_path)
    tried = False
    if command_exists("man") and command_exists("groff"):
        text = checked("man", "--warnings", "-E", "UTF-8", "-l", page)
        assert "SYNOPSIS" in text and f"aphlict-{role}" in text
        tried = True
    if command_exists("mandoc"):
        assert checked("mandoc", "-Tlint", page) == ""
        tried = True
    if not tried:
        pytest.skip("neither man nor mandoc is installed")


@ROLES
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_is_one_for_its_shell(role, shell, tmp_path):
    path = generated(role, shell, tmp_path)
    if not command_exists(shell):
        pytest.skip(f"{shell} is not installed")
    checked(shell, "-n", path)


@pytest.mark.parametrize(
    "typed, wanted",
    [
        ("aphlict-master sta", {"status"}),
        ("aphlict-master --dur", {"--durability"}),
        ("aphlict-master --durability ", {"process", "power"}),
        ("aphlict-master status --wa", {"--watch"}),
        ("aphlict-master notify --ph", {"--phid"}),
        ("aphlict-master status --phi", set()),
    ],
)
def test_bash_completes_what_is_typed(typed, wanted, tmp_path):
    path = generated("master", "bash", tmp_path)
    script = (
        f'source {path}; COMP_WORDS=({typed} {chr(39) * 2 if typed.endswith(" ") else ""}); '
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _aphlict_master; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    assert set(checked("bash", "-c", script).split()) == wanted


@pytest.mark.parametrize("typed, wanted", [("aphlict-master sta", "status"), ("aphlict-master status --wa", "--watch")])
def test_fish_completes_what_is_typed(typed, wanted, tmp_path):
    if not command_exists("fish"):
        pytest.skip("fish is not installed")
    path = generated("master", "fish", tmp_path)
    said = subprocess.run(
        ["fish", "--no-config", "-c", f"source {path}; complete -C '{typed}'"],
        capture_output=True, text=True, timeout=DEADLINE, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert [line.split("\t")[0] for line in said.stdout.splitlines()] == [wanted]
