"""Every test gets a stage of its own (`relay`), and ends with all processes gone in peace."""

import dataclasses

import pytest

import relay as verbs
from fixtures import master, pytest_collection_modifyitems, relay  # noqa: F401: pytest finds them here
from relay import Relay


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than some seconds; leave it out with -m 'not slow'")


@dataclasses.dataclass
class Site:
    """A whole route: what is published on `master` reaches clients of `node`."""

    relay: Relay
    master: verbs.Node
    node: verbs.Node

    def publish(self, body, instance=None):
        return self.master.publish(body, instance)

    def client(self, path="/", subscribe=()):
        return self.relay.client(self.node, path, subscribe)

    def raw_client(self, path="/", receive_buffer=None):
        return self.relay.raw_client(self.node, path, receive_buffer)


@pytest.fixture(params=["on_a_master", "on_a_repeater"])
def site(request, relay):
    """Clients meet the same rules on a master as on a repeater."""
    master = relay.master()
    node = master if request.param == "on_a_master" else relay.repeater(master)
    return Site(relay, master, node)
