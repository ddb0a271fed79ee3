"""What is asked of the simulation. Each experiment returns its Markdown, and its charts by file name.

The load that is assumed where nothing else is said, of N clients (pages that are open): each causes a publish every 20
minutes, a message of 300 bytes is for 10 of them wherever they are, and each pings every 15 s.
"""

import dataclasses
import heapq
import math
import random

from chart import chart
from costs import Turn, coldness
from simulation import Link, OpenLoop, Simulation, tree

PUBLISH_EVERY = 1_200.0  # seconds, a client
MATCHED = 10
PING_EVERY = 15.0
LATENCY = 200.0  # µs between hosts of one zone
GIGABIT = 125.0  # bytes a µs
OVERHEAD = 66 + 24  # bytes of Ethernet, IP and TCP in each segment, and the acknowledgement's share
PUBLISHERS = 8  # publishes that a turn finds at most: as many were measured with 16 connections, and more were not tried
KERNEL = 4_200  # bytes a connection: measured by tests/bench/million
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


def run_tree(costs, levels, clients, rate, matched, seconds=None, seed=1):
    """Publishes by chance (Poisson) at a rate, each for `matched` clients spread over all leaves."""
    simulation = Simulation(seed)
    nodes = tree(simulation, costs, levels, clients, link=lambda: Link(LATENCY, GIGABIT))
    leaves = nodes[-1]
    messages = max(300, min(1_000, round(rate * (seconds or 10))))

    def matches(_):
        if matched >= len(leaves):
            return {leaf.name: matched / len(leaves) for leaf in leaves}
        return {leaf.name: 1 for leaf in simulation.random.sample(leaves, matched)}

    publishers = OpenLoop(simulation, nodes[0][0], messages, rate, matches, poisson=True)
    simulation.run()
    latencies = sorted(max(time for _, time in message.reached) - message.due for message in publishers.messages)
    busy = []
    for depth, level in enumerate(nodes):
        used = sum(node.cpu for node in level) / len(level) / simulation.now
        busy.append(used + at_rest(costs, depth == 0, len(level[0].followers), level[0].clients) * 1e-6)
    return Found(latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100], busy)


def at_rest(costs, is_master, followers, clients):
    """µs a second of a node that nothing is published through: reports, the sweep, and pings of pages."""
    own = costs["at rest, a second: master" if is_master else "at rest, a second: repeater"]
    each = costs["at rest, a second: client"] + costs["repeater: ping"] / PING_EVERY
    return own + followers * costs["at rest, a second: follower"] + clients * each


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


def gathered(fixed, each, rate):
    """Messages that a turn finds, where a turn costs fixed + m·each µs and `rate` come in a µs. None: it never catches up.

    While a turn lasts, rate × its length come, which is what the next one finds; a turn without any does not happen.
    """
    if rate * each >= 1:
        return None
    return max(1.0, rate * fixed / (1 - rate * each))


def node_load(costs, is_master, rate, followers, clients, deliveries):
    """Share of a core that a node needs. Rates a second; deliveries are all of the node's, a second."""
    per_us = rate * 1e-6

    def cost(messages):
        frames = deliveries / rate * messages
        return (costs.master_turn if is_master else costs.repeater_turn)(
            Turn(coldness(max(0.0, messages / per_us - fixed[0])), messages, followers, frames, frames,
                 max(1, clients)))

    fixed = [0.0]
    cold = cost(1.0)
    hot_each = cost(11.0) / 10 - cost(1.0) / 10
    messages = gathered(cold - hot_each, hot_each, per_us)
    if is_master:
        messages = min(messages or PUBLISHERS, PUBLISHERS)
    if messages is None:
        return None
    fixed[0] = cost(messages)
    return cost(messages) / messages * per_us + at_rest(costs, is_master, followers, clients) * 1e-6


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
    feed: float  # bytes a second that leave a master, or the busiest middle node
    delivered: float  # bytes a second of all repeaters


def bytes_of_feed(costs):
    return costs["wire: feed message"] + OVERHEAD


def plan(costs, clients, each, arity, publish_every=PUBLISH_EVERY):
    """A tree with so many clients a repeater, and at most so many followers a node; None where one has too much to do.

    With more than one master, each has instances of its own, and a tree of its own.
    """
    rate = clients / publish_every
    masters = 1
    while True:
        own_rate, own_clients = rate / masters, clients / masters
        repeaters = max(1, math.ceil(own_clients / each))
        levels, above = [], repeaters
        while above > arity:
            above = math.ceil(above / arity)
            levels.insert(0, above)
        sizes = [1, *levels, repeaters]
        busy = []
        for depth in range(len(sizes)):
            last = depth == len(sizes) - 1
            followers = 0 if last else math.ceil(sizes[depth + 1] / sizes[depth])
            busy.append(node_load(costs, depth == 0, own_rate, followers, own_clients / repeaters if last else 0,
                                  own_rate * MATCHED / repeaters if last else 0))
        fan_out = max([math.ceil(sizes[depth + 1] / sizes[depth]) for depth in range(len(sizes) - 1)])
        feed = own_rate * bytes_of_feed(costs) * fan_out
        if None not in busy and max(busy) <= BUSY and feed <= 0.5e6 * 10 * GIGABIT:
            break
        if busy[-1] is None or busy[-1] > BUSY or masters >= 4_096:
            if busy[-1] is not None and busy[-1] > BUSY and own_rate < 1_000:
                return None  # too many clients for one repeater, however few messages come
            if masters >= 4_096:
                return None
        masters *= 2
    nodes = masters * sum(sizes)
    used = masters * sum(share * count for share, count in zip(busy, sizes))
    history = 2 * 60 * own_rate * (costs["wire: feed message"] + 300)
    memory = masters * (sum(sizes) * (costs["memory: repeater"] + min(64 * 2**20, history))) + clients * (
        costs["memory: client"] + KERNEL)
    delivered = rate * MATCHED * (costs["wire: delivery"] + OVERHEAD)
    return Plan(clients, masters, levels, repeaters * masters, busy, used, nodes, memory, feed, delivered)


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
                     f"{found.repeaters:,}", f"{found.cores:,}", size(found.memory),
                     f"{number(found.feed * 8 / 1e6)} Mbit/s", f"{number(found.delivered * 8 / 1e6)} Mbit/s"])
    head = ["clients", "masters", "middle nodes", "repeaters", "cores", "memory, all together",
            "feed out of its busiest node", "to browsers, all together"]
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
        limit = min([most] + [link for link in links[1:] if link])
        rows.append([f"{followers:,}", f"{number(most)}/s"] + [f"{number(link)}/s" if link else "" for link in links]
                    + ["CPU" if limit == most else "a link of 10 Gbit/s"])
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
    head = ["followers", "CPU ends at", "1 Gbit/s at", "10 Gbit/s at", "what ends first"]
    return "\n".join([table(head, rows), "", picture("saturation", "answer's latency against publish rate")]), charts


# --- herd ----------------------------------------------------------------------------------------------------

ACCEPTED = 64  # of a turn
HANDSHAKES = 1_000.0  # µs of a turn
TLS = 620.0  # µs that TLS adds to a client that comes: docs/performance.md, 669 with all
SYN_RETRIES = (1e6, 2e6, 4e6, 8e6, 16e6, 32e6)


GIVEN_UP = 10e6  # µs: deploy/browser/aphlict-client.js leaves who says nothing for so long
FIRST_WAIT, LONGEST_WAIT = 0.5e6, 30e6  # its bounds of the random time before the next attempt


def next_attempt(time, tries, module, chance):
    """When a SYN is sent again, or the page gives up and begins anew."""
    if not module:
        return time + SYN_RETRIES[min(tries, 5)]
    attempt, place = divmod(tries, 4)  # a SYN and three more in 10 s
    if place < 3:
        return time + SYN_RETRIES[place]
    rest = GIVEN_UP - sum(SYN_RETRIES[:3])
    return time + rest + chance.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))


def herd_of(costs, clients, queue, tls=False, spread=0.0, module=False, deliver=500.0, seed=1):
    """Clients that come to one repeater at once, or spread over some time (µs). Returns (time of the last one, p99 of the
    turns' lengths meanwhile, those that had to be sent a SYN again).

    The kernel queues so many; whose SYN finds it full sends it again after 1, 2, 4 … s, as TCP does. A turn gives a
    millisecond to those that come, and `deliver` µs to everything else.
    """
    chance = random.Random(seed)
    each = costs["repeater: connect"] + (TLS if tls else 0)
    arrivals = sorted((chance.uniform(0, spread), 0) for _ in range(clients))
    waiting, now, came, again, turns = 0, 0.0, 0, 0, []
    heapq.heapify(arrivals)
    while came < clients:
        while arrivals and arrivals[0][0] <= now:
            time, tries = heapq.heappop(arrivals)
            if waiting < queue:
                waiting += 1
            else:
                again += tries == 0
                heapq.heappush(arrivals, (next_attempt(time, tries, module, chance), tries + 1))
        if not waiting:
            now = arrivals[0][0]
            continue
        taken = min(waiting, ACCEPTED, max(1, int(HANDSHAKES / each)))
        waiting -= taken
        came += taken
        length = taken * each + deliver
        turns.append(length)
        now += length
    return now, sorted(turns)[len(turns) * 99 // 100], again


@experiment("herd", "what a herd does after a zone is lost")
def herd(costs):
    rows, lines = [], {}
    for each in (5_000, 10_000, 20_000, 50_000):
        for tls in (False, True):
            for name, queue, spread, module in (("at once", 4_096, 0, False), ("at once, queue of 16,384", 16_384, 0, False),
                                                ("the same, aphlict-client.js", 16_384, 0, True),
                                                ("drained over 20 s", 16_384, 20e6, False)):
                end, turn, again = herd_of(costs, each, queue, tls, spread, module)
                if name in ("at once", "at once, queue of 16,384") or each >= 20_000:
                    rows.append([f"{each:,}", "with TLS" if tls else "plain", name, duration(end), duration(turn),
                                 percent(again / each) if again else "none"])
                if name in ("at once", "at once, queue of 16,384"):
                    lines.setdefault(f"{'TLS' if tls else 'plain'}, {name}", []).append((each, end / 1e6))
    head = ["clients that come to a repeater", "", "how", "until all are back", "its turns meanwhile, p99", "SYNs sent again"]
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
    rows, lines = [], {"a mesh of Aphlicts": [], "if none forwarded what it was sent": [], "a master and repeaters": []}
    for servers in range(1, 8):
        own = clients / servers

        def aphlict(copies_each, own=own, servers=servers):
            receive = costs["aphlict: publish"] + own * costs["aphlict: scan of a client"]
            deliver = matched / servers * costs["aphlict: delivery"]
            return copies_each * (receive + deliver)

        all_posts = posts(servers)
        naive = aphlict(1 + all_posts) + all_posts * costs["aphlict: post to a peer"]
        once = aphlict(servers) + (servers - 1) * costs["aphlict: post to a peer"]
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
