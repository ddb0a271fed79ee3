"""The feed lets in who knows its secret: files of secrets, wrong ones, their change, and where they must not show up."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from relay import TEXT, RawClient, frame, message, run_to_end, unused_port, wait_until, write_secret

CONFIG, NO_PERMISSION = 78, 77
PHID = "PHID-USER-1"
PROTOCOL = "aphlict-relay.v1"
ONE, TWO, THREE = (f"{name}-secret-that-nobody-else-knows" for name in ("first", "second", "third"))


@pytest.fixture
def secret_file(relay):
    def write(*secrets, mode=0o600):
        return write_secret(relay.folder / f"secret-{len(list(relay.folder.iterdir()))}", *secrets, mode=mode)

    return write


def handshake(authorization=None, **headers):
    lines = ["GET /feed/ HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", f"Sec-WebSocket-Protocol: {PROTOCOL}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def refusals(node, port="repeater"):
    return node.status()["refused"][port]


def check_follows(relay, master, repeater):
    client = relay.client(repeater, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))


# --- who is let in -----------------------------------------------------------------------------------------


def test_a_feed_beyond_loopback_needs_a_secret_and_says_how_to_make_one(relay, secret_file):
    result = run_to_end("master", "--admin=127.0.0.1:0", "--repeaters=0.0.0.0:0")
    assert result.returncode == CONFIG
    assert "openssl rand -hex 32 > FILE" in result.stderr and "--secret-file" in result.stderr
    secret = secret_file(ONE)
    master = relay.master(f"--secret-file={secret}", repeaters="0.0.0.0:0")
    url = "http://127.0.0.1:%d" % master.address("repeater")[1]
    check_follows(relay, master, relay.repeater(url, options=[f"--secret-file={secret}"]))


def test_the_command_of_that_error_makes_a_file_that_is_taken(relay):
    error = run_to_end("master", "--admin=127.0.0.1:0", "--repeaters=0.0.0.0:0").stderr
    command = re.search(r"\((umask 077; openssl .*?)\)", error)[1]
    subprocess.run(command.replace("FILE", "made"), shell=True, check=True, cwd=relay.folder)
    result = run_to_end("master", f"--secret-file={relay.folder / 'made'}", "--repeaters=0.0.0.0:0", "--check-config")
    assert (result.returncode, result.stdout) == (0, "the configuration is fine\n")


def test_on_loopback_the_feed_needs_none(relay, master):
    check_follows(relay, master, relay.repeater(master))


def test_a_secret_that_is_configured_is_asked_for_on_loopback_as_well(relay, secret_file):
    master = relay.master(f"--secret-file={secret_file(ONE)}")
    connection = relay.connect(master, "repeater")
    connection.send(handshake())
    reply = connection.read_reply()
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert "secret" in reply.json()["error"]
    assert connection.ended()
    assert refusals(master) == {"secret": 1}


@pytest.mark.parametrize(
    "authorization",
    ["Bearer " + TWO, "Bearer " + ONE[:-1], "Bearer " + ONE + "x", "Bearer " + ONE.upper(), "Bearer", "", ONE]
    + ["Basic " + ONE, f"Bearer {ONE}, Bearer {ONE}", "Bearer " + "x" * 8000],
)
def test_a_wrong_secret_is_answered_401_counted_and_logged(relay, secret_file, authorization):
    master = relay.master(f"--secret-file={secret_file(ONE)}")
    connection = relay.connect(master, "repeater")
    connection.send(handshake(authorization))
    assert connection.read_reply().status == 401
    assert refusals(master) == {"secret": 1}
    line = master.wait_for_log("request_refused", listener="repeater", status="401", kind="secret")
    assert line.fields["peer"].startswith("127.0.0.1:")


def test_two_authorization_headers_let_nobody_in(relay, secret_file):
    master = relay.master(f"--secret-file={secret_file(ONE)}")
    connection = relay.connect(master, "repeater")
    connection.send(handshake(f"Bearer {ONE}", **{"Authorization": f"Bearer {TWO}"}))
    assert connection.read_reply().status == 401


@pytest.mark.parametrize("authorization", [f"Bearer {ONE}", f"bearer {ONE}", f"Bearer   {ONE}", f"Bearer {TWO}"])
def test_either_of_two_secrets_lets_in(relay, secret_file, authorization):
    master = relay.master(f"--secret-file={secret_file(ONE, TWO)}")
    options = {"Authorization": authorization, "Sec_WebSocket_Protocol": PROTOCOL}
    relay.keep(RawClient(master.address("repeater"), "/feed/", **options))
    assert refusals(master) == {}


def test_a_secret_is_changed_without_a_repeater_that_is_shut_out(relay, secret_file):
    """First the node above takes both, then those below present the new one, then the old one goes."""
    port = unused_port()
    listeners = {"repeaters": f"127.0.0.1:{port}"}
    master = relay.master(f"--secret-file={secret_file(ONE)}", **listeners)
    old = relay.repeater(f"http://127.0.0.1:{port}", options=[f"--secret-file={secret_file(ONE)}"])
    for secrets, wanted in (([ONE, TWO], True), ([TWO, ONE], True), ([TWO], False)):
        mark = old.log_mark()
        master.stop()
        master = relay.master(f"--secret-file={secret_file(*secrets)}", **listeners)
        if wanted:
            old.wait_for_log("synchronised", after=mark)
            check_follows(relay, master, old)
        else:
            old.wait_for_log("upstream_refused", after=mark)
        new = relay.repeater(f"http://127.0.0.1:{port}", options=[f"--secret-file={secret_file(*secrets)}"])
        check_follows(relay, master, new)
        new.stop()


# --- who is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [TWO, None])
def test_a_repeater_that_is_refused_says_why_in_its_log_once_a_try(relay, secret_file, secret):
    master = relay.master(f"--secret-file={secret_file(ONE)}")
    options = [] if secret is None else [f"--secret-file={secret_file(secret)}"]
    repeater = relay.repeater(master, options=options, synchronised=False)
    line = repeater.wait_for_log("upstream_refused", status="401")
    assert "secret" in line.fields["reason"]
    assert line.fields["url"] == master.feed_url
    wait_until(lambda: len(repeater.events("upstream_refused")) >= 4, "some tries")
    tries = len(repeater.events("upstream_refused"))
    time.sleep(5)
    # Waiting grows to half a minute: a try each 2 s at most would have been five times as many.
    assert len(repeater.events("upstream_refused")) <= tries + 6
    assert repeater.events("upstream_failed") == []
    assert refusals(master)["secret"] == len(repeater.events("upstream_refused"))


def test_a_refused_repeater_follows_another_upstream_of_its_group(relay, secret_file):
    secret = secret_file(ONE)
    top = relay.master(f"--secret-file={secret}")
    options = [f"--secret-file={secret}"]
    middle = relay.repeater(top, options=options, repeaters="127.0.0.1:0", clients="none")
    other = relay.master(f"--secret-file={secret_file(TWO)}")
    repeater = relay.repeater([other, middle], options=options)
    check_follows(relay, top, repeater)


def test_a_flood_of_wrong_secrets_does_not_fill_the_log(relay, secret_file):
    master = relay.master(f"--secret-file={secret_file(ONE)}")
    for _ in range(100):
        connection = relay.connect(master, "repeater")
        connection.send(handshake(f"Bearer {TWO}"))
        assert connection.read_reply().status == 401
        connection.close()
    assert refusals(master) == {"secret": 100}
    assert len(master.events("request_refused")) <= 40


def test_nothing_behind_the_handshake_of_a_stranger_is_parsed(relay, secret_file):
    """Frames, further requests and bodies: with the handshake refused, they are no business of this node."""
    master = relay.master(f"--secret-file={secret_file(ONE)}")
    behind = [
        frame(TEXT, '{"type":"hello","node":"followerfollower","name":"x","version":"1","url":"","resumes":false,"cursor":{}}'),
        handshake(f"Bearer {ONE}"),
        b"nonsense\r\n\r\n",
        b"\xff" * 10_000,
    ]
    for bytes_behind in behind:
        connection = relay.connect(master, "repeater")
        connection.send(handshake(f"Bearer {TWO}") + bytes_behind)
        assert connection.read_reply().status == 401
        assert connection.ended()
    connection = relay.connect(master, "repeater")
    connection.send(handshake(f"Bearer {TWO}", **{"Transfer-Encoding": "chunked"}) + b"no chunk\r\n")
    assert connection.read_reply().status == 401
    assert refusals(master) == {"secret": len(behind) + 1}
    assert master.events("repeater_connected") == [] and master.status()["repeaters"] == []


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["master", "repeater"])
@pytest.mark.parametrize("check", [[], ["--check-config"]])
@pytest.mark.parametrize(
    "content, word",
    [(None, "No such file"), ("", "no secret in it"), ("\n \n", "no secret in it"), ("short\n", "shorter than 16 bytes")]
    + [(f"{ONE}\nshort\n", "secret 2 is shorter"), (f"{ONE}\n{TWO}\n{THREE}\n", "more than two"), (f"{ONE} x\n", "a space")],
)
def test_a_file_that_holds_no_secret_exits_78_and_says_why(relay, role, check, content, word):
    path = relay.folder / "secret"
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    upstream = ["--upstream=http://127.0.0.1:1"] if role == "repeater" else []
    result = run_to_end(role, "--admin=127.0.0.1:0", f"--secret-file={path}", *upstream, *check)
    assert result.returncode == CONFIG
    assert str(path) in result.stderr and word in result.stderr
    assert ONE not in result.stderr


def test_a_file_that_may_not_be_read_exits_77(relay, secret_file):
    path = secret_file(ONE, mode=0)
    result = run_to_end("master", f"--secret-file={path}", "--check-config", bound_by_modes=True)
    assert result.returncode == NO_PERMISSION and str(path) in result.stderr


def test_the_key_of_the_file_is_the_same_as_the_option(relay, secret_file):
    secret = secret_file(ONE)
    master = relay.master(config={"secret.file": str(secret)})
    repeater = relay.repeater(master, config={"secret.file": str(secret)})
    check_follows(relay, master, repeater)


def test_a_file_that_others_can_read_is_warned_of(relay, secret_file):
    master = relay.master(f"--secret-file={secret_file(ONE, mode=0o644)}")
    assert "0644" in master.wait_for_log("configuration").fields["notice"]


# --- where it must not show up -----------------------------------------------------------------------------


def test_no_secret_shows_up_in_logs_status_or_arguments(relay, secret_file):
    master = relay.master(f"--secret-file={secret_file(ONE, TWO)}", "--debug")
    good = relay.repeater(master, options=[f"--secret-file={secret_file(TWO)}", "--debug"])
    bad = relay.repeater(master, options=[f"--secret-file={secret_file(THREE)}", "--debug"], synchronised=False)
    bad.wait_for_log("upstream_refused")
    for node in (master, good, bad):
        process = Path(f"/proc/{node.process.pid}")
        places = [node.log_text(), str(node.status()), (process / "cmdline").read_text(), (process / "environ").read_text()]
        for place in places:
            assert not any(secret in place for secret in (ONE, TWO, THREE))


def test_a_node_with_a_secret_leaves_no_core_file_and_may_not_be_looked_into(relay, secret_file):
    """/proc/PID belongs to root where the kernel forbids both (PR_SET_DUMPABLE), and to the node's user else."""
    if os.geteuid() != 0:
        pytest.skip("only root starts processes of other users")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    secret = relay.open_to_all(secret_file(ONE))
    os.chown(secret, 65534, 65534)
    listeners = ["--admin=127.0.0.1:0", "--clients=none", "--repeaters=127.0.0.1:0"]
    closed = relay.start("master", *listeners, f"--secret-file={secret}", prefix=user)
    plain = relay.start("master", *listeners, prefix=user)
    for node, owner in ((closed, 0), (plain, 65534)):
        node.address("repeater")
        assert Path(f"/proc/{node.process.pid}/mem").stat().st_uid == owner
