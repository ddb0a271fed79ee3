"""One run of one scenario: its lab, its traffic, its clock and dice, and what it found."""

import dataclasses
import random
import sys
import time

import clients
from lab import Lab, wait
from link import Link
from publisher import ANSWERED, PENDING, REFUSED, UNCERTAIN, Ledger, Publisher
from relay import wait_until

PHID = "PHID-USER-faults"
CATCHING_UP = 30.0  # seconds that everything may take to arrive after the last publish


@dataclasses.dataclass
class Counts:
    published: int = 0
    answered: int = 0
    uncertain: int = 0
    refused: int = 0
    lost: int = 0
    repeated: int = 0
    disordered: int = 0


class Trial:
    def __init__(self, name, seed, long, minutes, folder, network):
        self.name = name
        self.seed = seed
        self.long = long
        self.minutes = minutes  # for scenarios that can last for any time; None: as long as they do by default
        self.random = random.Random(f"{seed} {name}")
        self.lab = Lab(folder, network)
        self.publishers = []
        self.clients = []
        self.faults_ended = []  # (when, the clients whom it concerned)
        self.problems = []
        self.notes = {}  # what was measured
        self.counts = Counts()
        self._started = time.monotonic()

    # Telling.

    def say(self, text):
        """A line of the schedule."""
        print(f"{time.monotonic() - self._started:7.2f} s  {text}")
        sys.stdout.flush()

    def check(self, condition, text):
        """What does not hold is a problem, and the trial goes on."""
        if not condition:
            self.problems.append(text)
            self.say(f"PROBLEM: {text}")
        return condition

    def note(self, name, value):
        self.notes[name] = value

    # Traffic.

    def link(self, member, server_type="repeater", name=None):
        """A proxy before a member's port."""
        return Link(self.lab, member, server_type, name)

    def publish(self, masters, rate, padding=0, **options):
        """A publisher, which begins at once."""
        ledger = self.ledger()
        ledger.padding = padding
        publisher = Publisher(masters, rate, ledger, self.random.random(), **options)
        self.lab.keep(publisher)
        self.publishers.append(publisher)
        return publisher.start()

    def ledger(self):
        """What the clients' messages are compared with. REQUIRES: one for each trial."""
        if not hasattr(self, "_ledger"):
            self._ledger = Ledger(PHID, f"{self.random.getrandbits(48):012x}")
        return self._ledger

    def plain_clients(self, count, *members):
        """`count` clients of each of these members."""
        return [self._client(clients.PlainClient, f"client {i} of {m}", [m]) for m in members for i in range(count)]

    def pages(self, count, members):
        """`count` pages, whose URL stands for all of these members."""
        return [self._client(clients.Page, f"page {len(self.clients)}", members) for _ in range(count)]

    def _client(self, kind, name, members):
        addresses = [member.address("client") for member in members]
        client = kind(name, self.ledger(), addresses, self.random.random())
        client.homes = [str(member) for member in members]
        self.lab.keep(client)
        self.clients.append(client)
        return client.connect()

    def fault_ended(self, concerned=None):
        """The time to the first message that comes through again is counted from now."""
        self.faults_ended.append((time.monotonic(), concerned or list(self.clients)))

    def wait_for_messages(self, count=20, concerned=None):
        """Until this many more messages have come to each client."""
        concerned = list(concerned or self.clients)
        goals = [len(client.numbers) + count for client in concerned]

        def enough():
            return all(len(client.numbers) >= goal for client, goal in zip(concerned, goals))

        wait_until(enough, f"{count} more messages at {len(concerned)} clients")

    def wait_for_new_messages(self, count=20):
        """Until as many of the messages that are published from now on have come to each client: those that were still
        on their way do not count."""
        first = len(self.ledger().texts)

        def enough():
            numbers = range(first, len(self.ledger().texts))
            return all(sum(client.has(number) for number in numbers) >= count for client in self.clients)

        wait_until(enough, f"{count} new messages at {len(self.clients)} clients")

    # Judging.

    def settle(self, missing_is_fine=False, everywhere=True):
        """Stops publishing, and waits until all that was answered 200 has come to everybody."""
        for publisher in self.publishers:
            publisher.stop()
            if everywhere:
                publisher.publish_at_each()
        answered = self.ledger().answer_order
        ends = answered[-4:] if missing_is_fine else answered

        def missing():
            return any(n >= client.first_number and not client.has(n) for client in self.clients for n in ends)

        end = time.monotonic() + CATCHING_UP
        while missing() and time.monotonic() < end:
            wait(0.05)

    def judge(self, lost=0):
        """Counts what is wrong. `lost`: how many may be missing, over all clients."""
        self.count()
        counts = self.counts
        self.check(counts.answered > 0, "nothing was answered 200")
        self.check(counts.lost == lost, f"{counts.lost} messages lost, where {lost} were to be: {self.some_lost()}")
        self.check(counts.repeated == 0, f"{counts.repeated} messages repeated")
        self.check(counts.disordered == 0, f"{counts.disordered} messages out of order")

    def count(self):
        ledger = self.ledger()
        fates = ledger.fates
        self.counts = Counts(
            published=len(fates),
            answered=ledger.count(ANSWERED),
            uncertain=ledger.count(UNCERTAIN),
            refused=ledger.count(REFUSED),
            lost=sum(len(self.lost_by(client)) for client in self.clients),
            repeated=sum(client.repeated() for client in self.clients),
            disordered=sum(client.disordered() for client in self.clients if isinstance(client, clients.PlainClient)),
        )
        self.check(ledger.count(PENDING) == 0, f"{ledger.count(PENDING)} publishes are still under way")
        ghosts = sum(fates[number] == REFUSED for client in self.clients for number in client.numbers)
        self.check(ghosts == 0, f"{ghosts} deliveries of messages that were refused")
        for client in self.clients:
            for complaint in client.complaints:
                self.check(False, complaint)
            if isinstance(client, clients.PlainClient):
                self.check(not client.close_codes, f"{client.name} was closed with {client.close_codes}")
        skipped = sum(each.skipped for each in self.publishers if each.is_steady())
        if skipped:
            self.note("skipped", skipped)

    def lost_by(self, client):
        return [n for n in self.ledger().answer_order if n >= client.first_number and not client.has(n)]

    def some_lost(self):
        return "; ".join(f"{c.name} {shorten(lost)}" for c in self.clients if (lost := self.lost_by(c)))[:400]

    def recovered_in(self):
        """The longest time from a fault's end to the first message at one of those whom it concerned."""
        times = []
        for ended, concerned in self.faults_ended:
            for client in concerned:
                first = client.first_arrival_after(ended)
                if first is not None:
                    times.append(first - ended)
        return max(times, default=None)


def shorten(numbers):
    """Numbers as ranges: 1-5, 9."""
    ranges = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
