"""Instances: tenants that share a server and must never see each other's messages."""

import json

import pytest

from relay import command_frame, handshake_request, message, publish_target

PHID = "PHID-USER-1"


# --- which instance a publish means ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["/", "/?", "/?instance=", "/?instance", "/?other=dog", "/?instance=&instance=dog", "/?Instance=dog"]
)
def test_a_publish_without_an_instance_goes_to_default(site, target):
    client = site.client("/", [PHID])
    text = message(PHID)
    assert site.master.post(text, target).status == 200
    client.expect(text)


@pytest.mark.parametrize(
    "target",
    [
        "/?instance=dog",
        "/?instance=dog&instance=cat",
        "/?a=b&instance=dog",
        "/?instance=%64%6f%67",
        "/?inst%61nce=dog",
        "/?a=instance=cat&instance=dog",
    ],
)
def test_the_first_instance_parameter_is_percent_decoded_and_names_the_instance(site, target):
    client = site.client("/~dog/", [PHID])
    text = message(PHID)
    assert site.master.post(text, target).status == 200
    client.expect(text)


def test_a_plus_in_a_query_is_a_space(master):
    assert master.post(message(PHID), "/?instance=a+b").status == 200
    assert master.status("a b")["messages.in"] == 1
    assert master.status("a+b")["messages.in"] == 0


# --- which instance a client's path means ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, instance",
    [
        ("/", "default"),
        ("/ws/", "default"),
        ("/any/path/at/all", "default"),
        ("/~/", "default"),
        ("/~", "default"),
        ("/~~dog/", "default"),
        ("/?instance=dog", "default"),
        ("/?~dog", "default"),
        ("/~dog/", "dog"),
        ("/~dog", "dog"),
        ("/ws/~dog/", "dog"),
        ("/ws/~dog/?instance=dog", "dog"),
        ("/ws/~dog/?instance=cat", "dog"),
        ("/ws/~dog/?x=~cat/", "dog"),
        ("/~dog~cat/", "dog"),
        ("/~/dog/", "dog"),
        ("/~a/b", "ab"),
        ("/~a//b/~c", "ab"),
        ("/~%64og/", "%64og"),
        ("/~a%20b/", "a%20b"),
        ("/~a+b/", "a+b"),
        ("/~DOG/", "DOG"),
    ],
)
def test_the_path_of_a_client_names_its_instance(relay, master, path, instance):
    client = relay.client(master, path, [PHID])
    for other in {"default", "dog", "cat", "ab", "a", "a b"} - {instance}:
        master.publish(message(PHID), other)
    client.expect(master.publish(message(PHID), instance))
    assert master.status(instance)["clients.active"] == 1


# --- what instances keep apart -----------------------------------------------------------------------------


def test_messages_never_cross_instances(site):
    paths = {"default": "/", "dog": "/~dog/", "cat": "/~cat/", "dogs": "/~dogs/"}
    clients = {instance: site.client(path, [PHID]) for instance, path in paths.items()}
    sent = {instance: [] for instance in paths}
    for round_number in range(5):
        for instance in paths:
            sent[instance].append(site.publish(message(PHID, round=round_number), instance))
    for instance, client in clients.items():
        client.expect(*sent[instance])
        client.settle()
        assert len(client.messages) == 5


def test_a_replay_is_limited_to_the_instance_of_the_client(site):
    """On Aphlict, one tenant's client is sent another tenant's messages."""
    dog = site.client("/~dog/", [PHID])
    for_dog = site.publish(message(PHID), "dog")
    site.publish(message(PHID), "cat")
    site.publish(message(PHID))
    also_for_dog = site.publish(message(PHID), "dog")
    dog.expect(for_dog, also_for_dog)
    dog.replay()
    dog.expect(for_dog, also_for_dog)
    fish = site.client("/~fish/", [PHID])
    fish.replay()
    fish.settle()
    dog.settle()
    assert (len(dog.messages), fish.messages) == (4, [])


PROTOTYPE_MEMBERS = ["constructor", "__proto__", "toString", "hasOwnProperty", "valueOf", "length", "prototype"]


@pytest.mark.parametrize("name", PROTOTYPE_MEMBERS)
def test_an_instance_named_like_a_member_of_prototypes_is_one_like_any_other(relay, master, name):
    named, other, default = (relay.client(master, path, [PHID]) for path in (f"/~{name}/", "/~dog/", "/"))
    named.expect(master.publish(message(PHID), name))
    other.expect(master.publish(message(PHID), "dog"))
    default.expect(master.publish(message(PHID)))
    assert master.status(name)["clients.active"] == 1
    assert master.status("neverseen")["clients.active"] == 0


@pytest.mark.parametrize("name", PROTOTYPE_MEMBERS)
def test_a_phid_named_like_a_member_of_prototypes_matches_exactly_its_subscribers(site, name):
    subscribed, other = site.client(subscribe=[name]), site.client(subscribe=[PHID])
    text = site.publish(message(name))
    subscribed.expect(text)
    other.expect(site.publish(message(PHID)))
    other.subscribe(name)
    other.unsubscribe(name)
    site.publish(message(name))
    other.expect(site.publish(message(PHID)))


ANY_STRINGS = {
    "empty": '""',
    "a space": '" "',
    "a nul": '"\\u0000"',
    "what follows a nul": '"a\\u0000b"',
    "a quote and a backslash": '"\\"\\\\"',
    "an accent": '"é"',
    "the accent apart": '"e\\u0301"',
    "an emoji": '"😀"',
    "a lone high surrogate": '"\\ud800"',
    "a lone low surrogate": '"\\udc00"',
    "surrogates in the wrong order": '"\\udc00\\ud800"',
    "the replacement character": '"\\ufffd"',
    "what wtf-8 would look like if it were escaped": '"\\u00ed\\u00a0\\u0080"',
    "a number": '"7"',
    "long": '"' + "x" * 10_000 + '"',
    "upper case": '"phid"',
    "lower case": '"PHID"',
}


def test_any_string_is_a_phid_and_matches_only_itself(site):
    clients = {}
    for name, phid in ANY_STRINGS.items():
        clients[name] = site.client()
        clients[name].send(f'{{"command":"subscribe","data":[{phid}]}}')
        clients[name].settle()
    sent = {name: site.publish(f'{{"subscribers":[{phid}],"name":"{name}"}}') for name, phid in ANY_STRINGS.items()}
    everyone = site.publish('{"subscribers":[%s]}' % ",".join(ANY_STRINGS.values()))
    for name, client in clients.items():
        client.expect(sent[name], everyone)


def test_two_spellings_of_one_string_are_one_phid(site):
    client = site.client()
    client.send('{"command":"subscribe","data":["\\u0050HID\\/\\ud83d\\ude00"]}')
    client.settle()
    client.expect(site.publish('{"subscribers":["PHID/😀"]}'))


@pytest.mark.parametrize("name", ["dog & cat", "a+b", "100%", "#1", "é", "😀", "a/b", "a\nb", '"', "a=b", " ", "?", "%00"])
def test_any_string_is_an_instance(master, name):
    master.publish(message(PHID), name)
    assert master.status(name)["messages.in"] == 1
    assert master.status(name)["instance"] == name
    assert master.status()["messages.in"] == 0


def test_an_instance_of_bytes_that_are_not_utf_8_gets_a_clear_answer(master):
    assert master.post(message(PHID), "/?instance=%ff%fe").status in (200, 400)
    assert master.status()["messages.in"] == 0


def test_a_client_path_of_bytes_that_are_not_ascii_is_answered_and_disturbs_nobody(relay, master):
    """Browsers send them percent-encoded; what else comes is an instance or a refusal, and never another's."""
    witness = relay.client(master, subscribe=[PHID])
    connection = relay.connect(master, "client")
    connection.send(handshake_request("/~é/"))
    assert connection.read_until(b"\r\n").split()[1] in (b"101", b"400")
    witness.expect(master.publish(message(PHID)))
    assert master.status()["clients.active"] == 1


def test_a_client_whose_instance_name_is_longer_than_128_bytes_is_refused(relay, master):
    relay.raw_client(master, "/~" + "x" * 128 + "/").settle()
    connection = relay.connect(master, "client")
    connection.send(handshake_request("/~" + "x" * 129 + "/"))
    assert connection.read_reply().status == 400


def test_instances_are_kept_apart_on_one_repeater_with_many_of_them(relay, master):
    repeater = relay.repeater(master)
    clients = {f"i{n}": relay.raw_client(repeater, f"/~i{n}/") for n in range(50)}
    for client in clients.values():
        client.subscribe(PHID)
    for instance in clients:
        assert master.post(json.dumps({"subscribers": [PHID], "to": instance}), publish_target(instance)).status == 200
    for instance, client in clients.items():
        assert json.loads(client.read_frame()[1])["to"] == instance
        client.send(command_frame("ping"))
        assert client.read_frame()[1] == b'{"type":"pong"}'
