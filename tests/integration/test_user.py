"""A node that root has started becomes another user once its ports are taken."""

import os
import pwd
import re
import signal
import subprocess
from pathlib import Path

import pytest

from relay import BINARIES, message, run_to_end, unused_low_port, wait_until, write_secret

CONFIG, NO_PERMISSION = 78, 77
PHID = "PHID-USER-1"
NOBODY = pwd.getpwnam("nobody")
LISTENERS = ["--admin=127.0.0.1:0", "--clients=127.0.0.1:0", "--repeaters=127.0.0.1:0", "--drain=0"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def folder(relay):
    """One of nobody's, which it can reach."""
    path = relay.folder / "nobodys"
    path.mkdir()
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    return relay.open_to_all(path)


def identity(node):
    """The user ids, group ids, further groups and capabilities that the kernel has for a node."""
    text = Path(f"/proc/{node.process.pid}/status").read_text()
    field = {name: re.search(rf"^{name}:\s*(.*)$", text, re.M)[1].split() for name in ("Uid", "Gid", "Groups", "CapPrm", "CapEff", "NoNewPrivs")}
    return {name: set(values) for name, values in field.items()}


@needs_root
@pytest.mark.parametrize("by", ["option", "key"])
def test_a_node_of_roots_becomes_the_user_and_cannot_go_back(relay, by):
    options = ["--user=nobody"] if by == "option" else [f"--config={relay.config_file({'user': 'nobody'})}"]
    master = relay.start("master", *LISTENERS, *options)
    client = relay.client(master, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))
    uid, gid = str(NOBODY.pw_uid), str(NOBODY.pw_gid)
    nothing = {"0000000000000000"}
    found = identity(master)
    assert found["Groups"] <= {gid}
    del found["Groups"]
    assert found == {"Uid": {uid}, "Gid": {gid}, "CapPrm": nothing, "CapEff": nothing, "NoNewPrivs": {"1"}}
    assert master.events("user", name="nobody", uid=uid)


@needs_root
def test_what_the_node_makes_belongs_to_the_user(relay, folder):
    config = {"user": "nobody", "logs": [{"path": str(folder / "log" / "node.log")}], "pidfile": str(folder / "run" / "pid")}
    master = relay.start("master", *LISTENERS, f"--config={relay.config_file(config)}", f"--state={folder / 'state'}")
    log = folder / "log" / "node.log"
    wait_until(lambda: (folder / "run" / "pid").exists() and "listening" in log.read_text(), "its files")
    assert {each.stat().st_uid for each in folder.rglob("*")} == {NOBODY.pw_uid}
    assert len(list((folder / "state").iterdir())) > 1
    log.rename(folder / "log" / "moved.log")
    master.send_signal(signal.SIGUSR1)  # the log is opened anew, by the user
    wait_until(lambda: log.exists() and "logs_reopened" in log.read_text(), "a new log")
    master.stop()
    assert not (folder / "run" / "pid").exists()


@needs_root
def test_a_port_below_1024_and_a_secret_of_roots_are_taken_before(relay):
    secret = write_secret(relay.folder / "secret", "a-secret-that-nobody-knows")
    port = unused_low_port()
    master = relay.start(
        "master", "--user=nobody", f"--secret-file={secret}", f"--admin=127.0.0.1:{port}", "--repeaters=127.0.0.1:0"
    )
    assert master.address("admin") == ("127.0.0.1", port)
    assert identity(master)["Uid"] == {str(NOBODY.pw_uid)}
    relay.repeater(master, options=[f"--secret-file={secret}"])


@needs_root
def test_what_the_user_may_not_write_is_said_at_once(relay, folder):
    roots = folder / "roots"
    roots.mkdir(mode=0o755)
    for option, where in ((f"--state={roots / 'state'}", "state"), (None, "pidfile")):
        config = {"user": "nobody", **({"pidfile": str(roots / "pid")} if option is None else {})}
        result = run_to_end("master", *LISTENERS, f"--config={relay.config_file(config)}", *filter(None, [option]), "--check-config")
        assert result.returncode == NO_PERMISSION and where in result.stderr
    assert list(roots.iterdir()) == []


@needs_root
@pytest.mark.parametrize("check", [[], ["--check-config"]])
@pytest.mark.parametrize("user, word", [("no-such-user", "no user of that name"), ("root", "root itself")])
def test_a_user_that_cannot_be_is_a_clear_error(user, word, check):
    result = run_to_end("master", *LISTENERS, f"--user={user}", *check)
    assert result.returncode == CONFIG and "--user" in result.stderr and word in result.stderr


def test_only_root_can_become_another_user():
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    command = [*prefix, BINARIES["master"], *LISTENERS, "--user=daemon"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.returncode == NO_PERMISSION and "only root" in result.stderr
