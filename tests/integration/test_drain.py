"""Nodes that are told to stop, and take their time for their clients' sake."""

import signal
import time

import pytest

from relay import DEADLINE, TEXT, RawClient, check_nothing_lost_or_repeated, message, wait_until

PHID = "PHID-USER-1"
FEED = "127.0.0.1:0"


def closing_times(clients):
    """Waits until all are closed, and returns when each was, in order, and with which codes."""
    times = []
    open_clients = list(clients)
    end = time.monotonic() + DEADLINE
    while open_clients:
        assert time.monotonic() < end, f"{len(open_clients)} clients are still open"
        closed = [client for client in open_clients if not client.open()]
        times += [time.monotonic()] * len(closed)
        open_clients = [client for client in open_clients if client.open()]
        time.sleep(0.01)
    return times, {client.close_code for client in clients}


def connects(node):
    try:
        RawClient(node.address("client")).close()
        return True
    except OSError:
        return False


def test_clients_are_closed_with_1001_evenly_over_the_drain(relay, master):
    repeater = relay.repeater(master, options=["--drain=4"])
    clients = [relay.client(repeater, subscribe=[PHID]) for _ in range(40)]
    started = time.monotonic()
    repeater.ask_to_stop()
    times, codes = closing_times(clients)
    assert codes == {1001}
    quarters = [sum(quarter <= each - started < quarter + 1 for each in times) for quarter in range(4)]
    assert all(5 <= count <= 15 for count in quarters), quarters
    assert repeater.wait_for_exit() == 0


def test_a_draining_node_serves_those_who_are_still_there(relay, master):
    repeater = relay.repeater(master, options=["--drain=3"])
    clients = [relay.client(repeater, subscribe=[PHID]) for _ in range(30)]
    repeater.ask_to_stop()
    wait_until(lambda: any(not client.open() for client in clients), "the first client is closed")
    text = master.publish(message(PHID))
    wait_until(lambda: sum(text in client.messages for client in clients) > 10, "those who are still there got it")


def test_a_draining_node_takes_no_more_clients(relay, master):
    repeater = relay.repeater(master, options=["--drain=10"])
    client = relay.client(repeater)
    repeater.ask_to_stop()
    repeater.wait_for_log("drain_began")
    assert not connects(repeater)
    client.close()
    assert repeater.wait_for_exit() == 0


@pytest.mark.parametrize("role", ["master", "repeater"])
def test_a_node_exits_as_soon_as_its_last_client_has_gone(relay, master, role):
    node = relay.master("--drain=3600") if role == "master" else relay.repeater(master, options=["--drain=3600"])
    client = relay.client(node)
    node.ask_to_stop()
    node.wait_for_log("drain_began")
    assert node.running()
    client.close()
    assert node.wait_for_exit() == 0


def test_a_second_sigterm_ends_a_drain_at_once(relay, master):
    repeater = relay.repeater(master, options=["--drain=3600"])
    client = relay.client(repeater)
    repeater.send_signal(signal.SIGTERM)
    repeater.wait_for_log("drain_began")
    repeater.send_signal(signal.SIGTERM)
    assert client.wait_closed() == 1001
    assert repeater.wait_for_exit() == 0


def test_signals_until_the_end_do_not_change_how_a_node_exits(relay, master):
    for _ in range(5):
        repeater = relay.repeater(master)
        while repeater.running():
            repeater.send_signal(signal.SIGTERM)
        assert repeater.wait_for_exit() == 0


def test_sigint_is_no_drain(relay, master):
    repeater = relay.repeater(master, options=["--drain=3600"])
    client = relay.client(repeater)
    repeater.send_signal(signal.SIGINT)
    assert client.wait_closed() == 1001
    assert repeater.wait_for_exit() == 0


def test_sigusr2_begins_and_ends_a_drain_without_exit(relay, master):
    repeater = relay.repeater(master, options=["--drain=0"])
    client = relay.client(repeater, subscribe=[PHID])
    repeater.send_signal(signal.SIGUSR2)
    assert client.wait_closed() == 1001
    assert not connects(repeater)
    missed = master.publish(message(PHID))
    repeater.send_signal(signal.SIGUSR2)
    repeater.wait_for_log("drain_ended")
    client = relay.client(repeater, subscribe=[PHID])
    client.replay()
    client.expect(missed)
    client.expect(master.publish(message(PHID)))
    assert relay.connect(repeater, "client") is not None


def test_a_node_that_was_drained_by_sigusr2_exits_on_sigterm(relay, master):
    repeater = relay.repeater(master, options=["--drain=0"])
    repeater.send_signal(signal.SIGUSR2)
    repeater.wait_for_log("drained")
    repeater.ask_to_stop()
    assert repeater.wait_for_exit() == 0


def test_a_draining_master_answers_publishes_503_and_its_repeaters_have_everything(relay):
    master = relay.master("--drain=3600")
    witness = relay.client(relay.repeater(master), subscribe=[PHID])
    guest = relay.client(master)
    texts = [master.publish(message(PHID, number=number)) for number in range(100)]
    master.send_signal(signal.SIGTERM)
    master.wait_for_log("drain_began")
    assert master.post(message(PHID)).status == 503
    master.wait_for_status(lambda status: status["clients.active"] == 2, "both clients")
    guest.close()
    assert master.wait_for_exit() == 0
    witness.expect(*texts)


def test_repeaters_of_a_draining_node_move_to_another_of_their_group_without_loss(relay, master):
    first, second = (relay.repeater(master, repeaters=FEED, options=["--drain=3600"]) for _ in range(2))
    guests = {node: relay.client(node) for node in (first, second)}
    leaf = relay.repeater([first, second])
    client = relay.client(leaf, subscribe=[PHID])
    followed = first if first.events("repeater_connected") else second
    other = second if followed is first else first
    publisher = relay.publisher(master, PHID)
    publisher.wait_for_more(50)
    followed.send_signal(signal.SIGTERM)
    other.wait_for_log("repeater_connected")
    publisher.wait_for_more(50)
    assert followed.running()
    guests[followed].close()
    assert followed.wait_for_exit() == 0
    publisher.stop()
    check_nothing_lost_or_repeated(client, publisher)
    metrics = leaf.metrics()
    assert metrics['upstream_connects_total{upstream="0"}'] == 2
    assert metrics['upstream_failures_total{upstream="0"}'] == 0, "it was asked to move, and did"
    guests[other].close()


def test_a_repeater_without_an_alternative_stays_with_a_draining_node_to_the_end(relay):
    master = relay.master("--drain=3600")
    guest = relay.client(master)
    repeater = relay.repeater(master)
    master.send_signal(signal.SIGTERM)
    master.wait_for_log("drain_began")
    wait_until(lambda: master.status()["repeaters"], "the repeater is still there")
    assert not repeater.events("upstream_lost")
    guest.close()
    assert master.wait_for_exit() == 0
    repeater.wait_for_log("upstream_lost")
