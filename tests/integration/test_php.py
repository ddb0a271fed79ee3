"""Phabricator's side in its own language: PHP's curl with the options that libphutil sets."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from relay import command_exists, message, unused_port

pytestmark = pytest.mark.skipif(
    not command_exists("php") or "curl" not in subprocess.run(["php", "-m"], capture_output=True, text=True).stdout,
    reason="PHP with its curl extension is not installed",
)

PHID = "PHID-USER-1"


class Phabricator:
    """A PHP process that publishes as Phabricator does, over connections that it keeps."""

    def __init__(self):
        script = Path(__file__).with_name("phabricator_client.php")
        self._process = subprocess.Popen(["php", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _do(self, **command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def post(self, servers, data, instance=None):
        return self._do(do="post", servers=servers, instance=instance, data=data)

    def status(self, server, instance=None):
        return self._do(do="status", server=server, instance=instance)

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture
def phabricator(relay):
    return relay.keep(Phabricator())


def admin_url(node):
    return "http://%s:%d" % node.address("admin")


def data(**fields):
    return json.loads(message(PHID, **fields))


def test_phabricator_publishes_over_one_connection(relay, site, phabricator):
    client = site.client(subscribe=[PHID])
    connects = 0
    for number in range(20):
        result = phabricator.post([admin_url(site.master)], data(number=number))
        assert (result["status"], result["error"]) == (200, None)
        assert len(json.loads(result["body"])["fingerprint"]) == 16
        connects += result["connects"]
    assert [json.loads(text)["number"] for text in client.take(20)] == list(range(20))
    assert connects == 1


def test_phabricator_publishes_over_a_connection_that_was_silent(relay, master, phabricator):
    for _ in range(2):
        result = phabricator.post([admin_url(master)], data())
        assert (result["status"], result["error"]) == (200, None)
        time.sleep(6)  # the subject is silence
    result = phabricator.post([admin_url(master)], data())
    assert (result["status"], result["connects"]) == (200, 0)


def test_phabricators_spelling_of_json_arrives_as_it_is(relay, site, phabricator):
    client = site.client(subscribe=[PHID])
    phabricator.post([admin_url(site.master)], {"subscribers": [PHID], "text": "é/😀"})
    client.expect('{"subscribers":["PHID-USER-1"],"text":"\\u00e9\\/\\ud83d\\ude00"}')


@pytest.mark.parametrize("instance", ["dog", "a b", "é&=+%", "constructor"])
def test_phabricator_publishes_to_instances_and_asks_for_their_status(relay, master, phabricator, instance):
    assert phabricator.post([admin_url(master)], data(), instance)["status"] == 200
    status = json.loads(phabricator.status(admin_url(master), instance)["body"])
    assert (status["instance"], status["messages.in"], status["version"]) == (instance, 1, 7)


def test_phabricator_tries_servers_in_random_order_until_one_accepts(relay, site, phabricator):
    """A server that is gone, and a repeater that was listed by mistake, cost nothing but a second try."""
    repeater = relay.repeater(site.master)
    servers = [f"http://127.0.0.1:{unused_port()}", admin_url(repeater), admin_url(site.master)]
    client = site.client(subscribe=[PHID])
    tried = []
    for number in range(20):
        result = phabricator.post(servers, data(number=number))
        assert result["status"] == 200
        assert result["tried"][-1] == admin_url(site.master)
        tried += result["tried"]
    assert len(tried) > 20
    assert [json.loads(text)["number"] for text in client.take(20)] == list(range(20))


def test_phabricator_is_told_when_nobody_accepts(relay, master, phabricator):
    result = phabricator.post([admin_url(relay.repeater(master))], data())
    assert (result["status"], result["error"]) == (503, None)
    assert phabricator.post([admin_url(master)], {"type": "notification"})["status"] == 400


def test_a_large_message_of_phabricator_is_answered_within_its_2_s(relay, site, phabricator):
    client = site.client(subscribe=[PHID])
    assert phabricator.post([admin_url(site.master)], data(text="x" * 1_000_000))["status"] == 200
    client.take(1)
