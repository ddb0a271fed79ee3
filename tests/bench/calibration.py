"""What tests/simulate is fed with: the scenario `costs`.

It measures one master with one repeater, under loads that differ in what a turn of the loop has to do. How many turns
there were, the nodes tell (`/metrics`), so a window's CPU is that of an average turn. `tests/simulate/costs.py` says what a
turn is made of.
"""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import ssl
import statistics
import sys
import time
import urllib.request
from pathlib import Path

from peers import Aphlict, AphlictPair, LoneMaster, Relay, SecureRelay
from processes import PATIENCE, Failed
from scenarios import scenario
from workshop import about_the_run

SIMULATE = Path(__file__).resolve().parents[1] / "simulate"
sys.path.insert(0, str(SIMULATE))

import costs  # noqa: E402
from simulation import ClosedLoop, OpenLoop  # noqa: E402

FOLLOWED = 5  # times by the one repeater: what each further follower costs a master


def repeater_following(times):
    """The same one repeater, which follows its master several times over, as if there were as many masters."""

    class FollowingOften(Relay):
        name = f"1×1, followed {times} times"

        def start(self):
            self.start_master()
            settings = self.folder / "repeater.json"
            settings.write_text(json.dumps({"upstream": [[f"http://{self.feed_address}"]] * times}))
            self.start_repeater(upstream=("--config", settings), follows=times)
            self.client_addresses = [self.client_address]

    return FollowingOften


def levels_of(counts, clients="127.0.0.1:0"):
    """A master with so many nodes on each level below it. The last level has the clients."""

    class Tree(Relay):
        name = "×".join(map(str, (1, *counts)))

        def start(self):
            self.start_master()
            above = [self.feed_address]
            for depth, count in enumerate(counts, 1):
                last = depth == len(counts)
                ports = ("--clients", clients) if last else ("--clients", "none", "--repeaters", "127.0.0.1:0")
                nodes = [self.start_repeater(f"{depth}.{i + 1}", clients=ports,
                                             upstream=("--upstream", f"http://{above[i % len(above)]}"))
                         for i in range(count)]
                above = [] if last else [node.address("repeater") for node in nodes]
            self.client_addresses = [] if clients == "none" else [node.address("client") for node in nodes]

    return Tree


@dataclasses.dataclass
class Counted:
    """What nodes have counted, by name."""

    turns: dict
    received: dict  # bytes
    sent: dict

    @classmethod
    def of(cls, session):
        counted = cls({}, {}, {})
        for server in session.peer.servers:
            try:
                with urllib.request.urlopen(f"http://{server.address('admin')}/metrics", timeout=10) as answer:
                    text = answer.read().decode()
            except OSError as error:
                raise Failed(f"metrics of {server.name}: {error}") from error
            for into, name in ((counted.turns, "aphlict_relay_loop_turn_seconds_count"),
                               (counted.received, "aphlict_relay_received_bytes_total"),
                               (counted.sent, "aphlict_relay_sent_bytes_total")):
                into[server.name] = float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE).group(1))
        return counted

    def since(self, before):
        return Counted(*({name: now[name] - then[name] for name in now} for now, then in (
            (self.turns, before.turns), (self.received, before.received), (self.sent, before.sent))))


@dataclasses.dataclass
class Pattern:
    """How messages are published, and for whom."""

    name: str
    matched: int  # clients of the whole tree, a message
    in_use: int  # clients that take turns
    first_group: int
    in_flight: int = 1
    rate: float = None  # a second, evenly; none: closed loop

    @property
    def targets(self):
        """Groups that take turns."""
        return self.in_use // self.matched if self.matched else 1

    @property
    def is_even(self):
        """Whether all turns of a master are about the same. Those that are in flight for clients come back in crowds."""
        return self.in_flight == 1 or self.matched == 0

    def publishers(self, simulation, master, count, matches):
        if self.rate:
            return OpenLoop(simulation, master, count, self.rate, matches)
        return ClosedLoop(simulation, master, count, self.in_flight, matches)


@dataclasses.dataclass
class Measured:
    """One window, without what the nodes do when nothing happens."""

    window: object
    pattern: Pattern
    messages: int
    seconds: float  # of publishing
    wall: float  # of the whole window
    counted: Counted


class Population:
    """The clients of a session, the same of each: groups of `few` that are addressed in turn, all of `many` at once.

    Clients of a group are spread over all nodes that have clients. No client is in the group in between.
    """

    def __init__(self, few, groups, many):
        self.few, self.groups, self.many = few, groups, many

    def connect(self, session):
        addresses = getattr(session.peer, "client_addresses", None) or [session.peer.client_address]
        for address in addresses:
            session.connect(self.few * self.groups // len(addresses), address=address,
                            group_size=self.few // len(addresses))
            session.connect(self.many // len(addresses), address=address, first_group=self.groups + 1)


class Calibrator:
    """Measures sessions under loads, and idle ones."""

    def __init__(self, bench):
        self.bench = bench
        self.messages = {}

    def options(self, load):
        return {"targets": load.targets, "first_group": load.first_group,
                "in_flight": 8 if load.rate else load.in_flight, "rate": load.rate}

    def prepare(self, name, session, load):
        """Finds out how many messages a window has."""
        self.bench.progress(f"warming up {name}: {load.name}")
        if load.rate:
            count = round(load.rate * max(1.0 if load.rate < 100 else 0.4, self.bench.window_seconds / 2))
        else:
            count = session.messages_for(self.bench.window_seconds / 3, **self.options(load))
        self.messages[name, load.name] = count

    def measure(self, name, session, load):
        count = self.messages[name, load.name]
        before, began = Counted.of(session), time.monotonic()
        window = session.publish_window(count, **self.options(load))
        wall = time.monotonic() - began
        return Measured(window, load, count, window.result["seconds"], wall, Counted.of(session).since(before))

    @staticmethod
    def idle(session, seconds=1.0):
        """CPU (µs) and turns a second of each process when nothing is published. Reports come once a second."""
        before, began = Counted.of(session), time.monotonic()
        window = session.window(lambda: time.sleep(seconds))
        wall = time.monotonic() - began
        turns = Counted.of(session).since(before).turns
        return {name: (cpu.seconds * 1e6 / wall, max(0.0, turns[name] - 2) / wall) for name, cpu in window.cpu.items()}


def average_turn(measured, process, idle, followers=0, matched=0):
    """The average turn of a window, and its CPU."""
    idle_cpu, idle_turns = idle[process]
    cpu = measured.window.cpu[process].seconds * 1e6 - idle_cpu * measured.wall
    turns = max(1.0, measured.counted.turns[process] - idle_turns * measured.wall - 1)
    turns = min(turns, measured.messages)  # those in which something is only written are not counted
    pauses = max(0.0, measured.seconds * 1e6 - cpu)
    rounds = turns
    if measured.pattern.in_flight > 1 and measured.pattern.matched:
        # All in flight arrive at about the same moment, and are followed by as many at once: one long pause for them all.
        rounds = min(turns, measured.messages / measured.pattern.in_flight)
    cold = rounds / turns * costs.coldness(pauses / rounds)
    received = measured.messages / turns
    writes = costs.reached(measured.pattern.in_use, matched, received)
    turn = costs.Turn(cold, received, followers, writes, matched * received, measured.pattern.in_use)
    return turn, cpu / turns


def median_turn(windows, process, idle, followers, matched):
    """The median, over the rounds, of average turns and of their CPU."""
    found = [average_turn(each, process, idle, followers, matched) for each in windows]
    turns = [turn for turn, _ in found]
    middle = {field.name: statistics.median(getattr(turn, field.name) for turn in turns)
              for field in dataclasses.fields(costs.Turn)}
    return costs.Turn(**middle), statistics.median(cpu for _, cpu in found)


def points_of(windows, idle):
    """What costs.fit() takes, for masters and repeaters, from the windows of all rounds by (session, load)."""
    masters, repeaters = {}, {}
    for (name, load), rounds in windows.items():
        followers = FOLLOWERS[name]
        if rounds[0].pattern.is_even:
            masters[name, load] = median_turn(rounds, "master", idle[name], followers, 0)
        if followers == 1:  # one that follows several times gets everything as often
            repeaters[name, load] = median_turn(rounds, "repeater", idle[name], 0, rounds[0].pattern.matched)
    return masters, repeaters


# --- loads ---------------------------------------------------------------------------------------------------

FEW, GROUPS, MANY = 12, 400, 1_200
FEWER, FEWER_CLIENTS = 3, 4_800
FOR_NOBODY, FOR_MANY, FOR_FEWER, FOR_MOST = GROUPS, GROUPS + 1, GROUPS + 2, 3_000  # the first group of each


def nobody(name, **how):
    return Pattern(f"for nobody, {name}", 0, 1, FOR_NOBODY, **how)


def some(name, in_use=FEW * GROUPS, **how):
    return Pattern(f"for {FEW}, {name}", FEW, in_use, 0, **how)


def many(name, **how):
    return Pattern(f"for {MANY:,}, {name}", MANY, MANY, FOR_MANY, **how)


NOBODY = [nobody("1 in flight"), nobody("16 in flight", in_flight=16), nobody("1,000/s", rate=1_000),
          nobody("100/s", rate=100)]
LOADS = [some("1 in flight"), some("300/s", rate=300), many("1 in flight"), many("16 in flight", in_flight=16),
         many("20/s", rate=20)]
CALIBRATION = {
    "1": NOBODY,
    "1×1": [*NOBODY, *LOADS, Pattern("for 3, 1 in flight", FEWER, FEWER_CLIENTS, FOR_FEWER),
            some("16 in flight", in_flight=16), many("64 in flight", in_flight=64)],
    "1×1 often": NOBODY,
}
FOLLOWERS = {"1": 0, "1×1": 1, "1×1 often": FOLLOWED}


def measure_rounds(bench, outcome, calibrator, sessions, loads, idle_of):
    """All loads of all sessions, round by round. Returns windows by (session, load), and idle CPU and turns a second."""
    for name, session in sessions.items():
        for load in loads[name]:
            calibrator.prepare(name, session, load)
    windows, idles = {}, {}
    for number in range(bench.rounds):
        for name, session in sessions.items():
            bench.progress(f"{outcome.name}: round {number + 1} of {bench.rounds}: {name}")
            if name in idle_of:
                idles.setdefault(name, []).append(calibrator.idle(session))
            for load in loads[name]:
                found = calibrator.measure(name, session, load)
                outcome.foreign = max(outcome.foreign, found.window.foreign)
                windows.setdefault((name, load.name), []).append(found)
    idle = {name: {process: tuple(statistics.median(each[process][i] for each in rounds) for i in (0, 1))
                   for process in rounds[0]} for name, rounds in idles.items()}
    return windows, idle, idles


def fit_costs(bench, windows, idle):
    masters, repeaters = points_of({key: each for key, each in windows.items() if key[0] in CALIBRATION}, idle)
    found = costs.fit(list(masters.values()), list(repeaters.values()))
    bench.log(f"costs: {found.values} {found.writes} {idle}")
    for what, points, model in (("master", masters, found.master_turn), ("repeater", repeaters, found.repeater_turn)):
        for (name, load), (turn, cpu) in points.items():
            bench.log(f"fit {name} {load} {what}: {cpu:.1f} as {model(turn):.1f} {turn}")
    return found


def resting(idle, clients):
    """CPU (µs a second) of nodes to which nothing comes but reports and pings of each other."""
    alone = idle["1"]["master"][0]
    without = idle["1×1 empty"]["repeater"][0]
    return {"master": alone, "a follower": max(0.0, idle["1×1 often"]["master"][0] - alone) / FOLLOWED,
            "repeater": without, "a client": max(0.0, idle["1×1"]["repeater"][0] - without) / clients}


def calibrating_sessions(population, most=0):
    """One master with one repeater, as often as there are clients and followers to be had of it."""

    def connect(session):
        rename(session)
        population.connect(session)
        address = session.peer.client_addresses[0]
        session.connect(FEWER_CLIENTS, address=address, group_size=FEWER, first_group=FOR_FEWER)
        if most:
            session.connect(most, address=address, first_group=FOR_MOST)

    empty = levels_of((1,), clients="none")
    return {"1": (LoneMaster, rename), "1×1 empty": (empty, rename), "1×1": (levels_of((1,)), connect),
            "1×1 often": (repeater_following(FOLLOWED), rename)}


def rename(session):
    """The repeater of a tree of one is a repeater like any other."""
    peer = session.peer
    if len(peer.servers) != 2:
        return
    for server in peer.servers:
        if server.name == "1.1":
            peer.watched["repeater"] = peer.watched.pop("1.1")
            server.name = "repeater"


# --- costs.json ----------------------------------------------------------------------------------------------

SPREADS = {
    "value, low and high of turn and write":
        "of a fit to all rounds; of fits to all rounds but one, so that the value may lie beside them",
    "value, low and high of others": "the median of the rounds, the lowest and the highest of them",
}
MOST = 8_000
COSTS = {
    **CALIBRATION,
    "1×1": CALIBRATION["1×1"] + [some("of 120, 1 in flight", 10 * FEW), Pattern("for 8,000, 1 in flight", MOST, MOST, FOR_MOST)],
}


def leave_one_out(windows, idle, rounds):
    """The costs as they were without one of the rounds, for each: what they depend on chance."""
    for left_out in range(rounds):
        kept = {key: each[:left_out] + each[left_out + 1:] or each for key, each in windows.items()}
        yield costs.fit(*(list(points.values()) for points in points_of(kept, idle)))


@scenario("costs", "what publishes, the feed, deliveries, pings and clients cost: tests/simulate reads it (--costs FILE)",
          by_default=False)
def measure_costs(bench, outcome):
    population = Population(FEW, GROUPS, MANY)
    calibrator = Calibrator(bench)
    loads = {"1×1 empty": [], **COSTS}
    clients = FEW * GROUPS + MANY + FEWER_CLIENTS + MOST
    with bench.sessions(outcome, calibrating_sessions(population, MOST)) as sessions:
        if outcome.failures:
            return outcome
        try:
            windows, idle, idles = measure_rounds(bench, outcome, calibrator, sessions, loads, set(loads))
            for _ in range(bench.rounds):
                add_ping(outcome, sessions["1×1"], idle["1×1"]["repeater"][0])
        except Failed as failure:
            outcome.fail("a window", failure)
            return outcome
    found = fit_costs(bench, windows, idle)
    for rounds in zip(*(idles[name] for name in ("1", "1×1 empty", "1×1", "1×1 often"))):
        of = resting(dict(zip(("1", "1×1 empty", "1×1", "1×1 often"), rounds)), clients)
        outcome.add("at rest, a second", "master", "µs", of["master"])
        outcome.add("at rest, a second", "follower", "µs", of["a follower"])
        outcome.add("at rest, a second", "repeater", "µs", of["repeater"])
        outcome.add("at rest, a second", "client", "µs", of["a client"])
    add_wire(outcome, windows["1×1", "for 1,200, 16 in flight"])
    add_clients_that_come(bench, outcome)
    add_clients_with_tls(bench, outcome)
    if bench.present(outcome, [Aphlict]):
        add_aphlict(bench, outcome)
    spread = list(leave_one_out(windows, idle, bench.rounds))
    for name in found.values:
        for each in spread:
            outcome.add("turn", name, "× write" if name == "gathered" else "µs", each.values[name])
    for in_use, _ in found.writes:
        for each in spread:
            outcome.add("write", f"{in_use:,.0f} clients in use", "µs", dict(each.writes)[in_use])
    if bench.costs_file:
        write_costs(bench, outcome, found)
    return outcome


def add_ping(outcome, session, idle):
    """`idle` is the repeater's CPU (µs a second) when nothing happens."""
    session.ping(every=2, seconds=1)
    window = session.window(lambda: session.ping(every=4, seconds=1))
    cpu = window.cpu["repeater"].seconds * 1e6 - idle * window.result["seconds"]
    outcome.add("repeater", "ping", "µs", cpu / window.result["pings"])


def add_wire(outcome, rounds):
    """Bytes of a message of 300 bytes on its way, above TCP."""
    for measured in rounds:
        count = measured.messages
        outcome.add("wire", "feed message", "bytes", measured.counted.received["repeater"] / count)
        outcome.add("wire", "delivery", "bytes", measured.counted.sent["repeater"] / count / measured.pattern.matched)


def add_clients_that_come(bench, outcome):
    few, many = 100, bench.sized(5_000, 2_000)
    for _ in range(bench.rounds):
        bench.progress(f"{outcome.name}: clients that come")
        with bench.session(levels_of((1,))) as session:
            rename(session)
            session.settled_cpu()
            empty = session.peer.pss()
            address = session.peer.client_addresses[0]
            session.connect(few, address=address, group_size=1)
            session.settled_cpu()
            before = session.peer.pss()
            window = session.window(
                lambda: session.connect(many, address=address, group_size=1, first_group=few, sync=False))
            after = session.peer.pss()
            outcome.add("repeater", "connect", "µs", window.cpu["repeater"].seconds * 1e6 / many)
            outcome.add("memory", "client", "bytes", (after["repeater"] - before["repeater"]) / many)
            for process in empty:
                outcome.add("memory", process, "bytes", empty[process])


def add_clients_with_tls(bench, outcome):
    clients = bench.sized(2_000, 1_000)
    for _ in range(bench.rounds):
        bench.progress(f"{outcome.name}: clients with TLS that come")
        with bench.session(SecureRelay) as session:
            session.connect(clients, group_size=1)
            for name, resume in (("connect, TLS", 0), ("connect, TLS, resumed", 1)):
                session.settled_cpu()
                window = session.window(lambda: session.load.ask("storm", resume=resume, at_once=256))
                outcome.add("repeater", name, "µs", window.cpu["repeater"].seconds * 1e6 / clients)
            outcome.add("repeater", "leaves before TLS", "µs", cost_of_leaving(session))


def cost_of_leaving(session, clients=1_000):
    """CPU (µs) for a client of the repeater that has closed before it is let in."""
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    said = hello.read()
    host, port = session.peer.client_address.split(":")

    def come_and_leave():
        repeater = next(server for server in session.peer.servers if server.name == "repeater")
        last = None
        os.kill(repeater.pid, signal.SIGSTOP)
        try:
            for _ in range(clients):
                if last:
                    last.close()
                last = socket.create_connection((host, int(port)), timeout=PATIENCE)
                last.sendall(said)
            last.shutdown(socket.SHUT_WR)
        finally:
            os.kill(repeater.pid, signal.SIGCONT)
        with last:
            last.recv(1)  # its end, which comes when all before it have been dealt with

    session.settled_cpu()
    return session.window(come_and_leave).cpu["repeater"].seconds * 1e6 / clients


def add_aphlict(bench, outcome):
    """One publish costs Aphlict a look at each of its clients; each peer, a post."""
    few, many, addressed = 100, 5_000, 1_000
    nobody = {"targets": 1, "first_group": 1}  # windows of thousands, which node needs to be warm
    for _ in range(bench.rounds):
        bench.progress(f"{outcome.name}: aphlict")
        cpu = {}
        for clients in (few, many):
            with bench.session(Aphlict) as session:
                session.connect(clients, first_group=2, group_size=addressed)
                count = session.messages_for(bench.window_seconds, **nobody)
                window = session.publish_window(count, **nobody)
                cpu[clients] = window.cpu["aphlict"].seconds * 1e6 / count
                if clients == many:
                    to_some = {"targets": 1, "first_group": 2}
                    count = session.messages_for(bench.window_seconds / 3, **to_some)
                    window = session.publish_window(count, **to_some)
                    delivery = window.cpu["aphlict"].seconds * 1e6 / count - cpu[many]
                    outcome.add("aphlict", "delivery", "µs", delivery / addressed)
        scan = (cpu[many] - cpu[few]) / (many - few)
        outcome.add("aphlict", "scan of a client", "µs", scan)
        outcome.add("aphlict", "publish", "µs", cpu[few] - few * scan)
        with bench.session(AphlictPair) as session:
            session.connect(few, first_group=2)
            count = session.messages_for(bench.window_seconds, **nobody)
            window = session.publish_window(count, **nobody)
            outcome.add("aphlict", "post to a peer", "µs", window.cpu["first"].seconds * 1e6 / count - cpu[few])
            outcome.add("aphlict", "post of a peer", "µs", window.cpu["second"].seconds * 1e6 / count)


def write_costs(bench, outcome, found):
    """What costs.Costs.load() reads. Where there was no Aphlict, its figures stay what they were, with what is known of
    their run."""

    def figure(subject, name, value=None):
        series = outcome.series(subject, name)
        value = series.median if value is None else value
        each = {"value": value, "low": min(series.values), "high": max(series.values)}
        return {"unit": series.unit, **{key: round(number, 4) for key, number in each.items()}}

    others = {f"{subject}: {name}": figure(subject, name) for subject, metrics in outcome.figures.items()
              for name in metrics if subject not in ("turn", "write")}
    has_aphlict = Aphlict.name in outcome.figures
    about = {
        "command": f"tests/bench/run costs --costs tests/simulate/costs.json{' --aphlict DIR' if has_aphlict else ''}",
        "rounds": bench.rounds, "message": "300 bytes", "others used, cores": round(outcome.foreign, 1), **about_the_run(),
        **SPREADS,
    }
    file = Path(bench.costs_file)
    if not has_aphlict:
        before = json.loads((file if file.exists() else costs.FILE).read_text())
        kept = {name: each for name, each in before["others"].items() if name.startswith("aphlict: ")}
        others.update(kept)
        about["aphlict"] = before["about"].get("aphlict") or {
            key: before["about"][key] for key in ("commit", "kernel", "cpu")}
    document = {
        "about": about,
        "turn": {name: figure("turn", name, value) for name, value in found.values.items()},
        "write": [{"clients in use": round(in_use), **figure("write", f"{in_use:,.0f} clients in use", value)}
                  for in_use, value in found.writes],
        "others": dict(sorted(others.items())),
    }
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
