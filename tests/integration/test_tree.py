"""Masters and repeaters together: trees, broken connections, failover, gaps, loops."""

import json
import re
import time
import urllib.parse

import pytest

from relay import (
    BINARY,
    CONTINUATION,
    TEXT,
    Impostor,
    RawClient,
    RawConnection,
    check_nothing_lost_or_repeated,
    frame,
    handshake_request,
    message,
    numbers,
    request,
    unused_port,
    wait_until,
)

PHID = "PHID-USER-1"
FEED = "127.0.0.1:0"


def check_reaches(master, *clients):
    """What is published next reaches these clients next."""
    text = master.publish(message(PHID))
    for client in clients:
        client.expect(text)


# --- trees -------------------------------------------------------------------------------------------------


def test_a_message_reaches_the_clients_of_every_repeater_and_of_the_master(relay, master):
    nodes = [master, *(relay.repeater(master) for _ in range(3))]
    check_reaches(master, *(relay.client(node, subscribe=[PHID]) for node in nodes))


def test_a_message_reaches_clients_three_levels_down(relay, master):
    middle = relay.repeater(master, repeaters=FEED)
    bottom = relay.repeater(middle)
    clients = [relay.client(node, subscribe=[PHID]) for node in (master, middle, bottom, bottom)]
    texts = [master.publish(message(PHID, text="é😀" * size)) for size in (0, 10, 100_000)]
    for client in clients:
        client.expect(*texts)


def test_a_message_reaches_clients_through_a_chain_of_six_repeaters(relay, master):
    node = master
    for _ in range(6):
        node = relay.repeater(node, repeaters=FEED)
    client = relay.client(node, subscribe=[PHID])
    check_reaches(master, client)
    client.replay()
    client.take(1)


def test_a_repeater_may_start_before_its_master(relay):
    feed = f"127.0.0.1:{unused_port()}"
    repeater = relay.repeater(f"http://{feed}", synchronised=False)
    client = relay.client(repeater, subscribe=[PHID])  # it serves clients after 5 s, unready
    master = relay.master(repeaters=feed)
    repeater.wait_for_log("synchronised")
    check_reaches(master, client)


def test_an_upstream_may_be_a_name_of_which_not_every_address_answers(relay, master):
    port = master.address("repeater")[1]
    repeater = relay.repeater(f"http://localhost:{port}")
    check_reaches(master, relay.client(repeater, subscribe=[PHID]))


def test_a_repeater_follows_one_upstream_of_a_group_at_a_time(relay, master):
    middles = [relay.repeater(master, repeaters=FEED) for _ in range(3)]
    bottom = relay.repeater(middles)
    client = relay.client(bottom, subscribe=[PHID])
    check_reaches(master, client)
    followed = [len(middle.status()["repeaters"]) for middle in middles]
    assert sorted(followed) == [0, 0, 1]


def test_repeaters_pick_an_upstream_of_a_group_at_random(relay, master):
    middles = [relay.repeater(master, repeaters=FEED, clients="none") for _ in range(2)]
    for _ in range(12):  # all on one side: once in 2,048
        relay.repeater(middles, clients="none")
    counts = [len(middle.status()["repeaters"]) for middle in middles]
    assert sum(counts) == 12 and all(counts)


def test_one_repeater_serves_two_masters_each_in_its_order(relay):
    masters = [relay.master(), relay.master()]
    client = relay.client(relay.repeater(*masters), subscribe=[PHID])
    sent = {0: [], 1: []}
    for number in range(100):
        for index, master in enumerate(masters):
            sent[index].append(master.publish(message(PHID, master=index, number=number)))
    received = client.take(200)
    for index in (0, 1):
        assert [text for text in received if json.loads(text)["master"] == index] == sent[index]


def test_a_message_that_was_posted_to_two_masters_is_delivered_once(relay):
    """Phabricator posts to the next server when the first takes more than 2 s to answer."""
    one, two = relay.master(), relay.master()
    client = relay.client(relay.repeater(one, two), subscribe=[PHID])
    text = one.publish(message(PHID))
    client.expect(text)
    two.publish(text)
    check_reaches(two, client)


def test_a_group_limited_to_instances_gets_only_theirs(relay, master):
    config = {"upstream": [{"urls": [master.feed_url], "instances": ["dog", "cat"]}]}
    repeater = relay.repeater(config=config)
    clients = {name: relay.client(repeater, f"/~{name}/", [PHID]) for name in ("dog", "cat", "fish")}
    for name in ("fish", "dog", "fish", "cat"):
        text = master.publish(message(PHID), name)
        if name != "fish":
            clients[name].expect(text)
    clients["fish"].replay()
    clients["fish"].settle()
    assert clients["fish"].messages == []
    assert repeater.status("fish")["messages.in"] == 0


def test_what_one_master_counts_does_not_disturb_another(relay):
    """A repeater of two masters, one of which comes back in a new epoch."""
    one, two_feed = relay.master(), f"127.0.0.1:{unused_port()}"
    two = relay.master(repeaters=two_feed)
    repeater = relay.repeater(one, f"http://{two_feed}")
    client = relay.client(repeater, subscribe=[PHID])
    check_reaches(one, client)
    check_reaches(two, client)
    mark = repeater.log_mark()
    two.kill()
    check_reaches(one, client)
    two = relay.master(repeaters=two_feed)
    repeater.wait_for_log("upstream_connected", after=mark)
    check_reaches(two, client)
    check_reaches(one, client)
    assert len(client.messages) == 5


# --- broken connections ------------------------------------------------------------------------------------


def test_a_cut_upstream_loses_and_repeats_nothing_at_200_publishes_a_second(relay, master):
    proxy = relay.proxy(master)
    repeaters = [relay.repeater(proxy), relay.repeater(master)]
    clients = [relay.client(repeater, subscribe=[PHID]) for repeater in repeaters]
    publisher = relay.publisher(master, PHID)
    publisher.wait_for_more(100)
    for away in (0, 100, 300):
        mark = repeaters[0].log_mark()
        proxy.cut()
        repeaters[0].wait_for_log("upstream_lost", after=mark)
        publisher.wait_for_more(away)
        proxy.restore()
        repeaters[0].wait_for_log("upstream_connected", after=mark)
        publisher.wait_for_more(100)
    publisher.stop()
    for client in clients:
        check_nothing_lost_or_repeated(client, publisher)
    assert publisher.refused == []


def test_an_upstream_that_breaks_again_and_again_loses_and_repeats_nothing(relay, master):
    proxy = relay.proxy(master)
    repeater = relay.repeater(proxy)
    client = relay.client(repeater, subscribe=[PHID])
    publisher = relay.publisher(master, PHID)
    for _ in range(15):
        publisher.wait_for_more(20)
        proxy.break_connections()
    publisher.stop()
    check_nothing_lost_or_repeated(client, publisher)


@pytest.mark.slow
def test_a_repeater_that_was_frozen_for_10_s_loses_and_repeats_nothing_at_200_publishes_a_second(relay, master):
    frozen, other = relay.repeater(master), relay.repeater(master)
    clients = [relay.client(frozen, subscribe=[PHID]), relay.client(other, subscribe=[PHID])]
    publisher = relay.publisher(master, PHID)
    publisher.wait_for_more(100)
    frozen.freeze()
    time.sleep(10)  # the subject is time
    assert len(clients[1].messages) >= len(publisher.accepted) - 200, "the other repeater had to wait"
    frozen.thaw()
    publisher.wait_for_more(200)
    publisher.stop()
    for client in clients:
        check_nothing_lost_or_repeated(client, publisher)
    assert publisher.refused == []


def test_a_killed_upstream_of_a_group_of_two_loses_and_repeats_nothing_at_200_publishes_a_second(relay, master):
    middles = [relay.repeater(master, repeaters=FEED) for _ in range(2)]
    bottom = relay.repeater(middles)
    client = relay.client(bottom, subscribe=[PHID])
    publisher = relay.publisher(master, PHID)
    publisher.wait_for_more(100)
    followed = wait_until(lambda: next((m for m in middles if m.status()["repeaters"]), None), "one is followed")
    mark = bottom.log_mark()
    followed.kill()
    bottom.wait_for_log("upstream_connected", after=mark)
    publisher.wait_for_more(200)
    publisher.stop()
    check_nothing_lost_or_repeated(client, publisher)
    assert client.open()


def followed_of(repeater, proxies):
    """The proxy by which a repeater is connected, as its log has it."""
    port = urllib.parse.urlsplit(repeater.events("upstream_connected")[-1].fields["url"]).port
    return next(proxy for proxy in proxies if proxy.port == port)


def test_changing_between_the_addresses_of_one_master_loses_and_repeats_nothing(relay, master):
    proxies = [relay.proxy(master) for _ in range(2)]
    repeater = relay.repeater(proxies)
    client = relay.client(repeater, subscribe=[PHID])
    publisher = relay.publisher(master, PHID)
    for _ in range(6):
        publisher.wait_for_more(50)
        mark = repeater.log_mark()
        followed = followed_of(repeater, proxies)
        followed.cut()
        repeater.wait_for_log("upstream_connected", after=mark)
        followed.restore()
    publisher.stop()
    check_nothing_lost_or_repeated(client, publisher)


def test_a_tree_whose_middle_is_replaced_loses_and_repeats_nothing(relay, master):
    feed = f"127.0.0.1:{unused_port()}"
    middle = relay.repeater(master, repeaters=feed)
    bottom = relay.repeater(f"http://{feed}")
    client = relay.client(bottom, subscribe=[PHID])
    publisher = relay.publisher(master, PHID)
    publisher.wait_for_more(100)
    middle.stop()
    publisher.wait_for_more(50)
    mark = bottom.log_mark()
    relay.repeater(master, repeaters=feed)
    bottom.wait_for_log("upstream_connected", after=mark)
    publisher.wait_for_more(100)
    publisher.stop()
    check_nothing_lost_or_repeated(client, publisher)


@pytest.mark.slow
def test_an_upstream_that_has_gone_deaf_is_left_for_another(relay, master):
    """As behind a firewall that forgot the connection: nothing is closed, and nothing gets through."""
    proxies = [relay.proxy(master) for _ in range(2)]
    repeater = relay.repeater(proxies)
    client = relay.client(repeater, subscribe=[PHID])
    publisher = relay.publisher(master, PHID, rate=50)
    publisher.wait_for_more(20)
    deaf = followed_of(repeater, proxies)
    mark = repeater.log_mark()
    deaf.go_deaf()
    repeater.wait_for_log("upstream_lost", after=mark)
    repeater.wait_for_log("upstream_connected", after=mark)
    publisher.wait_for_more(20)
    publisher.stop()
    check_nothing_lost_or_repeated(client, publisher)
    master.wait_for_status(lambda status: len(status["repeaters"]) == 1, "one repeater")


# --- a master that dies ------------------------------------------------------------------------------------


def test_clients_stay_connected_and_history_is_replayed_while_the_master_is_gone(relay, master):
    repeater = relay.repeater(master)
    client = relay.client(repeater, subscribe=[PHID])
    texts = [master.publish(message(PHID)) for _ in range(50)]
    client.expect(*texts)
    master.kill()
    repeater.wait_for_log("upstream_lost")
    client.settle()
    client.replay()
    client.expect(*texts)
    late = relay.client(repeater, subscribe=[PHID])
    late.replay()
    late.expect(*texts)
    assert client.open()


def test_publishing_goes_on_in_a_new_epoch_after_a_master_without_a_state_folder_was_killed(relay):
    admin, feed = (f"127.0.0.1:{unused_port()}" for _ in range(2))
    master = relay.master(admin=admin, repeaters=feed)
    repeaters = [relay.repeater(master, repeaters=FEED) for _ in range(2)]
    nodes = [*repeaters, relay.repeater(repeaters[0])]
    clients = [relay.client(node, subscribe=[PHID]) for node in nodes]
    publisher = relay.publisher(master, PHID)
    publisher.wait_for_more(200)
    for client in clients:
        wait_until(lambda: len(client.messages) >= 100, "half of them arrived")
    marks = [repeater.log_mark() for repeater in repeaters]
    master.kill()
    answered_before = publisher.accepted[-1]
    relay.master(admin=admin, repeaters=feed)
    for repeater, mark in zip(repeaters, marks):
        repeater.wait_for_log("upstream_connected", after=mark)
    publisher.wait_for_more(200)
    publisher.stop()
    last = publisher.accepted[-1]
    for client in clients:
        client.wait_for_message(lambda text: json.loads(text)["number"] >= last, f"message number {last}")
        received = numbers(client)
        assert client.open()
        assert len(received) == len(set(received)), "repeated"
        assert received == sorted(received), "out of order"
        after = [number for number in publisher.accepted if number > answered_before]
        assert sorted(set(after) - set(received)) == [], "lost after the restart"
        client.replay()
        wait_until(lambda: len(client.messages) >= 2 * len(received), "all of it replayed, from before and after")


def test_a_new_epoch_passes_through_a_tree(relay):
    feed = f"127.0.0.1:{unused_port()}"
    master = relay.master(repeaters=feed)
    middle = relay.repeater(master, repeaters=FEED)
    bottom = relay.repeater(middle)
    client = relay.client(bottom, subscribe=[PHID])
    check_reaches(master, client)
    mark = middle.log_mark()
    master.kill()
    master = relay.master(repeaters=feed)
    middle.wait_for_log("upstream_connected", after=mark)
    check_reaches(master, client)
    assert len(client.messages) == 2


def test_a_repeater_that_starts_while_the_master_is_gone_gets_what_another_has(relay, master):
    """A group whose first address is gone: the other has the history."""
    middle = relay.repeater(master, repeaters=FEED)
    witness = relay.client(middle, subscribe=[PHID])
    texts = [master.publish(message(PHID)) for _ in range(20)]
    witness.expect(*texts)
    dead = f"http://127.0.0.1:{unused_port()}"
    master.kill()
    late = relay.repeater([dead, middle.feed_url])
    client = relay.client(late, subscribe=[PHID])
    client.replay()
    client.expect(*texts)


# --- gaps --------------------------------------------------------------------------------------------------


def test_what_is_missed_for_longer_than_history_holds_is_logged_as_a_gap_and_the_feed_goes_on(relay):
    master = relay.master(limits={"history.seconds": 1})
    proxy = relay.proxy(master)
    repeater = relay.repeater(proxy, repeaters=FEED)
    bottom = relay.repeater(repeater)
    client = relay.client(bottom, subscribe=[PHID])
    check_reaches(master, client)
    mark, mark_below = repeater.log_mark(), bottom.log_mark()
    proxy.cut()
    repeater.wait_for_log("upstream_lost", after=mark)
    for _ in range(10):
        master.publish(message(PHID))
    master.wait_for_status(lambda status: status["history.size"] == 0, "an empty history")
    proxy.restore()
    gap = repeater.wait_for_log("gap", after=mark).fields
    assert re.fullmatch(r"\S{16}", gap["epoch"])
    assert (gap["from"], gap["to"]) == ("2", "11")
    below = bottom.wait_for_log("gap", after=mark_below).fields
    assert (below["epoch"], below["from"], below["to"]) == (gap["epoch"], "2", "11")
    check_reaches(master, client)
    assert len(client.messages) == 2


def test_what_of_a_new_epoch_had_left_before_a_repeater_was_back_is_a_gap(relay):
    ports = {"admin": f"127.0.0.1:{unused_port()}", "repeaters": f"127.0.0.1:{unused_port()}"}
    master = relay.master(**ports)
    repeater = relay.repeater(master, repeaters=FEED)
    leaf = relay.repeater(repeater)
    repeater.freeze()
    master.kill()
    master = relay.master(**ports, limits={"history.bytes": 2000})
    for number in range(20):
        master.publish(message(PHID, number=number))
    repeater.thaw()
    for node in (repeater, leaf):
        gap = node.wait_for_log("gap").fields
        assert (gap["from"], gap["to"]) == ("1", str(20 - master.status()["history.size"]))


def test_a_repeater_whose_upstream_is_gone_for_long_still_knows_where_it_was(relay, tmp_path):
    ports = {"admin": f"127.0.0.1:{unused_port()}", "repeaters": f"127.0.0.1:{unused_port()}"}
    limits = {"history.seconds": 1}
    master = relay.master(f"--state={tmp_path}/state", **ports, limits=limits)
    repeater = relay.repeater(master, limits=limits)
    client = relay.client(repeater, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))
    master.kill()
    time.sleep(4)  # longer than twice the history's age, after which an epoch may be forgotten
    master = relay.master(f"--state={tmp_path}/state", **ports, limits=limits)
    texts = [master.publish(message(PHID, number=number)) for number in range(3)]
    client.expect(*texts)
    assert not repeater.events("gap")
    assert repeater.status()["gaps"] == 0


def test_a_new_repeater_is_told_of_no_gap(relay):
    master = relay.master(limits={"history.seconds": 1})
    for _ in range(5):
        master.publish(message(PHID))
    master.wait_for_status(lambda status: status["history.size"] == 0, "an empty history")
    repeater = relay.repeater(master)
    client = relay.client(repeater, subscribe=[PHID])
    check_reaches(master, client)
    assert repeater.events("gap") == []


def test_a_resume_within_history_is_no_gap(relay, master):
    proxy = relay.proxy(master)
    repeater = relay.repeater(proxy)
    client = relay.client(repeater, subscribe=[PHID])
    check_reaches(master, client)
    mark = repeater.log_mark()
    proxy.cut()
    texts = [master.publish(message(PHID)) for _ in range(100)]
    proxy.restore()
    client.expect(*texts)
    assert repeater.events("gap", after=mark) == []


def test_messages_that_do_not_concern_a_limited_group_are_no_gap(relay, master):
    """It follows only `dog`: the numbers of what was published to `cat` are no holes."""
    repeater = relay.repeater(config={"upstream": [{"urls": [master.feed_url], "instances": ["dog"]}]})
    client = relay.client(repeater, "/~dog/", [PHID])
    client.expect(master.publish(message(PHID), "dog"))
    for _ in range(20):
        master.publish(message(PHID), "cat")
    client.expect(master.publish(message(PHID), "dog"))
    assert repeater.events("gap") == []


# --- loops -------------------------------------------------------------------------------------------------


def test_a_repeater_that_is_its_own_upstream_finds_out(relay):
    feed = f"127.0.0.1:{unused_port()}"
    repeater = relay.repeater(f"http://{feed}", repeaters=feed, synchronised=False)
    repeater.wait_for_log("loop")


def test_two_repeaters_that_follow_each_other_find_out_and_go_on_when_the_master_returns(relay, master):
    proxy = relay.proxy(master)
    feeds = [f"127.0.0.1:{unused_port()}" for _ in range(2)]
    one = relay.repeater([proxy.url, f"http://{feeds[1]}"], repeaters=feeds[0], synchronised=False)
    two = relay.repeater(f"http://{feeds[0]}", repeaters=feeds[1])
    one.wait_for_log("synchronised")
    clients = [relay.client(node, subscribe=[PHID]) for node in (one, two)]
    check_reaches(master, *clients)
    mark_one, mark_two = one.log_mark(), two.log_mark()
    proxy.cut()
    wait_until(lambda: one.events("loop", mark_one) or two.events("loop", mark_two), "a loop is found")
    proxy.restore()

    def both_follow_the_master():
        return any(entry["repeaters"] for entry in master.status()["repeaters"])

    wait_until(both_follow_the_master, "both are below the master again")
    check_reaches(master, *clients)
    assert [len(client.messages) for client in clients] == [2, 2]


def test_a_loop_is_left_for_the_next_upstream_of_the_group(relay, master):
    feed = f"127.0.0.1:{unused_port()}"
    repeater = relay.repeater([f"http://{feed}", master.feed_url], repeaters=feed)
    client = relay.client(repeater, subscribe=[PHID])
    wait_until(lambda: master.status()["repeaters"], "it has found the master")
    check_reaches(master, client)


# --- upstreams and followers that are none -----------------------------------------------------------------


@pytest.mark.parametrize(
    "greeting, linger",
    [
        pytest.param(b"", False, id="closes_at_once"),
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", True, id="knows_no_feed"),
        pytest.param(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", True, id="refuses"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", True, id="redirects"),
        pytest.param(b"\x00\xff" * 1000, True, id="speaks_no_http"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", True, id="accepts_wrongly"),
        pytest.param(b"x" * 1_000_000, True, id="never_ends_its_head"),
        pytest.param(b"", True, id="says_nothing"),
    ],
)
def test_an_upstream_that_is_no_node_is_left_for_the_next_of_the_group(relay, master, greeting, linger):
    impostor = relay.keep(Impostor(greeting, linger))
    repeater = relay.repeater([impostor.url, impostor.url, master.feed_url])
    check_reaches(master, relay.client(repeater, subscribe=[PHID]))


def test_a_client_port_is_no_feed(relay, master):
    url = "http://127.0.0.1:%d" % master.address("client")[1]
    repeater = relay.repeater([url, master.feed_url])
    check_reaches(master, relay.client(repeater, subscribe=[PHID]))
    master.wait_for_status(lambda status: status["clients.active"] == 0, "no client")


@pytest.fixture
def honest(relay, master):
    """A client of a repeater that is connected all along."""
    return relay.client(relay.repeater(master), subscribe=[PHID])


def feed_handshake(**changes):
    return handshake_request("/feed/", **{"Sec_WebSocket_Protocol": "aphlict-relay.v1", **changes})


def raw_follower(master):
    return RawClient(master.address("repeater"), "/feed/", Sec_WebSocket_Protocol="aphlict-relay.v1")


@pytest.mark.parametrize(
    "data, statuses",
    [
        pytest.param(handshake_request("/feed/"), {400}, id="no_protocol"),
        pytest.param(feed_handshake(Sec_WebSocket_Protocol="aphlict-relay.v99"), {400}, id="another_protocol"),
        pytest.param(feed_handshake(Sec_WebSocket_Version="99"), {426}, id="another_version"),
        pytest.param(feed_handshake(Upgrade=None), {400, 404, 426, 501}, id="plain_http"),
        pytest.param(feed_handshake().replace(b"/feed/", b"/nope"), {404}, id="another_path"),
        pytest.param(b"nonsense\r\n\r\n", {400}, id="no_http"),
    ],
)
def test_a_wrong_handshake_on_the_feed_port_is_refused_and_disturbs_nobody(relay, master, honest, data, statuses):
    connection = relay.connect(master, "repeater")
    connection.send(data)
    assert connection.read_reply().status in statuses
    check_reaches(master, honest)


@pytest.mark.parametrize(
    "data, code",
    [
        pytest.param(b"\x00\xff" * 1000, 1002, id="garbage"),
        pytest.param(frame(TEXT, "nope"), 1008, id="no_json"),
        pytest.param(frame(TEXT, "{}"), 1008, id="an_empty_object"),
        pytest.param(frame(TEXT, '{"type":"nope"}'), 1008, id="an_unknown_type"),
        pytest.param(frame(TEXT, '{"type":"hello"}'), 1008, id="a_hello_without_its_members"),
        pytest.param(frame(TEXT, '{"type":"status","nodes":[],"gone":[]}'), 1008, id="a_report_before_the_hello"),
        pytest.param(frame(BINARY, b"\x00" * 100), 1008, id="zeros"),
        pytest.param(frame(BINARY, b"\xff" * 100), 1008, id="ones"),
        pytest.param(frame(BINARY, b""), 1008, id="nothing"),
        pytest.param(frame(TEXT, "{}", masked=False), 1002, id="no_mask"),
        pytest.param(frame(CONTINUATION, b"x"), 1002, id="a_continuation_of_nothing"),
        pytest.param(frame(TEXT, b"x", length=1 << 40), 1009, id="a_frame_announced_too_large"),
        pytest.param(frame(TEXT, "[" * 100_000), 1008, id="deep_nesting"),
        pytest.param(frame(TEXT, b"\xff"), 1007, id="bad_utf_8"),
    ],
)
def test_a_follower_that_speaks_nonsense_is_told_so_and_cut_off_and_disturbs_nobody(relay, master, honest, data, code):
    follower = relay.keep(raw_follower(master))
    follower.send_as_far_as_taken(data)
    assert follower.read_close_code() == code
    check_reaches(master, honest)


@pytest.mark.slow
def test_a_follower_that_never_says_hello_is_cut_off(relay, master, honest):
    assert relay.keep(raw_follower(master)).read_close_code() == 1008
    check_reaches(master, honest)


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_follower_that_goes_after_any_byte_of_its_handshake_disturbs_nobody(master, honest, ending):
    data = feed_handshake()
    for length in range(len(data) + 1):
        connection = RawConnection(master.address("repeater"))
        connection.send(data[:length])
        getattr(connection, ending)()
    check_reaches(master, honest)
    master.wait_for_status(lambda status: len(status["repeaters"]) == 1, "one repeater")


def test_a_follower_that_reads_nothing_costs_the_others_nothing(relay, master):
    """A slow follower is a position in the history: nothing queues up for it."""
    slow, quick = relay.repeater(master), relay.repeater(master)
    client = relay.client(quick, subscribe=[PHID])
    slow_client = relay.client(slow, subscribe=[PHID])
    slow.freeze()
    texts = [master.publish(message(PHID, text="x" * 1_000_000)) for _ in range(30)]
    client.expect(*texts)
    slow.thaw()
    slow_client.expect(*texts)


def test_more_repeaters_than_allowed_are_answered_503(relay):
    master = relay.master(limits={"repeaters": 2})
    repeaters = [relay.repeater(master) for _ in range(2)]
    connection = relay.connect(master, "repeater")
    connection.send(feed_handshake())
    assert connection.read_reply().status == 503
    clients = [relay.client(repeater, subscribe=[PHID]) for repeater in repeaters]
    check_reaches(master, *clients)


def test_a_page_may_not_follow_the_feed(relay, master):
    """Browsers cannot leave their Origin out; repeaters send none."""
    connection = relay.connect(master, "repeater")
    connection.send(feed_handshake(Origin="https://evil.example.com"))
    assert connection.read_reply().status == 403


def test_the_admin_port_of_a_repeater_answers_503_to_publishes_also_without_a_master(relay):
    repeater = relay.repeater(f"http://127.0.0.1:{unused_port()}", synchronised=False)
    assert repeater.post(message(PHID)).status == 503
    assert request(repeater.address("admin"), "GET", "/status/").status == 200
