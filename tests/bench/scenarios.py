"""The scenarios. Each is a function that runs its peers side by side and says what it found."""

from measuring import Outcome, alternate
from peers import Aphlict, Floor, GatheringFloor, LoneMaster, Nchan, NodeWs, Relay
from processes import Failed

SCENARIOS = {}

REPEATER, MASTER = "relay: repeater", "relay: master"


def scenario(name, about):
    def register(function):
        function.about = about
        SCENARIOS[name] = lambda bench: function(bench, Outcome(name))
        SCENARIOS[name].about = about
        return function

    return register


def subject_of(peer_name, process):
    """The relay's processes are reported one by one; other peers are one process."""
    return f"relay: {process}" if peer_name == Relay.name else peer_name


def cpu_figures(outcome, name, window, metric, count):
    for process, cpu in window.cpu.items():
        outcome.add_cpu(subject_of(name, process), metric, cpu, count)
    if name == Relay.name:
        outcome.add_cpu("relay: both", metric, sum(list(window.cpu.values())[1:], list(window.cpu.values())[0]), count)


def latency_figures(outcome, name, window):
    subject = REPEATER if name == Relay.name else name
    latency = window.result["latency_us"]
    outcome.add(subject, "latency p50", "ms", latency["p50"] / 1000)
    outcome.add(subject, "latency p99", "ms", latency["p99"] / 1000)


# --- broadcast and targeted ---------------------------------------------------------------------------------


def broadcast(bench, outcome, clients, in_flight):
    peers = [Floor, Relay, Nchan, NodeWs, Aphlict]
    if in_flight > 1:
        peers.insert(1, GatheringFloor)
    sessions = bench.stage(outcome, peers, clients=clients)
    messages = bench.calibrate(outcome, sessions, in_flight=in_flight)

    def measure(name, session):
        window = session.publish_window(messages[name], in_flight=in_flight)
        cpu_figures(outcome, name, window, "CPU per delivery", window.result["deliveries"])
        latency_figures(outcome, name, window)
        return window

    alternate(bench, outcome, sessions, measure)
    metric = "CPU per delivery"
    if clients == 10_000 and in_flight == 1:
        outcome.ratio_bar("repeater's CPU per delivery ≤ 1.08 × floor", (REPEATER, metric), ("floor", metric), 1.08)
        outcome.ratio_bar("… ≤ 0.52 × Aphlict", (REPEATER, metric), ("aphlict", metric), 0.52)
        aphlict = outcome.user_per_unit("aphlict", metric)
        outcome.bar(
            "its user part ≤ 1/20 of Aphlict's",
            outcome.user_per_unit(REPEATER, metric) / aphlict if aphlict else None,
            1 / 20,
            needs="aphlict",
            unit="×",
        )
    if clients == 10_000 and in_flight == 16:
        outcome.ratio_bar(
            "repeater's CPU per delivery ≤ 0.18 × floor at one send() each", (REPEATER, metric), ("floor", metric), 0.18
        )
        p50 = "latency p50"
        outcome.ratio_bar("latency to the last client, p50, ≤ that of the floor", (REPEATER, p50), ("floor", p50), 1.0)
    return outcome


for count in (1_000, 10_000):
    for flight in (1, 16):
        scenario(f"broadcast-{count}-{flight}", f"every message to all of {count:,} clients, {flight} in flight")(
            lambda bench, outcome, count=count, flight=flight: broadcast(bench, outcome, count, flight)
        )


@scenario("targeted", "each message to 10 of 10,000 clients, 1 in flight")
def targeted(bench, outcome):
    sessions = bench.stage(outcome, [Floor, Relay, Nchan, NodeWs, Aphlict], clients=10_000, group_size=10)
    messages = bench.calibrate(outcome, sessions)
    metric = "CPU per message"

    def measure(name, session):
        window = session.publish_window(messages[name])
        cpu_figures(outcome, name, window, metric, window.result["messages"])
        latency_figures(outcome, name, window)
        return window

    alternate(bench, outcome, sessions, measure)
    outcome.ratio_bar("repeater's CPU per message ≤ 1.1 × floor", (REPEATER, metric), ("floor", metric), 1.1)
    outcome.ratio_bar("master and repeater ≤ 1/20 of Aphlict", ("relay: both", metric), ("aphlict", metric), 1 / 20)
    return outcome


# --- publishing ---------------------------------------------------------------------------------------------


@scenario("publish", "a publish without clients: kept-alive with 1 and 16 connections, and a new one for each")
def publish(bench, outcome):
    sessions = bench.stage(outcome, [Floor, LoneMaster, Nchan, NodeWs, Aphlict], clients=0)
    kinds = {
        "1 connection": {"in_flight": 1},
        "16 connections": {"in_flight": 16},
        "new connections": {"in_flight": 1, "reconnect": 1},
    }
    messages = {kind: bench.calibrate(outcome, sessions, **options) for kind, options in kinds.items()}

    def measure(name, session):
        for kind, options in kinds.items():
            window = session.publish_window(messages[kind][name], **options)
            outcome.add_cpu(name, kind, window.cpu[name if name != "nchan" else "nginx"], window.result["messages"])
        return window

    alternate(bench, outcome, sessions, measure)
    for kind in ("1 connection", "16 connections"):
        outcome.ratio_bar(f"kept-alive, {kind}: master ≤ 1.25 × floor", ("master", kind), ("floor", kind), 1.25)
        outcome.ratio_bar(f"kept-alive, {kind}: master ≤ 0.4 × Aphlict", ("master", kind), ("aphlict", kind), 0.4)
    return outcome


# --- clients that come --------------------------------------------------------------------------------------


@scenario("connect", "CPU for each connection: TCP, handshake, subscribe")
def connect(bench, outcome):
    clients = bench.sized(10_000, 5_000)

    def measure(name, peer):
        with bench.session(peer) as session:
            window = session.window(lambda: session.connect(clients, sync=False))
            cpu_figures(outcome, name, window, "CPU per connection", clients)
            delivered = session.publish(1)["deliveries"]
            if delivered != clients:
                raise Failed(f"{delivered} of {clients} clients were subscribed")
            return window

    alternate(bench, outcome, bench.present(outcome, [Floor, Relay, Nchan, NodeWs, Aphlict]), measure)
    metric = "CPU per connection"
    outcome.ratio_bar("repeater ≤ 1/6 of Aphlict", (REPEATER, metric), ("aphlict", metric), 1 / 6)
    return outcome


@scenario("memory", "idle clients, each with a PHID of its own: memory of the server's process")
def memory(bench, outcome):
    few, many = 100, 10_000
    rounds = bench.rounds

    def measure(name, peer):
        with bench.session(peer) as session:
            session.settled_cpu()
            empty = session.peer.pss()
            session.connect(few, group_size=1)
            session.settled_cpu()
            before = session.peer.pss()
            session.connect(many - few, group_size=1, first_group=few)
            session.settled_cpu()
            after = session.peer.pss()
            session.publish(100)
            for process in after:
                subject = subject_of(name, process)
                outcome.add(subject, "empty process", "MiB", empty[process] / 2**20)
                growth = (after[process] - before[process]) / (many - few)
                if process != "master":
                    outcome.add(subject, "memory per client", "bytes", growth)

    bench.rounds = min(rounds, 3)  # memory hardly varies
    alternate(bench, outcome, bench.present(outcome, [Floor, Relay, Nchan, NodeWs, Aphlict]), measure)
    bench.rounds = rounds
    outcome.bar(
        "repeater's memory per client ≤ 640 bytes", outcome.median(REPEATER, "memory per client"), 640, unit=" bytes"
    )
    for subject in (REPEATER, MASTER):
        outcome.bar(
            f"empty process ({subject[7:]}) ≤ 16 MiB", outcome.median(subject, "empty process"), 16, unit=" MiB"
        )
    return outcome
