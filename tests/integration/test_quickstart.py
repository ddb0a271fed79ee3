"""deploy/demo/quickstart.py: the quick start without the build, and that it leaves nothing behind."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relay import BUILD, DEADLINE, ROOT, request, wait_until

SCRIPT = ROOT / "deploy" / "demo" / "quickstart.py"
ENVIRONMENT = {**os.environ, "APHLICT_RELAY_BUILD": str(BUILD)}


def children(pid):
    """The processes below one, by the name that they were given: {"master": pid, …}."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_text()
        if name := re.search(r"--name=([\w-]+)", command):
            found[name[1]] = int(child)
    return found


def ended(pid):
    """Whether a process has gone. One that nobody has waited for yet has, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Quickstart:
    """One that serves its page, started as a user does or, with a terminal of its own, as the terminal does."""

    def __init__(self, stdout=subprocess.PIPE, **process):
        # With signals as a shell leaves them, also where the tests were started with `nohup` or behind an `&`.
        command = ["env", "--default-signal=INT,HUP,TERM", sys.executable, SCRIPT]
        self.process = subprocess.Popen(command, env=ENVIRONMENT, stdout=stdout, **process)
        self.nodes = {}

    def read_from(self, descriptor):
        """Reads its output until it says where the page is, and returns itself."""
        output = ""
        while not (found := re.search(r"try it:\s+(http://127\.0\.0\.1:(\d+)/)\s", output)):
            assert select.select([descriptor], [], [], DEADLINE)[0], f"no more than {output}"
            chunk = os.read(descriptor, 1 << 16)
            assert chunk, f"it ended after {output}"
            output += chunk.decode()
        self.url, self.port = found[1], int(found[2])
        self.nodes = children(self.process.pid)
        assert self.nodes.keys() == {"master", "repeater-1", "repeater-2"}
        return self

    def wait_for_end(self):
        """Its exit code, once it and all that it started have gone."""
        code = self.process.wait(DEADLINE)
        wait_until(lambda: all(map(ended, self.nodes.values())), f"{self.nodes} have gone")
        return code

    def close(self):
        self.process.terminate()
        self.process.wait(DEADLINE)
        for pid in self.nodes.values():
            if not ended(pid):  # the test has failed already
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def quickstart(relay):
    started = relay.keep(Quickstart())
    return started.read_from(started.process.stdout.fileno())


def test_once_says_that_every_message_arrived_on_both_repeaters_and_exits_0():
    result = subprocess.run(
        [sys.executable, SCRIPT, "--once"], env=ENVIRONMENT, capture_output=True, text=True, timeout=4 * DEADLINE
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "every message arrived on both repeaters: yes" in result.stdout
    assert result.stdout.count("arrived\n") == 6


def test_once_exits_otherwise_when_a_node_does_not_start(tmp_path):
    for role in ("master", "repeater"):
        (tmp_path / role).mkdir()
        (tmp_path / role / f"aphlict-{role}").symlink_to("/bin/false")
    result = subprocess.run(
        [sys.executable, SCRIPT, "--once"],
        env={**ENVIRONMENT, "APHLICT_RELAY_BUILD": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert result.returncode == 1
    assert "master did not start" in result.stderr


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_quick_start_and_all_that_it_started(quickstart, number, code):
    quickstart.process.send_signal(number)
    assert quickstart.wait_for_end() == code


def test_what_a_killed_quick_start_has_started_ends_with_it(quickstart):
    quickstart.process.kill()
    assert quickstart.wait_for_end() == -signal.SIGKILL


class Terminal:
    """A terminal with the quick start in its foreground."""

    def __init__(self):
        self.screen, terminal = pty.openpty()

        def take_the_terminal():
            os.setsid()
            os.close(os.open(os.ttyname(1), os.O_RDWR))  # the first that a session opens becomes its own

        self.quickstart = Quickstart(stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=take_the_terminal)
        os.close(terminal)

    def press_ctrl_c(self):
        os.write(self.screen, b"\x03")

    def close(self):
        os.close(self.screen)


@pytest.fixture
def terminal(relay):
    terminal = Terminal()
    relay.keep(terminal.quickstart).read_from(terminal.screen)
    return terminal


def test_ctrl_c_ends_the_quick_start_and_all_that_it_started(terminal):
    terminal.press_ctrl_c()
    assert terminal.quickstart.wait_for_end() == 0
    terminal.close()


def test_the_quick_start_ends_with_its_terminal(terminal):
    terminal.close()
    assert terminal.quickstart.wait_for_end() == 128 + signal.SIGHUP


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example.com"}, {"Origin": "null"}, {"Host": "evil.example.com"}]
)
@pytest.mark.parametrize("path", ["/publish", "/stop/repeater-1"])
def test_another_page_may_not_use_the_page_of_the_quick_start(quickstart, headers, path):
    body = '{"subscribers":[]}' if path == "/publish" else None
    assert request(("127.0.0.1", quickstart.port), "POST", path, body, headers).status == 403
    assert not ended(quickstart.nodes["repeater-1"])
