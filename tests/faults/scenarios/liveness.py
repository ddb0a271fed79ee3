"""Hosts that vanish without a word, clocks that jump, and a node that has to last."""

import datetime
import os
import signal
import struct
import time

from lab import wait
from relay import command_frame, handshake_request, wait_until
from scenarios import scenario
from storm import Storm
from tools import build


@scenario()
def vanished_repeater(trial):
    """A repeater's host loses its cable for 20 s: both ends find out after 15 s, and nothing is lost."""
    lab = trial.lab
    master = lab.master("master")
    middle = lab.repeater("middle", master, feed=True)
    leaf = lab.repeater("leaf", middle)
    trial.plain_clients(2, middle, leaf)
    trial.publish([master], 200)
    trial.wait_for_messages()
    for seconds in [20, 50] if trial.long else [20]:
        leaf.host.pull_cable()
        pulled = time.monotonic()
        mark, leaf_mark = middle.node.log_mark(), leaf.node.log_mark()
        trial.say(f"{leaf} has lost its cable")
        middle.node.wait_for_log("repeater_disconnected", after=mark)
        trial.note("the node above found out after", f"{time.monotonic() - pulled:.1f} s")
        leaf.node.wait_for_log("upstream_lost", after=leaf_mark)
        trial.note("the repeater found out after", f"{time.monotonic() - pulled:.1f} s")
        trial.check(time.monotonic() - pulled < 18, "they were not found out within 18 s")
        wait(pulled + seconds - time.monotonic())
        leaf.host.plug_cable_in()
        trial.fault_ended()
        trial.say(f"{leaf} has its cable again")
        trial.wait_for_messages()
    trial.settle()
    trial.judge()


@scenario()
def vanished_client(trial):
    """A client's host vanishes without a FIN: it is found, logged and no longer counted within 3 ping intervals."""
    lab = trial.lab
    interval = 30 if trial.long else 2
    repeater = lab.repeater("repeater", lab.master("master"), limits={"client.ping.seconds": interval})
    host = lab.host("visitor")
    visitors = [lab.keep(host.socket()) for _ in range(10)]
    for visitor in visitors:
        visitor.connect(repeater.address("client"))
        visitor.sendall(handshake_request() + command_frame("subscribe", [trial.ledger().phid]))
    wait_until(lambda: repeater.status()["clients.active"] == 10, "ten clients are there")
    host.pull_cable()
    pulled = time.monotonic()
    trial.say("their host has lost its cable")
    found = wait_until(lambda: repeater.events("client_cut"), "it is noticed", 4 * interval)
    trial.note("found after", f"{time.monotonic() - pulled:.0f} s: {found[0].fields['reason']}")
    wait_until(lambda: repeater.status()["clients.active"] == 0, "they are not counted any longer")
    trial.check(time.monotonic() - pulled < 3 * interval + 3, "it took more than 3 ping intervals")


class Clock:
    """A wall clock of its own for those members that are started with its environment."""

    def __init__(self, folder):
        self._path = folder / "clock"
        self.move(0)
        shim = build("clock_shim.c", "-shared", "-fPIC")
        self.environment = {
            "LD_PRELOAD": str(shim),
            "FAULTS_CLOCK": str(self._path),
            # The sanitizers want to be the first library, which is of no concern to this one.
            "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", ""),
        }

    def move(self, hours):
        mode = "r+b" if self._path.exists() else "wb"
        with open(self._path, mode) as file:  # in place: it is mapped
            file.write(struct.pack("q", int(hours * 3600e9)))


def hours_ahead(member):
    """How far the clock of a member's log is from the suite's, by its last line."""
    told = datetime.datetime.fromisoformat(member.node.log[-1].fields["time"].replace("Z", "+00:00"))
    return round((told - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 3600)


@scenario()
def moved_clock(trial):
    """The wall clock moves by an hour, on and back, under all nodes and over a restart: ages and history stay."""
    lab = trial.lab
    clock = Clock(lab.folder)
    master = lab.master("master", environment=clock.environment)
    middle = lab.repeater("middle", master, feed=True, environment=clock.environment)
    leaf = lab.repeater("leaf", middle)
    trial.plain_clients(2, middle, leaf)
    publisher = trial.publish([master], 200)
    trial.wait_for_messages()
    for hours in (1, 0, -1, 1):
        clock.move(hours)
        trial.say(f"the clock stands {hours} h from where it should")
        wait(5 if trial.long else 1)
        trial.wait_for_messages()
        if hours == 1:
            master.kill()
            master.start().wait_until_it_listens("repeater")
            trial.fault_ended()
            trial.say("kill -9 and restart of the master")
            trial.wait_for_messages()
            trial.check(hours_ahead(master) == hours, "the master's clock does not move: nothing was tried")
        else:
            mark = middle.node.log_mark()
            middle.node.send_signal(signal.SIGUSR1)  # which it logs, with the time
            middle.node.wait_for_log("logs_reopened", after=mark)
            trial.check(hours_ahead(middle) == hours, "the repeater's clock does not move: nothing was tried")
    seconds = time.monotonic() - publisher.started
    trial.settle()
    trial.judge()
    late = lab.repeater("late", master, environment=clock.environment)
    for member in (master, middle, leaf, late):
        status = member.status()
        size, age = status["history.size"], status["history.age"]
        trial.check(size == trial.counts.answered, f"the history of {member} has {size} messages")
        trial.check(0 <= age / 1000 - seconds < 5, f"the history of {member} is {age} ms old after {seconds:.1f} s")
    trial.check(not leaf.events("upstream_lost"), "the leaf has lost its upstream")
    trial.check(not master.events("epoch_ended"), "the master has begun a new epoch")


def mib_an_hour(samples):
    """The slope of a line through (seconds, KiB)."""
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    above = sum((x - mean_x) * (y - mean_y) for x, y in samples)
    below = sum((x - mean_x) ** 2 for x, _ in samples)
    return above / below * 3600 / 1024


@scenario(alone=True, long_only=True)
def soak(trial):
    """30 minutes in which 1,000 clients a second come, subscribe, replay and go: memory does not grow."""
    lab = trial.lab
    minutes = trial.minutes or 30
    master = lab.master("master")
    repeater = lab.repeater("repeater", master)
    trial.plain_clients(10, repeater)
    trial.publish([master], 50)
    storm = lab.keep(
        Storm(repeater.address("client"), 50, 20, lab.network.client_addresses(), phid=trial.ledger().phid)
    )
    begin = time.monotonic()
    samples = {master: [], repeater: []}
    while time.monotonic() < begin + minutes * 60:
        wait(5)
        if time.monotonic() > begin + minutes * 60 / 4:  # after that it is warm
            for member in samples:
                samples[member].append((time.monotonic(), member.resident_kib()))
    storm.stop()
    trial.settle()
    trial.judge()
    trial.note("clients", f"{storm.begun()}, failed: {storm.failed() or 'none'}")
    trial.check(not storm.failed(), f"handshakes failed: {storm.failed()}")
    for member, of_member in samples.items():
        slope = mib_an_hour(of_member)
        trial.note(f"memory of the {member}", f"{of_member[-1][1]} KiB, growing by {slope:.2f} MiB/h")
        trial.check(slope < 1, f"the memory of the {member} grows by {slope:.2f} MiB/h")
