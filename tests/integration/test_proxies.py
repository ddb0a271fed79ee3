"""The samples in deploy/proxies, each started as it is, but for names, ports and paths, by the real HAProxy and nginx."""

import contextlib
import dataclasses
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from authority import Authority
from relay import DEADLINE, ROOT, Client, Relay, Stopwatch, ends_with_the_tests, message, request, unused_port, wait_until

SAMPLES = ROOT / "deploy" / "proxies"
PHID = "PHID-USER-1"
NOTIFY, PHABRICATOR = "notify.example.com", "phabricator.example.com"
BROWSER = "127.0.0.7"  # the address of a browser that is not the proxy's


def program(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


HAPROXY, NGINX = program("haproxy"), program("nginx")


def needs(path, name):
    return pytest.mark.skipif(path is None, reason=f"{name} is not installed")


# --- a sample and the proxy that runs it -------------------------------------------------------------------


def lines_that_count(text):
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def filled_in(sample, replacements):
    """A sample with other names, ports and paths. Each must be there: what is missing has another name by now."""
    text = lines_that_count((SAMPLES / sample).read_text())
    for pattern, value in replacements.items():
        assert pattern in text, f"{sample} has no `{pattern}`"
        text = text.replace(pattern, value)
    return text


def server_entries(sample):
    """The entries of `servers` that a sample's comments ask for, by type: those that listen, not Phabricator's."""
    texts = re.findall(r"^# +(\{[^}]*\})$", (SAMPLES / sample).read_text(), re.MULTILINE)
    entries = [json.loads(text.replace("\n#", "")) for text in texts]
    return {entry["type"]: entry for entry in entries if "listen" in entry}


class RunningProxy:
    """A proxy in the foreground. What it says is in `log()`."""

    def __init__(self, command, log, port):
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=ends_with_the_tests
            )
        wait_until(lambda: self._answers(port), f"{command[0]} listens on {port}")

    def _answers(self, port):
        assert self._process.poll() is None, self.log()
        with contextlib.suppress(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE).connect()
            return True

    def log(self):
        return self._log.read_text()

    def close(self):
        self._process.terminate()
        self._process.wait(DEADLINE)


def run_haproxy(folder, text, port):
    if os.geteuid() != 0:
        text = re.sub(r"^ *(user|group) haproxy$", "", text, flags=re.MULTILINE)
    file = folder / "haproxy.cfg"
    file.write_text(text + "\n")
    checked = subprocess.run([HAPROXY, "-c", "-f", file], capture_output=True, text=True)
    assert checked.returncode == 0 and "[" not in checked.stdout + checked.stderr, checked  # "[WARNING] …"
    return RunningProxy([HAPROXY, "-db", "-f", str(file)], folder / "haproxy.log", port)


def run_nginx(folder, text, port):
    if os.geteuid() != 0:
        text = text.replace("user www-data;", "")
    file = folder / "nginx.conf"
    file.write_text(text)
    command = [NGINX, "-c", str(file), "-e", "stderr", "-g", "daemon off;"]
    checked = subprocess.run([*command, "-t", "-q"], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, ""), checked
    return RunningProxy(command, folder / "nginx.out", port)


class Phabricator(http.server.BaseHTTPRequestHandler):
    """Says what it was asked for, and by which names."""

    def do_GET(self):
        body = f"{self.path} {self.headers['Host']} {self.headers['X-Forwarded-Proto']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PhabricatorServer:
    def __init__(self):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Phabricator)
        self.address = "127.0.0.1:%d" % self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


# --- browsers behind a proxy -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to the repeaters: a sample, the name that browsers use, and where their path begins."""

    sample: str
    host: str = NOTIFY
    path: str = "/"

    def __str__(self):
        return f"{self.sample} {self.host}{self.path}"


TO_CLIENTS = [
    pytest.param(Way("haproxy.cfg"), marks=needs(HAPROXY, "haproxy"), id="haproxy"),
    pytest.param(Way("haproxy-tcp.cfg"), marks=needs(HAPROXY, "haproxy"), id="haproxy-tcp"),
    pytest.param(Way("nginx.conf"), marks=needs(NGINX, "nginx"), id="nginx"),
    pytest.param(Way("nginx.conf", PHABRICATOR, "/ws/"), marks=needs(NGINX, "nginx"), id="nginx-path"),
]
TO_MASTERS = "haproxy-masters.cfg"


def test_every_sample_is_tested():
    assert {file.name for file in SAMPLES.iterdir()} == {way.values[0].sample for way in TO_CLIENTS} | {TO_MASTERS}


class Certificates:
    """Of both public names, as files of the forms that the samples ask for."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        self.of = {host: self.authority.sign(host, f"DNS:{host}") for host in (NOTIFY, PHABRICATOR)}
        self.with_key = folder / "with-key.pem"
        self.with_key.write_text(self.of[NOTIFY].cert.read_text() + self.of[NOTIFY].key.read_text())
        self.trust = ssl.create_default_context(cafile=self.authority.pem)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Site:
    """A master, two repeaters with the sample's own entry in their configuration, and the proxy before them."""

    def __init__(self, relay, way, certificates, reachable=True):
        self.relay = relay
        self.way = way
        self._certificates = certificates
        self.master = relay.master(clients="none")
        self._repeater_ports = [unused_port(), unused_port()]
        self.repeaters = [self.start_repeater(0, reachable), self.start_repeater(1)]
        self.port = unused_port()
        self._phabricator = relay.keep(PhabricatorServer())
        self.proxy = relay.keep(self._run_proxy())

    def start_repeater(self, index, reachable=True):
        entry = server_entries(self.way.sample)["client"]
        entry |= {"listen": "127.0.0.1", "port": self._repeater_ports[index], "trusted.proxies": ["127.0.0.1"]}
        if "ssl.cert" in entry:
            certificate = self._certificates.of[NOTIFY]
            entry |= {"ssl.cert": str(certificate.cert), "ssl.key": str(certificate.key)}
        config = {
            "servers": [entry, {"type": "admin", "listen": "127.0.0.1", "port": 0}],
            "upstream": [[self.master.feed_url if reachable else f"http://127.0.0.1:{unused_port()}"]],
            "drain.seconds": 1,
        }
        repeater = self.relay.start("repeater", f"--config={self.relay.config_file(config)}", "--debug")
        if reachable:
            repeater.wait_for_log("synchronised")
        repeater.address("client")
        return repeater

    def _run_proxy(self):
        folder, certificates = self.relay.folder, self._certificates
        first, second = (f"127.0.0.1:{port}" for port in self._repeater_ports)
        replacements = {"notify-1.example.com:22280": first, "notify-2.example.com:22280": second}
        if self.way.sample == "nginx.conf":
            for host in (NOTIFY, PHABRICATOR):
                replacements[f"/etc/nginx/{host}.pem"] = str(certificates.of[host].cert)
                replacements[f"/etc/nginx/{host}.key"] = str(certificates.of[host].key)
            replacements |= {
                "listen 443 ": f"listen 127.0.0.1:{self.port} ",
                "127.0.0.1:8080": self._phabricator.address,
                "/run/": f"{folder}/",
                "/var/log/nginx/": f"{folder}/",
                "http {": "http { " + "".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                                              ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
            }  # fmt: skip
            return run_nginx(folder, filled_in(self.way.sample, replacements), self.port)
        replacements["bind :443"] = f"bind 127.0.0.1:{self.port}"
        if self.way.sample == "haproxy.cfg":
            replacements["/etc/haproxy/notify.example.com.pem"] = str(certificates.with_key)
        else:
            replacements["/etc/ssl/certs/ca-certificates.crt"] = str(certificates.authority.pem)
        return run_haproxy(folder, filled_in(self.way.sample, replacements), self.port)

    def open_client(self, instance="", source="127.0.0.1"):
        """A WebSocket to the public name, over TLS that is verified."""
        return self.relay.keep(
            Client(
                (self.way.host, self.port),
                self.way.path + instance,
                ssl=self._certificates.trust,
                server_hostname=self.way.host,
                host="127.0.0.1",
                port=self.port,
                local_addr=(source, 0),
            )
        )

    def get(self, target):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE, context=self._certificates.trust)
        # By its own name, which no resolver knows.
        connection.sock = self._certificates.trust.wrap_socket(
            _connected_socket(self.port), server_hostname=self.way.host
        )
        connection.request("GET", target, headers={"Host": self.way.host})
        answer = connection.getresponse()
        status, body = answer.status, answer.read().decode()
        connection.close()
        return status, body

    def clients_of_each(self):
        return [node.status()["clients.active"] for node in self.repeaters]


def _connected_socket(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.connect()
    return connection.sock


@pytest.fixture(scope="module", params=TO_CLIENTS)
def standing(request, tmp_path_factory, certificates):
    """A site for those who leave it as it was."""
    stage = Relay(tmp_path_factory.mktemp("standing"))
    os.chmod(stage.folder, 0o755)
    yield Site(stage, request.param, certificates)
    problems = stage.clean_up()
    assert not problems, "\n".join(problems)


@pytest.fixture(params=TO_CLIENTS)
def site(request, relay, certificates):
    return Site(relay, request.param, certificates)


def test_messages_come_by_way_of_the_proxy_byte_for_byte(standing):
    clients = [standing.open_client() for _ in range(2)]
    for client in clients:
        client.subscribe(PHID)
    texts = [standing.master.publish(message(PHID, text=text)) for text in ("é😀", "x" * 100_000, "")]
    for client in clients:
        client.expect(*texts)
        client.replay()
        client.expect(*texts)
        client.close()


def test_the_node_is_told_the_browsers_address(standing):
    marks = [node.log_mark() for node in standing.repeaters]
    client = standing.open_client(source=BROWSER)
    came = lambda: [
        line for node, mark in zip(standing.repeaters, marks) for line in node.events("client_connected", after=mark)
    ]
    (line,) = wait_until(came, "the client is in a log")
    assert line.fields["peer"].partition(":")[0] == BROWSER
    client.close()


def test_a_path_keeps_its_instance(standing):
    dog, default = standing.open_client("~dog/"), standing.open_client()
    for client in (dog, default):
        client.subscribe(PHID)
    dog.expect(standing.master.publish(message(PHID), "dog"))
    default.expect(standing.master.publish(message(PHID)))
    for client in (dog, default):
        client.close()


def test_phabricators_setup_check_is_answered_as_by_a_repeater(standing):
    assert standing.get(standing.way.path) == (501, "HTTP/501 Use Websockets\n")


@needs(NGINX, "nginx")
def test_what_is_not_under_the_path_goes_to_phabricator(relay, certificates):
    site = Site(relay, Way("nginx.conf", PHABRICATOR, "/ws/"), certificates)
    for target in ("/", "/T123", "/wsx"):
        assert site.get(target) == (200, f"{target} {PHABRICATOR} https")


# Of silence, in either direction, by what a proxy calls them.
IDLE_TIMES = {
    "haproxy.cfg": ["timeout tunnel"],
    "haproxy-tcp.cfg": ["timeout client", "timeout server"],
    "nginx.conf": ["proxy_read_timeout", "proxy_send_timeout"],
}


@pytest.mark.parametrize("sample", IDLE_TIMES)
def test_a_hidden_tab_may_miss_a_ping(sample):
    """By reading only: such a tab pings once a minute."""
    text = lines_that_count((SAMPLES / sample).read_text())
    times = {name: [int(each) for each in re.findall(rf"\b{name} (\d+)s\b", text)] for name in IDLE_TIMES[sample]}
    assert all(values and min(values) > 2 * 60 for values in times.values()), times
    assert len({len(values) for values in times.values()}) == 1


class Page:
    """A browser's page: when its connection ends, it comes back at once, subscribes, and asks for what it has missed."""

    def __init__(self, site):
        self._site = site
        self._clients = []
        self.failures = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stopping.is_set():
            try:
                client = self._site.open_client()
                client.subscribe(PHID)
                if self._clients:
                    client.replay()
            except Exception as error:  # whatever it is, it is not what the sample promises
                self.failures.append(repr(error))
                continue
            self._clients.append(client)
            while client.open() and not self._stopping.wait(0.01):
                pass

    def connections(self):
        return len(self._clients)

    def numbers(self):
        return {json.loads(text)["number"] for client in list(self._clients) for text in list(client.messages)}

    def close(self):
        self._stopping.set()
        self._thread.join(DEADLINE)


def check_that_pages_go_on_at_the_other(site, end, errors=0):
    """Pages on both repeaters, a steady publisher, and `end(repeater)` of the first. No page sees more `errors` than that."""
    ending, other = site.repeaters
    pages = [site.relay.keep(Page(site)) for _ in range(8)]
    wait_until(lambda: all(page.connections() for page in pages), "all pages have subscribed")
    moved = ending.status()["clients.active"]
    assert moved > 0
    publisher = site.relay.publisher(site.master, PHID, rate=100)
    publisher.wait_for_more(20)
    mark = ending.log_mark()
    end(ending)
    wait_until(lambda: other.status()["clients.active"] == 8, "all pages have come to the other")
    publisher.wait_for_more(20)
    publisher.stop()
    for page in pages:
        wait_until(lambda: page.numbers() >= set(publisher.accepted), "nothing is lost")
    assert max(len(page.failures) for page in pages) <= errors, [page.failures for page in pages]
    assert sum(page.connections() for page in pages) == 8 + moved
    assert not publisher.refused
    assert not ending.events("client_connected", after=mark)


def test_pages_of_a_repeater_that_drains_come_back_at_the_other(site):
    def drain(repeater):
        repeater.ask_to_stop()
        assert repeater.wait_for_exit() == 0

    check_that_pages_go_on_at_the_other(site, drain)


def test_pages_of_a_repeater_that_is_killed_come_back_at_the_other_and_new_ones_at_the_one_that_was_started_again(site):
    # A dying process loses its clients a little before its port. Who connects between the two is connected and then cut off,
    # and a proxy of connections cannot know that nothing came of it.
    errors = 1 if site.way.sample == "haproxy-tcp.cfg" else 0
    check_that_pages_go_on_at_the_other(site, lambda repeater: repeater.kill(), errors)
    back = site.repeaters[0] = site.start_repeater(0)


    def is_back():
        client = site.open_client()
        came = back.status()["clients.active"] == 1
        client.close()
        return came

    wait_until(is_back, "the proxy has noticed that the repeater is back")
    wait_until(lambda: site.clients_of_each() == [0, 8], "only the pages are there")
    for _ in range(3):
        site.open_client()
    assert site.clients_of_each() == [3, 8], "not the one with the fewest clients"


def test_clients_are_spread_evenly(standing):
    wait_until(lambda: standing.clients_of_each() == [0, 0], "those of other tests have left")
    clients = [standing.open_client() for _ in range(10)]
    assert standing.clients_of_each() == [5, 5]
    for client in clients:
        client.close()


@needs(HAPROXY, "haproxy")
@pytest.mark.parametrize("way", [Way("haproxy.cfg"), Way("haproxy-tcp.cfg")], ids=["haproxy", "haproxy-tcp"])
def test_nobody_is_sent_to_a_repeater_that_has_not_synchronised(relay, certificates, way):
    site = Site(relay, way, certificates, reachable=False)
    wait_until(lambda: "repeaters/notify-1 is DOWN" in site.proxy.log(), "the proxy has noticed")
    assert "code: 503" in site.proxy.log()
    for _ in range(4):
        site.open_client()
    assert site.clients_of_each() == [0, 4]


# --- several masters ---------------------------------------------------------------------------------------


class Masters:
    """Two masters with the sample's own entry in their configuration, a repeater that follows both, and the proxy."""

    def __init__(self, relay):
        self.relay = relay
        self._ports = [unused_port(), unused_port()]
        self.masters = [self._start_master(port) for port in self._ports]
        self.port = unused_port()
        replacements = {
            "bind 127.0.0.1:22281": f"bind 127.0.0.1:{self.port}",
            "master-a.example.com:22281": f"127.0.0.1:{self._ports[0]}",
            "master-b.example.com:22281": f"127.0.0.1:{self._ports[1]}",
        }
        self.proxy = relay.keep(run_haproxy(relay.folder, filled_in(TO_MASTERS, replacements), self.port))
        self.repeater = relay.repeater(*self.masters)
        self.client = relay.client(self.repeater, subscribe=[PHID])

    def _start_master(self, port):
        entry = server_entries(TO_MASTERS)["admin"] | {"listen": "127.0.0.1", "port": port, "allow": ["127.0.0.1"]}
        others = [{"type": each, "listen": "127.0.0.1", "port": 0} for each in ("client", "repeater")]
        config = {"servers": [entry, *others], "drain.seconds": 3600}
        master = self.relay.start("master", f"--config={self.relay.config_file(config)}")
        for server_type in ("admin", "client", "repeater"):
            master.address(server_type)
        return master

    def address(self, _):
        """Of the admin port: for whoever publishes."""
        return "127.0.0.1", self.port

    def publish(self, body):
        reply = request(self.address("admin"), "POST", "/", body)
        assert reply.status == 200, (reply.status, reply.body)
        return body

    def begin_to_drain(self, master):
        """Returns a client that keeps it from its exit."""
        guest = self.relay.client(master)
        master.send_signal(signal.SIGTERM)
        master.wait_for_log("drain_began")
        return guest

    def check_that_publishes_go_on(self, end):
        """While `end(master)` of the first: none is refused. Returns those that were accepted, and what tells which came."""
        publisher = self.relay.publisher(self, PHID, rate=100)
        publisher.wait_for_more(50)
        end(self.masters[0])
        publisher.wait_for_more(50)
        publisher.stop()
        assert publisher.refused == []
        received = lambda: {json.loads(text)["number"] for text in list(self.client.messages)}
        return set(publisher.accepted), received


@pytest.fixture
def masters(relay):
    return Masters(relay)


def messages_in(master):
    return master.status()["messages.in"]


@needs(HAPROXY, "haproxy")
def test_publishes_go_to_every_master_once_and_arrive(masters):
    texts = [masters.publish(message(PHID, number=number)) for number in range(20)]
    assert sorted(masters.client.take(20)) == sorted(texts)
    assert [messages_in(master) for master in masters.masters] == [10, 10]


@needs(HAPROXY, "haproxy")
def test_a_large_publish_that_a_draining_master_does_not_take_is_sent_to_another(masters):
    guest = masters.begin_to_drain(masters.masters[0])
    texts = [masters.publish(message(PHID, text="x" * 100_000)) for _ in range(2)]  # one of them is for the draining one
    masters.client.expect(*texts)
    guest.close()


@needs(HAPROXY, "haproxy")
def test_publishes_are_accepted_while_a_master_drains_and_none_twice(masters):
    guests = []
    accepted, received = masters.check_that_publishes_go_on(lambda master: guests.append(masters.begin_to_drain(master)))
    wait_until(lambda: received() == accepted, "every publish has arrived")
    assert sum(map(messages_in, masters.masters)) == len(accepted)
    wait_until(lambda: "masters/master-a is DOWN" in masters.proxy.log(), "the proxy has noticed")
    assert messages_in(masters.masters[0]) > 0
    guests[0].close()
    assert masters.masters[0].wait_for_exit() == 0


@needs(HAPROXY, "haproxy")
def test_publishes_are_accepted_while_a_master_is_killed(masters):
    accepted, received = masters.check_that_publishes_go_on(lambda master: master.kill())
    wait_until(lambda: max(received()) == max(accepted), "the newest has arrived")
    # What a master without a state folder had just answered may have died with it.
    assert len(accepted - received()) <= 1


@needs(HAPROXY, "haproxy")
def test_a_master_that_hangs_costs_a_publish_less_time_than_phabricator_has(masters):
    masters.masters[0].freeze()
    for number in range(2):  # one of them is for the frozen one
        connection = http.client.HTTPConnection(*masters.address("admin"), timeout=DEADLINE)
        watch = Stopwatch()
        connection.request("POST", "/", message(PHID, number=number))
        assert connection.getresponse().status == 200
        assert watch.seconds() < 2 or not watch.is_fair()
        connection.close()
    masters.client.take(2)
    masters.masters[0].thaw()


@needs(HAPROXY, "haproxy")
def test_a_publish_that_a_master_refuses_is_refused_once(masters):
    assert request(masters.address("admin"), "POST", "/", "no JSON").status == 400
    refused = lambda: sum(len(master.events("publish_refused")) for master in masters.masters)
    wait_until(refused, "it is in a log")
    assert refused() == 1
    assert [messages_in(master) for master in masters.masters] == [0, 0]
