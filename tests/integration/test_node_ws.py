"""A second WebSocket implementation: npm's `ws`, which Aphlict itself was built on."""

import json
import os
import queue
import subprocess
import threading
from pathlib import Path

import pytest

from relay import DEADLINE, message

CLIENT = Path(__file__).with_name("client.js")
# Where Debian's packages of modules are, which a Node.js of another origin does not know.
ENVIRONMENT = {**os.environ, "NODE_PATH": "/usr/share/nodejs"}
PHID = "PHID-USER-1"


def has_ws():
    try:
        return subprocess.run(["node", "-e", "require('ws')"], env=ENVIRONMENT, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not has_ws(), reason="Node.js with ws is not installed (node-ws)")


class WsClient:
    def __init__(self, node, path="/"):
        host, port = node.address("client")
        self._process = subprocess.Popen(
            ["node", CLIENT, f"ws://{host}:{port}{path}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
        )
        self._events = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        opened = self.next()
        assert opened["event"] == "open", opened

    def _read(self):
        for line in self._process.stdout:
            self._events.put(json.loads(line))

    def next(self):
        return self._events.get(timeout=DEADLINE)

    def send(self, text):
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def command(self, command, data=None):
        self.send(json.dumps({"command": command, "data": data}))

    def expect(self, *texts):
        for text in texts:
            assert self.next() == {"event": "message", "text": text, "binary": False}

    def subscribe(self, *phids):
        self.command("subscribe", phids)
        self.command("ping")
        self.expect('{"type":"pong"}')

    def close(self):
        self._process.stdin.close()
        self._process.wait(DEADLINE)
        self._process.stdout.close()


@pytest.fixture
def open_client(relay, site):
    return lambda path="/": relay.keep(WsClient(site.node, path))


def test_ws_subscribes_gets_messages_and_replays(site, open_client):
    client = open_client()
    client.subscribe(PHID)
    texts = [site.publish(message(PHID, text=text)) for text in ("é😀", "x" * 70_000, "")]
    client.expect(*texts)
    client.command("replay", {"age": 60000})
    client.expect(*texts)


def test_ws_is_kept_apart_by_instance(site, open_client):
    dog, default = open_client("/ws/~dog/?instance=dog"), open_client("/ws/")
    for client in (dog, default):
        client.subscribe(PHID)
    dog.expect(site.publish(message(PHID), "dog"))
    default.expect(site.publish(message(PHID)))


def test_ws_gets_a_thousand_messages_in_order(site, open_client):
    client = open_client()
    client.subscribe(PHID)
    client.expect(*[site.publish(message(PHID, number=number)) for number in range(1000)])


def test_ws_is_closed_with_1001_when_its_node_stops(site, open_client):
    client = open_client()
    client.subscribe(PHID)
    site.node.stop()
    assert client.next() == {"event": "close", "code": 1001}
