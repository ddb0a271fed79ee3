"""Aphlict's push cluster: masters that post what they accept to each other, and to Aphlict."""

import json
import time

import pytest

from aphlict_peer import AphlictPeer
from authority import Authority
from relay import message, unused_port, wait_until
from test_reload import Configured

PHID = "PHID-USER-1"


def metric(node, name, peer=0):
    return node.metrics()[f'push_{name}{{peer="{peer}"}}']


@pytest.fixture
def peer(relay):
    return relay.keep(AphlictPeer())


def master_with(relay, *peers, limits=None, **settings):
    return relay.master(limits=limits, config={"cluster": [each.entry for each in peers], **settings})


def wait_for_all(peer, texts):
    wait_until(lambda: len(peer.taken) >= len(texts), f"{len(texts)} messages at the peer, which has {len(peer.taken)}")
    assert peer.messages() == [json.loads(text) for text in texts]


# --- what is posted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("instance", [None, "dog", "a&b=c", "1+1 %20", "ü#?/~🎉"])
def test_a_peer_gets_each_message_for_its_instance(relay, peer, instance):
    master = master_with(relay, peer)
    text = master.publish(message(PHID), instance)
    wait_for_all(peer, [text])
    assert peer.taken[0][0] == (instance or "default")


@pytest.mark.parametrize(
    "before, after",
    [
        ('{"n":1.50,"big":123456789012345678901234567890,"subscribers":["é🎉"]}', '{"touched":["%s"],%s'),
        ('{"subscribers":[],"touched":["AAAA"],"x":"\\ud800"}', None),
        (' { "subscribers" : [ ] , "touched" : null }\n', None),
    ],
)
def test_a_copy_differs_by_the_list_of_those_it_has_come_by_and_by_nothing_else(relay, peer, before, after):
    master = master_with(relay, peer)
    master.publish(before)
    wait_until(lambda: peer.taken, "the copy")
    copy, id = peer.taken[0][1].decode(), master.status()["fingerprint"]
    if "AAAA" in before:
        assert copy == before.replace('"AAAA"', f'"AAAA","{id}"')
    elif "null" in before:
        assert copy == before.replace("null", f'["{id}"]')
    else:
        assert copy == '{"touched":["%s"],' % id + before[1:]


def test_a_message_that_has_been_here_is_taken_for_the_repeat_that_it_is(relay, peer):
    master = master_with(relay, peer)
    client = relay.client(master, subscribe=[PHID])
    own = master.status()["fingerprint"]
    reply = master.post(json.dumps({"subscribers": [PHID], "touched": ["x", own]}))
    assert (reply.status, reply.json()) == (200, {"fingerprint": own})
    client.expect(master.publish(message(PHID, text=f"it is about {own}")))
    assert master.metrics()['publishes_total{result="repeat"}'] == 1
    wait_until(lambda: peer.taken and metric(master, "waiting_messages") == 0, "the second")
    assert len(peer.taken) == 1


def test_the_same_list_may_stand_on_every_node(relay, peer):
    port = unused_port()
    itself = {"host": "127.0.0.1", "port": port, "protocol": "http"}
    master = relay.master(admin=f"127.0.0.1:{port}", config={"cluster": [peer.entry, itself]})
    client = relay.client(master, subscribe=[PHID])
    texts = [master.publish(message(PHID, number=number)) for number in range(20)]
    client.expect(*texts)
    wait_for_all(peer, texts)
    assert metric(master, "taken_total", peer=1) <= 5, "it knows itself by the first receipt"


def test_messages_go_over_one_connection_that_is_kept(relay, peer):
    master = master_with(relay, peer)
    texts = [master.publish(message(PHID, number=number)) for number in range(50)]
    wait_for_all(peer, texts)
    wait_until(lambda: metric(master, "waiting_messages") == 0, "the last is answered")
    assert peer.connections == 1
    peer.cut_connections()  # as a peer does that was idle
    wait_until(lambda: not master.status()["peers"][0]["connected"], "the connection has gone")
    wait_for_all(peer, [*texts, master.publish(message(PHID))])
    assert metric(master, "failures_total") == 0


def test_a_peer_with_https_is_held_to_the_authorities(relay, tmp_path):
    authority = Authority(tmp_path / "authority")
    peer = relay.keep(AphlictPeer(certificate=authority.sign()))
    trusting = master_with(relay, peer, **{"ssl.ca": str(authority.pem)})
    wary = master_with(relay, peer)
    text = trusting.publish(message(PHID))
    wary.publish(message(PHID))
    wait_for_all(peer, [text])
    assert "certificate" in wary.wait_for_log("push_failed").fields["reason"]
    assert len(peer.taken) == 1


# --- meshes ------------------------------------------------------------------------------------------------


def mesh(relay, ours, theirs, peers_of):
    """Nodes of both kinds, where `peers_of` says for the place of each who its peers are. Returns ours and theirs."""
    ports = [unused_port() for _ in range(ours)]
    aphlicts = [relay.keep(AphlictPeer()) for _ in range(theirs)]
    entries = [{"host": "127.0.0.1", "port": port, "protocol": "http"} for port in ports] + [each.entry for each in aphlicts]
    masters = []
    for place, port in enumerate(ports):
        peers = [entries[each] for each in peers_of(place)]
        masters.append(relay.master(admin=f"127.0.0.1:{port}", config={"cluster": peers}))
    for place, aphlict in enumerate(aphlicts):
        aphlict.peers = [entries[each] for each in peers_of(ours + place)]
    return masters, aphlicts


def posts_of(masters):
    """How many copies they have posted."""
    return sum(peer["taken"] for master in masters for peer in master.status()["peers"])


def numbers(texts):
    """Of messages, in order: what has come by a peer carries the list, and is the same message."""
    return sorted(json.loads(text)["number"] for text in texts)


def test_a_full_mesh_of_four_costs_three_posts_a_message(relay):
    masters, _ = mesh(relay, 4, 0, lambda place: range(4))
    clients = [relay.client(master, subscribe=[PHID]) for master in masters]
    for master in masters:  # each gets to know the others
        master.publish(message(PHID))
        for client in clients:
            client.take(1)
    known = lambda peer: peer["fingerprint"] and not peer["waiting"]  # noqa: E731
    wait_until(lambda: all(all(map(known, each.status()["peers"])) for each in masters), "all know all")
    before = posts_of(masters)
    texts = [masters[number % 4].publish(message(PHID, number=number)) for number in range(40)]
    for client in clients:
        assert numbers(client.take(40)) == numbers(texts)
    wait_until(lambda: all(peer["waiting"] == 0 for each in masters for peer in each.status()["peers"]), "all is taken")
    # Where an answer is late, the others are not told that this peer has the message, and post it as well.
    assert 3 * 40 <= posts_of(masters) - before <= 4 * 40


@pytest.mark.parametrize(
    "ours, theirs, peers_of",
    [
        (3, 0, lambda place: [(place + 1) % 3]),
        (2, 2, lambda place: [(place + 1) % 4]),
        (1, 3, lambda place: range(4)),
        (2, 2, lambda place: range(4)),
        (4, 0, lambda place: [(place + 1) % 4, (place + 3) % 4]),
    ],
    ids=["a ring of three", "a mixed ring", "one in their full mesh", "a mixed full mesh", "a ring both ways"],
)
def test_everybody_gets_each_message_and_nobody_here_gets_one_twice(relay, ours, theirs, peers_of):
    masters, aphlicts = mesh(relay, ours, theirs, peers_of)
    clients = [relay.client(master, subscribe=[PHID]) for master in masters]
    texts = [masters[number % ours].publish(message(PHID, number=number)) for number in range(30)]
    for client in clients:
        client.wait_for_message(lambda text: len(client.messages) >= 30, "all")
    for aphlict in aphlicts:
        wait_until(lambda: len({each["uniqueID"] for each in aphlict.messages()}) == 30, "all at each Aphlict")
    wait_until(lambda: all(peer["waiting"] == 0 for each in masters for peer in each.status()["peers"]), "all is taken")
    for client in clients:
        client.settle()
        assert numbers(client.messages) == list(range(30))
    assert len(texts) == 30


# --- peers that are slow or away ---------------------------------------------------------------------------


def test_a_peer_that_stops_for_4_s_delays_nobody_and_misses_nothing(relay):
    slow, quick = (relay.keep(AphlictPeer()) for _ in range(2))
    master = master_with(relay, slow, quick)
    client = relay.client(master, subscribe=[PHID])
    slow.stop_answering()
    publisher = relay.publisher(master, PHID, rate=50)
    begin = time.monotonic()
    publisher.wait_for_more(200)
    assert slow.taken == [] and len(quick.taken) >= 150
    assert time.monotonic() - begin > 3.5
    slow.answer_again()
    publisher.stop()
    accepted = publisher.accepted
    for peer in (slow, quick):
        wait_until(lambda: len(peer.taken) == len(accepted), "all at each peer")
        assert [each["number"] for each in peer.messages()] == accepted
    assert [json.loads(text)["number"] for text in client.take(len(accepted))] == accepted
    assert publisher.refused == []


def test_a_peer_that_is_away_gets_all_of_it_in_order_when_it_comes(relay):
    port = unused_port()
    master = relay.master(config={"cluster": [{"host": "127.0.0.1", "port": port}]})
    texts = [master.publish(message(PHID, number=number)) for number in range(50)]
    assert "ECONNREFUSED" in master.wait_for_log("push_failed").fields["reason"]
    peer = relay.keep(AphlictPeer(port))
    wait_for_all(peer, texts)
    assert metric(master, "waiting_messages") == 0


def test_what_a_peer_has_not_taken_within_the_history_is_given_up_and_said_so(relay):
    port = unused_port()
    master = relay.master(limits={"history.seconds": 3}, config={"cluster": [{"host": "127.0.0.1", "port": port}]})
    for _ in range(10):
        master.publish(message(PHID))
    line = master.wait_for_log("push_dropped")
    assert "history.seconds" in line.fields["reason"]
    wait_until(lambda: metric(master, "waiting_messages") == 0, "nothing waits")
    assert metric(master, "dropped_total") == 10
    peer = relay.keep(AphlictPeer(port))
    wait_for_all(peer, [master.publish(message(PHID))])


def test_what_waits_for_a_peer_takes_no_more_than_the_history_may(relay, peer):
    peer.stop_answering()
    master = master_with(relay, peer, limits={"history.bytes": 1_000_000})
    texts = [message(PHID, number=number, text="x" * 10_000) for number in range(300)]
    master.publish_all(texts)
    assert "history.bytes" in master.wait_for_log("push_dropped").fields["reason"]
    waiting = metric(master, "waiting_messages")
    assert 90 <= waiting <= 100
    assert metric(master, "dropped_total") == 300 - waiting
    peer.answer_again()
    wait_until(lambda: metric(master, "waiting_messages") == 0, "the rest is taken")
    numbers = [each["number"] for each in peer.messages()]
    assert numbers == [0, *range(301 - int(waiting), 300)], "the oldest leave first, but for the one that is on its way"


@pytest.mark.parametrize("status", [503, 500, 403])
def test_what_a_peer_cannot_take_now_is_posted_again(relay, peer, status):
    peer.statuses = [status] * 3
    master = master_with(relay, peer)
    texts = [master.publish(message(PHID, number=number)) for number in range(5)]
    wait_for_all(peer, texts)
    assert str(status) in master.wait_for_log("push_failed").fields["reason"]
    assert metric(master, "failures_total") == 3


def test_what_a_peer_does_not_take_holds_up_nothing(relay, peer):
    peer.statuses = [400, 413]
    master = master_with(relay, peer)
    texts = [master.publish(message(PHID, number=number)) for number in range(5)]
    wait_for_all(peer, texts[2:])
    assert master.wait_for_log("push_refused").fields["status"] == "400"
    assert (metric(master, "refused_total"), metric(master, "taken_total")) == (2, 3)


def test_an_instance_that_a_peer_cannot_take_does_not_hold_up_the_others(relay, peer):
    """As one that has no place for another instance."""
    peer.refused_instances = {"dog"}
    master = master_with(relay, peer)
    dogs = [master.publish(message(PHID, number=number), "dog") for number in range(3)]
    cats = [master.publish(message(PHID, number=number), "cat") for number in range(20)]
    wait_until(lambda: len(peer.taken) == 20, "the cats' messages")
    assert peer.messages() == [json.loads(text) for text in cats]
    assert metric(master, "waiting_messages") == 3
    peer.refused_instances = set()
    wait_until(lambda: len(peer.taken) == 23, "and the dogs'")
    assert peer.messages()[20:] == [json.loads(text) for text in dogs]


def test_what_waits_for_a_peer_that_leaves_the_list_is_given_up_and_said_so(relay):
    servers = [{"type": "admin", "port": 0, "listen": "127.0.0.1"}, {"type": "repeater", "port": None}]
    config = {"servers": servers, "cluster": [{"host": "127.0.0.1", "port": unused_port()}]}
    master = Configured(relay, "master", config)
    for _ in range(3):
        master.node.publish(message(PHID))
    assert master.take(cluster=[]) == "cluster"
    assert master.node.wait_for_log("push_dropped").fields["messages"] == "3"


# --- the life of a node ------------------------------------------------------------------------------------


def test_peers_are_added_and_removed_by_a_reload(relay):
    one, two = (relay.keep(AphlictPeer()) for _ in range(2))
    servers = [{"type": "admin", "port": 0, "listen": "127.0.0.1"}, {"type": "repeater", "port": None}]
    master = Configured(relay, "master", {"servers": servers, "cluster": [one.entry]})
    first = master.node.publish(message(PHID))
    wait_for_all(one, [first])
    assert master.take(cluster=[one.entry, two.entry]) == "cluster"
    second = master.node.publish(message(PHID))
    wait_for_all(one, [first, second])
    wait_for_all(two, [second])
    assert master.take(cluster=[two.entry]) == "cluster"
    third = master.node.publish(message(PHID))
    wait_for_all(two, [second, third])
    assert len(one.taken) == 2


def test_a_master_that_drains_waits_until_its_peers_have_everything(relay, peer):
    peer.stop_answering()
    master = relay.master("--drain=20", config={"cluster": [peer.entry]})
    texts = [master.publish(message(PHID, number=number)) for number in range(10)]
    master.ask_to_stop()
    master.wait_for_log("drain_began")
    peer.answer_again()
    assert master.wait_for_exit() == 0
    wait_for_all(peer, texts)


def test_a_repeater_has_no_peers_and_says_so(relay, master, peer):
    repeater = relay.repeater(master, config={"cluster": [peer.entry]})
    assert "only masters" in repeater.wait_for_log("configuration").fields["notice"]
    relay.client(repeater, subscribe=[PHID]).expect(master.publish(message(PHID)))
    assert peer.posts == 0
