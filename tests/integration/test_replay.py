"""Replays: what a page asks for after a reconnect, out of a node's history."""

import time

import pytest

from relay import PONG, TEXT, command_frame, message

A, B, C = "PHID-USER-A", "PHID-USER-B", "PHID-USER-C"


def check_replayed(client, *texts, replay=None):
    """The client asks for a replay, and gets exactly these messages."""
    before = len(client.messages)
    (replay or client.replay)()
    client.expect(*texts)
    client.settle()
    assert len(client.messages) == before + len(texts)


def publish_and_see(site, *texts, instance=None):
    """Publishes, and returns when the messages are in the history of the node that serves the clients."""
    path = f"/~{instance}/" if instance else "/"
    witness = site.client(path, [A, B, C])
    for text in texts:
        witness.expect(site.publish(text, instance))
    witness.close()
    return texts


def test_a_replay_sends_what_matches_the_subscriptions_oldest_first(site):
    first, _, third, _, fifth = publish_and_see(site, message(A), message(C), message(B), message(C), message(C, A))
    check_replayed(site.client(subscribe=[A, B]), first, third, fifth)


def test_a_replay_without_subscriptions_is_empty(site):
    publish_and_see(site, message(A))
    check_replayed(site.client())


def test_a_replay_of_an_empty_history_is_empty(site):
    check_replayed(site.client(subscribe=[A]))


def test_a_replay_knows_the_subscriptions_of_the_moment(site):
    a, b = publish_and_see(site, message(A), message(B))
    client = site.client(subscribe=[A])
    check_replayed(client, a)
    client.subscribe(B)
    client.unsubscribe(A)
    check_replayed(client, b)


def test_a_message_that_matches_by_several_phids_is_replayed_once(site):
    (text,) = publish_and_see(site, message(A, B, C))
    check_replayed(site.client(subscribe=[A, B, C]), text)


def test_a_replay_sends_also_what_was_delivered_before(site):
    client = site.client(subscribe=[A])
    text = site.publish(message(A))
    client.expect(text)
    check_replayed(client, text)
    check_replayed(client, text)


@pytest.mark.parametrize(
    "command",
    [
        '{"command":"replay"}',
        '{"command":"replay","data":null}',
        '{"command":"replay","data":{}}',
        '{"command":"replay","data":{"age":null}}',
        '{"command":"replay","data":{"age":0}}',
        '{"command":"replay","data":{"age":"100"}}',
        '{"command":"replay","data":{"age":true}}',
        '{"command":"replay","data":{"age":[1]}}',
        '{"command":"replay","data":{"age":{}}}',
        '{"command":"replay","data":{"Age":1}}',
        '{"command":"replay","data":1}',
        '{"command":"replay","data":"x"}',
        '{"command":"replay","data":[]}',
        '{"command":"replay","data":{"age":60000}}',
        '{"command":"replay","data":{"age":60000.5}}',
        '{"command":"replay","data":{"age":6e4}}',
        '{"command":"replay","data":{"age":1e400}}',
        '{"command":"replay","data":{"age":99999999999999999999999}}',
    ],
)
def test_an_age_that_is_missing_or_no_number_means_a_minute_and_a_large_one_all(site, command):
    texts = publish_and_see(site, message(A), message(A))
    client = site.client(subscribe=[A])
    check_replayed(client, *texts, replay=lambda: client.send(command))


@pytest.mark.parametrize("age", ["-1", "-1e400", "1e-400", "0.0000001"])
def test_an_odd_age_gets_a_replay_or_none_and_leaves_the_connection(site, age):
    publish_and_see(site, message(A))
    client = site.client(subscribe=[A])
    client.send('{"command":"replay","data":{"age":%s}}' % age)
    client.settle()
    client.subscribe(B)
    text = site.publish(message(B))
    client.wait_for_message(lambda newest: newest == text, "a message")


def test_a_replay_goes_back_as_far_as_it_was_asked_to(site):
    old, *_ = publish_and_see(site, message(A))
    time.sleep(3)  # the subject is age
    new, *_ = publish_and_see(site, message(A))
    client = site.client(subscribe=[A])
    check_replayed(client, new, replay=lambda: client.replay(2500))
    check_replayed(client, old, new, replay=lambda: client.replay(60000))


def test_a_replay_on_a_repeater_counts_ages_from_the_acceptance_by_the_master(relay, master):
    """However late the repeater came by the message."""
    master.publish(message(A))
    time.sleep(3)  # the subject is age
    repeater = relay.repeater(master)
    client = relay.client(repeater, subscribe=[A])
    new = master.publish(message(A))
    client.expect(new)
    check_replayed(client, new, replay=lambda: client.replay(2500))


def test_what_is_published_after_a_replay_follows_it(site):
    texts = publish_and_see(site, message(A), message(A))
    client = site.raw_client()
    client.send(command_frame("subscribe", [A]) + command_frame("replay", {"age": 60000}) + command_frame("ping"))
    received = [client.read_frame()[1].decode() for _ in range(3)]
    received.remove(PONG)  # which may overtake a replay
    assert received == list(texts)
    live = site.publish(message(A))
    assert client.read_frame() == (TEXT, live.encode())


def test_a_page_that_reconnects_misses_nothing_whatever_comes_in_meanwhile(relay, site):
    """As pages do it: subscribe, then replay; they drop what they have seen by its uniqueID."""
    publisher = relay.publisher(site.master, A, rate=500)
    publisher.wait_for_more(100)
    client = site.client(subscribe=[A])
    client.replay()
    publisher.wait_for_more(100)
    publisher.stop()
    last = f'"number": {publisher.accepted[-1]}}}'
    client.wait_for_message(lambda text: text.endswith(last), "the last message")
    client.settle()
    seen = {int(text.rsplit(": ", 1)[1][:-1]) for text in client.messages}
    assert sorted(set(publisher.accepted) - seen) == []


def test_messages_that_come_in_during_a_replay_follow_it_in_order_each_once(site):
    publish_and_see(site, *[message(A, text="x" * 1000) for _ in range(500)])
    client = site.raw_client(receive_buffer=4096)
    client.send(command_frame("subscribe", [A]) + command_frame("replay") + command_frame("ping"))
    received = []
    while received[-1:] != [PONG]:  # which is sent once the replay has begun
        received.append(client.read_frame()[1].decode())
    texts = [site.publish(message(A, live=number)) for number in range(200)]
    while received[-1:] != [texts[-1]]:
        received.append(client.read_frame()[1].decode())
    assert len(received) == 500 + 1 + 200
    assert received[-200:] == texts


def test_a_repeat_is_not_replayed_twice(relay):
    """Two masters were posted the same message: it is twice in a repeater's history, and once in a replay."""
    one, two = relay.master(), relay.master()
    repeater = relay.repeater(one, two)
    client = relay.client(repeater, subscribe=[A])
    text, last = message(A), message(A)
    client.expect(one.publish(text))
    two.publish(text)
    client.expect(two.publish(last))
    check_replayed(client, text, last)


def test_a_repeater_that_starts_late_replays_what_came_before_it(relay, master):
    texts = [master.publish(message(A)) for _ in range(100)]
    repeater = relay.repeater(master)
    check_replayed(relay.client(repeater, subscribe=[A]), *texts)


def test_a_replay_of_a_named_instance_holds_its_messages_only(site):
    texts = publish_and_see(site, message(A), message(B), instance="dog")
    publish_and_see(site, message(A), instance="cat")
    check_replayed(site.client("/~dog/", [A, B]), *texts)
    check_replayed(site.client("/", [A, B]))


def test_history_forgets_what_is_older_than_its_age(relay):
    master = relay.master(limits={"history.seconds": 1})
    client = relay.client(master, subscribe=[A])
    client.expect(master.publish(message(A)))
    master.wait_for_status(lambda status: status["history.size"] == 0, "an empty history")
    assert master.status()["history.age"] is None
    check_replayed(client)


def test_history_forgets_the_oldest_when_it_is_full(relay):
    master = relay.master(limits={"history.bytes": 200_000})
    texts = [master.publish(message(A, text="x" * 10_000)) for _ in range(100)]
    client = relay.client(master, subscribe=[A])
    client.replay()
    client.wait_for_message(lambda newest: newest == texts[-1], "the newest message")
    kept = len(client.messages)
    assert 5 < kept < 25
    client.expect(*texts[-kept:])


def test_history_is_one_for_all_instances_and_the_oldest_leaves_first_whoevers_it_is(relay):
    master = relay.master(limits={"history.bytes": 200_000})
    master.publish(message(A), "dog")
    for _ in range(100):
        master.publish(message(A, text="x" * 10_000), "cat")
    check_replayed(relay.client(master, "/~dog/", subscribe=[A]))


def test_a_message_larger_than_all_history_is_still_delivered(relay):
    master = relay.master(limits={"history.bytes": 10_000})
    client = relay.client(master, subscribe=[A])
    client.expect(master.publish(message(A, text="x" * 50_000)), master.publish(message(A)))


def test_several_replays_at_once_are_answered_one_after_the_other(site):
    texts = publish_and_see(site, *[message(A, number=number) for number in range(20)])
    client = site.raw_client()
    client.send(command_frame("subscribe", [A]) + command_frame("replay") * 9)
    for text in texts * 9:
        assert client.read_frame() == (TEXT, text.encode())
    client.settle()


def test_a_client_that_asks_for_too_many_replays_at_once_gets_some_and_stays(site):
    (text,) = publish_and_see(site, message(A))
    client = site.raw_client()
    client.send(command_frame("subscribe", [A]) + command_frame("replay") * 1000)
    site.node.wait_for_log("command_ignored", reason="too many replays at once")
    last = site.publish(message(A))
    received = [text.encode()]
    while received[-1] != last.encode():
        received.append(client.read_frame()[1])
    assert 9 <= received.count(text.encode()) < 1000


def test_a_client_that_leaves_during_a_replay_disturbs_nobody(relay, site):
    publish_and_see(site, *[message(A, text="x" * 500_000) for _ in range(20)])
    witness = site.client(subscribe=[B])
    for _ in range(10):
        client = relay.raw_client(site.node, receive_buffer=4096)
        client.send(command_frame("subscribe", [A]) + command_frame("replay"))
        client.read_exactly(10)
        client.reset()
    witness.expect(site.publish(message(B)))
