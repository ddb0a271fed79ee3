"""GET /status/: Aphlict's keys, over the whole tree below a node."""

import time

import pytest

from relay import RawClient, message, wait_until

PHID = "PHID-USER-1"


def test_status_has_all_of_aphlicts_keys(master):
    reply = master.request("GET", "/status/")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("application/json")
    status = reply.json()
    assert status["instance"] == "default"
    assert isinstance(status["uptime"], int) and 0 <= status["uptime"] < 60_000
    assert status["version"] == 7
    counts = ["clients.active", "clients.total", "messages.in", "messages.out", "history.size"]
    assert [status[key] for key in counts] == [0, 0, 0, 0, 0]
    assert status["history.age"] is None
    assert status["repeaters"] == []


@pytest.mark.parametrize("target", ["/status/", "/status/?instance=", "/status/?x=y"])
def test_status_is_of_the_default_instance_when_none_is_asked_for(master, target):
    assert master.request("GET", target).json()["instance"] == "default"


@pytest.mark.parametrize("instance", ["dog", "a b", "é", "constructor", "__proto__", '"', "a\nb"])
def test_status_names_the_instance_that_was_asked_for(master, instance):
    assert master.status(instance)["instance"] == instance


def test_uptime_and_the_age_of_history_are_in_milliseconds(master):
    started = time.monotonic()
    master.publish(message(PHID))
    master.wait_for_status(lambda status: status["uptime"] > 1500 and status["history.age"] > 1500, "1.5 s")
    passed = (time.monotonic() - started) * 1000
    status = master.status()
    assert passed > 1000 and status["history.age"] < status["uptime"] < passed + 10_000


def test_clients_are_counted_for_each_instance(relay, site):
    default, dogs = [site.client()], [site.client("/~dog/"), site.client("/~dog/")]
    site.master.wait_for_status(lambda status: status["clients.active"] == 1, "one client")
    site.master.wait_for_status(lambda status: status["clients.active"] == 2, "two clients", "dog")
    for client in default + dogs:
        client.close()
    site.master.wait_for_status(lambda status: status["clients.active"] == 0, "no client", "dog")
    assert site.master.status("dog")["clients.total"] == 2
    site.master.wait_for_status(lambda status: (status["clients.active"], status["clients.total"]) == (0, 1), "one in total")
    assert site.master.status("cat")["clients.total"] == 0


def test_a_connection_without_a_handshake_is_no_client(relay, master):
    connection = relay.connect(master, "client")
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.read_reply().status == 501
    assert master.status()["clients.total"] == 0


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_clients_that_leave_without_a_word_are_no_longer_counted(site, ending):
    clients = [RawClient(site.node.address("client")) for _ in range(20)]
    site.master.wait_for_status(lambda status: status["clients.active"] == 20, "20 clients")
    for client in clients:
        getattr(client, ending)()
    site.master.wait_for_status(lambda status: status["clients.active"] == 0, "no client")


def test_messages_are_counted_in_and_out_for_each_instance(relay, site):
    default = [site.client(subscribe=[PHID]) for _ in range(3)]
    dog = site.client("/~dog/", [PHID])
    for _ in range(4):
        site.publish(message(PHID))
    site.publish(message("PHID-NOBODY"))
    dog.expect(site.publish(message(PHID), "dog"))
    for client in default:
        client.take(4)
    site.master.wait_for_status(lambda status: (status["messages.in"], status["messages.out"]) == (5, 12), "5 in, 12 out")
    site.master.wait_for_status(lambda status: (status["messages.in"], status["messages.out"]) == (1, 1), "1 in, 1 out", "dog")


def test_a_refused_message_is_not_counted(master):
    for body in ("", "[]", "{}", '{"subscribers":[1]}'):
        assert master.post(body).status == 400
    status = master.status()
    assert (status["messages.in"], status["history.size"]) == (0, 0)


def test_history_has_a_size_and_an_age(relay, master):
    master.publish(message(PHID))
    master.publish(message(PHID))
    master.publish(message(PHID), "dog")
    status = master.status()
    assert isinstance(status["history.age"], int) and status["history.age"] >= 0
    assert status["history.size"] == 2
    assert master.status("dog")["history.size"] == 1


def test_the_age_of_history_is_that_of_the_instances_oldest_message(relay):
    master = relay.master(limits={"history.bytes": 3000})
    published = {}  # by instance: before and after each
    for number in range(12):  # the first ones leave
        instance = ("dog", "cat", "mouse")[number % 3]
        before = time.monotonic()
        master.publish(message(PHID, text="x" * 300), instance)
        published.setdefault(instance, []).append((before, time.monotonic()))
        time.sleep(0.05)  # so that they differ in age
    for instance, times in published.items():
        asked = time.monotonic()
        status = master.status(instance)
        answered = time.monotonic()
        assert 0 < status["history.size"] < 4
        before, after = times[-status["history.size"]]
        assert asked - after - 0.001 <= status["history.age"] / 1000 <= answered - before + 0.001
    master.publish(message(PHID, text="x" * 5000), "dog")
    assert (master.status("dog")["history.size"], master.status("cat")["history.age"]) == (1, None)


def test_a_repeater_has_a_status_of_its_own(relay, master):
    repeater = relay.repeater(master)
    client = relay.client(repeater, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))
    status = repeater.status()
    assert (status["clients.active"], status["messages.in"], status["messages.out"]) == (1, 1, 1)
    assert (status["history.size"], status["version"], status["repeaters"]) == (1, 7, [])


def test_a_master_lists_its_repeaters(relay, master):
    relay.repeater(master, options=["--name=first"])
    second = relay.repeater(master, options=["--name=second"])
    clients = [relay.client(second) for _ in range(3)]

    def entries():
        return {entry["name"]: entry for entry in master.status()["repeaters"]}

    wait_until(lambda: entries().get("second", {}).get("clients") == 3 and "first" in entries(), "both are listed")
    entry = entries()["second"]
    assert entry["address"].startswith("127.0.0.1")
    assert entry["version"] == master.status()["relay.version"] != ""
    assert isinstance(entry["connected"], int) and entry["connected"] >= 0
    assert (entry["lag"], entry["repeaters"]) == (0, [])
    assert entries()["first"]["clients"] == 0
    assert all(client.open() for client in clients)


def test_a_repeater_that_has_gone_is_no_longer_listed_or_counted(relay, master):
    repeater = relay.repeater(master)
    client = relay.client(repeater)
    master.wait_for_status(lambda status: status["clients.active"] == 1, "a client")
    repeater.kill()
    client.wait_closed()
    master.wait_for_status(lambda status: (status["clients.active"], status["repeaters"]) == (0, []), "nothing left")


def test_the_lag_of_a_frozen_repeater_grows_and_goes_away(relay, master):
    repeater = relay.repeater(master)
    client = relay.client(repeater, subscribe=[PHID])
    repeater.freeze()
    texts = [master.publish(message(PHID, text="x" * 1000)) for _ in range(50)]
    master.wait_for_status(lambda status: status["repeaters"][0]["lag"] > 0, "a lag")
    repeater.thaw()
    client.expect(*texts)
    master.wait_for_status(lambda status: status["repeaters"][0]["lag"] == 0, "no lag")


def test_a_master_reports_the_whole_tree(relay, master):
    middle = relay.repeater(master, repeaters="127.0.0.1:0", options=["--name=middle"])
    leaf = relay.repeater(middle, options=["--name=leaf"])
    clients = [relay.client(node, subscribe=[PHID]) for node in (master, middle, middle, leaf, leaf, leaf)]
    text = master.publish(message(PHID))
    for client in clients:
        client.expect(text)
    master.wait_for_status(
        lambda status: (status["clients.active"], status["clients.total"], status["messages.out"]) == (6, 6, 6),
        "six clients, six messages out",
    )
    assert (master.status()["messages.in"], master.status()["history.size"]) == (1, 1)  # its own, not the tree's
    (entry,) = master.status()["repeaters"]
    (below,) = entry["repeaters"]
    assert (entry["name"], below["name"], below["clients"]) == ("middle", "leaf", 3)
    middle.wait_for_status(lambda status: status["clients.active"] == 5, "five clients")
    leaf.wait_for_status(lambda status: status["clients.active"] == 3, "three clients")


def test_a_node_that_is_reached_by_two_ways_is_counted_once(relay, master):
    """One repeater below two others: as when it has two groups, by mistake, that lead to one master."""
    left = relay.repeater(master, repeaters="127.0.0.1:0", options=["--name=left"])
    right = relay.repeater(master, repeaters="127.0.0.1:0", options=["--name=right"])
    bottom = relay.repeater(left, right, options=["--name=bottom"])
    clients = [relay.client(bottom, subscribe=[PHID]) for _ in range(4)]
    text = master.publish(message(PHID))
    for client in clients:
        client.expect(text)
    for repeater in (left, right):
        repeater.wait_for_status(lambda status: status["clients.active"] == 4, "four clients")
    master.wait_for_status(lambda status: status["messages.out"] == 4, "four messages out")
    status = master.status()
    assert (status["clients.active"], status["clients.total"], status["messages.out"]) == (4, 4, 4)
    last = master.publish(message(PHID))
    for client in clients:
        client.expect(last)


def test_a_repeater_of_two_masters_reports_to_both(relay):
    masters = [relay.master(), relay.master()]
    repeater = relay.repeater(*masters)
    relay.client(repeater, "/~dog/")
    for master in masters:
        master.wait_for_status(lambda status: status["clients.active"] == 1, "a client", "dog")


def test_a_public_url_is_told_in_the_status(relay, master):
    relay.repeater(master, options=["--public-url=wss://notify-1.example.com/"])
    wait_until(lambda: master.status()["repeaters"], "a repeater")
    assert "wss://notify-1.example.com/" in str(master.status()["repeaters"])
