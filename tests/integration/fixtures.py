"""The fixtures of all tests that start the programs."""

import pytest

import relay as verbs
from relay import BINARIES, Relay

verbs.raise_descriptor_limit()


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


@pytest.fixture
def master(relay):
    return relay.master()
