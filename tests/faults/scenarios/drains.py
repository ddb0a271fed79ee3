"""Nodes that go, and take their time for others' sake."""

import signal
import time

from clients import PlainClient
from lab import ADMIN, wait
from relay import wait_until
from scenarios import scenario
from storm import Storm


def replace_processes_that_share_a_port(trial, host, rounds, storm):
    """Each time one of two that share the clients' port is drained, once a third has come in its place."""
    repeaters = trial.sharing
    for _ in range(rounds):
        trial.next_admin_port += 1
        newest = start_sharing(trial, host)
        wait(trial.random.uniform(0.1, 0.4))
        oldest = repeaters.pop(0)
        repeaters.append(newest)
        oldest.stop()
        trial.say(f"{oldest} has gone, {newest} is there")
    storm.stop()


def start_sharing(trial, host):
    number = trial.next_admin_port - ADMIN
    options = ["--reuse-port"]
    repeater = trial.lab.repeater(
        f"sharing{number}", trial.master, options=options, host=host, admin_port=trial.next_admin_port, drain=1
    )
    return repeater


@scenario()
def shared_port(trial):
    """Two processes share a port; one is drained and replaced by a third: no handshake fails with tcp_migrate_req=1."""
    lab = trial.lab
    host = lab.host("shared")
    host.set("net.core.somaxconn", 16384)
    host.slow_cable_down("4mbit")  # so that many handshakes are half done when a listener is closed
    trial.master = lab.master("master")
    trial.next_admin_port = ADMIN
    trial.sharing = []
    for _ in range(2):
        trial.next_admin_port += 1
        trial.sharing.append(start_sharing(trial, host))
    for migrate in (0, 1):
        host.set("net.ipv4.tcp_migrate_req", migrate)
        trial.say(f"tcp_migrate_req={migrate}")
        storm = lab.keep(Storm(trial.sharing[0].address("client"), 100, 8))
        replace_processes_that_share_a_port(trial, host, 20 if trial.long else 5, storm)
        trial.note(f"tcp_migrate_req={migrate}", f"{storm.begun()} handshakes, failed: {storm.failed() or 'none'}")
        if migrate:
            trial.check(not storm.failed(), f"handshakes failed: {storm.failed()}")
            trial.check(storm.begun() > 500, "there were hardly any handshakes")


def unevenness(times, begin, seconds):
    """The largest part by which the share of the clients that were closed was ahead of, or behind, the time."""
    worst = 0.0
    for index, moment in enumerate(sorted(times)):
        worst = max(worst, abs((index + 0.5) / len(times) - (moment - begin) / seconds))
    return worst


@scenario()
def even_drain(trial):
    """SIGTERM closes clients with 1001 spread evenly over --drain, and the process goes with the last of them."""
    seconds = 20 if trial.long else 4
    repeater = trial.lab.repeater("repeater", trial.lab.master("master"), drain=seconds)
    clients = trial.plain_clients(400, repeater)
    begin = time.monotonic()
    repeater.node.ask_to_stop()
    trial.say(f"SIGTERM {repeater}, which has 400 clients")
    code = repeater.node.wait_for_exit()
    gone = time.monotonic()
    trial.check(code == 0, f"it exited with {code}")
    wait_until(lambda: not any(client.is_open() for client in clients), "all clients are closed")
    times = [client.closed_at[0] for client in clients]
    codes = {client.close_codes[0] for client in clients}
    trial.note("unevenness", f"{unevenness(times, begin, seconds):.1%} of {seconds} s")
    trial.note("last client closed after", f"{max(times) - begin:.2f} s, gone {gone - max(times):.3f} s later")
    trial.check(codes == {1001}, f"closed with {codes}")
    trial.check(unevenness(times, begin, seconds) < 0.05, "clients are not closed evenly")
    trial.check(gone - max(times) < 1, "it did not exit with the last client")


@scenario()
def early_exit(trial):
    """A drain of 20 s ends at once when the last client has left by itself, and with no client begins and ends at once."""
    master = trial.lab.master("master", clients=True)
    repeater = trial.lab.repeater("repeater", master, drain=20)
    clients = trial.plain_clients(50, repeater)
    repeater.node.ask_to_stop()
    repeater.node.wait_for_log("drain_began")
    wait(0.5)
    trial.check(repeater.node.running(), "it went while it had clients")
    for client in clients:
        client.close()
    left = time.monotonic()
    repeater.node.wait_for_exit()
    trial.note("gone after the last client", f"{time.monotonic() - left:.3f} s")
    trial.check(time.monotonic() - left < 1, "it did not exit with the last client")
    left = time.monotonic()
    repeater.start().wait_until_synchronised().stop()
    trial.check(time.monotonic() - left < 2, "a node without clients drains")


def accepts_clients(trial, member):
    """Whether a new client is taken by a member."""
    client = PlainClient("a probe", trial.ledger(), [member.address("client")], 0)
    trial.lab.keep(client)
    try:
        client.connect()
    except AssertionError:
        return False
    client.close()
    return True


@scenario()
def drain_signals(trial):
    """SIGUSR2 begins and ends a drain; SIGTERM ends one for good; a second SIGTERM, or SIGINT, exits at once."""
    repeater = trial.lab.repeater("repeater", trial.lab.master("master"), drain=20)
    clients = trial.plain_clients(100, repeater)

    def restart():
        repeater.start().wait_until_synchronised().wait_until_it_listens("client")
        return trial.plain_clients(20, repeater)

    def seconds_to_exit():
        begin = time.monotonic()
        repeater.node.wait_for_exit()
        return time.monotonic() - begin

    repeater.node.send_signal(signal.SIGUSR2)
    trial.say("SIGUSR2")
    repeater.node.wait_for_log("drain_began")
    trial.check(not accepts_clients(trial, repeater), "a draining node takes clients")
    wait_until(lambda: sum(not client.is_open() for client in clients) >= 10, "clients are closed one after the other")
    mark = repeater.node.log_mark()
    repeater.node.send_signal(signal.SIGUSR2)
    trial.say("SIGUSR2")
    repeater.node.wait_for_log("listening", after=mark, type="client")
    trial.check(accepts_clients(trial, repeater), "a node takes no clients after its drain has ended")
    left = sum(client.is_open() for client in clients)
    wait(1)
    trial.check(sum(client.is_open() for client in clients) == left > 50, "clients are closed after the drain has ended")

    repeater.node.send_signal(signal.SIGTERM)
    repeater.node.wait_for_log("drain_began", after=repeater.node.log_mark() - 2)
    repeater.node.send_signal(signal.SIGTERM)
    trial.say("SIGTERM twice")
    trial.check(seconds_to_exit() < 3, "a second SIGTERM does not end a drain")

    restart()
    repeater.node.send_signal(signal.SIGINT)
    trial.say("SIGINT")
    trial.check(seconds_to_exit() < 3, "SIGINT does not exit at once")

    for client in restart():
        client.close()
    repeater.node.send_signal(signal.SIGUSR2)
    repeater.node.wait_for_log("drained")
    repeater.node.send_signal(signal.SIGTERM)
    trial.say("SIGUSR2, and SIGTERM when it has drained")
    trial.check(seconds_to_exit() < 3, "a node that has drained does not exit at once on SIGTERM")


@scenario()
def flushed_feeds(trial):
    """A master without a state folder is told to stop while its feed is behind: what it answered 200 still goes out."""
    masters = [trial.lab.master(f"master{i}", state=False, drain=20) for i in range(2)]
    links = [trial.link(master) for master in masters]
    trial.plain_clients(2, trial.lab.repeater("repeater", *links))
    trial.publish(masters, 200)
    trial.wait_for_messages()
    for master, link in zip(masters * (5 if trial.long else 1), links * 5):
        link.throttle(20_000)
        trial.say(f"{link} carries 20 kB/s")
        wait(3)
        master.node.ask_to_stop()
        trial.say(f"SIGTERM {master}")
        wait(1)
        link.throttle(200_000)
        trial.check(master.node.wait_for_exit() == 0, "it did not exit in peace")
        trial.say(f"{master} has gone")
        link.restore()
        master.start().wait_until_it_listens("repeater")
        trial.fault_ended()
        trial.wait_for_messages()
    trial.settle()
    trial.judge()
    trial.check(trial.counts.answered == trial.counts.published, "one of two masters is always there to answer")
