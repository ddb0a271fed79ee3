"""The simulation of trees (tests/simulate): it loses no work, queues as theory says, and the documents are what it says."""

import itertools
import json
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest

from relay import ROOT, is_sanitized

SIMULATE = ROOT / "tests" / "simulate"
BENCH = ROOT / "tests" / "bench"
sys.path.insert(0, str(SIMULATE))
sys.path.append(str(BENCH))

from calibration import write_costs  # noqa: E402
from costs import Costs, Turn, coldness, fit  # noqa: E402
from experiments import BUSY, EXPERIMENTS, node_load, plan, posts, run_tree, steady  # noqa: E402
from herd import Module, Page, attempts, herd_of  # noqa: E402
from measuring import Outcome  # noqa: E402
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


@pytest.mark.parametrize("clients_of_a_message", [{}, {"2.1": 5}, None], ids=["nobody", "one leaf", "everybody"])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_is_in_flight_than_was_asked_for(clients_of_a_message, in_flight):
    most = 0

    class Watched(ClosedLoop):
        def _send(self):
            nonlocal most
            super()._send()
            most = max(most, sum(message.waits_for_answer or message.pending > 0 for message in self.messages))

    simulation = Simulation()
    nodes = tree(simulation, costs(), (2, 4), 800)
    publishers = Watched(simulation, nodes[0][0], 200, in_flight, lambda _: clients_of_a_message)
    simulation.run()
    assert len(publishers.messages) == 200
    assert most == in_flight


def test_what_a_node_does_at_rest_makes_its_turns_longer():
    simulation = Simulation()
    (master,), (repeater,) = tree(simulation, free(**{"receive.message": 30.0}), (1,), 10)
    repeater.at_rest = 0.4
    OpenLoop(simulation, master, 1, 1_000, lambda _: None)
    simulation.run()
    assert repeater.cpu == pytest.approx(30.0)
    assert repeater.core.busy == pytest.approx(50.0)


def test_no_node_takes_more_than_its_core():
    found = run_tree(Costs.load(), (1,), 200_000, 300, 2_000)  # half of it is pings
    assert 0.98 < max(found.busy) <= 1


@pytest.mark.parametrize("rate", [5, 50, 500, 2_000, 8_000])
def test_the_load_of_a_node_is_what_it_is_when_it_is_played_through(rate):
    measured = Costs.load()
    master, repeater = run_tree(measured, (20,), 200_000, rate, 10, messages=1_500).busy
    assert node_load(measured, True, rate, 20, 0, 0) == pytest.approx(master, rel=0.05)
    # Messages come in crowds, as the master has written them, which spares turns.
    assert 0.97 * repeater <= node_load(measured, False, rate, 0, 10_000, rate / 2) <= 1.25 * repeater


@pytest.mark.parametrize("is_master, followers, clients, matched",
                         [(True, 0, 0, 0), (True, 20, 0, 0), (False, 10, 0, 0), (False, 0, 50_000, 0.5),
                          (False, 0, 5_000, 100)])
def test_the_load_of_a_node_grows_with_the_rate(is_master, followers, clients, matched):
    measured = Costs.load()
    rates = [1.2**exponent for exponent in range(60)]
    loads = [node_load(measured, is_master, rate, followers, clients, matched * rate) for rate in rates]
    possible = list(itertools.takewhile(lambda load: load is not None, loads))
    assert len(possible) > 20
    assert possible == sorted(possible) and possible[-1] <= 1
    assert set(loads[len(possible):]) <= {None}


@pytest.mark.parametrize("each, arity", [(50_000, 10), (20_000, 30)])
def test_a_tree_that_is_planned_is_at_most_half_busy_when_it_is_played_through(each, arity):
    planned = plan(Costs.load(), 1_000_000, each, arity, publish_every=120)
    levels = (*planned.middles, planned.repeaters // planned.masters)  # of one master
    clients = 1_000_000 // planned.masters
    played = run_tree(Costs.load(), levels, clients, clients / 120, 10, messages=1_000)
    assert max(played.busy) <= 1.02 * BUSY


def test_a_busy_node_gathers_as_many_messages_in_a_turn_as_the_formula_says():
    fixed, each, rate = 1_000.0, 5.0, 0.1
    simulation = Simulation()
    (master,), _ = tree(simulation, free(**{"publish.turn": fixed, "publish.message": each}), (1,), 0)
    OpenLoop(simulation, master, 20_000, rate * 1e6, lambda _: {}, poisson=True)
    simulation.run()

    def cost(messages, cold):
        return fixed + messages * each

    assert master.received / master.turns == pytest.approx(steady(cost, rate).messages, rel=0.05)
    assert steady(cost, 0.21) is None


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


def first_syns(page, count):
    """In seconds, where nobody answers and chance is against the page."""
    chance = SimpleNamespace(uniform=lambda low, high: high)
    return [time / 1e6 for _, _, time in itertools.islice(attempts(page, 0.0, chance), count)]


def test_linux_gives_an_attempt_up_and_the_page_tries_anew():
    assert first_syns(Page, 16) == [0, 1, 3, 7, 15, 31, 63, 129, 130, 132, 136, 144, 160, 192, 260, 261]
    assert first_syns(Module, 10) == [0, 1, 3, 7, 10.5, 11.5, 13.5, 17.5, 21.5, 22.5]


def of_clients(connect, leave=0.0):
    """Costs in seconds, without TLS and with it."""
    others = {"connect": connect, "connect, TLS": connect, "leaves before TLS": leave}
    return Costs({}, {1: 0.0}, {f"repeater: {name}": {"value": 1e6 * value} for name, value in others.items()})


@pytest.mark.parametrize("how, end", [("", 24e6), (", TLS", 18e6)])
def test_who_gives_up_while_waiting_costs_nothing_with_tls_and_a_client_without_it(how, end):
    slow = of_clients(6)  # the third waits for 12 s
    patient, module = (herd_of(slow, 3, 10, how, page=page) for page in (Page, Module))
    assert (patient.gave_up, patient.again, patient.end) == (0, 0, pytest.approx(18e6, rel=0.01))
    assert (module.gave_up, module.again, module.end) == (1, 0, pytest.approx(end, rel=0.01))
    assert patient.back == module.back == 3


def test_who_has_left_was_accepted():
    herd = herd_of(of_clients(6, leave=1), 3, 10, ", TLS", page=Module)
    assert (herd.gave_up, herd.end) == (1, pytest.approx(19e6, rel=0.01))


def test_a_full_queue_takes_nobody():
    slow = of_clients(2)
    assert herd_of(slow, 3, 1).again == 2
    assert herd_of(slow, 3, 3).again == 0


def test_who_waits_in_the_process_leaves_the_kernels_queue_to_others():
    herd = herd_of(of_clients(0.02), 128, 64)
    assert herd.again == 64
    assert herd.end == pytest.approx(128 * 0.02e6, rel=0.05)  # at 1 s, there was room for all of them


def measured_anew(file, aphlict):
    outcome = Outcome("costs")
    for number in (1.0, 2.0):
        for name in KNOWN:
            outcome.add("turn", name, "µs", number)
        outcome.add("write", "1,000 clients in use", "µs", number)
        outcome.add("repeater", "ping", "µs", number)
        if aphlict:
            outcome.add("aphlict", "publish", "µs", number)
    write_costs(SimpleNamespace(rounds=2, costs_file=file), outcome, costs(writes=((1_000, 8.0),)))
    return json.loads(file.read_text())


def test_costs_without_aphlict_keep_what_was_known_of_it(tmp_path):
    known = Costs.load()
    document = measured_anew(tmp_path / "costs.json", aphlict=False)
    loaded = Costs.load(tmp_path / "costs.json")
    assert (loaded["repeater: ping"], loaded["publish.turn"], loaded.write(1_000)) == (1.5, 20.0, 8.0)
    assert loaded["aphlict: publish"] == known["aphlict: publish"]
    assert document["about"]["aphlict"] and "--aphlict" not in document["about"]["command"]
    EXPERIMENTS["mesh"](Costs(known.values, dict(known.writes), loaded.others))


def test_costs_with_aphlict_say_so(tmp_path):
    document = measured_anew(tmp_path / "costs.json", aphlict=True)
    assert document["others"]["aphlict: publish"]["value"] == 1.5
    assert "aphlict" not in document["about"] and "--aphlict DIR" in document["about"]["command"]


@pytest.mark.parametrize("scenarios", [[], ["targeted"]])
def test_costs_are_not_asked_for_where_they_are_not_measured(scenarios, tmp_path):
    command = [BENCH / "run", *scenarios, "--costs", tmp_path / "costs.json", "--list"]  # it lists where it does not refuse
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "--costs" in done.stderr.splitlines()[-1]


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
