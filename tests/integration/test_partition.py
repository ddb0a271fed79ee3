"""A master for each set of tenants: repeaters that follow several, each for its instances only."""

import json

import pytest

from relay import message, unused_port, wait_until

PHID = "PHID-USER-1"
FEED = "127.0.0.1:0"
DOGS, CATS = ["dog", "puppy"], ["cat"]


class Tree:
    """Two masters, and below them a repeater that browsers use, one with its own repeater below, and that one."""

    def __init__(self, relay):
        self.feeds = [f"127.0.0.1:{unused_port()}" for _ in range(2)]
        self.masters = [relay.master(clients="none", repeaters=feed) for feed in self.feeds]
        groups = [{"urls": [f"http://{feed}"], "instances": names} for feed, names in zip(self.feeds, (DOGS, CATS))]
        self.middle = relay.repeater(config={"upstream": groups}, repeaters=FEED)
        self.direct = relay.repeater(config={"upstream": groups})
        self.leaf = relay.repeater(self.middle)
        self.cats_only = relay.repeater(config={"upstream": [{"urls": [self.middle.feed_url], "instances": CATS}]})
        for node in (self.middle, self.direct):
            wait_until(lambda node=node: len(node.events("synchronised")) == 2, "both are followed")

    def of(self, instance):
        """Its master."""
        return self.masters[instance in CATS]


@pytest.fixture
def tree(relay):
    return Tree(relay)


def test_each_instance_gets_its_masters_messages_wherever_it_is_served(relay, tree):
    nodes = {"middle": tree.middle, "direct": tree.direct, "leaf": tree.leaf}
    clients = {(name, each): relay.client(node, f"/~{each}/", [PHID]) for name, node in nodes.items() for each in DOGS + CATS}
    clients["cats only", "cat"] = relay.client(tree.cats_only, "/~cat/", [PHID])
    stranger = relay.client(tree.cats_only, "/~dog/", [PHID])
    texts = {each: [] for each in DOGS + CATS}
    for number in range(30):
        instance = (DOGS + CATS)[number % 3]
        texts[instance].append(tree.of(instance).publish(message(PHID, number=number), instance))
    for (_, instance), client in clients.items():
        client.expect(*texts[instance])
        client.settle()
        assert client.messages == texts[instance]
    stranger.settle()
    assert stranger.messages == []


def test_nothing_of_other_tenants_travels(relay, tree):
    dogs, cats = tree.masters
    client = relay.client(tree.leaf, "/~dog/", [PHID])
    for master in tree.masters:  # the wrong one for some of them: nobody asks it for those
        for instance in DOGS + CATS:
            master.publish(message(PHID, by=master.role), instance)
    client.take(1)
    wait_until(lambda: tree.cats_only.metrics()["messages_in_total"] == 1, "the cats' message")
    client.settle()
    assert len(client.messages) == 1
    for node, expected in ((tree.middle, 3), (tree.direct, 3), (tree.leaf, 3), (tree.cats_only, 1)):
        node.wait_for_metrics(lambda each, n=expected: each["messages_in_total"] == n, f"{expected} messages")
    assert (dogs.metrics()["feed_messages_total"], cats.metrics()["feed_messages_total"]) == (4, 2)


def test_a_master_that_is_gone_concerns_its_own_tenants_only(relay, tree):
    dogs, cats = tree.masters
    dog, cat = (relay.client(tree.leaf, f"/~{name}/", [PHID]) for name in ("dog", "cat"))
    first = dogs.publish(message(PHID), "dog")
    dog.expect(first)
    dogs.kill()
    texts = [cats.publish(message(PHID, number=number), "cat") for number in range(20)]
    cat.expect(*texts)
    again = relay.master(clients="none", repeaters=tree.feeds[0])
    for node in (tree.middle, tree.direct):
        node.wait_for_log("upstream_connected", id=again.status()["fingerprint"])
    dog.expect(again.publish(message(PHID), "dog"))
    dog.replay()
    assert dog.take(2)[0] == first
    assert not any(node.events("gap") for node in (tree.middle, tree.direct, tree.leaf))


def test_each_master_reports_the_clients_of_its_tenants(relay, tree):
    for node in (tree.leaf, tree.direct):
        relay.client(node, "/~dog/")
    relay.client(tree.cats_only, "/~cat/")
    for master, instance, count in ((tree.masters[0], "dog", 2), (tree.masters[1], "cat", 1)):
        master.wait_for_status(lambda status, n=count: status["clients.active"] == n, f"{count} of {instance}", instance)


def test_an_instance_may_move_to_another_master_while_messages_flow(relay):
    """First its repeaters follow both for it, then Phabricator publishes to the other, then they leave the first."""
    masters = [relay.master(clients="none") for _ in range(2)]
    groups = lambda first, second: {  # noqa: E731
        "upstream": [
            {"urls": [master.feed_url], "instances": names} for master, names in zip(masters, (first, second)) if names
        ]
    }
    path = relay.config_file(groups(["dog", "cat"], ["fish"]))
    repeater = relay.start("repeater", f"--config={path}", "--admin=127.0.0.1:0", "--clients=127.0.0.1:0", "--drain=0")
    wait_until(lambda: len(repeater.events("synchronised")) == 2, "both are followed")
    client = relay.client(repeater, "/~dog/", [PHID])

    def reload(first, second):
        mark = repeater.log_mark()
        path.write_text(json.dumps(groups(first, second)))
        repeater.process.send_signal(1)
        assert repeater.wait_for_log("reloaded", after=mark).fields["changed"] == "upstream"
        repeater.wait_for_log("synchronised", after=mark)

    texts = [masters[0].publish(message(PHID, number=number), "dog") for number in range(10)]
    reload(["dog", "cat"], ["fish", "dog"])
    texts += [masters[number % 2].publish(message(PHID, number=number), "dog") for number in range(10, 20)]
    client.take(20)
    reload(["cat"], ["fish", "dog"])
    texts += [masters[1].publish(message(PHID, number=number), "dog") for number in range(20, 30)]
    client.wait_for_message(lambda _: len(client.messages) >= 30, "all")
    client.settle()
    assert sorted(client.messages) == sorted(texts)
