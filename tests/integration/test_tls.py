"""TLS on every port and on the way up: whom it lets in, what it allows, and that certificates are replaced at run time."""

import contextlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from authority import Authority
from relay import Client, RawConnection, message, run_to_end, wait_until, write_secret

PHID = "PHID-USER-1"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


@pytest.fixture
def trust(authority):
    """What a browser knows."""
    return ssl.create_default_context(cafile=authority.pem)


def server(server_type, certificate, **others):
    return {"type": server_type, "listen": "127.0.0.1", "port": 0, **certificate.keys(**others)}


def plain(server_type):
    return {"type": server_type, "listen": "127.0.0.1", "port": 0}


def start_master(relay, *servers, **settings):
    types = {each["type"] for each in servers}
    off = [{"type": each, "port": None} for each in ("admin", "repeater") if each not in types]
    config = {"servers": [*servers, *off], "drain.seconds": 0, **settings}
    master = relay.start("master", f"--config={relay.config_file(config)}")
    for each in servers:
        master.address(each["type"])
    return master


def start_repeater(relay, master, *servers, synchronised=True, **settings):
    host, port = master.address("repeater")
    off = [] if any(each["type"] == "client" for each in servers) else [{"type": "client", "port": None}]
    config = {"servers": [*servers, *off], "upstream": [[f"https://{host}:{port}"]], "drain.seconds": 0, **settings}
    repeater = relay.start("repeater", f"--config={relay.config_file(config)}")
    if synchronised:
        repeater.wait_for_log("synchronised")
    return repeater


def secure_client(relay, node, trust):
    return relay.keep(Client(node.address("client"), ssl=trust, server_hostname="localhost"))


def s_client(node, server_type, *options, send=""):
    """What the openssl command says of a port: its output, whatever came of it."""
    host, port = node.address(server_type)
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", *options], input=send, capture_output=True, text=True, timeout=20
    )
    return done.stdout + done.stderr


# --- the route ---------------------------------------------------------------------------------------------


def test_a_message_passes_three_ports_with_tls(relay, authority, trust):
    certificate = authority.sign()
    master = start_master(relay, *(server(each, certificate) for each in ("admin", "repeater", "client")))
    repeater = start_repeater(relay, master, server("client", certificate), plain("admin"), **{"ssl.ca": str(authority.pem)})
    clients = [secure_client(relay, node, trust) for node in (master, repeater)]
    for client in clients:
        client.subscribe(PHID)
    large = message(PHID, padding="x" * 300_000)
    small = message(PHID, number=2)
    host, port = master.address("admin")
    for text in (large, small):
        reply = subprocess.run(
            ["openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", str(authority.pem), "-connect", f"{host}:{port}"],
            input=f"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n{text}",
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        assert reply.stdout.startswith("HTTP/1.1 200 OK"), reply
    for client in clients:
        client.expect(large, small)


def test_aphlicts_own_keys_work_with_a_chain(relay, tmp_path, authority):
    middle = Authority(tmp_path / "middle", "Middle authority", signer=authority)
    certificate = middle.sign()
    master = start_master(relay, server("client", certificate, ssl_chain=middle.pem), plain("admin"))
    said = s_client(master, "client", "-CAfile", str(authority.pem), "-verify_return_error")
    assert "Verification: OK" in said and "CN = Middle authority" in said


def test_a_plain_get_is_answered_as_without_tls(relay, authority):
    master = start_master(relay, server("client", authority.sign()), plain("admin"))
    said = s_client(master, "client", "-quiet", send="GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert "HTTP/1.1 501 " in said


# --- what it allows ----------------------------------------------------------------------------------------


@pytest.fixture
def port(relay, authority):
    return start_master(relay, server("client", authority.sign()), plain("admin"))


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_nothing_below_1_2(port, version):
    said = s_client(port, "client", version, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said
    assert "Protocol  : TLSv1.2" not in said and "New, TLS" not in said
    wait_until(lambda: port.events("request_refused", reason="TLS: unsupported protocol"), "the reason in the log")


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_1_2_and_1_3(port, version):
    assert f"New, TLSv{version.replace('_', '.')}, Cipher is " in s_client(port, "client", f"-tls{version}")


def test_forward_secrecy_only(port):
    """Every cipher of TLS 1.2 that is offered alone, and taken, makes its key by ECDHE, and authenticates what it encrypts."""
    ciphers = subprocess.run(["openssl", "ciphers", "-tls1_2", "-s", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"], capture_output=True, text=True, check=True)
    taken = [each for each in ciphers.stdout.strip().split(":")
             if f"Cipher is {each}" in s_client(port, "client", "-tls1_2", "-cipher", f"{each}:@SECLEVEL=0")]  # fmt: skip
    assert taken
    assert all(re.fullmatch(r"ECDHE-ECDSA-(AES(128|256)-GCM-SHA(256|384)|CHACHA20-POLY1305)", each) for each in taken), taken


def test_no_renegotiation(port):
    said = s_client(port, "client", "-tls1_2", send="R\n")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said
    assert "Secure Renegotiation IS supported" in said  # RFC 5746: that nobody else began this session


def test_a_session_is_resumed_and_only_of_1_3(port, tmp_path):
    saved = tmp_path / "session"
    # Its request is answered, and so the ticket, which comes before that, is there.
    get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    s_client(port, "client", "-sess_out", str(saved), "-ign_eof", send=get)
    assert "Reused, TLSv1.3" in s_client(port, "client", "-sess_in", str(saved))
    said = s_client(port, "client", "-tls1_2", "-ign_eof", send=get)
    assert "TLS session ticket:" not in said and "HTTP/1.1 501" in said


def test_a_session_is_resumed_at_another_node_with_the_same_secret(relay, authority, tmp_path):
    """A lost host's herd is cheap for the others."""
    secret = write_secret(tmp_path / "secret", "0123456789abcdef")
    certificate = authority.sign()
    saved = tmp_path / "session"
    first, second = (start_master(relay, server("client", certificate), plain("admin"), **{"secret.file": str(secret)}) for _ in range(2))
    get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    s_client(first, "client", "-sess_out", str(saved), "-ign_eof", send=get)
    assert "Reused, TLSv1.3" in s_client(second, "client", "-sess_in", str(saved))
    stranger = start_master(relay, server("client", certificate), plain("admin"))
    assert "New, TLSv1.3" in s_client(stranger, "client", "-sess_in", str(saved))


def test_the_protocol_is_http_1_1(port):
    assert "ALPN protocol: http/1.1" in s_client(port, "client", "-alpn", "h2,http/1.1")
    assert "No ALPN negotiated" in s_client(port, "client", "-alpn", "h2")


def client_hello():
    """The first bytes of a connection with TLS."""
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost").do_handshake()
    return sent.read()


def test_who_has_left_while_waiting_gets_no_handshake_and_costs_nobody_else_one(relay, authority, trust):
    """As a herd's clients do that have waited for too long."""
    master = start_master(relay, server("client", authority.sign()), plain("admin"))
    master.send_signal(signal.SIGSTOP)
    gone = [relay.connect(master, "client") for _ in range(200)]
    for connection in gone:
        connection.send(client_hello())
        connection.socket.shutdown(socket.SHUT_WR)
    master.send_signal(signal.SIGCONT)
    client = secure_client(relay, master, trust)
    assert [connection.read_to_end() for connection in gone] == [b""] * 200
    assert master.status()["refused"]["client"]["tls"] == 200
    master.wait_for_log("request_refused", reason="TLS: the peer left before its handshake", listener="client")
    client.subscribe(PHID)
    text = message(PHID)
    master.publish(text)
    client.expect(text)


def test_a_request_is_answered_whose_sender_says_at_once_that_it_was_the_last(relay, authority, trust):
    """The end of the handshake, the request and the end of all that is sent come in one piece."""
    master = start_master(relay, server("client", authority.sign()), plain("admin"))
    connection = relay.connect(master, "client")
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = trust.wrap_bio(received, sent, server_hostname="localhost")
    done = False
    while not done:
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
            done = True
        if not done:
            connection.send(sent.read())
            received.write(connection.socket.recv(1 << 16))
    session.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.unwrap()
    connection.send(sent.read())
    received.write(connection.read_to_end())
    assert session.read(1 << 16).startswith(b"HTTP/1.1 501 ")


def test_half_a_handshake_is_given_up(relay, authority):
    master = start_master(relay, server("client", authority.sign()), plain("admin"), limits={"head.seconds": 1})
    silent = relay.connect(master, "client")
    half = relay.connect(master, "client")
    half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert silent.read_to_end() == b"" and half.read_to_end() == b""
    master.wait_for_log("request_refused", reason="TLS: the handshake did not end in time", listener="client")


def test_http_on_a_port_with_tls(port):
    connection = RawConnection(port.address("client"))
    connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.ended()
    port.wait_for_log("request_refused", reason="TLS: http request", listener="client")
    connection.close()


# --- the way up --------------------------------------------------------------------------------------------


def why_it_failed(repeater):
    return repeater.wait_for_log("upstream_failed").fields["reason"]


def test_a_repeater_follows_nobody_whom_it_does_not_know(relay, authority):
    master = start_master(relay, server("repeater", authority.sign()), plain("admin"))
    repeater = start_repeater(relay, master, plain("admin"), synchronised=False)
    assert why_it_failed(repeater) == "TLS: the certificate of 127.0.0.1: unable to get local issuer certificate"


def test_a_repeater_follows_nobody_by_another_name(relay, authority):
    master = start_master(relay, server("repeater", authority.sign(alternatives="DNS:master.example.com")), plain("admin"))
    repeater = start_repeater(relay, master, plain("admin"), synchronised=False, **{"ssl.ca": str(authority.pem)})
    assert why_it_failed(repeater) == "TLS: the certificate of 127.0.0.1: IP address mismatch"


def test_a_repeater_shows_its_certificate_where_one_is_asked_for(relay, authority):
    master = start_master(relay, server("repeater", authority.sign(), ssl_client_ca=authority.pem), plain("admin"))
    shown = authority.sign("repeater")
    start_repeater(relay, master, plain("admin"), **shown.keys(ssl_ca=authority.pem))


def test_client_certificates_open_a_feed_beyond_loopback(relay, authority):
    """As a secret does."""
    closed = server("repeater", authority.sign()) | {"listen": "0.0.0.0"}
    path = relay.config_file({"servers": [closed]})
    done = run_to_end("master", f"--config={path}")
    assert done.returncode == 78 and "is not a loopback address" in done.stderr
    start_master(relay, closed | {"ssl.client.ca": str(authority.pem)}, plain("admin"))


@pytest.mark.parametrize(
    "shown, here, there",
    [
        ("none", "TLS: tlsv13 alert certificate required", "TLS: peer did not return a certificate"),
        ("expired", "TLS: sslv3 alert certificate expired", "TLS: the peer's certificate: certificate has expired"),
        ("foreign", "TLS: tlsv1 alert unknown ca", "TLS: the peer's certificate: unable to get local issuer certificate"),
    ],
)
def test_a_repeater_without_a_good_certificate_is_told_why_once_for_each_try(relay, authority, tmp_path, shown, here, there):
    master = start_master(relay, server("repeater", authority.sign(), ssl_client_ca=authority.pem), plain("admin"))
    keys = {"ssl.ca": str(authority.pem)}
    if shown == "expired":
        keys |= authority.sign("late", days=-1).keys()
    elif shown == "foreign":
        keys |= Authority(tmp_path / "other", "Other").sign("forged").keys()
    repeater = start_repeater(relay, master, plain("admin"), synchronised=False, **keys)
    assert why_it_failed(repeater) == here
    master.wait_for_log("request_refused", reason=there, listener="repeater")
    # Not in a loop: with the backoff's jitter, some tries in a few seconds.
    time.sleep(3)
    assert 2 <= len(repeater.events("upstream_failed")) <= 20


# --- replacing certificates --------------------------------------------------------------------------------


def served_name(node):
    return re.search(r"subject=CN = (\S+)", s_client(node, "client")).group(1)


@pytest.mark.parametrize("how", ["by_itself", "by_sighup"])
def test_certificates_are_replaced_without_dropping_a_connection(relay, authority, trust, how):
    first = authority.sign("first", "DNS:localhost")
    master = start_master(relay, server("client", first), plain("admin"))
    client = secure_client(relay, master, trust)
    client.subscribe(PHID)
    assert served_name(master) == "first"
    second = authority.sign("second", "DNS:localhost")
    shutil.copy(second.key, first.key)
    shutil.copy(second.cert, first.cert)
    if how == "by_sighup":
        master.send_signal(signal.SIGHUP)
    master.wait_for_log("certificate_reloaded")
    assert served_name(master) == "second"
    text = message(PHID)
    master.publish(text)
    client.expect(text)


def test_a_bad_certificate_changes_nothing_and_says_why(relay, authority):
    first = authority.sign("first", "DNS:localhost")
    master = start_master(relay, server("client", first), plain("admin"))
    shutil.copy(authority.sign("second").key, first.key)
    reason = f"{first.key}: this is not the key of the certificate in {first.cert}"
    master.send_signal(signal.SIGHUP)
    assert master.wait_for_log("reload_refused").fields["reason"].endswith(f"servers[0]: {reason}")
    assert master.wait_for_log("certificate_not_reloaded").fields["reason"] == reason  # and by itself
    assert served_name(master) == "first"


# --- what a configuration is told --------------------------------------------------------------------------


@pytest.mark.parametrize("option", [[], ["--check-config"]])
def test_what_is_wrong_with_certificates_is_said_before_anything_starts(relay, authority, option):
    good, other = authority.sign("good"), authority.sign("other")
    config = {"servers": [server("client", good) | {"ssl.key": str(other.key)}, server("admin", good) | {"ssl.cert": None}]}
    path = relay.config_file(config)
    done = run_to_end("master", f"--config={path}", *option)
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        f"aphlict-master: {path}: servers[0]: {other.key}: this is not the key of the certificate in {good.cert}",
        f"aphlict-master: {path}: servers[1]: TLS needs a certificate: `ssl.cert`",
    ]


def test_what_is_worth_knowing_is_a_note(relay, authority):
    late = authority.sign("late", days=-1)
    path = relay.config_file({"servers": [server("client", late, ssl_chain=authority.pem)]})
    done = run_to_end("master", f"--config={path}", "--check-config")
    assert done.returncode == 0
    assert f"note: {path}: servers[0]: {late.cert}: the certificate of CN = late has expired: " in done.stdout
