"""GET /metrics, and the figures of each node that travel up the tree: what they say is what happened."""

import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from relay import DEADLINE, ROOT, TEXT, Stopwatch, frame, is_sanitized, message, nodes_below, unused_port, wait_until
from test_feed import Follower
from test_load import Crowd, frame_to_client

PHID = "PHID-USER-1"
FEED = "127.0.0.1:0"
METRICS_PAGE = (ROOT / "docs" / "metrics.md").read_text()
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def sum_of(metrics, name):
    """Over all labels."""
    return sum(value for sample, value in metrics.items() if re.split(r"[{]", sample)[0] == name)


def tree_of_every_kind(relay):
    """A master and a repeater that together have every metric there is."""
    master = relay.master(config={"cluster": [{"host": "127.0.0.1", "port": unused_port()}]})
    proxy = relay.proxy(master)
    config = {"upstream": [{"urls": [proxy.url], "instances": ["dog", "default"]}]}
    repeater = relay.repeater(repeaters=FEED, config=config)
    return master, repeater


# --- formats -----------------------------------------------------------------------------------------------


def test_promtool_has_nothing_to_say_about_the_metrics_of_any_role(relay):
    master, repeater = tree_of_every_kind(relay)
    client = relay.client(repeater, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))
    bare = relay.master(clients="none", repeaters="none")
    for node in (master, repeater, bare):
        check = subprocess.run(["promtool", "check", "metrics"], input=node.metrics_text(), capture_output=True, text=True)
        assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "accept, content_type",
    [
        (None, PLAIN),
        ("*/*", PLAIN),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PLAIN),
        ("application/json", PLAIN),
        ("application/openmetrics-text", OPEN_METRICS),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OPEN_METRICS,
        ),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4", PLAIN),
    ],
)
def test_the_format_is_the_one_that_was_asked_for(master, accept, content_type):
    reply = master.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
    assert (reply.status, reply.headers["Content-Type"]) == (200, content_type)
    assert reply.headers["Vary"] == "Accept"
    assert reply.body.endswith(b"\n# EOF\n") == (content_type == OPEN_METRICS)


def test_both_formats_say_the_same_to_parsers_that_are_not_ours(relay):
    master, repeater = tree_of_every_kind(relay)
    client = relay.client(repeater, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))
    for node in (master, repeater):
        plain = {family.name: family for family in parse_plain(node.metrics_text())}
        opened = {family.name: family for family in parse_open_metrics(node.metrics_text(Accept=OPEN_METRICS))}
        # The older format has no type for what is only told.
        plain["aphlict_relay_build"] = plain.pop("aphlict_relay_build_info")
        assert plain.keys() == opened.keys()
        for name, family in opened.items():
            assert [(sample.name, sample.labels) for sample in family.samples] == [
                (sample.name, sample.labels) for sample in plain[name].samples
            ]
            assert family.documentation and family.type in ("counter", "gauge", "histogram", "info")
            unit = name.rpartition("_")[2]
            assert family.unit == (unit if unit in ("seconds", "bytes") else "")


def test_metrics_are_read_with_get_or_head(relay, master):
    connection = relay.connect(master, "admin")
    connection.send(b"HEAD /metrics HTTP/1.1\r\nHost: m\r\n\r\n")
    head = connection.read_reply(head_request=True)
    assert (head.status, head.headers["Content-Type"]) == (200, PLAIN)
    assert int(head.headers["Content-Length"]) > 1000
    assert master.request("POST", "/metrics", "x").status == 405
    assert master.request("GET", "/metrics/").status == 404


def documented():
    """Name, type and labels of each metric in docs/metrics.md."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \|([^|]*)\|", METRICS_PAGE, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def told(*nodes):
    metrics = {}
    for node in nodes:
        text = node.metrics_text()
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
            samples = re.findall(rf"^{name}(?:_bucket|_sum|_count)?(?:\{{(.*)\}})? \S+$", text, re.MULTILINE)
            labels = set(re.findall(r'(\w+)="', " ".join(samples))) - {"le"}
            metrics[name] = ("info" if name.endswith("_info") else kind, labels)
    return metrics


def test_every_metric_is_documented_and_every_documented_metric_is_there(relay):
    in_documentation, in_nodes = documented(), told(*tree_of_every_kind(relay))
    assert len(in_documentation) > 40
    assert in_documentation == in_nodes


def documented_values(name):
    """What stands between backquotes behind the labels of a metric in docs/metrics.md."""
    (meaning,) = re.findall(rf"^\| `aphlict_relay_{name}` \|[^|]*\|[^|]*\|(.*)\|$", METRICS_PAGE, re.MULTILINE)
    return set(re.findall(r"`([a-z0-9_]+)`", meaning))


@pytest.mark.parametrize(
    "name, label, others",
    [
        ("connections", "listener", set()),
        ("refused_total", "reason", set()),
        ("publishes_total", "result", {"refused"}),  # another metric, which the row points to
        ("clients_closed_total", "reason", set()),
        ("state", "state", set()),
    ],
)
def test_every_value_of_a_label_is_documented_and_every_documented_value_is_there(relay, name, label, others):
    text = "".join(node.metrics_text() for node in tree_of_every_kind(relay))
    values = set(re.findall(rf'^aphlict_relay_{name}\{{.*\b{label}="(\w+)"', text, re.MULTILINE))
    assert len(values) > 2
    assert values == documented_values(name) - others


# --- what they say -----------------------------------------------------------------------------------------


def test_connections_are_counted_by_the_port_that_they_come_to(relay, master):
    repeater = relay.repeater(master)
    clients = [relay.client(master) for _ in range(3)]
    clients.pop().close()
    bare = relay.connect(master, "client")
    bare.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert bare.read_reply().status == 501
    master.wait_for_metrics(lambda each: each['connections{listener="client"}'] == 3, "two clients, one connection")
    master.wait_for_metrics(lambda each: each["tree_nodes"] == 2, "the repeater's first report")
    metrics = master.metrics()
    assert (metrics["clients"], metrics["clients_accepted_total"]) == (2, 3)
    assert metrics['connections_accepted_total{listener="client"}'] == 4
    assert metrics['requests_total{listener="client"}'] == 4
    assert (metrics['connections{listener="repeater"}'], metrics["repeaters"]) == (1, 1)
    assert metrics["repeaters_connected_total"] == 1
    assert metrics['connections{listener="admin"}'] >= 1
    assert repeater.metrics()["clients"] == 0


def test_clients_that_have_gone_are_counted_by_reason(relay, site):
    def closed(reason):
        return site.node.metrics()[f'clients_closed_total{{reason="{reason}"}}']

    site.raw_client().reset()
    leaver = site.client()
    leaver.close()
    breaker = site.raw_client()
    breaker.send(frame(TEXT, "x", masked=False))
    breaker.read_close_code()
    for reason in ("left", "lost", "protocol_error"):
        wait_until(lambda: closed(reason) == 1, f"one client {reason}")
    metrics = site.node.metrics()
    assert sum_of(metrics, "clients_closed_total") == metrics["clients_accepted_total"] == 3
    # And in the figures, up the tree.
    expected = {"left": 1, "lost": 1, "protocol_error": 1}
    site.master.wait_for_status(lambda status: expected in counted_by_reason(status, "closed"), "who has gone, and why")


def counted_by_reason(status, what):
    return [figures[what] for figures in all_figures(status).values()]


def test_refusals_are_counted_by_port_and_reason(relay, master):
    repeater = relay.repeater(master)
    assert repeater.request("GET", "/status/", headers={"Origin": "http://a.example.com"}).status == 403
    connection = relay.connect(repeater, "client")
    connection.send(b"nonsense\r\n\r\n")
    assert connection.read_reply().status == 400
    metrics = repeater.metrics()
    assert metrics['refused_total{listener="admin",reason="origin"}'] == 1
    assert metrics['refused_total{listener="client",reason="malformed"}'] == 1
    assert sum_of(metrics, "refused_total") == 2
    expected = {"admin.origin": 1, "client.malformed": 1}
    master.wait_for_status(lambda status: expected in counted_by_reason(status, "refused"), "what was refused, and why")


def test_publishes_are_counted_by_what_came_of_them(relay):
    master = relay.master(limits={"instances": 2})
    repeater = relay.repeater(master)

    def results(node):
        text = re.findall(r'publishes_total\{result="(\w+)"\} (\d+)', node.metrics_text())
        return {name: int(count) for name, count in text if count != "0"}

    assert results(master) == {}
    text = message(PHID)
    for _ in range(3):
        master.publish(text)
    master.publish(message(PHID), "second")
    assert master.post("[]").status == 400
    assert master.post(message(PHID), "/?instance=third").status == 503
    assert repeater.post(message(PHID)).status == 503
    assert results(master) == {"accepted": 2, "repeat": 2, "invalid": 1, "full": 1}
    assert results(repeater) == {"no_master": 1}
    assert (master.metrics()["messages_in_total"], master.metrics()["repeats_total"]) == (2, 2)
    client = relay.client(master)  # so that the drain does not end at once
    master.send_signal(signal.SIGUSR2)
    master.wait_for_log("drain_began")
    assert master.post(message(PHID)).status == 503
    assert results(master)["draining"] == 1
    assert client


def test_fan_out_and_latency_are_those_of_the_deliveries_across_nodes(relay, master):
    repeater = relay.repeater(master)
    clients = [relay.client(repeater, subscribe=[PHID]) for _ in range(5)]
    begun = time.monotonic()
    for text in [master.publish(message(PHID)) for _ in range(4)]:
        for client in clients:
            client.expect(text)
    passed = time.monotonic() - begun
    master.publish(message("PHID-NOBODY"))
    master.publish(message(PHID), "an instance without clients")
    repeater.wait_for_metrics(
        lambda each: (each["fan_out_clients_count"], each["delivery_latency_seconds_count"]) == (6, 20), "six messages"
    )
    metrics = repeater.metrics()
    assert (metrics["messages_out_total"], metrics["delivery_latency_seconds_count"]) == (20, 20)
    assert (metrics["fan_out_clients_count"], metrics["fan_out_clients_sum"]) == (6, 20)
    assert metrics['fan_out_clients_bucket{le="0.0"}'] == 2
    assert metrics['fan_out_clients_bucket{le="3.0"}'] == 2
    assert metrics['fan_out_clients_bucket{le="10.0"}'] == 6
    # To the end of a turn. What is late of the master's clock readings makes it less, at most to nothing.
    assert 0 <= metrics["delivery_latency_seconds_sum"] <= 20 * (passed + 1)
    assert metrics["messages_out_bytes_total"] == sum(
        len(frame_to_client(text)) for client in clients for text in client.messages
    )
    assert master.metrics()["feed_messages_total"] == 6
    assert master.metrics()["delivery_latency_seconds_count"] == 0


def test_a_delay_on_the_way_is_in_the_latency(relay, master):
    """From the master's acceptance, on whatever node the client is."""
    proxy = relay.proxy(master)
    middle = relay.repeater(proxy, repeaters=FEED)
    leaf = relay.repeater(middle)
    client = relay.client(leaf, subscribe=[PHID])
    client.expect(master.publish(message(PHID)))
    quick = leaf.metrics()["delivery_latency_seconds_sum"]
    proxy.go_deaf()
    text = master.publish(message(PHID))
    time.sleep(0.6)  # the delay
    proxy.hear_again()
    client.expect(text)
    leaf.wait_for_metrics(lambda each: each["delivery_latency_seconds_count"] == 2, "two deliveries")
    assert leaf.metrics()["delivery_latency_seconds_sum"] - quick >= 0.3  # some of it may be the clocks' difference


def test_repeats_that_clients_are_not_shown_are_counted_where_they_are_served(relay):
    masters = [relay.master(), relay.master()]
    repeater = relay.repeater(*masters)
    client = relay.client(repeater, subscribe=[PHID])
    text = message(PHID)
    for master in masters:
        master.publish(text)
    client.expect(text)
    repeater.wait_for_metrics(lambda each: (each["messages_in_total"], each["repeats_total"]) == (2, 1), "a repeat")
    assert repeater.metrics()["messages_out_total"] == 1


def test_a_gap_is_counted_and_the_connections_that_came_and_went(relay):
    master = relay.master(limits={"history.seconds": 1})
    proxy = relay.proxy(master)
    repeater = relay.repeater(proxy)
    master.publish(message(PHID))
    repeater.wait_for_metrics(lambda each: each["messages_in_total"] == 1, "a message")
    before = repeater.metrics()
    upstream = {name: before[f'upstream_{name}{{upstream="0"}}'] for name in ("connected", "synchronised", "lag_seconds")}
    assert (upstream["connected"], upstream["synchronised"]) == (1, 1)
    repeater.wait_for_metrics(lambda each: each['upstream_lag_seconds{upstream="0"}'] == 0, "no lag")
    assert (before["gaps_total"], before['upstream_reconnects_total{upstream="0"}']) == (0, 0)
    proxy.cut()
    repeater.wait_for_metrics(lambda each: each['upstream_connected{upstream="0"}'] == 0, "no upstream")
    for _ in range(3):
        master.publish(message(PHID))
    repeater.wait_for_metrics(lambda each: each['upstream_lag_seconds{upstream="0"}'] > 1, "a lag")
    master.wait_for_metrics(lambda each: each["history_messages"] == 0, "an empty history")
    proxy.restore()
    repeater.wait_for_metrics(
        lambda each: each["gaps_total"] == 1 and each['upstream_lag_seconds{upstream="0"}'] == 0, "a gap, and no lag"
    )
    after = repeater.metrics()
    assert after['upstream_connects_total{upstream="0"}'] == 2
    assert after['upstream_reconnects_total{upstream="0"}'] == 1
    assert after['upstream_failures_total{upstream="0"}'] >= 1
    assert after['upstream_lag_messages{upstream="0"}'] == 0
    assert master.metrics()["feed_gaps_total"] == 1
    master.wait_for_metrics(lambda each: each["tree_gaps_total"] == 1, "the gap")
    assert master.status()["repeaters"][0]["figures"]["gaps"] == 1


def test_a_node_says_how_far_the_one_furthest_behind_is(relay, master):
    repeater = relay.repeater(master)
    master.wait_for_metrics(lambda each: each["tree_nodes"] == 2, "the repeater's first report")
    repeater.freeze()
    for _ in range(20):
        master.publish(message(PHID))
    master.wait_for_metrics(lambda each: each["tree_lag_messages"] == 20, "a lag")
    repeater.thaw()
    master.wait_for_metrics(lambda each: each["tree_lag_messages"] == 0, "no lag")


def test_the_history_and_what_waits_are_told(relay):
    master = relay.master(limits={"client.stalled.seconds": 600})
    for _ in range(3):
        master.publish(message(PHID, text="x" * 1000))
    metrics = master.metrics()
    assert metrics["history_messages"] == 3 and metrics["history_bytes"] > 3000
    master.wait_for_metrics(lambda each: each["history_age_seconds"] > 0.5, "a message half a second old")
    assert metrics["unsent_bytes"] == 0
    slow = relay.raw_client(master, receive_buffer=4096)
    slow.subscribe(PHID)
    for _ in range(70):  # more than the kernel keeps, less than what a client may have unsent
        master.publish(message(PHID, text="x" * 100_000))
    master.wait_for_metrics(lambda each: each["unsent_bytes"] > 100_000, "unsent bytes")
    slow.reset()
    master.wait_for_metrics(lambda each: each["unsent_bytes"] == 0, "none")
    assert master.metrics()["received_bytes_total"] > 2_000_000


def test_the_process_is_told_as_the_kernel_has_it(relay, master):
    process = Path(f"/proc/{master.process.pid}")
    metrics = master.metrics()
    own = sum(1 for _ in (process / "fd").iterdir())
    assert abs(metrics["process_open_fds"] - own) <= 2  # the scrape's own connection may be gone
    clients = [relay.raw_client(master) for _ in range(50)]
    assert abs(master.metrics()["process_open_fds"] - own - len(clients)) <= 2
    (limit,) = re.findall(r"Max open files\s+(\d+)", (process / "limits").read_text())
    assert metrics["process_max_fds"] == int(limit)
    resident = int(re.findall(r"VmRSS:\s+(\d+)", (process / "status").read_text())[0]) * 1024
    assert abs(metrics["process_resident_memory_bytes"] - resident) < 16 << 20
    assert abs(metrics["process_start_time_seconds"] - process.stat().st_ctime) < 60
    assert 0 < metrics["process_cpu_seconds_total"] < 60
    assert metrics["loop_turn_seconds_count"] > 0


# --- labels ------------------------------------------------------------------------------------------------


def test_nobody_outside_chooses_a_label(relay, master):
    repeater = relay.repeater(master, options=["--name=chosen-by-a-node"])
    relay.client(repeater, "/~chosen-by-a-client/", ["chosen-by-a-client"])
    master.publish(message("chosen-by-a-publisher", type="chosen-by-a-publisher"), "chosen-by-a-publisher")
    master.post("chosen-by-a-publisher", "/?instance=chosen-by-a-publisher", {"X": "chosen-by-a-publisher"})
    repeater.wait_for_metrics(lambda each: (each["messages_in_total"], each["clients"]) == (1, 1), "a message and a client")
    for node in (master, repeater):
        assert "chosen" not in node.metrics_text()
    assert "instance=" not in repeater.metrics_text()


def test_instances_of_the_configuration_are_labels_and_no_others(relay, master):
    config = {"upstream": [{"urls": [master.feed_url], "instances": ["dog", 'c"a\\t']}]}
    repeater = relay.repeater(config=config)
    dog = relay.client(repeater, "/~dog/", [PHID])
    relay.client(repeater, "/~mouse/")
    dog.expect(master.publish(message(PHID), "dog"))
    metrics = repeater.metrics()
    assert metrics['instance_clients{instance="dog"}'] == 1
    assert metrics['instance_messages_in_total{instance="dog"}'] == 1
    assert metrics['instance_messages_out_total{instance="dog"}'] == 1
    assert metrics['instance_clients{instance="c\\"a\\\\t"}'] == 0
    assert "mouse" not in repeater.metrics_text()
    assert metrics["clients"] == 2


# --- sums over the tree ------------------------------------------------------------------------------------


def all_figures(status):
    """Of each node once, by its id."""
    return {status["fingerprint"]: status["figures"], **{node["id"]: node["figures"] for node in nodes_below(status)}}


def sums(status):
    figures = all_figures(status).values()
    return tuple(sum(each[key] for each in figures) for key in ("clients", "clients_total", "messages_out"))


SILENT = {"client.ping.seconds": 3600}  # pings would stand in what the crowds count


def tree_of_seven(relay):
    """A master, and four repeaters below two others. The last of the four follows both."""
    master = relay.master()
    middles = [relay.repeater(master, repeaters=FEED) for _ in range(2)]
    leaves = [relay.repeater(middles[n % 2], limits=SILENT) for n in range(3)]
    return master, middles, [*leaves, relay.repeater(*middles, limits=SILENT)]


def crowds_on(relay, leaves):
    """5,000 clients in all."""
    each = 5000 // len(leaves) if not is_sanitized() else 50
    return [relay.keep(Crowd(leaf.address("client"), each)) for leaf in leaves]


def test_the_sums_over_a_tree_are_what_the_clients_counted(relay):
    """A repeater of the lowest level starts again meanwhile, and one follows by two ways."""
    master, middles, leaves = tree_of_seven(relay)
    crowds = crowds_on(relay, leaves)
    each = len(crowds[0].received)
    clients = each * len(crowds)

    def publish(count):
        texts = [message(PHID, number=number) for number in range(count)]
        master.publish_all(texts)
        return sum(len(frame_to_client(text)) for text in texts)

    def received(size, crowds):
        for crowd in crowds:
            crowd.read_until_all_have(size, DEADLINE)
            assert set(crowd.received.values()) == {size}

    size = publish(10)
    received(size, crowds)
    master.wait_for_status(lambda status: sums(status) == (clients, clients, clients * 10), "what the clients counted")
    assert len(all_figures(master.status())) == 7
    metrics = master.metrics()
    names = ("tree_nodes", "tree_clients", "tree_clients_accepted_total", "tree_messages_out_total")
    assert tuple(metrics[name] for name in names) == (7, clients, clients, clients * 10)
    assert sum(leaf.metrics()["messages_out_total"] for leaf in leaves) == clients * 10
    assert sum(leaf.metrics()["delivery_latency_seconds_count"] for leaf in leaves) == clients * 10
    status = master.status()
    assert (status["clients.active"], status["clients.total"], status["messages.out"]) == (clients, clients, clients * 10)

    def timed(status):
        return sum(sum(figures["latency"]["counts"]) for figures in all_figures(status).values())

    master.wait_for_status(lambda status: timed(status) == clients * 10, "the latency of each")

    # One starts again: the deliveries of its first life stay in the sums, its clients do not.
    crowds.pop(0).close()
    leaves[0].kill()
    left = clients - each
    master.wait_for_metrics(lambda each: (each["tree_nodes"], each["tree_clients"]) == (6, left), "one node less")
    leaves[0] = relay.repeater(middles[0], limits=SILENT)
    newcomer = relay.client(leaves[0], subscribe=[PHID])
    received(size + publish(5), crowds)
    newcomer.take(5)
    deliveries = clients * 10 + left * 5 + 5
    master.wait_for_metrics(lambda each: each["tree_messages_out_total"] == deliveries, "what all clients counted")
    metrics = master.metrics()
    assert tuple(metrics[name] for name in names) == (7, left + 1, clients + 1, deliveries)
    assert sums(master.status()) == (left + 1, left + 1, left * 15 + 5)
    assert master.status()["messages.out"] == deliveries


def test_the_sums_follow_by_an_interval_for_each_level_while_messages_flow(relay):
    """5,000 clients that count what they get, and guests that come and go meanwhile."""
    interval, levels = 1, 2  # a report each second
    late = interval * levels + 0.5  # and the time that it takes to ask
    master, _, leaves = tree_of_seven(relay)
    crowds = crowds_on(relay, leaves)
    clients, guests = sum(len(crowd.received) for crowd in crowds), 100
    master.wait_for_status(lambda status: sums(status)[0] == clients, "all are told of")
    rounds = 30
    numbered = [message(PHID, number=f"{number:03}") for number in range(rounds)]
    size = len(frame_to_client(numbered[0]))
    readers = [threading.Thread(target=crowd.read_until_all_have, args=[size * rounds, 3 * DEADLINE]) for crowd in crowds]
    for reader in readers:
        reader.start()
    truths, tellings = [], []  # when, then the least and the most that it was, or what it was said to be
    present = clients
    watch = Stopwatch()
    for number, text in enumerate(numbered):
        if number == rounds // 3:
            visit = Crowd(leaves[0].address("client"), guests, "PHID-GUEST")
            present += guests
        if number == 2 * rounds // 3:
            visit.close()
            present -= guests
        counted = sum(count // size for crowd in crowds for count in crowd.received.values())
        truths.append((time.monotonic(), counted, present))
        master.publish(text)
        status, metrics = master.status(), master.metrics()
        deliveries = (status["messages.out"], sums(status)[2], metrics["tree_messages_out_total"])
        connected = (status["clients.active"], sums(status)[0], metrics["tree_clients"])
        assert max(deliveries) <= (number + 1) * clients
        tellings.append((time.monotonic(), deliveries, connected))
        time.sleep(0.2)
    fair = watch.is_fair()
    for when, deliveries, connected in tellings:
        due = max((counted for earlier, counted, _ in truths if earlier < when - late), default=0)
        before = [present for earlier, _, present in truths if earlier < when - late][-1:]
        recent = before + [present for earlier, _, present in truths if when - late <= earlier <= when]
        if fair:
            assert min(deliveries) >= due
            assert min(recent) <= min(connected) and max(connected) <= max(recent)
    assert not fair or any(0 < min(deliveries) < rounds * clients for _, deliveries, _ in tellings)
    for reader in readers:
        reader.join()
    assert {count for crowd in crowds for count in crowd.received.values()} == {size * rounds}
    total = (clients, clients + guests, rounds * clients)
    master.wait_for_status(lambda status: sums(status) == total, "all are told of")
    metrics = master.metrics()
    assert tuple(metrics[f"tree_{name}"] for name in ("clients", "clients_accepted_total", "messages_out_total")) == total
    status = master.status()
    assert tuple(status[name] for name in ("clients.active", "clients.total", "messages.out")) == total


def test_figures_have_the_same_members_on_each_node_and_their_state(relay, master):
    repeater = relay.repeater(master)
    figures = master.wait_for_status(
        lambda status: list(all_figures(status).values()) if len(all_figures(status)) == 2 else None, "two nodes"
    )
    assert figures[0].keys() == figures[1].keys()
    assert [each["state"] for each in figures] == ["ready", "ready"]
    client = relay.client(repeater)
    repeater.send_signal(signal.SIGUSR2)
    states = {"ready", "draining"}
    master.wait_for_status(lambda status: {each["state"] for each in all_figures(status).values()} == states, "a drain")
    client.close()


def test_figures_of_another_version_are_shown_as_they_are(relay, master):
    follower = relay.keep(Follower(master))
    figures = {"state": "thawing", "clients": 3, "invented": {"by": [1, 2]}, "Not An Identifier": 1}
    node = {"id": follower.id, "revision": 1, "above": [master.status()["fingerprint"]], "figures": figures}
    follower.tell(type="status", nodes=[node], gone=[])
    shown = master.wait_for_status(lambda status: status["repeaters"][0]["figures"] if status["repeaters"] else None, "the node")
    assert shown == {"state": "thawing", "clients": 3, "invented": {"by": [1, 2]}}


# --- what a scrape costs -----------------------------------------------------------------------------------


def long_turns(node, metrics=None):
    metrics = metrics or node.metrics()
    return metrics["loop_turn_seconds_count"] - metrics['loop_turn_seconds_bucket{le="0.01"}']


@pytest.mark.slow
@pytest.mark.skipif(is_sanitized(), reason="a matter of time")
def test_no_scrape_of_a_large_tree_takes_a_turn_of_more_than_10_ms(relay):
    """1,000 repeaters and 10,000 instances."""
    master = relay.master(clients="none")
    above = [master.status()["fingerprint"]]
    figures = master.status()["figures"]
    figures["latency"]["counts"] = [123_456] * len(figures["latency"]["counts"])
    figures["closed"] = {"left": 12345, "lost": 1234, "silent": 12, "unread": 1}
    figures["refused"] = {"client.too_slow": 17, "client.handshake": 123}
    publisher = relay.connect(master, "admin")
    for first in range(0, 10_000, 500):
        for number in range(first, first + 500):
            body = message(PHID)
            target = f"/?instance=instance-{number}"
            publisher.send(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        assert {publisher.read_reply().status for _ in range(500)} == {200}
    followers = []

    def speak():
        """So that none of them is taken for silent, however slow the machine is."""
        for follower in followers:
            follower.tell(type="status", nodes=[], gone=[])

    for number in range(1000):
        if number % 200 == 0:
            speak()
        follower = relay.keep(Follower(master, name=f"host-{number}.example.com", instances=["none of these"]))
        followers.append(follower)
        instances = {f"instance-{number * 10 + n}": [1, 5, 100, 100_000] for n in range(10)}
        node = {"id": f"node{number:012}", "revision": 1, "name": f"host-{number}.example.com", "version": "0.1.0"}
        node.update(url=f"wss://host-{number}.example.com/", above=above, figures=figures, instances=instances)
        follower.tell(type="status", nodes=[node], gone=[])
    assert master.metrics()["tree_nodes"] == 1001
    for target, size in (("/metrics", 5000), ("/status/?instance=instance-9999", 500_000)):

        def round_without_a_long_turn():
            speak()
            before = long_turns(master)
            for _ in range(10):
                reply = master.request("GET", target)
                assert reply.status == 200 and len(reply.body) > size
            return long_turns(master) == before

        wait_until(round_without_a_long_turn, f"ten times {target} without a turn of more than 10 ms")
