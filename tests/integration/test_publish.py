"""The admin port: what Phabricator and other publishers post, and what they must not. Its HTTP is tested in
tests/conformance."""

import http.client
import json
import re
import time

import pytest

from relay import RawConnection, message, request_on, wait_until

@pytest.fixture
def reader(relay, master):
    """A client that would see whatever of a test's messages got through."""
    return relay.client(master, subscribe=["PHID-USER-1", "PHID-MARK"])


def check_nothing_came(master, reader):
    """What is published next is also what comes next."""
    reader.expect(master.publish(message("PHID-MARK")))


def check_refused(reply, status, *words):
    """A refusal says in JSON what is wrong."""
    assert reply.status == status, (reply.status, reply.body)
    assert reply.headers["Content-Type"].startswith("application/json")
    error = reply.json()["error"]
    assert error and all(word in error for word in words), error


def post_raw(relay, master, data):
    """Sends bytes to the admin port, and returns the reply that comes next."""
    connection = relay.connect(master, "admin")
    connection.send_as_far_as_taken(data)
    return connection.read_reply()


def http_post(body, *headers, target="/"):
    body = body.encode() if isinstance(body, str) else body
    lines = [f"POST {target} HTTP/1.1", "Host: notify.example.com", *headers, f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def chunked_post(chunks, *headers, trailer=""):
    lines = ["POST / HTTP/1.1", "Host: notify.example.com", *headers, "Transfer-Encoding: chunked"]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body + b"0\r\n" + trailer.encode() + b"\r\n"


# --- what is accepted --------------------------------------------------------------------------------------


def test_a_publish_is_answered_200_with_a_fingerprint_of_16_characters_in_json(master):
    reply = master.post(message("PHID-USER-1"))
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("application/json")
    assert list(reply.json()) == ["fingerprint"]
    assert re.fullmatch(r"\S{16}", reply.json()["fingerprint"])


def test_the_fingerprint_is_the_same_while_a_node_lives_and_new_after_a_restart(relay, master):
    def fingerprint(node):
        return node.post(message("PHID-USER-1")).json()["fingerprint"]

    assert fingerprint(master) == fingerprint(master)
    assert fingerprint(relay.master()) != fingerprint(master)


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "application/json", "text/plain", "multipart/form-data; boundary=x", None],
)
def test_a_message_is_accepted_whatever_its_content_type(master, reader, content_type):
    text = message("PHID-USER-1")
    assert master.post(text, headers={"Content-Type": content_type} if content_type else {}).status == 200
    reader.expect(text)


@pytest.mark.parametrize(
    "body",
    [
        '{"key":"7305","type":"notification","subscribers":["PHID-USER-1"],"uniqueID":"a1"}',
        '{"type":"message","threadPHID":"PHID-CONP-1","messageID":12,"subscribers":["PHID-USER-1"],"uniqueID":"a2"}',
        '{"type":"workboards","subscribers":["PHID-USER-1"],"uniqueID":"a3"}',
    ],
)
def test_the_message_forms_that_phabricator_sends_arrive(master, reader, body):
    master.publish(body)
    reader.expect(body)


def test_a_message_needs_nothing_but_subscribers(master, reader):
    body = '{"subscribers":["PHID-USER-1"]}'
    master.publish(body)
    reader.expect(body)


def test_a_message_without_any_subscriber_is_accepted(master):
    assert master.post('{"subscribers":[]}').status == 200


def test_one_connection_carries_many_publishes(master, reader):
    connection = http.client.HTTPConnection(*master.address("admin"), timeout=30)
    texts = [message("PHID-USER-1") for _ in range(100)]
    connection.connect()
    only_socket = connection.sock
    for text in texts:
        assert request_on(connection, "POST", "/", text).status == 200
        assert connection.sock is only_socket, "the connection was closed in between"
    connection.close()
    reader.expect(*texts)


def test_a_connection_may_be_used_again_after_some_silence(relay):
    """Silence between requests is not a slow head: libphutil keeps its connections."""
    master = relay.master(limits={"head.seconds": 1})
    connection = relay.connect(master, "admin")
    for _ in range(2):
        connection.send(http_post(message("PHID-USER-1")))
        assert connection.read_reply().status == 200
        time.sleep(2.5)  # the subject is time
    connection.send(http_post(message("PHID-USER-1")))
    assert connection.read_reply().status == 200


def test_a_publisher_of_http_1_0_is_answered_and_closed(relay, master, reader):
    text = message("PHID-USER-1")
    connection = relay.connect(master, "admin")
    connection.send(f"POST / HTTP/1.0\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
    assert connection.read_reply().status == 200
    assert connection.ended()
    reader.expect(text)


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"nope",
        b"{",
        b'{"subscribers":["PHID-USER-1"]',
        b'{"subscribers":["PHID-USER-1"],}',
        b"{'subscribers':['PHID-USER-1']}",
        b'{"subscribers":["PHID-USER-1"]} x',
        b'{"subscribers":["PHID-USER-1"]}{"subscribers":["PHID-USER-1"]}',
        b'{"subscribers":["PHID-USER-1"],"a":01}',
        b'{"subscribers":["PHID-USER-1"],"a":NaN}',
        b'{"subscribers":["PHID-USER-1"],"a":"\x01"}',
        b'{"subscribers":["PHID-USER-1"],"a":"\\x"}',
        b'{"subscribers":["PHID-USER-1"],"a":"\\ud8zz"}',
        b"subscribers=PHID-USER-1&type=notification",
    ],
)
def test_a_body_that_is_not_json_is_answered_400(master, reader, body):
    check_refused(master.post(body), 400)
    check_nothing_came(master, reader)


@pytest.mark.parametrize(
    "body",
    [
        b'{"subscribers":["PHID-USER-1"],"a":"\xff"}',
        b'{"subscribers":["PHID-USER-1"],"a":"\xc3"}',
        b'{"subscribers":["PHID-USER-1"],"a":"\xc0\x80"}',
        b'{"subscribers":["PHID-USER-1"],"a":"\xed\xa0\x80"}',
        b'{"subscribers":["PHID-USER-1"],"a":"\xf4\x90\x80\x80"}',
        '{"subscribers":["PHID-USER-1"],"a":"é"}'.encode("latin-1"),
    ],
)
def test_a_body_that_is_not_utf_8_is_answered_400(master, reader, body):
    """It could not be sent as a text frame: browsers would close the connection."""
    check_refused(master.post(body), 400)
    check_nothing_came(master, reader)


@pytest.mark.parametrize("body", ["[]", '["PHID-USER-1"]', '"PHID-USER-1"', "1", "null", "true"])
def test_json_that_is_no_object_is_answered_400(master, body):
    check_refused(master.post(body), 400, "object")


@pytest.mark.parametrize("body", ["{}", '{"type":"notification","uniqueID":"x"}', '{"Subscribers":["PHID-USER-1"]}'])
def test_a_message_without_subscribers_is_answered_400(master, body):
    check_refused(master.post(body), 400, "subscribers")


@pytest.mark.parametrize("value", ["null", '"PHID-USER-1"', "1", "true", '{"0":"PHID-USER-1","length":1}'])
def test_subscribers_that_are_not_a_list_are_answered_400(master, reader, value):
    check_refused(master.post(f'{{"subscribers":{value}}}'), 400, "subscribers")
    check_nothing_came(master, reader)


@pytest.mark.parametrize("entry", ["null", "1", "true", "[]", '["PHID-USER-1"]', "{}"])
@pytest.mark.parametrize("place", ['["PHID-USER-1",%s]', '[%s,"PHID-USER-1"]', "[%s]"])
def test_a_subscriber_that_is_not_a_string_is_answered_400(master, reader, entry, place):
    check_refused(master.post('{"subscribers":' + place % entry + "}"), 400, "subscribers")
    check_nothing_came(master, reader)


def test_a_refused_message_is_not_kept_where_it_would_break_every_replay(relay, master):
    master.publish(message("PHID-USER-1"))
    for body in ('{"type":"x"}', '{"subscribers":null}', '{"subscribers":["PHID-USER-1",null]}', "[]", "{"):
        assert master.post(body).status == 400
    assert master.status()["history.size"] == 1
    client = relay.client(master, subscribe=["PHID-USER-1"])
    client.replay()
    client.take(1)
    client.settle()
    assert len(client.messages) == 1


def test_of_two_subscribers_keys_the_last_counts_as_in_browsers(master, reader):
    hidden = '{"subscribers":["PHID-USER-1"],"subscribers":["PHID-OTHER"]}'
    shown = '{"subscribers":["PHID-OTHER"],"subscribers":["PHID-USER-1"]}'
    escaped = '{"subscribers":["PHID-OTHER"],"sub\\u0073cribers":["PHID-USER-1"]}'
    for body in (hidden, shown, escaped):
        master.publish(body)
    reader.expect(shown, escaped)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_on_the_root_is_answered_405_and_told_what_is_allowed(master, method):
    reply = master.request(method, "/")
    check_refused(reply, 405)
    assert "POST" in reply.headers["Allow"]


@pytest.mark.parametrize("path", ["/nope", "/favicon.ico", "/status", "/status/nope", "/nope?instance=dog", "/%2e%2e/etc/passwd"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_other_path_is_answered_404(master, method, path):
    check_refused(master.request(method, path, "{}" if method == "POST" else None), 404)


@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://localhost", "null"])
def test_a_post_from_a_page_of_the_web_is_answered_403_and_published_to_nobody(master, reader, origin):
    check_refused(master.post(message("PHID-USER-1"), headers={"Origin": origin}), 403)
    check_nothing_came(master, reader)


def test_a_post_to_a_repeater_is_answered_503_so_that_phabricator_tries_the_next_server(relay, master):
    repeater = relay.repeater(master)
    check_refused(repeater.post(message("PHID-USER-1")), 503)


# --- repeats -----------------------------------------------------------------------------------------------


def test_a_message_with_a_unique_id_that_was_published_before_is_answered_200_and_dropped(master, reader):
    text = message("PHID-USER-1")
    for _ in range(3):
        master.publish(text)
    check_nothing_came_after(master, reader, text)


def test_a_unique_id_says_repeat_even_when_the_rest_differs(master, reader):
    first = message("PHID-USER-1", uniqueID="same")
    master.publish(first)
    master.publish(message("PHID-USER-1", uniqueID="same", more=1))
    check_nothing_came_after(master, reader, first)


def check_nothing_came_after(master, reader, text):
    reader.expect(text)
    check_nothing_came(master, reader)


def test_a_message_that_other_servers_have_touched_arrives_once_as_it_came_first(master, reader):
    """Servers of a mesh post it on, each with itself added to the list."""
    first = message("PHID-USER-1", uniqueID="same", touched=["AAAAAAAAAAAAAAAA"])
    master.publish(first)
    master.publish(message("PHID-USER-1", uniqueID="same", touched=["AAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBB"]))
    check_nothing_came_after(master, reader, first)


def test_the_same_unique_id_in_two_instances_is_two_messages(relay, master):
    text = message("PHID-USER-1")
    readers = {name: relay.client(master, f"/~{name}/", subscribe=["PHID-USER-1"]) for name in ("dog", "cat")}
    for name, reader in readers.items():
        master.publish(text, instance=name)
        reader.expect(text)


def test_a_message_without_a_unique_id_is_never_a_repeat(master, reader):
    text = '{"subscribers":["PHID-USER-1"]}'
    master.publish(text)
    master.publish(text)
    reader.expect(text, text)


# --- bounds ------------------------------------------------------------------------------------------------


def padded(size):
    """A message of exactly that many bytes."""
    text = '{"subscribers":["PHID-USER-1"],"text":"%s"}'
    return text % ("x" * (size - len(text) + 2))


def test_a_body_of_8_mib_is_accepted_and_one_byte_more_is_answered_413(relay, master):
    limit = 8 * 1024 * 1024
    assert len(padded(limit)) == limit
    assert master.post(padded(limit)).status == 200
    check_refused(post_raw(relay, master, http_post(padded(limit + 1))), 413)


def test_a_chunked_body_that_never_ends_is_answered_413(relay):
    master = relay.master(limits={"publish.bytes": 10_000})
    connection = relay.connect(master, "admin")
    connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(200):
        connection.send_as_far_as_taken(b"64\r\n" + b" " * 100 + b"\r\n")
    check_refused(connection.read_reply(), 413)
    assert connection.ended()


def nested(depth):
    """A message whose arrays and objects are that deep."""
    return '{"subscribers":["PHID-USER-1"],"x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


def test_json_nested_1024_deep_is_accepted_and_deeper_is_answered_400(master, reader):
    master.publish(nested(1024))
    reader.expect(nested(1024))
    check_refused(master.post(nested(1025)), 400)
    check_nothing_came(master, reader)


@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"a":'])
def test_json_nested_a_million_deep_is_answered_400(master, unit):
    check_refused(master.post('{"subscribers":[],"x":' + unit * 1_000_000), 400)


def test_a_message_with_more_than_65536_subscribers_is_answered_400(master):
    def body(count):
        return json.dumps({"subscribers": [f"PHID-{n}" for n in range(count)]})

    assert master.post(body(65_536)).status == 200
    check_refused(master.post(body(65_537)), 400, "subscribers")


def test_an_instance_of_128_bytes_is_accepted_and_a_longer_one_is_answered_400(master):
    body = message("PHID-USER-1")
    assert master.post(body, "/?instance=" + "x" * 128).status == 200
    assert master.post(body, "/?instance=" + "%C3%A9" * 64).status == 200
    check_refused(master.post(body, "/?instance=" + "x" * 129), 400, "instance")
    check_refused(master.post(body, "/?instance=" + "%C3%A9" * 65), 400, "instance")


def test_when_there_are_too_many_instances_the_newest_is_answered_503_and_the_others_go_on(relay):
    master = relay.master(limits={"instances": 4})
    codes = [master.post(message("PHID-USER-1"), f"/?instance=i{n}").status for n in range(10)]
    accepted = codes.count(200)
    assert 3 <= accepted <= 4 and codes == [200] * accepted + [503] * (10 - accepted)
    assert [master.post(message("PHID-USER-1"), f"/?instance=i{n}").status for n in range(10)] == codes


def test_a_head_that_does_not_end_in_time_is_answered_408(relay):
    master = relay.master(limits={"head.seconds": 1})
    connection = relay.connect(master, "admin")
    connection.send(b"POST / HTTP/1.1\r\nHost: x\r\n")
    assert connection.read_reply().status == 408
    assert connection.ended()


def test_a_connection_that_sends_nothing_at_all_does_not_stay_for_ever(relay):
    master = relay.master(limits={"head.seconds": 1})
    connection = relay.connect(master, "admin")
    answer = connection.read_to_end()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


# --- publishers that go ------------------------------------------------------------------------------------


def raw_head(*lines):
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_publisher_that_goes_after_any_byte_of_its_request_disturbs_nobody(master, reader, ending):
    requests = [
        http_post(message("PHID-USER-1")),
        chunked_post([message("PHID-USER-1").encode()], "Expect: 100-continue"),
        raw_head("GET /status/?instance=dog HTTP/1.1", "Host: x"),
    ]
    for data in requests:
        for length in range(len(data)):
            connection = RawConnection(master.address("admin"))
            connection.send(data[:length])
            getattr(connection, ending)()
    check_nothing_came(master, reader)
    wait_until(lambda: master.status()["clients.active"] == 1, "only the reader is counted")


def test_a_publisher_that_goes_before_its_answer_comes_has_published(master, reader):
    text = message("PHID-USER-1")
    connection = RawConnection(master.address("admin"))
    connection.send(http_post(text))
    reader.expect(text)
    connection.reset()
    check_nothing_came(master, reader)
