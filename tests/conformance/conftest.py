"""What the tests of conformance with RFC 6455 and RFC 9112 share. The verbs are those of tests/integration."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from fixtures import master, pytest_collection_modifyitems, relay  # noqa: E402, F401: pytest finds them here
from relay import COMPLAINTS, DEADLINE, ECHO, RawClient  # noqa: E402


@pytest.fixture(scope="session")
def echo_address():
    """(host, port) of a websocket-echo, which must end in peace after all tests."""
    process = subprocess.Popen([ECHO, "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    host, _, port = process.stdout.readline().strip().rpartition(":")
    yield host, int(port)
    process.terminate()
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0 and not any(each in said for each in COMPLAINTS), said


@pytest.fixture
def echo(echo_address):
    """A client of the echo server, after the handshake."""
    client = RawClient(echo_address)
    yield client
    client.close()
