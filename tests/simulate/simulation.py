"""The simulated tree: events in a heap, nodes that work in turns, cores that they may share, links, publishers.

A heap of (time, number, what to call) is all of it that a library would bring. Debian's simpy is of 2011 (2.3), makes each
process a generator, and takes five times as long for the same events. Times are microseconds. Clients are numbers, not
objects: a node knows how many it has, and how many a message is for.
"""

import heapq
import random

from costs import Turn, coldness


class Simulation:
    """Calls what is due, in order."""

    def __init__(self, seed=1):
        self.now = 0.0
        self.random = random.Random(seed)
        self._events = []
        self._number = 0

    def at(self, time, call, *arguments):
        self._number += 1
        heapq.heappush(self._events, (time, self._number, call, arguments))

    def after(self, delay, call, *arguments):
        self.at(self.now + delay, call, *arguments)

    def run(self):
        """Until nothing is left to happen."""
        while self._events:
            self.now, _, call, arguments = heapq.heappop(self._events)
            call(*arguments)


class Core:
    """Runs the turns of its nodes. Where several share it, one that becomes ready and has used less than the one that
    runs takes its place, as Linux has it. Which of several comes next is left to chance: measured, it is neither the first
    that was ready nor the one that has used least."""

    SLEEPER = 3_000.0  # who has slept counts as having used so much less than the others, at most
    GRANULARITY = 1_000.0

    def __init__(self, simulation):
        self.simulation = simulation
        self.busy = 0.0
        self._ready = []  # [node, cost that is left]; None: its turn has not begun
        self._running = None
        self._since = 0.0
        self._used = {}  # what counts as used, by node
        self._least = 0.0

    def make_ready(self, node):
        self._used[node] = max(self._used.get(node, 0.0), self._least - self.SLEEPER)
        self._ready.append([node, None])
        if self._running is None:
            self._next()
        elif self._running[1] and self._used[node] + self.GRANULARITY < self._used_now(self._running[0]):
            running, left = self._running
            ran = self.simulation.now - self._since
            self._charge(running, ran)
            self._ready.append([running, left - ran])
            self._next()

    def _used_now(self, node):
        return self._used[node] + self.simulation.now - self._since

    def _charge(self, node, ran):
        self._used[node] += ran
        self.busy += ran

    def _next(self):
        self._running = None
        if not self._ready:
            return
        self._running = self._ready.pop(self.simulation.random.randrange(len(self._ready)))
        node = self._running[0]
        self._least = max(self._least, min([self._used[each[0]] for each in self._ready] + [self._used[node]]))
        if self._running[1] is None:
            self._running[1] = node.begin_turn()
        self._since = self.simulation.now
        self.simulation.after(self._running[1], self._end, self._running)

    def _end(self, running):
        if running is not self._running:
            return  # it was interrupted, and ends later
        self._charge(running[0], running[1])
        running[1] = 0.0
        self._since = self.simulation.now
        running[0].end_turn()
        self._next()


class Message:
    """One publish. `matches` says, by leaf, how many clients it is for; None: all of each."""

    def __init__(self, due, matches=None, bytes=300):
        self.due = due
        self.matches = matches
        self.bytes = bytes
        self.pending = 0  # leaves with clients that do not have it yet
        self.waits_for_answer = True
        self.publisher = None
        self.reached = []  # (leaf, time) at which its last client there was written to


class Link:
    """From a node to one below: a latency, and a bandwidth that messages share one after the other."""

    def __init__(self, latency=0.0, bytes_per_us=float("inf")):
        self.latency = latency
        self.bytes_per_us = bytes_per_us
        self.free_at = 0.0

    def arrival(self, now, size):
        self.free_at = max(self.free_at, now) + size / self.bytes_per_us
        return self.free_at + self.latency


class Node:
    """A master (which nobody feeds) or a repeater. One process, one thread: turns."""

    # µs, at most, from the last write of a turn to the next look at the input. Who has been written to may be as quick, so
    # that what he sends for it is in the next turn, or in the one after: measured, either is as frequent.
    BACK = 16.0

    def __init__(self, simulation, core, costs, name, clients=0, in_use=None):
        self.simulation = simulation
        self.core = core
        self.costs = costs
        self.name = name
        self.clients = clients
        self.in_use = in_use or clients  # on the core, all processes together
        self.followers = []  # (Node, Link)
        self.further_followers = 0  # that are the same as these, and that nobody looks at: they only cost
        self.is_master = True
        self.at_once = None  # what a turn takes at most: as many as there are connections that publish; none: all
        self.at_rest = 0.0  # share of its core that reports and pings take, below 1: turns last longer by what is left
        self.inbox = []
        self.cpu = 0.0
        self.turns = 0
        self.received = 0
        self.deliveries = 0
        self._ready = False
        self._ended = float("-inf")
        self._turn = []

    def follow(self, upstream, link=None):
        self.is_master = False
        upstream.followers.append((self, link or Link()))

    def leaves(self):
        """Those at or below it that have clients."""
        below = [leaf for follower, _ in self.followers for leaf in follower.leaves()]
        return ([self] if self.clients else []) + below

    def receive(self, message, publisher=None):
        self.inbox.append((message, publisher))
        if not self._ready:
            self._ready = True
            self.core.make_ready(self)

    def matched(self, message):
        return self.clients if message.matches is None else message.matches.get(self.name, 0)

    def begin_turn(self):
        """Takes all that is there, and says how long the turn keeps the core."""
        self._turn, self.inbox = self.inbox[: self.at_once], self.inbox[self.at_once :] if self.at_once else []
        matched = [self.matched(message) for message, _ in self._turn]
        frames = sum(matched)
        missed = 1.0  # the share of clients that none of the messages is for
        for each in matched:
            missed *= 1 - each / self.clients if self.clients else 1.0
        followers = len(self.followers) + self.further_followers
        turn = Turn(cold=coldness(self.simulation.now - self._ended), received=len(self._turn), followers=followers,
                    writes=self.clients * (1 - missed), frames=frames, in_use=self.in_use)
        cost = self.costs.master_turn(turn) if self.is_master else self.costs.repeater_turn(turn)
        self.turns += 1
        self.received += turn.received
        self.deliveries += frames
        self.cpu += cost
        return cost / (1 - self.at_rest)

    def end_turn(self):
        now = self._ended = self.simulation.now
        done, self._turn = self._turn, []
        for message, publisher in done:
            for follower, link in self.followers:
                arrival = link.arrival(now, message.bytes + 128)
                if arrival > now:
                    self.simulation.at(arrival, follower.receive, message)
                else:  # it is there before anybody else runs
                    follower.receive(message)
            if publisher:
                publisher.answered(message)
            if self.matched(message):
                message.reached.append((self, now))
                message.pending -= 1
                if message.pending == 0:
                    message.publisher.everywhere(message)
        if self.is_master:
            self._look()
        else:
            self.simulation.after(self.simulation.random.uniform(0, self.BACK), self._look)

    def _look(self):
        self._ready = bool(self.inbox)
        if self._ready:
            self.core.make_ready(self)


class ClosedLoop:
    """So many in flight: each publishes its next when its last one has reached every client, and was answered."""

    BETWEEN = 8.0  # µs that the load generator takes for one publish

    def __init__(self, simulation, master, count, in_flight, matches):
        self.simulation = simulation
        self.master = master
        self.left = count
        self.matches = matches
        self.messages = []
        self.free_at = 0.0
        for _ in range(in_flight):
            self._publish()

    def _publish(self):
        if self.left == 0:
            return
        self.left -= 1
        self.free_at = max(self.free_at, self.simulation.now) + self.BETWEEN
        self.simulation.at(self.free_at, self._send)

    def _send(self):
        message = Message(self.simulation.now, self.matches(len(self.messages)))
        message.publisher = self
        message.pending = sum(1 for leaf in self.master.leaves() if leaf.matched(message))
        self.messages.append(message)
        self.master.receive(message, self)

    def answered(self, message):
        """The master's turn with it has ended."""
        message.waits_for_answer = False
        if message.pending == 0:
            self._publish()

    def everywhere(self, message):
        """Its last client has been written to. Not called for one that is for nobody."""
        if not message.waits_for_answer:
            self._publish()


class OpenLoop(ClosedLoop):
    """At a rate a second, evenly or as chance has it (Poisson), whatever became of those before."""

    def __init__(self, simulation, master, count, rate, matches, poisson=False):
        self.simulation = simulation
        self.master = master
        self.matches = matches
        self.messages = []
        time = 0.0
        for _ in range(count):
            time += (simulation.random.expovariate(rate) if poisson else 1 / rate) * 1e6
            simulation.at(time, self._send)

    def answered(self, message):
        pass

    def everywhere(self, message):
        pass


def tree(simulation, costs, levels, clients, shared_core=False, link=None):
    """A tree with so many nodes on each level, the master's left out: (4,) or (2, 4). The last level has the clients.

    Returns the levels, the master's first. Each node has a core of its own, or all share one.
    """
    core = Core(simulation)
    master = Node(simulation, core, costs, "master")
    above = [master]
    made = [above]
    for depth, count in enumerate(levels):
        last = depth == len(levels) - 1
        level = []
        for i in range(count):
            own = clients // count if last else 0
            node = Node(simulation, core if shared_core else Core(simulation), costs, f"{depth + 1}.{i + 1}", own,
                        in_use=clients if shared_core else own)
            node.follow(above[i % len(above)], link() if link else None)
            level.append(node)
        made.append(level)
        above = level
    return made
