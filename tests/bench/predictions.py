"""Whether the simulation says what is measured: `trees` and `tls-herd`.

Both find out costs in the same run, predict with them, and then compare.
"""

from pathlib import Path

from calibration import (
    CALIBRATION,
    FEW,
    FEWER_CLIENTS,
    GROUPS,
    LOADS,
    MANY,
    Calibrator,
    Population,
    calibrating_sessions,
    cost_of_leaving,
    fit_costs,
    levels_of,
    measure_rounds,
    resting,
)
from costs import Costs
from herd import Module, herd_of
from measuring import alternate
from peers import RsaRelay
from processes import Failed
from scenarios import scenario
from simulation import Simulation, tree

TREES = {"1×2": (2,), "1×4": (4,), "1×2×4": (2, 4)}


def predict(costs_, levels, load, messages, idle):
    """CPU for each message (µs) of a node of each level, master's first, as the simulation says."""
    simulation = Simulation()
    nodes = tree(simulation, costs_, levels, load.in_use, shared_core=True)
    leaves = nodes[-1]
    share = {leaf.name: load.matched // len(leaves) for leaf in leaves}
    load.publishers(simulation, nodes[0][0], messages, lambda number: share)
    simulation.run()
    seconds = simulation.now * 1e-6
    predicted = []
    for depth, level in enumerate(nodes):
        alone = idle["master"] if depth == 0 else idle["repeater"]
        alone += idle["a follower"] * len(level[0].followers)
        if depth == len(levels):
            alone += idle["a client"] * (FEW * GROUPS + MANY) / len(level)
        predicted.append((sum(node.cpu for node in level) / len(level) + alone * seconds) / messages)
    return predicted


def kind_of(levels, depth):
    return "master" if depth == 0 else "repeater" if depth == len(levels) else "middle node"


@scenario("trees", "CPU in 1×2, 1×4 and 1×2×4 nodes, beside what tests/simulate predicts from one master with one repeater",
          by_default=False)
def trees(bench, outcome):
    population = Population(FEW, GROUPS, MANY)
    calibrator = Calibrator(bench)
    wanted = calibrating_sessions(population)
    wanted.update({name: (levels_of(levels), population.connect) for name, levels in TREES.items()})
    loads = {"1×1 empty": [], **CALIBRATION, **{name: LOADS for name in TREES}}
    with bench.sessions(outcome, wanted) as sessions:
        if outcome.failures:
            return outcome
        try:
            windows, idle, _ = measure_rounds(bench, outcome, calibrator, sessions, loads, set(loads) - set(TREES))
        except Failed as failure:
            outcome.fail("a window", failure)
            return outcome
    found = fit_costs(bench, windows, idle)
    rest = resting(idle, FEW * GROUPS + MANY + FEWER_CLIENTS)
    for name, levels in TREES.items():
        for load in LOADS:
            rounds = windows[name, load.name]
            predicted = predict(found, levels, load, rounds[0].messages, rest)
            for depth, guess in enumerate(predicted):
                processes = ["master"] if depth == 0 else [
                    process for process in rounds[0].window.cpu if process.startswith(f"{depth}.")]
                each_node = [cpu_of_message(each, [process]) for each in rounds for process in processes]
                compare(bench, outcome, f"{name}, {kind_of(levels, depth)}", load, each_node, guess)
            whole = sum(guess * count for guess, count in zip(predicted, (1, *levels)))
            compare(bench, outcome, f"{name}, in all", load, [cpu_of_message(each) for each in rounds], whole)
    return outcome


def cpu_of_message(measured, processes=None):
    """CPU (µs) of these processes, or of all, for a message."""
    cpu = measured.window.cpu
    return sum(cpu[process].seconds for process in processes or cpu) * 1e6 / measured.messages


def compare(bench, outcome, subject, load, measured, guess):
    """One bar: the nodes of one level of a tree, or all of them, under one load."""
    for each in measured:
        outcome.add(subject, load.name, "µs", each)
    outcome.add(subject, f"{load.name}, predicted", "µs", guess)
    real = outcome.median(subject, load.name)
    off = guess / real - 1
    bench.log(f"tree {subject} {load.name}: predicted {guess:.1f} measured {real:.1f} {off:+.0%}")
    outcome.bar(f"{subject}, a message {load.name}: predicted within 20 % ({off:+.0%})", abs(off), 0.2)


@scenario("tls-herd", "8,000 (quick: 4,000) clients with TLS come anew at once, and who is not let in gives up after 2 s (1 s)")
def tls_herd(bench, outcome):
    """As with deploy/browser/aphlict-client.js, that gives up after 10 s: clients of so many that wait for so long had no
    place on this machine."""
    clients, patience, metric = bench.sized(8_000, 4_000), bench.sized(2, 1), "until all are back"
    queue = min(16_384, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    page = type("Impatient", (Module,), {"patience": patience * 1e6, "gives_up": patience * 1e6})

    def measure(name, session):
        calm = session.window(lambda: session.load.ask("storm", resume=0, at_once=64))
        each = calm.cpu["repeater"].seconds * 1e6 / clients
        leaving = cost_of_leaving(session)
        window = session.window(lambda: session.load.ask("storm", resume=0, patience=patience))
        if session.publish(1)["deliveries"] != clients:
            raise Failed("not all clients were subscribed again")
        outcome.add(name, metric, "s", window.result["seconds"])
        outcome.add(name, "attempts that were given up", "of each client", window.result["gave_up"] / clients)
        outcome.add_cpu(name, "CPU per client that comes back", window.cpu["repeater"], clients)
        outcome.add(name, "… where they come few at a time", "µs", each)
        outcome.add(name, "CPU per client that has left before", "µs", leaving)
        known = Costs({"repeater: connect, TLS": each, "repeater: leaves before TLS": leaving}, {1: 0.0})
        predicted = herd_of(known, clients, queue, ", TLS", page=page, others=0.0)
        outcome.add(name, f"{metric}, predicted", "s", predicted.end * 1e-6)
        return window

    sessions = bench.stage(outcome, [RsaRelay], clients=clients)
    alternate(bench, outcome, sessions, measure)
    name = RsaRelay.name
    outcome.ratio_bar("at most 1.2 × what tests/simulate predicts", (name, metric), (name, f"{metric}, predicted"), 1.2)
    return outcome
