"""The simulation of trees (tests/simulate): it loses no work, queues as theory says, and the documents are what it says."""

import random
import subprocess
import sys

import pytest

from relay import ROOT, is_sanitized

SIMULATE = ROOT / "tests" / "simulate"
sys.path.insert(0, str(SIMULATE))

from costs import Costs, Turn, coldness, fit  # noqa: E402
from experiments import EXPERIMENTS, gathered, posts  # noqa: E402
from simulation import ClosedLoop, Link, Node, OpenLoop, Simulation, tree  # noqa: E402

pytestmark = pytest.mark.skipif(is_sanitized(), reason="no program of the build is in it")

KNOWN = {"publish.turn": 20.0, "publish.message": 12.0, "publish.cold": 10.0, "follower.turn": 3.0,
         "follower.message": 0.5, "follower.cold": 1.0, "receive.turn": 8.0, "receive.message": 1.5,
         "receive.cold": 6.0, "deliver.cold": 2.0, "frame": 0.25, "gathered": 0.5}


def costs(writes=((1_000, 8.0), (5_000, 11.0)), **values):
    return Costs({**KNOWN, **values}, dict(writes))


def free(**values):
    """Nothing costs anything, but for what is named."""
    return Costs({**dict.fromkeys(KNOWN, 0.0), **values}, {1: 0.0})


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("levels", [(1,), (4,), (2, 4)])
def test_every_message_is_delivered_once_and_all_work_is_on_some_core(levels, shared):
    simulation = Simulation()
    nodes = tree(simulation, costs(), levels, 800, shared_core=shared, link=lambda: Link(100.0, 125.0))
    publishers = OpenLoop(simulation, nodes[0][0], 500, 900, lambda _: None, poisson=True)
    simulation.run()
    assert all(message.pending == 0 for message in publishers.messages)
    every = [node for level in nodes for node in level]
    assert [node.received for node in every] == [500] * len(every)
    assert sum(node.deliveries for node in nodes[-1]) == 500 * 800
    cores = {id(node.core): node.core for node in every}.values()
    assert sum(core.busy for core in cores) == pytest.approx(sum(node.cpu for node in every))
    assert max(core.busy for core in cores) <= simulation.now


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_work_that_a_message_finds_waiting_is_that_of_an_m_d_1_queue(load):
    """Pollaczek and Khinchine, for work rather than for waiting, which holds whatever is gathered in a turn."""
    service = 10.0
    simulation = Simulation(seed=4)
    (master,), _ = tree(simulation, free(**{"publish.message": service}), (1,), 0)
    found, until = [], [0.0]
    receive = master.receive

    def look(message, publisher=None):
        until[0] = max(until[0], simulation.now)
        found.append(until[0] - simulation.now)
        until[0] += service
        receive(message, publisher)

    master.receive = look
    OpenLoop(simulation, master, 30_000, 1e6 * load / service, lambda _: {}, poisson=True)
    simulation.run()
    assert sum(found) / len(found) == pytest.approx(load * service / (2 * (1 - load)), rel=0.1)
    assert master.core.busy == pytest.approx(30_000 * service)
    assert simulation.now == pytest.approx(until[0], abs=2 * Node.BACK)  # it was never idle while something waited


def test_a_busy_node_gathers_as_many_messages_in_a_turn_as_the_formula_says():
    fixed, each, rate = 1_000.0, 5.0, 0.1
    simulation = Simulation()
    (master,), _ = tree(simulation, free(**{"publish.turn": fixed, "publish.message": each}), (1,), 0)
    OpenLoop(simulation, master, 20_000, rate * 1e6, lambda _: {}, poisson=True)
    simulation.run()
    assert master.received / master.turns == pytest.approx(gathered(fixed, each, rate), rel=0.05)
    assert gathered(fixed, each, 0.21) is None


def test_a_master_with_one_repeater_costs_what_was_calibrated():
    simulation = Simulation()
    (master,), (repeater,) = tree(simulation, costs(), (1,), 1_000, shared_core=True)
    ClosedLoop(simulation, master, 400, 1, lambda _: None)
    simulation.run()
    pause = simulation.now / 400
    of_master = costs().master_turn(Turn(coldness(pause - master.cpu / 400), 1, 1))
    of_repeater = costs().repeater_turn(Turn(coldness(pause - repeater.cpu / 400), 1, 0, 1_000, 1_000, 1_000))
    assert master.cpu / 400 == pytest.approx(of_master, rel=0.01)
    assert repeater.cpu / 400 == pytest.approx(of_repeater, rel=0.01)


def test_costs_are_found_again_in_windows_that_they_explain():
    chance = random.Random(1)
    known = costs()
    masters = [Turn(chance.uniform(1, 15), chance.uniform(1, 16), followers)
               for followers in (0, 1, 5) for _ in range(5)]
    repeaters = [Turn(chance.uniform(1, 15), chance.uniform(1, 16)) for _ in range(5)]
    for in_use in (1_000, 5_000):
        repeaters += [Turn(chance.uniform(1, 15), 1, 0, writes, writes, in_use) for writes in (10, 100, 1_000)]
    repeaters += [Turn(5, messages, 0, 1_000, 1_000 * messages, 1_000) for messages in (2, 8, 32)]
    found = fit([(turn, known.master_turn(turn)) for turn in masters],
                [(turn, known.repeater_turn(turn)) for turn in repeaters])
    assert found.values == pytest.approx(KNOWN, rel=0.01, abs=0.01)
    assert dict(found.writes) == pytest.approx({1_000: 8.0, 5_000: 11.0}, rel=0.01)


def test_a_mesh_posts_as_often_as_was_counted_on_aphlict():
    assert [posts(servers) for servers in range(2, 8)] == [1, 4, 15, 64, 325, 1_956]


def test_the_page_and_its_pictures_are_what_the_costs_give():
    done = subprocess.run([SIMULATE / "run", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_page_shows_every_experiment_and_every_picture():
    page = (ROOT / "docs" / "scaling.md").read_text()
    assert all(f"tests/simulate/run {name} -->" in page for name in EXPERIMENTS)
    pictures = list((ROOT / "docs" / "scaling").glob("*.svg"))
    assert pictures and all(f"(scaling/{picture.name})" in page for picture in pictures)
    assert all(picture.stat().st_size < 30_000 for picture in pictures)
