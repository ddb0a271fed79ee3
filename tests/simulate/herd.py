"""A herd: clients that come to one repeater at once, because another has gone.

They pass two queues. The kernel's has the connections that nobody has accepted; a node accepts up to 64 of them a turn, and
keeps who cannot be let in at once in a queue of its own. A turn has two ends, before and after it waits for input, and each
gives a millisecond to letting clients in (HttpLimits::turn_time). Who has left by then costs no TLS handshake. Letting a
client in is one step here: who has begun goes before who has just come, so that hardly anybody gives up in between.
"""

import collections
import dataclasses
import heapq
import itertools
import math
import random

ACCEPTED = 64  # of a turn
ENTERING = 2_000.0  # µs of a turn
OTHERS = 500.0  # µs of a turn for everybody else: assumed
LONGEST = 300e6  # µs that are looked at
SYN_SENT = (0.0, 1e6, 3e6, 7e6, 15e6, 31e6, 63e6)  # µs after connect(), by Linux (net.ipv4.tcp_syn_retries is 6) …
SYN_GIVEN_UP = 127e6  # … which ends then


class Page:
    """What a page of Phabricator does in a browser on Linux: it waits as long as the system does."""

    gives_up = SYN_GIVEN_UP  # µs after an attempt has begun, where no SYN is answered
    patience = math.inf  # likewise, where nothing but the kernel has answered

    @staticmethod
    def pause(failed, chance):
        """µs before the next attempt, when so many have failed since the connection was lost."""
        return 1e6 * min(2**failed, 300)


class Module(Page):
    """What deploy/browser/aphlict-client.js does: it gives up after 10 s, and waits for up to 0.5, 1, 2 … 30 s."""

    gives_up = patience = 10e6

    @staticmethod
    def pause(failed, chance):
        return 1e6 * chance.uniform(0, min(30, 2 ** (failed - 2)))


def attempts(page, begun, chance):
    """Each SYN that is sent while none is answered: (number of the attempt, when that began, when the SYN is sent)."""
    for number in itertools.count():
        for delay in SYN_SENT:
            if delay < page.gives_up:
                yield number, begun, begun + delay
        begun += page.gives_up + page.pause(number + 1, chance)


@dataclasses.dataclass
class Herd:
    end: float  # µs until the last one is back, or the end of patience
    back: int  # clients, by then
    turn: float  # µs, the turns' p99 meanwhile
    again: int  # clients that have sent a SYN again
    gave_up: int  # attempts that their clients gave up, having been queued


def herd_of(costs, clients, queue, how="", spread=0.0, page=Page, others=OTHERS):
    """Clients that come to one repeater at once, or spread over some time (µs).

    The kernel queues so many connections; whose SYN finds the queue full sends it again, as TCP does, until it or the page
    gives up. Who gives up while waiting leaves a connection behind. `how` is what the name of the cost has behind
    "connect": nothing, or ", TLS" …
    """
    chance = random.Random(1)
    accept = costs["repeater: leaves before TLS"] if how else 0.0  # without TLS, all is counted when a client is let in
    enter = max(0.0, costs[f"repeater: connect{how}"] - accept)
    syns = [attempts(page, chance.uniform(0, spread), chance) for _ in range(clients)]
    current = [0] * clients  # the number of each one's attempt
    events = []  # (time, client, number of its attempt, when that began): a SYN, or (…, None): the end of its patience
    kernel, accepted = collections.deque(), collections.deque()  # (client, number of its attempt)
    came, again = set(), set()
    now, gave_up, turns = 0.0, 0, []

    def send(client, after=-1):
        """Its next SYN, of an attempt after that one."""
        number, begun, time = next(syn for syn in syns[client] if syn[0] > after)
        current[client] = number
        heapq.heappush(events, (time, client, number, begun))

    def happen(client, number, begun):
        nonlocal gave_up
        if begun is None:
            if client not in came:
                gave_up += 1
                send(client, after=number)
        elif len(kernel) < queue:
            kernel.append((client, number))
            if page.patience < math.inf:
                heapq.heappush(events, (begun + page.patience, client, number, None))
        else:
            again.add(client)
            send(client)

    for client in range(clients):
        send(client)
    while len(came) < clients and now < LONGEST:
        if not kernel and not accepted:
            now = max(now, events[0][0])
        while events and events[0][0] <= now:
            happen(*heapq.heappop(events)[1:])
        taken = min(ACCEPTED, len(kernel))
        accepted.extend(kernel.popleft() for _ in range(taken))
        entering = 0.0
        while accepted and entering < ENTERING:
            client, number = accepted.popleft()
            lives = current[client] == number
            if lives:
                came.add(client)
            if lives or not how:  # without TLS, nobody looks
                entering += enter
        turns.append(taken * accept + entering + others)
        now += turns[-1]
    return Herd(now, len(came), sorted(turns)[len(turns) * 99 // 100], len(again), gave_up)
