"""The scenarios. Each is a function that runs its peers side by side and says what it found."""

from measuring import Outcome, alternate
from peers import (
    Aphlict,
    Floor,
    GatheringFloor,
    LoneMaster,
    Nchan,
    NodeWs,
    PowerMaster,
    Relay,
    RelayedFloor,
    SecureRelay,
    ServingMaster,
    StatefulMaster,
    relay_of,
)
from processes import Failed

SCENARIOS = {}

REPEATER, MASTER = "relay: repeater", "relay: master"


def scenario(name, about, by_default=True):
    """Registers it. What is not run by default runs when it is named."""

    def register(function):
        function.about = about
        SCENARIOS[name] = lambda bench: function(bench, Outcome(name))
        SCENARIOS[name].about = about
        SCENARIOS[name].by_default = by_default
        return function

    return register


def subject_of(peer_name, process):
    """The relay's processes are reported one by one; other peers are one process."""
    return f"relay: {process}" if peer_name == Relay.name else peer_name


def cpu_figures(outcome, name, window, metric, count):
    for process, cpu in window.cpu.items():
        outcome.add_cpu(subject_of(name, process), metric, cpu, count)
    if name == Relay.name:
        outcome.add_cpu("relay: both", metric, window.total_cpu, count)


def latency_figures(outcome, name, window):
    subject = REPEATER if name == Relay.name else name
    latency = window.result["latency_us"]
    outcome.add(subject, "latency p50", "ms", latency["p50"] / 1000)
    outcome.add(subject, "latency p99", "ms", latency["p99"] / 1000)


# --- messages for all, and for some ------------------------------------------------------------------------


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


@scenario("storm", "10,000 clients are reset, and all come back at once")
def storm(bench, outcome):
    clients = 10_000
    sessions = bench.stage(outcome, [Floor, Relay, Nchan, NodeWs, Aphlict], clients=clients)

    def measure(name, session):
        window = session.window(lambda: session.load.ask("storm"))
        delivered = session.publish(1)["deliveries"]
        if delivered != clients:
            raise Failed(f"{delivered} of {clients} clients were subscribed again")
        serving = "repeater" if name == Relay.name else next(iter(window.cpu))
        subject = subject_of(name, serving)
        outcome.add(subject, "until all are back", "s", window.result["seconds"])
        outcome.add_cpu(subject, "CPU", window.cpu[serving], 1, scale=1, unit="s")
        return window

    alternate(bench, outcome, sessions, measure)
    for metric in ("until all are back", "CPU"):
        outcome.ratio_bar(f"repeater, {metric}: ≤ 1/3 of Aphlict", (REPEATER, metric), ("aphlict", metric), 1 / 3)
    return outcome


@scenario("idle-pings", "10,000 clients that do nothing but ping every 15 s, as pages do")
def idle_pings(bench, outcome):
    sessions = bench.stage(outcome, [Floor, Relay, NodeWs, Aphlict], clients=10_000)
    seconds = bench.sized(10, 2)
    metric = "CPU per second"

    def measure(name, session):
        session.ping(every=1, seconds=1)  # while others were measured, these clients were silent as no page is
        window = session.window(lambda: session.ping(every=15, seconds=seconds))
        serving = "repeater" if name == Relay.name else next(iter(window.cpu))
        outcome.add_cpu(
            subject_of(name, serving), metric, window.cpu[serving], window.result["seconds"], scale=1e3, unit="ms"
        )
        return window

    alternate(bench, outcome, sessions, measure)
    outcome.ratio_bar("repeater ≤ 1.2 × floor", (REPEATER, metric), ("floor", metric), 1.2)
    return outcome


@scenario("targeted", "each message to 10 of 10,000 clients by a PHID of each, 1 in flight")
def targeted(bench, outcome):
    sessions = bench.stage(outcome, [Floor, Relay, Nchan, NodeWs, Aphlict], clients=10_000, group_size=10, own=1)
    messages = bench.calibrate(outcome, sessions, members=10)
    metric = "CPU per message"

    def measure(name, session):
        window = session.publish_window(messages[name], members=10)
        cpu_figures(outcome, name, window, metric, window.result["messages"])
        latency_figures(outcome, name, window)
        return window

    alternate(bench, outcome, sessions, measure)
    outcome.ratio_bar("repeater's CPU per message ≤ 1.1 × floor", (REPEATER, metric), ("floor", metric), 1.1)
    outcome.ratio_bar("master and repeater ≤ 1/20 of Aphlict", ("relay: both", metric), ("aphlict", metric), 1 / 20)
    return outcome


@scenario("growth", "each message to 10 clients, of 1,000 and of 19,000 that are connected")
def growth(bench, outcome):
    few, many = 1_000, 19_000
    # The same clients are addressed in both, so that what is compared is not the kernel's cold sockets.
    options = {"targets": few // 10}
    sessions = {}
    for clients in (few, many):
        for peer in (Floor, Relay):
            sessions[f"{peer.name}, {clients:,}"] = (
                peer,
                lambda session, clients=clients: session.connect(clients, group_size=10),
            )
    metric = "CPU per message"
    with bench.sessions(outcome, sessions) as sessions:
        messages = bench.calibrate(outcome, sessions, **options)

        def measure(name, session):
            window = session.publish_window(messages[name], **options)
            process = "repeater" if session.name == Relay.name else "floor"
            outcome.add_cpu(name, metric, window.cpu[process], window.result["messages"])
            return window

        alternate(bench, outcome, sessions, measure)
    outcome.ratio_bar(
        "repeater's CPU per message at 19,000 clients ≤ 1.1 × at 1,000",
        (f"relay, {many:,}", metric),
        (f"relay, {few:,}", metric),
        1.1,
    )
    outcome.note("the floor's own growth", outcome.ratio((f"floor, {many:,}", metric), (f"floor, {few:,}", metric)))
    return outcome


@scenario("subscriptions", "each message to 10 of 1,000 clients that have 1, 10 or 50 PHIDs; and to one that has 1,000")
def subscriptions(bench, outcome):
    def holding(phids):
        return lambda session: session.connect(1_000, group_size=10, extra=phids - 1)

    def one_with_many(session):
        session.connect(1_000, group_size=10)
        session.connect(1, first_group=100, extra=999)

    cases = {
        "1,000 PHIDs": (holding(1), {"targets": 100}),
        "10,000 PHIDs": (holding(10), {"targets": 100}),
        "50,000 PHIDs": (holding(50), {"targets": 100}),
        "to one client with 1,000": (one_with_many, {"targets": 1, "first_group": 100}),
    }
    metric = "CPU per message"
    wanted = {}
    for peer in bench.present(outcome, [Floor, Relay, NodeWs, Aphlict]).values():
        for case, (connect, _) in cases.items():
            wanted[f"{peer.name}, {case}"] = (peer, connect)
    with bench.sessions(outcome, wanted) as sessions:
        options = {name: cases[name.partition(", ")[2]][1] for name in sessions}
        messages = {}
        for name, session in sessions.items():
            messages |= bench.calibrate(outcome, {name: session}, **options[name])

        def measure(name, session):
            window = session.publish_window(messages[name], **options[name])
            process = "repeater" if session.name == Relay.name else session.name
            outcome.add_cpu(name, metric, window.cpu[process], window.result["messages"])
            return window

        alternate(bench, outcome, sessions, measure)
    for name in (Relay.name, Floor.name):
        ratio = outcome.ratio((f"{name}, 50,000 PHIDs", metric), (f"{name}, 1,000 PHIDs", metric))
        outcome.note(f"{name}: 50,000 PHIDs to 1,000", ratio)
    return outcome


@scenario("slow-reader", "one client of 1,000 (quick: 300) reads nothing: what it costs, and what the others notice")
def slow_reader(bench, outcome):
    # Long messages, so that what a socket takes without being read is soon used up.
    options = {"in_flight": 16, "bytes": 4_000, "messages": bench.sized(512, 288)}

    def measure(name, peer):
        with bench.session(peer) as session:
            session.connect(bench.sized(999, 299))
            session.publish(32, in_flight=16, bytes=4_000)
            windows = {"without": session.publish_window(**options)}
            before = session.peer.pss()
            session.connect(1, stalled=1, receive_buffer=4096)
            windows["with"] = session.publish_window(**options)
            after = session.peer.pss()
            serving = "repeater" if name == Relay.name else next(iter(after))
            subject = subject_of(name, serving)
            for kind, window in windows.items():
                deliveries = window.result["deliveries"]
                outcome.add_cpu(subject, f"CPU per delivery, {kind}", window.cpu[serving], deliveries)
                outcome.add(subject, f"latency p99, {kind}", "ms", window.result["latency_us"]["p99"] / 1000)
            outcome.add(subject, "memory meanwhile", "MiB", (after[serving] - before[serving]) / 2**20)
            return windows["with"]

    with bench.fewer_rounds(bench.sized(3, 1)):
        alternate(bench, outcome, bench.present(outcome, [Floor, Relay, Nchan, NodeWs, Aphlict]), measure)
    return outcome


# --- publishing --------------------------------------------------------------------------------------------


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


@scenario("durability", "what a state folder adds to a publish without clients: 1 and 16 connections")
def durability(bench, outcome):
    sessions = bench.stage(outcome, [LoneMaster, StatefulMaster, PowerMaster], clients=0)
    kinds = {"1 connection": {"in_flight": 1}, "16 connections": {"in_flight": 16}}
    messages = {kind: bench.calibrate(outcome, sessions, **options) for kind, options in kinds.items()}

    def measure(name, session):
        for kind, options in kinds.items():
            window = session.publish_window(messages[kind][name], **options)
            outcome.add_cpu(name, kind, window.cpu["master"], window.result["messages"])
            outcome.add(name, f"{kind}, answer p50", "ms", window.result["answer_us"]["p50"] / 1000)
        return window

    alternate(bench, outcome, sessions, measure)
    for kind, limit in (("1 connection", 1.3), ("16 connections", 1.1)):
        outcome.ratio_bar(
            f"{kind}: --state ≤ {limit} × none", (StatefulMaster.name, kind), (LoneMaster.name, kind), limit
        )
    return outcome


# --- clients that come -------------------------------------------------------------------------------------


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

    with bench.fewer_rounds(3):  # memory hardly varies
        alternate(bench, outcome, bench.present(outcome, [Floor, Relay, Nchan, NodeWs, Aphlict]), measure)
    outcome.bar(
        "repeater's memory per client ≤ 640 bytes", outcome.median(REPEATER, "memory per client"), 640, unit=" bytes"
    )
    for subject in (REPEATER, MASTER):
        outcome.bar(
            f"empty process ({subject[7:]}) ≤ 16 MiB", outcome.median(subject, "empty process"), 16, unit=" MiB"
        )
    return outcome


# --- TLS ---------------------------------------------------------------------------------------------------


@scenario("tls", "1,000 clients with TLS beside 1,000 without: messages to all, and all of them back after a reset")
def tls(bench, outcome):
    clients = 1_000
    sessions = bench.stage(outcome, [Relay, SecureRelay], clients=clients)
    messages = bench.calibrate(outcome, sessions)

    def measure(name, session):
        window = session.publish_window(messages[name])
        subject = subject_of(name, "repeater")
        outcome.add_cpu(subject, "CPU per delivery", window.cpu["repeater"], window.result["deliveries"])
        storm = session.window(lambda: session.load.ask("storm"))
        outcome.add(subject, "until all are back", "s", storm.result["seconds"])
        outcome.add_cpu(subject, "CPU per client that comes back", storm.cpu["repeater"], clients)
        if session.peer.tls:
            outcome.add(subject, "sessions resumed", "of 1", storm.result["resumed"] / clients)
        if session.publish(1)["deliveries"] != clients:
            raise Failed("not all clients were subscribed again")
        return window

    alternate(bench, outcome, sessions, measure)
    return outcome


@scenario("tls-memory", "idle clients with TLS, each with a PHID of its own, beside bare OpenSSL sessions and plain clients")
def tls_memory(bench, outcome):
    few, many = 100, 5_000

    def grow(peer_class):
        with bench.session(peer_class) as session:
            session.connect(few, group_size=1)
            session.settled_cpu()
            before = session.peer.pss()["repeater"]
            session.connect(many - few, group_size=1, first_group=few)
            session.settled_cpu()
            after = session.peer.pss()["repeater"]
            session.publish(100)
            return (after - before) / (many - few)

    metric = "memory per client"
    with bench.fewer_rounds(3):  # memory hardly varies
        for _ in range(bench.rounds):
            outcome.add(REPEATER, metric, "bytes", grow(Relay))
            outcome.add(SecureRelay.name, metric, "bytes", grow(SecureRelay))
            outcome.add("bare OpenSSL session", metric, "bytes", bench.openssl_session_bytes(many))
    plain, secure, bare = (outcome.median(each, metric) for each in (REPEATER, SecureRelay.name, "bare OpenSSL session"))
    limit = 1.1 * bare + plain
    outcome.bar("a client with TLS ≤ 1.1 × a bare session + a plain client", secure / limit, 1.0, unit="×")
    return outcome


# --- between nodes -----------------------------------------------------------------------------------------


@scenario("hop", "latency that the hop to a repeater adds, and that a bare TCP relay adds: 1,000 messages/s, 10 matched")
def hop(bench, outcome):
    def connect(session):
        session.connect(1_000, group_size=10)

    peers = (Floor, RelayedFloor, ServingMaster, Relay)
    seconds = bench.sized(5, 1)
    with bench.sessions(outcome, {peer.name: (peer, connect) for peer in peers}) as sessions:
        for session in sessions.values():
            session.publish(500, rate=1_000, in_flight=16)

        def measure(name, session):
            window = session.publish_window(1_000 * seconds, rate=1_000, in_flight=16)
            for percentile in ("p50", "p99"):
                outcome.add(name, f"latency {percentile}", "µs", window.result["latency_us"][percentile])
            return window

        alternate(bench, outcome, sessions, measure)
    for percentile in ("p50", "p99"):
        metric = f"latency {percentile}"
        outcome.add_difference("a bare TCP relay adds", metric, (RelayedFloor.name, metric), (Floor.name, metric))
        outcome.add_difference("the hop adds", metric, (Relay.name, metric), (ServingMaster.name, metric))
        outcome.difference_bar(
            f"the hop adds, {percentile}: ≤ 2 × a bare TCP relay",
            ("the hop adds", metric),
            ("a bare TCP relay adds", metric),
            2.0,
        )
    return outcome


@scenario("repeaters", "what each further repeater costs the master, beside one send() of the same bytes")
def repeaters(bench, outcome):
    def follow(count):
        """Followers that the load generator plays: they read, count, and report each second."""
        return lambda session: session.load.ask(
            "connect", address=session.peer.feed_address, path="/feed/", kind="feed", clients=count
        )

    def connect(count):
        # They speak as often, for the kernel acknowledges otherwise to who never speaks, which costs the sender less.
        return lambda session: session.connect(count, reports=1)

    def connect_to_each(session):
        for address in session.peer.client_addresses:
            session.connect(1, address=address)

    counts = (1, 10, 100)
    wanted = {}
    for count in counts:
        wanted[f"master, {count} followers"] = (LoneMaster, follow(count))
        wanted[f"floor, {count} sockets"] = (Floor, connect(count))
    for count in (1, 10):
        wanted[f"master, {count} repeaters"] = (relay_of(count), connect_to_each)

    with bench.sessions(outcome, wanted) as sessions:
        if "master, 1 followers" not in sessions:
            return outcome
        frame_bytes = sessions["master, 1 followers"].publish(1)["frame_bytes"]
        for in_flight, limit in ((1, 1.1), (16, 0.2)):
            metric = f"CPU per message, {in_flight} in flight"

            def options(name, in_flight=in_flight):
                # The floor's frame has 4 bytes of header.
                return {"in_flight": in_flight, "bytes": frame_bytes - 4 if name.startswith("floor") else None}

            messages = {}
            for name, session in sessions.items():
                messages |= bench.calibrate(outcome, {name: session}, **options(name))

            def measure(name, session, metric=metric, options=options, messages=messages):
                window = session.publish_window(messages[name], **options(name))
                process = "floor" if name.startswith("floor") else "master"
                outcome.add_cpu(name, metric, window.cpu[process], window.result["messages"])
                return window

            alternate(bench, outcome, sessions, measure)
            for what, kind in (("one send()", "floor, {} sockets"), ("a further follower", "master, {} followers")):
                outcome.add_difference(
                    what, metric, (kind.format(100), metric), (kind.format(1), metric), divided_by=99
                )
            outcome.add_difference(
                "a further repeater", metric, ("master, 10 repeaters", metric), ("master, 1 repeaters", metric),
                divided_by=9,
            )
            outcome.difference_bar(
                f"a further follower, {in_flight} in flight: ≤ {limit} × one send()",
                ("a further follower", metric),
                ("one send()", metric),
                limit,
            )
    outcome.note("bytes of a message on the feed", frame_bytes)
    return outcome
