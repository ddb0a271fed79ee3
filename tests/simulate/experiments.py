"""What is asked of the simulation. Each experiment returns its Markdown, and its charts by file name.

The load that is assumed where nothing else is said, of N clients (pages that are open): each causes a publish every 20
minutes, a message of 300 bytes is for 10 of them wherever they are, and each pings every 15 s.
"""

import dataclasses
import math
import random

from chart import chart
from costs import Turn, coldness, reached
from herd import Module, Page, herd_of
from simulation import Link, Node, OpenLoop, Simulation, tree

PUBLISH_EVERY = 1_200.0  # seconds, a client
MATCHED = 10
PING_EVERY = 15.0
LATENCY = 200.0  # µs between hosts of one zone
GIGABIT = 125.0  # bytes a µs
OVERHEAD = 66 + 24  # bytes of Ethernet, IP and TCP in each segment, and the acknowledgement's share
PUBLISHERS = 8  # publishes that a turn finds at most: as many were measured with 16 connections, and more were not tried
KERNEL = 4_200  # bytes a connection: measured by tests/bench/million
HISTORY = 60.0  # seconds that every node keeps
ENTRY = 88  # bytes that a message takes of `history.bytes` beside its frame: an Entry and a number (common/history)
ADMINISTRATION = 1.1  # what the allocator adds: the README's tenth
LONGEST_TURN = 1e8  # µs: no node that works at all
QUEUE = 16_384  # connections that the kernel keeps: deploy/systemd/aphlict-relay.sysctl
BUSY = 0.5  # of a core, what a node is planned for: the rest is for herds

EXPERIMENTS = {}


def experiment(name, about):
    def register(function):
        function.about = about
        EXPERIMENTS[name] = function
        return function

    return register


# --- words ---------------------------------------------------------------------------------------------------


def number(value, digits=2):
    """To so many significant digits, with thousands apart."""
    if value == 0:
        return "0"
    if value >= 10 ** (digits - 1):
        exponent = math.floor(math.log10(value))
        return f"{round(value, digits - 1 - exponent):,.0f}"
    return f"{value:.{digits}g}"


def duration(us):
    for limit, divisor, unit in ((1e3, 1, "µs"), (1e6, 1e3, "ms")):
        if us < limit:
            return f"{number(us / divisor)} {unit}"
    return f"{number(us / 1e6)} s"


def size(count):
    for limit, divisor, unit in ((2**20, 2**10, "KiB"), (2**30, 2**20, "MiB"), (2**40, 2**30, "GiB")):
        if count < limit:
            return f"{number(count / divisor)} {unit}"
    return f"{number(count / 2**40)} TiB"


def percent(share):
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def count_text(value):
    """Powers of ten from 10⁴ on as such."""
    exponent = round(math.log10(value))
    if exponent < 4 or value != 10**exponent:
        return f"{value:,}"
    return "10" + "⁰¹²³⁴⁵⁶⁷⁸⁹"[exponent]


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def picture(name, alt):
    return f"![{alt}](scaling/{name}.svg)"


# --- one load on one tree ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Found:
    p50: float  # µs from the publish to the last client's write
    p99: float
    busy: list  # share of a core, of a node of each level, the master's first


def run_tree(costs, levels, clients, rate, matched, messages=None):
    """Publishes by chance (Poisson) at a rate, each for `matched` clients spread over all leaves."""
    simulation = Simulation()
    nodes = tree(simulation, costs, levels, clients, link=lambda: Link(LATENCY, GIGABIT))
    for level in nodes:
        for node in level:
            node.at_rest = at_rest(costs, node.is_master, len(node.followers), node.clients)
    nodes[0][0].at_once = PUBLISHERS
    leaves = nodes[-1]
    messages = messages or max(300, min(1_000, rate * 10))

    def matches(_):
        if matched >= len(leaves):
            return {leaf.name: matched / len(leaves) for leaf in leaves}
        return {leaf.name: 1 for leaf in simulation.random.sample(leaves, matched)}

    publishers = OpenLoop(simulation, nodes[0][0], messages, rate, matches, poisson=True)
    simulation.run()
    latencies = sorted(max(time for _, time in message.reached) - message.due for message in publishers.messages)
    busy = [sum(node.cpu / simulation.now + node.at_rest for node in level) / len(level) for level in nodes]
    return Found(latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100], busy)


def at_rest(costs, is_master, followers, clients):
    """Share of a core that a node takes that nothing is published through: reports, the sweep, and pings of pages."""
    own = costs["at rest, a second: master" if is_master else "at rest, a second: repeater"]
    each = costs["at rest, a second: client"] + costs["repeater: ping"] / PING_EVERY
    return 1e-6 * (own + followers * costs["at rest, a second: follower"] + clients * each)


# --- growth --------------------------------------------------------------------------------------------------


@experiment("growth", "how latency and CPU grow with clients, repeaters, depth, publish rate and fan-out")
def growth(costs):
    base = {"levels": (10,), "clients": 100_000, "rate": 50, "matched": 1_000}
    variations = {
        "clients": [{"clients": each, "matched": each // 100} for each in (1_000, 10_000, 100_000, 300_000, 1_000_000)],
        "repeaters": [{"levels": (each,)} for each in (1, 2, 5, 10, 20, 50, 100)],
        "depth": [{"levels": each} for each in ((10,), (2, 10), (2, 4, 10), (2, 4, 8, 10))],
        "publish rate": [{"rate": each} for each in (5, 50, 200, 500, 1_000)],
        "fan-out": [{"matched": each} for each in (10, 100, 1_000, 10_000, 50_000)],
    }
    labels = {
        "clients": lambda case: f"{case['clients']:,}, a hundredth matched",
        "repeaters": lambda case: f"{case['levels'][0]}",
        "depth": lambda case: " × ".join(map(str, (1, *case["levels"]))),
        "publish rate": lambda case: f"{case['rate']:,}/s",
        "fan-out": lambda case: f"{case['matched']:,}",
    }
    grown = {  # depth has no place on the charts
        "clients": lambda case: case["clients"] / base["clients"],
        "repeaters": lambda case: case["levels"][0] / base["levels"][0],
        "publish rate": lambda case: case["rate"] / base["rate"],
        "fan-out": lambda case: case["matched"] / base["matched"],
    }
    rows, latency, busy = [], {}, {}
    for name, cases in variations.items():
        for place, case in enumerate(cases):
            case = {**base, **case}
            found = run_tree(costs, **case)
            middle = max(found.busy[1:-1], default=0)
            rows.append([name if place == 0 else "", labels[name](case), duration(found.p50), duration(found.p99),
                         percent(found.busy[0]), percent(middle) if middle else "", percent(found.busy[-1])])
            if name in grown:
                latency.setdefault(name, []).append((grown[name](case), found.p99 / 1e3))
                busy.setdefault(name, []).append((grown[name](case), found.busy[-1]))
    head = ["what grows", "to", "latency p50", "p99", "master", "middle node", "repeater"]
    charts = {
        "growth-latency": chart("Latency to the last client, p99",
                                "times 10 repeaters, 100,000 clients, 50/s, 1,000 matched", "ms", latency),
        "growth-cpu": chart("CPU of a repeater", "times 10 repeaters, 100,000 clients, 50/s, 1,000 matched",
                            "share of a core", busy),
    }
    text = [table(head, rows), "", picture("growth-latency", "latency against growth"), "",
            picture("growth-cpu", "CPU of a repeater against growth")]
    return "\n".join(text), charts


# --- closed formulas, for trees too large to be played through -------------------------------------------------


@dataclasses.dataclass
class Steady:
    """A node in the middle of a load that goes on, by chance (Poisson)."""

    messages: float  # that a turn finds
    length: float  # µs, of a turn


def steady(turn_cost, rate, back=0.0):
    """`turn_cost` of (messages, cold) is µs, and `rate` messages come in a µs. None: no turn is ever done with them.

    While a turn lasts, and up to `back` µs longer until the node looks again, rate × that time come, which the next one
    finds. If nothing has come, which is so with the probability e^-that, the node waits for one message, and is cold.
    The longer a turn is, the more the next one costs, but by less than that: so there is one length that stays the same.
    """
    waits = [-math.log(1 - (i + 0.5) / 16) / rate for i in range(16)]  # equally likely
    after_waiting = sum(coldness(back / 2 + wait) for wait in waits) / len(waits)
    after_looking = coldness(back) / 1.25  # on average over 0 … back

    def following(length):
        nothing = math.exp(-rate * (length + back / 2))
        messages = rate * (length + back / 2) + nothing
        return messages, turn_cost(messages, nothing * after_waiting + (1 - nothing) * after_looking)

    low, high = 0.0, 1.0
    while following(high)[1] > high:
        low, high = high, 2 * high
        if high > LONGEST_TURN:
            return None
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if following(middle)[1] > middle else (low, middle)
    return Steady(following(high)[0], high)


def node_load(costs, is_master, rate, followers, clients, deliveries):
    """Share of a core that a node needs; None: it never catches up. Rates are a second; deliveries are all of the node's."""
    resting = at_rest(costs, is_master, followers, clients)
    if resting >= 1:
        return None
    of_turn = costs.master_turn if is_master else costs.repeater_turn
    matched = deliveries / rate

    def length(messages, cold):
        writes = reached(clients, matched, messages)
        turn = Turn(cold, messages, followers, writes, matched * messages, max(1, clients))
        return of_turn(turn) / (1 - resting)

    found = steady(length, rate * 1e-6, 0.0 if is_master else Node.BACK)
    if found is None or is_master and found.messages > PUBLISHERS:
        return None
    return resting + (1 - resting) * found.length * rate * 1e-6 / found.messages


@dataclasses.dataclass
class Plan:
    clients: int
    masters: int
    middles: list  # nodes of each level between
    repeaters: int
    busy: list
    cpu: float  # cores that are used
    cores: int  # processes: each has one
    memory: float
    history: float  # bytes of 60 s, on each node
    feed: float  # bytes a second that leave a master, or the busiest middle node
    delivered: float  # bytes a second of all repeaters


def bytes_of_feed(costs):
    return costs["wire: feed message"] + OVERHEAD


def plan(costs, clients, each, arity, publish_every=PUBLISH_EVERY):
    """A tree with so many clients a repeater, and at most so many followers a node; None where one has too much to do.

    With more than one master, each has instances of its own, and a tree of its own.
    """
    for masters in (2**doubled for doubled in range(13)):
        rate, repeaters = clients / publish_every / masters, max(1, math.ceil(clients / masters / each))
        sizes = [repeaters]
        while sizes[0] > arity:
            sizes.insert(0, math.ceil(sizes[0] / arity))
        sizes.insert(0, 1)
        followers = [math.ceil(below / above) for above, below in zip(sizes, sizes[1:])] + [0]
        feed = rate * bytes_of_feed(costs) * max(followers)
        if feed > BUSY * 10 * GIGABIT * 1e6:
            continue
        busy = [node_load(costs, depth == 0, rate, count, 0, 0) for depth, count in enumerate(followers[:-1])]
        busy.append(node_load(costs, False, rate, 0, clients / masters / repeaters, rate * MATCHED / repeaters))
        if None not in busy and max(busy) <= BUSY:
            break
    else:
        return None
    history = HISTORY * rate * (costs["wire: feed message"] + ENTRY)
    nodes = costs["memory: master"] + (sum(sizes) - 1) * costs["memory: repeater"]
    memory = masters * (nodes + sum(sizes) * history * ADMINISTRATION) + clients * (costs["memory: client"] + KERNEL)
    return Plan(clients, masters, sizes[1:-1], repeaters * masters, busy,
                masters * sum(share * count for share, count in zip(busy, sizes)), masters * sum(sizes), memory, history,
                feed, rate * masters * MATCHED * (costs["wire: delivery"] + OVERHEAD))


def cheapest(costs, clients, publish_every=PUBLISH_EVERY):
    """By masters, since each further one needs instances of its own, then by processes, each of which has a core."""
    plans = [plan(costs, clients, each, arity, publish_every)
             for each in CLIENTS_EACH for arity in (10, 30, 100, 300, 1_000)]
    return min((each for each in plans if each), key=lambda each: (each.masters, each.cores, each.cpu), default=None)


CLIENTS_EACH = (5_000, 10_000, 20_000, 50_000)  # more than these in one process come back too slowly, see herd
SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


def shape(found):
    below = [count * found.masters for count in found.middles] + [found.repeaters]
    return " × ".join(f"{each:,}" for each in [found.masters, *below])


@experiment("cheapest", "which tree is the cheapest for 10⁴ … 10⁸ clients")
def find_cheapest(costs):
    rows, line = [], {}
    for clients in SIZES:
        for name, every in (("a publish every 20 min", PUBLISH_EVERY), ("every 2 min", PUBLISH_EVERY / 10)):
            found = cheapest(costs, clients, every)
            middle = percent(max(found.busy[1:-1])) if found.middles else ""
            rows.append([count_text(clients) if every == PUBLISH_EVERY else "", f"{number(clients / every)}/s",
                         shape(found), percent(found.busy[0]), middle, percent(found.busy[-1]), number(found.cpu)])
            line.setdefault(name, []).append((clients, found.cpu))
            line.setdefault(f"{name}, processes", []).append((clients, found.cores))
    head = ["clients", "publishes", "masters × nodes of each level", "master busy", "middle", "repeater", "cores used"]
    charts = {"cheapest": chart("The cheapest tree", "clients", "cores", line)}
    return "\n".join([table(head, rows), "", picture("cheapest", "cores against clients")]), charts


@experiment("sizing", "clients → repeaters, cores, memory, network")
def sizing(costs):
    rows = []
    for clients in (1_000, *SIZES):
        found = cheapest(costs, clients)
        middles = sum(found.middles) * found.masters
        rows.append([count_text(clients), f"{found.masters:,}", f"{middles:,}" if middles else "none",
                     f"{found.repeaters:,}", f"{found.cores:,}", size(found.memory), size(found.history),
                     f"{number(found.feed * 8 / 1e6)} Mbit/s", f"{number(found.delivered * 8 / 1e6)} Mbit/s"])
    head = ["clients", "masters", "middle nodes", "repeaters", "cores", "memory, all together",
            "of each node: history of 60 s", "feed out of its busiest node", "to browsers, all together"]
    return table(head, rows), {}


# --- saturation ----------------------------------------------------------------------------------------------


def most_publishes(costs, followers):
    """A second, from as many connections as were measured, by a master that does nothing else."""
    return 1e6 * PUBLISHERS / costs.master_turn(Turn(coldness(50), PUBLISHERS, followers))


@experiment("saturation", "where the master's publish path and the feed's links saturate")
def saturation(costs):
    rows, lines = [], {}
    for followers in (0, 1, 10, 100, 1_000):
        most = most_publishes(costs, followers)
        links = [speed * 1e6 / (bytes_of_feed(costs) * followers) if followers else None
                 for speed in (GIGABIT, 10 * GIGABIT)]
        rows.append([f"{followers:,}", f"{number(most)}/s"] + [f"{number(link)}/s" if link else "" for link in links])
    for followers in (1, 10, 100):
        for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.05, 1.2):
            rate = share * most_publishes(costs, followers)
            simulation = Simulation()
            nodes = tree(simulation, costs, (1,), 1_000)
            nodes[0][0].further_followers = followers - 1
            nodes[0][0].at_once = PUBLISHERS
            publishers = OpenLoop(simulation, nodes[0][0], 2_000, rate, lambda _: {"1.1": 1}, poisson=True)
            answered = []
            publishers.answered = lambda message: answered.append(simulation.now - message.due)  # noqa: B023
            simulation.run()
            p99 = sorted(answered)[len(answered) * 99 // 100]
            lines.setdefault(f"{followers} followers", []).append((rate, p99 / 1e3))
    charts = {"saturation": chart("A publish's answer, p99", "publishes a second", "ms", lines)}
    head = ["followers", "CPU ends at", "1 Gbit/s at", "10 Gbit/s at"]
    return "\n".join([table(head, rows), "", picture("saturation", "answer's latency against publish rate")]), charts


# --- herd ----------------------------------------------------------------------------------------------------


@experiment("herd", "what a herd does after a zone is lost")
def herd(costs):
    rows, lines = [], {}
    ways = {"at once, a kernel's queue of 4,096": (4_096, 0.0, Page), "at once": (QUEUE, 0.0, Page),
            "at once, aphlict-client.js": (QUEUE, 0.0, Module), "drained over 20 s": (QUEUE, 20e6, Page)}
    kinds = {"plain": "", "TLS": ", TLS"}  # where a client's ticket is known, it costs about as much
    for clients in (5_000, 10_000, 20_000, 50_000):
        for kind, cost in kinds.items():
            for way, (queue, spread, page) in ways.items():
                if clients < 20_000 and spread:
                    continue  # it would take 20 s as well
                found = herd_of(costs, clients, queue, cost, spread, page)
                all_back = found.back == clients
                rows.append([f"{clients:,}", kind, way,
                             duration(found.end) if all_back else f"after 300 s, {percent(found.back / clients)} are",
                             duration(found.turn), percent(found.again / clients) if found.again else "none",
                             f"{found.gave_up:,}" if found.gave_up else "none"])
                if not spread and queue == QUEUE:
                    lines.setdefault(f"{kind}{way.removeprefix('at once')}", []).append((clients, found.end / 1e6))
    head = ["clients that come to a repeater", "", "how", "until all are back", "its turns meanwhile, p99",
            "clients that had to send a SYN again", "attempts that were given up"]
    charts = {"herd": chart("Until all clients are back", "clients that come to one repeater", "s", lines)}
    return "\n".join([table(head, rows), "", picture("herd", "time until all clients are back")]), charts


# --- Aphlict's mesh ------------------------------------------------------------------------------------------


def posts(servers):
    """One publish in a full mesh of Aphlicts: a server posts what it gets to all that have not touched it yet, so a
    message goes every way that visits no server twice."""
    total, ways = 0, 1
    for length in range(1, servers):
        ways *= servers - length
        total += ways
    return total


@experiment("mesh", "the mesh of Aphlict beside it")
def mesh(costs):
    clients, matched = 10_000, 100
    rows, lines = [], {"a mesh of Aphlicts": [], "if each were told once": [], "a master and repeaters": []}
    for servers in range(1, 8):
        own = clients / servers

        def aphlict(posted, own=own, servers=servers):
            """With so many posts between servers; each copy is looked at for every client of whoever has it."""
            copy = own * costs["aphlict: scan of a client"] + matched / servers * costs["aphlict: delivery"]
            post = costs["aphlict: post to a peer"] + costs["aphlict: post of a peer"]
            return costs["aphlict: publish"] + posted * post + (1 + posted) * copy

        all_posts = posts(servers)
        naive, once = aphlict(all_posts), aphlict(servers - 1)
        ours = costs.master_turn(Turn(coldness(1e4), 1, servers))
        ours += servers * costs.repeater_turn(Turn(coldness(1e4), 1, 0, matched / servers, matched / servers, own))
        rows.append([f"{servers}", f"{all_posts:,}", duration(naive), f"{number(servers * 1e6 / naive)}/s", duration(once),
                     duration(ours)])
        for name, value in zip(lines, (naive, once, ours)):
            lines[name].append((servers, value / 1e3))
    charts = {"mesh": chart("CPU of one publish, all servers together", "servers", "ms", lines)}
    head = ["servers or repeaters", "posts of a publish", "Aphlict's mesh: CPU of a publish", "ends at",
            "if each were told once", "a master and as many repeaters"]
    return "\n".join([table(head, rows), "", picture("mesh", "CPU of a publish against servers")]), charts
