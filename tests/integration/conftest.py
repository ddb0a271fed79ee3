"""Every test gets a stage of its own (`relay`), and ends with all processes gone in peace."""

import dataclasses

import pytest

import relay as verbs
from relay import BINARIES, Relay

verbs.raise_descriptor_limit()


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than some seconds; leave it out with -m 'not slow'")


def pytest_collection_modifyitems(config, items):
    missing = [str(path) for path in BINARIES.values() if not path.exists()]
    if items and missing and not config.option.collectonly:
        pytest.exit(f"not built: {', '.join(missing)} (APHLICT_RELAY_BUILD names the build folder)", returncode=4)


@pytest.fixture
def relay(tmp_path):
    """Starts masters, repeaters, clients, proxies. Whatever a test leaves running is stopped and checked."""
    stage = Relay(tmp_path)
    yield stage
    problems = stage.clean_up()
    for node in stage.nodes:
        print(f"--- {node}: {' '.join(node.arguments)}\n{node.log_text()[-8000:]}")
    assert not problems, "\n".join(problems)


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


@pytest.fixture
def master(relay):
    return relay.master()
