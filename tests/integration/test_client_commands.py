"""What browsers say: subscribe, unsubscribe, replay, ping, and what is none of these."""

import json

import pytest

from relay import CONTINUATION, PING, PONG, PONG_FRAME, TEXT, command_frame, frame, message, wait_until

A, B, C = "PHID-USER-A", "PHID-USER-B", "PHID-USER-C"


def check_in_order(site, client):
    """The client is neither closed nor deaf: it can subscribe, and gets what is published next."""
    client.subscribe("PHID-STILL-HERE")
    client.expect(site.publish(message("PHID-STILL-HERE")))


# --- subscribe and unsubscribe -----------------------------------------------------------------------------


def test_a_client_gets_messages_for_what_it_subscribed_to_and_no_others(site):
    client = site.client(subscribe=[A])
    site.publish(message(B))
    first = site.publish(message(A))
    site.publish(message(B, C))
    second = site.publish(message(C, A))
    client.expect(first, second)


def test_a_client_that_subscribed_to_nothing_gets_nothing(site):
    client, witness = site.client(), site.client(subscribe=[A])
    witness.expect(site.publish(message(A)))
    client.settle()
    assert client.messages == []


def test_a_message_reaches_a_client_that_matches_by_several_phids_once(site):
    client = site.client(subscribe=[A, B, C])
    client.expect(site.publish(message(A, B, C)), site.publish(message(C, B)))


def test_a_message_that_names_a_subscriber_twice_arrives_once(site):
    client = site.client(subscribe=[A])
    client.expect(site.publish(message(A, A, A)), site.publish(message(A)))


def test_a_message_reaches_every_client_that_subscribes(site):
    clients = [site.client(subscribe=phids) for phids in ([A], [A, B], [B], [A])]
    text = site.publish(message(A))
    both = site.publish(message(A, B))
    for client, expected in zip(clients, [(text, both), (text, both), (both,), (text, both)]):
        client.expect(*expected)


def test_subscriptions_add_up(site):
    client = site.client(subscribe=[A])
    client.subscribe(B)
    client.subscribe()
    client.expect(site.publish(message(A)), site.publish(message(B)))


def test_unsubscribe_removes_what_it_names_and_nothing_else(site):
    client = site.client(subscribe=[A, B, C])
    client.unsubscribe(A, C)
    site.publish(message(A))
    site.publish(message(C))
    client.expect(site.publish(message(B)))


def test_subscribing_twice_and_unsubscribing_once_is_unsubscribed(site):
    client = site.client(subscribe=[A, A])
    client.subscribe(A, B)
    client.unsubscribe(A)
    site.publish(message(A))
    client.expect(site.publish(message(B)))


def test_unsubscribing_from_what_was_never_subscribed_changes_nothing(site):
    client = site.client(subscribe=[A])
    client.unsubscribe(B, C)
    client.expect(site.publish(message(A)))


def test_subscribing_again_after_unsubscribing_works(site):
    client = site.client(subscribe=[A])
    client.unsubscribe(A)
    client.subscribe(A)
    client.expect(site.publish(message(A)))


@pytest.mark.parametrize("junk", [None, 1, 1.5, True, [A], {"phid": A}, [], {}])
def test_entries_that_are_not_strings_are_skipped_and_the_others_subscribed(site, junk):
    client = site.client(subscribe=[junk, B, junk, C, junk])
    site.publish(message(A))
    client.expect(site.publish(message(B)), site.publish(message(C)))


@pytest.mark.parametrize("junk", [None, 1, True, [A], {}])
def test_entries_that_are_not_strings_are_skipped_and_the_others_unsubscribed(site, junk):
    client = site.client(subscribe=[A, B, C])
    client.unsubscribe(junk, B, junk, C)
    site.publish(message(B))
    site.publish(message(C))
    client.expect(site.publish(message(A)))


def test_clients_come_and_go_and_leave_the_others_their_subscriptions(site):
    staying = site.client(subscribe=[A, B])
    for _ in range(20):
        passing = site.client(subscribe=[A, B, C])
        passing.close()
    staying.expect(site.publish(message(A)), site.publish(message(B)))
    wait_until(lambda: site.node.status()["clients.active"] == 1, "the others have gone")


# --- ping --------------------------------------------------------------------------------------------------


def test_a_ping_is_answered_with_a_pong(site):
    client = site.raw_client()
    client.send(command_frame("ping"))
    assert client.read_frame() == (TEXT, b'{"type":"pong"}')


@pytest.mark.parametrize("data", [None, 1, "x", [], {}, {"a": [1]}, False])
def test_a_ping_may_carry_any_data(site, data):
    client = site.raw_client()
    client.send(command_frame("ping", data))
    assert client.read_frame() == (TEXT, PONG.encode())


def test_each_of_many_pings_in_one_segment_is_answered(site):
    client = site.raw_client()
    client.send(command_frame("ping") * 100)
    assert [client.read_frame() for _ in range(100)] == [(TEXT, PONG.encode())] * 100


# --- what is no command ------------------------------------------------------------------------------------

IGNORED = [
    "",
    " ",
    "null",
    "true",
    "1",
    '"subscribe"',
    "[]",
    '["subscribe"]',
    "{}",
    "nope",
    "{",
    '{"command":"subscribe","data":["PHID-USER-A"]',
    '{"command":"subscribe","data":["PHID-USER-A"]} x',
    '{"data":["PHID-USER-A"]}',
    '{"command":null,"data":["PHID-USER-A"]}',
    '{"command":["subscribe"],"data":["PHID-USER-A"]}',
    '{"command":1}',
    '{"command":"SUBSCRIBE","data":["PHID-USER-A"]}',
    '{"command":"publish","data":{"subscribers":["PHID-USER-A"]}}',
    '{"command":"constructor"}',
    '{"command":"__proto__"}',
    '{"command":"subscribe"}',
    '{"command":"subscribe","data":null}',
    '{"command":"subscribe","data":"PHID-USER-A"}',
    '{"command":"subscribe","data":1}',
    '{"command":"subscribe","data":true}',
    '{"command":"subscribe","data":{"0":"PHID-USER-A","length":1}}',
    '{"command":"subscribe","data":{"length":4e8}}',
    '{"command":"unsubscribe"}',
    '{"command":"unsubscribe","data":null}',
    '{"command":"unsubscribe","data":"PHID-KEPT"}',
    '{"command":"unsubscribe","data":{"length":4e8}}',
    '{"command":"subscribe","data":[1e400,-0,1E+99999]}',
    '{"command":"pong"}',
    "\ufeff{}",
    "\x00",
]


@pytest.mark.parametrize("text", IGNORED)
def test_what_is_not_a_command_is_ignored_and_leaves_the_connection_neither_closed_nor_deaf(site, text):
    client = site.client(subscribe=["PHID-KEPT"])
    client.send(text)
    client.settle()
    site.publish(message(A))
    client.expect(site.publish(message("PHID-KEPT")))
    check_in_order(site, client)


@pytest.mark.parametrize("text", ["nope", '{"command":"dance"}', '{"command":"subscribe","data":1}', "null"])
def test_what_is_not_a_command_is_logged(site, text):
    client = site.client()
    client.send(text)
    site.node.wait_for_log("command_ignored")


def test_what_is_not_a_command_fills_no_disk(site):
    client = site.client(subscribe=[A])
    for _ in range(5000):
        client.send("nope")
    client.expect(site.publish(message(A)))
    client.settle()
    assert 1 <= len(site.node.events("command_ignored")) < 500


@pytest.mark.parametrize("payload", [b"", b"\x00\xff", b'{"command":"subscribe","data":["PHID-USER-A"]}'])
def test_a_binary_frame_is_no_command_and_is_ignored_and_logged(site, payload):
    client = site.client()
    client.send(payload)
    site.node.wait_for_log("command_ignored")
    site.publish(message(A))
    check_in_order(site, client)


@pytest.mark.parametrize("unit", ["[", '{"command":', '{"command":"subscribe","data":['])
def test_a_command_nested_very_deep_is_ignored(site, unit):
    client = site.client()
    client.send(unit * (900_000 // len(unit)))
    check_in_order(site, client)


def test_a_replay_without_data_is_a_replay_and_not_a_mistake(site):
    client = site.client(subscribe=[A])
    text = site.publish(message(A))
    client.expect(text)
    client.command("replay")
    client.expect(text)


def test_further_keys_of_a_command_have_no_meaning(site):
    client = site.client()
    client.send('{"x":[{}],"data":["PHID-USER-A"],"instance":"dog","command":"subscribe","id":7}')
    client.settle()
    client.expect(site.publish(message(A)))


def test_of_two_equal_keys_in_a_command_the_last_counts(site):
    client = site.client()
    client.send('{"command":"ping","data":["PHID-USER-B"],"command":"subscribe","data":["PHID-USER-A"]}')
    client.settle()
    site.publish(message(B))
    client.expect(site.publish(message(A)))


# --- how commands may be cut -------------------------------------------------------------------------------


def test_many_commands_in_one_segment_are_carried_out_in_order(site):
    client = site.raw_client()
    client.send(
        command_frame("subscribe", [A, B])
        + command_frame("unsubscribe", [A])
        + command_frame("subscribe", [C])
        + command_frame("unsubscribe", [C])
        + command_frame("ping")
    )
    assert client.read_frame() == (TEXT, PONG.encode())
    site.publish(message(A, C))
    text = site.publish(message(B))
    assert client.read_frame() == (TEXT, text.encode())


def test_a_command_that_comes_byte_by_byte_is_carried_out(site):
    client = site.raw_client()
    for byte in command_frame("subscribe", ["PHID-é-😀"]):
        client.send(bytes([byte]))
    client.settle()
    text = site.publish(message("PHID-é-😀"))
    assert client.read_frame() == (TEXT, text.encode())


def test_a_command_in_fragments_with_pings_between_them_is_carried_out(site):
    client = site.raw_client()
    text = json.dumps({"command": "subscribe", "data": ["PHID-é-😀"]}, ensure_ascii=False).encode()
    pieces = [text[i : i + 1] for i in range(len(text))]
    for index, piece in enumerate(pieces):
        client.send_frame(TEXT if index == 0 else CONTINUATION, piece, fin=index == len(pieces) - 1)
        client.send_frame(PING, bytes([index]))
        assert client.read_frame() == (PONG_FRAME, bytes([index]))
    client.settle()
    published = site.publish(message("PHID-é-😀"))
    assert client.read_frame() == (TEXT, published.encode())


def test_a_command_that_was_never_finished_is_not_carried_out(site):
    witness = site.client(subscribe=[A])
    whole = command_frame("subscribe", [A])
    for length in range(1, len(whole)):
        client = site.raw_client()
        client.send(whole[:length])
        client.close()
    witness.expect(site.publish(message(A)))
    wait_until(lambda: site.node.status()["clients.active"] == 1, "the others have gone")


# --- bounds ------------------------------------------------------------------------------------------------


def limited(relay, **limits):
    return relay.master(limits={name.replace("_", "."): value for name, value in limits.items()})


def test_a_client_past_its_bound_of_subscriptions_is_closed_with_1008(relay):
    master = limited(relay, client_subscriptions=10)
    client = relay.client(master, subscribe=[f"PHID-{n}" for n in range(10)])
    client.expect(master.publish(message("PHID-9")))
    client.command("subscribe", ["PHID-10"])
    assert client.wait_closed() == 1008


def test_subscribing_to_the_same_again_is_not_counted_again(relay):
    master = limited(relay, client_subscriptions=10)
    client = relay.client(master)
    for _ in range(5):
        client.subscribe(*[f"PHID-{n}" for n in range(10)])
    client.expect(master.publish(message("PHID-0")))


def test_what_is_unsubscribed_makes_room(relay):
    master = limited(relay, client_subscriptions=10)
    client = relay.client(master)
    for start in range(0, 100, 10):
        phids = [f"PHID-{n}" for n in range(start, start + 10)]
        client.subscribe(*phids)
        client.unsubscribe(*phids)
    client.subscribe(A)
    client.expect(master.publish(message(A)))


def test_a_client_past_its_bound_of_phid_bytes_is_closed_with_1008(relay):
    master = limited(relay, client_subscription_bytes=1000)
    client = relay.client(master, subscribe=["x" * 400, "y" * 400])
    client.command("subscribe", ["z" * 400])
    assert client.wait_closed() == 1008


def test_65536_subscriptions_are_allowed_and_one_more_is_closed_with_1008(relay, master):
    phids = [f"PHID-USER-{n:020}" for n in range(65_536)]
    client = relay.client(master)
    for start in range(0, len(phids), 16_384):
        client.subscribe(*phids[start : start + 16_384])
    client.expect(master.publish(message(phids[0])), master.publish(message(phids[-1])))
    client.command("subscribe", ["one more"])
    assert client.wait_closed() == 1008


def test_the_bounds_of_one_client_are_not_those_of_another(relay):
    master = limited(relay, client_subscriptions=10)
    clients = [relay.client(master, subscribe=[f"PHID-{n}" for n in range(10)]) for _ in range(5)]
    text = master.publish(message("PHID-3"))
    for client in clients:
        client.expect(text)


def test_every_frame_to_a_client_is_one_whole_text_message(site):
    """Read frame by frame: no fragments, no compression, no mask, the shortest length."""
    client = site.raw_client()
    client.subscribe(A)
    texts = [message(A, text="x" * size) for size in (0, 10, 60, 200, 65_300, 65_536, 70_000)]
    for text in texts:
        site.publish(text)
    for text in texts:
        assert client.read_frame() == (TEXT, text.encode())
    client.send(frame(PING, b"last"))
    assert client.read_frame() == (PONG_FRAME, b"last")


def test_commands_behind_a_very_long_one_keep_their_order(site):
    """A long list of PHIDs is dealt with over several turns."""
    client = site.raw_client()
    phids = [f"PHID-USER-{number}" for number in range(5_000)]
    commands = [("subscribe", phids), ("unsubscribe", phids[1:]), ("subscribe", [phids[5]]), ("ping",), ("ping",)]
    client.send(b"".join(command_frame(*command) for command in commands))
    for _ in range(2):
        assert client.read_frame() == (TEXT, b'{"type":"pong"}')
    for phid in (phids[7], phids[0], phids[4_999], phids[5]):
        site.publish(message(phid, to=phid))
    received = [json.loads(client.read_frame()[1])["to"] for _ in range(2)]
    assert received == [phids[0], phids[5]]
    client.settle()
