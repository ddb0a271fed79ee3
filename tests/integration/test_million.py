"""tests/bench/million in its smallest form: that it reaches everybody, and that it notices when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from made_once import made_once
from relay import BUILD, ROOT, is_sanitized, wait_until

sys.path.append(str(ROOT / "tests" / "bench"))

import limits  # noqa: E402
from fleet import Fleet, floors_of, tree_of  # noqa: E402
from processes import Failed  # noqa: E402
from workshop import Workshop  # noqa: E402

pytestmark = [
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core for the servers, one for the load"),
    pytest.mark.skipif(is_sanitized(), reason="the benchmark's own programs are what is tested"),
]

MILLION = ROOT / "tests" / "bench" / "million"
PLAN = limits.Plan(clients=120, descriptors=limits.RESERVED_DESCRIPTORS + 60)  # two processes at either end


@pytest.fixture(autouse=True)
def programs(tmp_path_factory):
    names = [f"tests/bench/aphlict-{name}" for name in ("load", "floor")]
    made_once(tmp_path_factory, "bench", lambda _: subprocess.run(["ninja", "-C", BUILD, *names], check=True))


@pytest.fixture
def fleet():
    fleet = Fleet(Workshop(BUILD), tree_of(PLAN.processes), PLAN)
    try:
        fleet.connect_rest(everyone=True)
        yield fleet
    finally:
        fleet.close()


def publish(fleet, text):
    fleet.load.ask("publish", address=fleet.peer.publish_address, to="everyone", text=text, spin=0)


def wait_for_wrongs(fleet, *kinds):
    """Until the clients of the second process have all noticed what is wrong, which then fails the whole."""
    wait_until(lambda: sum(fleet.loads[1].ask("check")[kind] for kind in kinds) == PLAN.share(1), "the books to say so")
    with pytest.raises(Failed, match="|".join(kinds)):
        fleet.check()


def test_a_small_million_reaches_everybody_from_every_server(tmp_path):
    arguments = ["--clients", "400", "--descriptors", "500", "--rounds", "1", "--build", BUILD]
    run = subprocess.run(
        [MILLION, *arguments, "--output", tmp_path / "found.json"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("400 clients on 2 repeaters")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["clients"], found["processes"]) == (400, 2)
    scenarios = {scenario["scenario"]: scenario for scenario in found["scenarios"]}
    assert scenarios["broadcast"]["notes"] == {
        "floor: clients reached by each of 1 broadcasts": 400,
        "relay: clients reached by each of 1 broadcasts": 400,
    }
    assert not any(scenario["failures"] for scenario in found["scenarios"])
    assert scenarios["storm"]["figures"]["relay"]["until all are back"]["median"] > 0


def test_what_does_not_fit_is_refused_and_what_fits_is_said(tmp_path):
    run = subprocess.run([MILLION, "--clients", "1000000000"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "1,000,000,000 clients do not fit, but " in run.stderr


def test_limits_are_as_they_were_afterwards(tmp_path, monkeypatch):
    limit = tmp_path / "limit"
    limit.write_text("5\n")
    monkeypatch.setattr(limits.Need, "path", limit)
    monkeypatch.setattr(limits, "needs", lambda plan, tracked: [limits.Need("a.limit", "it is needed", 7)])
    said = []
    with limits.granted(PLAN, 1 << 40, said.append):
        assert limit.read_text() == "7"
    assert limit.read_text() == "5"
    assert said == ["a.limit is 5, and it is needed: set to 7 meanwhile"]


def test_a_limit_that_cannot_be_set_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(limits.Need, "text", lambda self: "50")
    monkeypatch.setattr(limits.Need, "path", tmp_path / "no folder" / "limit")
    need = limits.Need("a.limit", "it is needed", 240, lambda have: have // 2)
    monkeypatch.setattr(limits, "needs", lambda plan, tracked: [need])
    said = []
    with pytest.raises(SystemExit), limits.granted(PLAN, 1 << 40, said.append):
        pass
    assert said == [
        "a.limit is 50, and it is needed: as root, sysctl -w a.limit='240'",
        "120 clients do not fit, but 25 do (--clients 25): a.limit is 50",
    ]


def test_where_memory_does_not_suffice_no_limit_is_touched(monkeypatch):
    monkeypatch.setattr(limits, "needs", lambda plan, tracked: pytest.fail("limits are looked at"))
    available = 2 * PLAN.processes * limits.PROCESS_BYTES + 100 * limits.CLIENT_BYTES
    said = []
    with pytest.raises(SystemExit), limits.granted(PLAN, available, said.append):
        pass
    assert said == ["120 clients do not fit, but 100 do (--clients 100): 0.0 GiB of memory are free"]


def test_a_message_goes_to_clients_of_all_servers_and_to_no_others(fleet):
    assert fleet.target(12, groups=6)["deliveries"] == 120
    assert fleet.broadcast()["deliveries"] == 120
    assert fleet.storm(4) == 30
    assert fleet.broadcast()["deliveries"] == 120
    fleet.check()


def test_clients_that_give_up_come_again(fleet):
    """As they do in the benchmark's herd."""
    repeater = fleet.peer.servers[-1]
    os.kill(repeater.pid, signal.SIGSTOP)
    threading.Timer(1, lambda: os.kill(repeater.pid, signal.SIGCONT)).start()
    storm = fleet.loads[0].ask("storm", patience=0.3)
    assert storm["connected"] == 60 and storm["gave_up"] >= 30  # those of that repeater
    assert fleet.broadcast()["deliveries"] == 120
    fleet.check()


def test_a_message_that_a_process_does_not_expect_is_noticed(fleet):
    fleet.broadcast()
    publish(fleet, "unexpected")
    wait_for_wrongs(fleet, "repeated", "garbled")


def test_a_message_that_comes_again_is_noticed(fleet):
    fleet.loads[1].ask("expect", text="once")
    publish(fleet, "once")
    # Its uniqueID is another, so that it is no repeat to the servers; the number in it is the same.
    publish(fleet, "onceagain")
    assert fleet.loads[1].ask("await")["deliveries"] == 60
    wait_for_wrongs(fleet, "repeated")


def test_a_message_that_does_not_come_is_noticed(fleet):
    fleet.loads[1].ask("expect", text="never")
    answer = fleet.loads[1].ask("await", patience=0.1)
    assert (answer["lost"], answer["deliveries"]) == (60, 0)


def test_a_client_that_is_cut_is_noticed(fleet):
    for repeater in fleet.peer.servers[1:]:
        os.kill(repeater.pid, signal.SIGKILL)
    wait_for_wrongs(fleet, "closed")


def test_floors_are_each_published_to():
    fleet = Fleet(Workshop(BUILD), floors_of(PLAN.processes), PLAN)
    try:
        fleet.connect_rest(everyone=True)
        assert fleet.broadcast()["deliveries"] == 120
        fleet.check()
    finally:
        fleet.close()
