"""Everything at once, by dice whose seed is printed."""

import heapq
import time

from lab import wait
from publisher import PATIENCE
from relay import wait_until
from scenarios import scenario

MOST_AT_ONCE = 4
CALM_AFTER = 15  # seconds of faults, after which everybody catches up: nobody is cut off for as long as history lasts
# Seconds between the end of one master's fault and the next one's begin: whoever began to wait for the one in the last
# moment of its fault, and goes to the other for an answer, still finds it well.
BETWEEN_MASTERS = PATIENCE + 0.5


def faults_of_members(trial, members, kinds):
    """(what, target, begin, end) for each fault that a member can have."""

    def kill(member):
        return member.kill, lambda: start(member)

    def start(member):
        member.start().wait_until_it_listens("admin")  # so that the fault ends when it says so

    def freeze(member):
        return member.freeze, member.thaw

    def cable(member):
        return member.host.pull_cable, member.host.plug_cable_in

    known = {"kill": kill, "freeze": freeze, "cable": cable}
    return [(kind, member, *known[kind](member)) for member in members for kind in kinds]


def faults_of_links(links):
    faults = []
    for link in links:
        for what, begin in (
            ("cut", link.cut),
            ("black hole", link.black_hole),
            ("500 ms", lambda link=link: link.delay(0.5)),
            ("10 kB/s", lambda link=link: link.throttle(10_000)),
            ("cut in a frame", lambda link=link: link.cut_in_the_middle_of_a_frame(at_once=False)),
        ):
            faults.append((what, link, begin, link.restore))
    return faults


@scenario()
def random_faults(trial):
    """All of it at random, to two masters, two middles and three leaves: in the long form for --minutes (10)."""
    lab = trial.lab
    masters = [lab.master(f"master{i}") for i in range(2)]
    above = [[trial.link(m, name=f"middle{i}-{m}") for m in masters] for i in range(2)]
    middles = [lab.repeater(f"middle{i}", *above[i], feed=True) for i in range(2)]
    below = [[trial.link(m, name=f"leaf{i}-{m}") for m in middles] for i in range(3)]
    leaves = [lab.repeater(f"leaf{i}", below[i]) for i in range(3)]
    # Two leaves may die, which pages get over; the third never does, so that its plain clients miss nothing.
    trial.pages(6, leaves[:2])
    trial.plain_clients(3, leaves[2])
    one_master_at_a_time = faults_of_members(trial, masters, ["kill", "freeze"])
    others = faults_of_members(trial, middles, ["kill", "freeze"]) + faults_of_members(trial, leaves, ["freeze"])
    others += faults_of_members(trial, leaves[:2], ["kill"])
    others += faults_of_links([link for links in above + below for link in links])
    if lab.network.cables:
        others += faults_of_members(trial, middles, ["cable"])
    trial.publish(masters, 200)
    end = time.monotonic() + 60 * (trial.minutes or (10 if trial.long else 0.25))
    count = 0
    while time.monotonic() < end:
        count += one_round(trial, one_master_at_a_time, others, min(CALM_AFTER, end - time.monotonic()))
        trial.fault_ended()
        for member in (*masters, *middles, *leaves):
            member.wait_until_it_listens("admin")
        wait_until(lambda: all(client.is_open() for client in trial.clients), "all clients are connected")
        trial.wait_for_messages()
    trial.settle()
    trial.judge()
    trial.note("faults", count)
    trial.check(trial.counts.answered == trial.counts.published, "one of two masters is always there to answer")
    for member in (*middles, *leaves):
        trial.check(not member.events("gap"), f"{member} was told of a gap")


def one_round(trial, masters_faults, others, seconds):
    """Faults for some seconds, all of which end with it. Returns how many."""
    dice = trial.random
    begin = time.monotonic()
    ending = []  # heap of (when, number, what, target, end)
    suffering = set()
    masters_are_well_from = begin
    count = 0

    def end_those_before(moment):
        while ending and ending[0][0] <= moment:
            when, _, what, target, end = heapq.heappop(ending)
            wait(max(0, when - time.monotonic()))
            end()
            suffering.discard(str(target))
            trial.say(f"    {target}: {what} ends")

    next_at = begin
    while True:
        next_at += dice.expovariate(2)
        if next_at > begin + seconds:
            break
        end_those_before(next_at)
        wait(max(0, next_at - time.monotonic()))
        from_masters = dice.random() < 0.2
        what, target, start, end = dice.choice(masters_faults if from_masters else others)
        lasts = dice.uniform(0.1, 5)
        if from_masters and next_at < masters_are_well_from + BETWEEN_MASTERS:
            continue
        if str(target) in suffering or len(ending) >= MOST_AT_ONCE:
            continue
        count += 1
        start()
        suffering.add(str(target))
        ends_at = min(next_at + lasts, begin + seconds)
        if from_masters:
            masters_are_well_from = ends_at
        heapq.heappush(ending, (ends_at, count, what, target, end))
        trial.say(f"{target}: {what} for {lasts:.1f} s")
    end_those_before(float("inf"))
    return count
