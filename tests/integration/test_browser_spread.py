"""How browsers are spread over repeaters (docs/browsers.md): a real browser, whose repeaters die, drain and come back."""

import errno
import functools
import http.server
import re
import socket
import threading

import pytest

import browser
from browser import driver  # noqa: F401: a fixture
from relay import ROOT, message, unused_port, wait_until

PHID = "PHID-USER-1"
MODULE = (ROOT / "deploy" / "browser" / "aphlict-client.js").read_bytes()
GUIDE = (ROOT / "docs" / "browsers.md").read_text()

# Any number of clients in one page, each with what it was told.
PAGE = """<!DOCTYPE html>
<script type="module">
import {AphlictClient} from "/aphlict-client.js";
window.clients = [];
window.open_clients = (count, urls, phid) => {
  for (let n = 0; n < count; ++n) {
    const client = new AphlictClient(urls);
    const record = {client, numbers: [], urls: []};
    client.addEventListener("message", ({message}) => record.numbers.push(message.number));
    client.addEventListener("state", () => { if (client.state === "open") record.urls.push(client.url); });
    client.subscribe(phid);
    window.clients.push(record);
  }
};
</script>
"""


class WebServer:
    """Serves a page at /, and the module beside it."""

    def __init__(self, page):
        files = {"/": ("text/html; charset=utf-8", page.encode()), "/aphlict-client.js": ("text/javascript", MODULE)}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind, body = files.get(self.path, ("text/plain", b""))
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Page(browser.Page):
    """A page with clients of the module."""

    def open_clients(self, count, *urls):
        self.wait_until(lambda: self.driver.execute_script("return 'open_clients' in window"), "the module is there")
        self.driver.execute_script("open_clients(...arguments)", count, urls, PHID)
        self.wait_until_open()

    def of_each(self, expression):
        return self.driver.execute_script(f"return clients.map((record) => {expression})")

    def wait_until_open(self):
        self.wait_until(lambda: set(self.of_each("record.client.state")) == {"open"}, "all are connected")

    def wait_until_all_have(self, number):
        self.wait_until(lambda: all(self.of_each(f"record.numbers.includes({number})")), f"all have number {number}")

    def check_nothing_lost_or_repeated(self, publisher):
        assert publisher.refused == []
        self.wait_until_all_have(publisher.accepted[-1])
        for numbers in self.of_each("record.numbers"):
            assert sorted(numbers) == publisher.accepted


@pytest.fixture
def open_page(driver, relay):
    def open_page(page=PAGE):
        driver.get(relay.keep(WebServer(page)).url)
        return Page(driver)

    yield open_page
    driver.get("about:blank")


class Repeaters:
    """Repeaters that come back at their places: (host, port) each."""

    def __init__(self, relay, master, *places):
        self._start = functools.partial(relay.repeater, master, options=["--drain=1"])
        self.places = places
        self.nodes = [self._start(clients=place) for place in places]

    def start(self, index):
        self.nodes[index] = self._start(clients=self.places[index])

    def kill(self, index):
        self.nodes[index].kill()

    def drain(self, index):
        self.nodes[index].ask_to_stop()
        assert self.nodes[index].wait_for_exit() == 0

    def clients(self):
        return [node.status()["clients.active"] if node.running() else 0 for node in self.nodes]

    def wait_for_clients(self, *counts):
        wait_until(lambda: self.clients() == list(counts), f"so many clients: {counts}")


# --- a list of URLs ----------------------------------------------------------------------------------------


def test_over_a_repeater_that_is_killed_and_one_that_drains_no_message_is_lost_or_repeated(relay, master, open_page):
    places = [f"127.0.0.1:{unused_port()}" for _ in range(2)]
    repeaters = Repeaters(relay, master, *places)
    page = open_page()
    page.open_clients(20, *(f"ws://{place}/" for place in places))
    assert min(repeaters.clients()) > 0, "all picked the same one"
    publisher = relay.publisher(master, PHID, rate=50)
    publisher.wait_for_more(20)
    repeaters.kill(0)
    repeaters.wait_for_clients(0, 20)
    publisher.wait_for_more(20)
    repeaters.start(0)
    repeaters.drain(1)
    repeaters.wait_for_clients(20, 0)
    page.wait_until_open()
    publisher.wait_for_more(20)
    publisher.stop()
    page.check_nothing_lost_or_repeated(publisher)
    assert {tuple(urls) for urls in page.of_each("record.urls")} == {
        (f"ws://{places[1]}/", f"ws://{places[0]}/"),
        (f"ws://{places[0]}/", f"ws://{places[1]}/", f"ws://{places[0]}/"),
    }


def test_a_message_that_was_published_while_no_repeater_was_there_comes_when_one_is_back(relay, master, open_page):
    place = f"127.0.0.1:{unused_port()}"
    repeaters = Repeaters(relay, master, place)
    page = open_page()
    page.open_clients(2, f"ws://{place}/")
    repeaters.kill(0)
    page.wait_until(lambda: set(page.of_each("record.client.state")) == {"connecting"}, "the loss is noticed")
    master.publish(message(PHID, number=1))
    repeaters.start(0)
    page.wait_until_all_have(1)
    master.publish(message(PHID, number=2))
    page.wait_until_all_have(2)
    assert page.of_each("record.numbers") == [[1, 2]] * 2


def test_the_example_of_the_guide_works_as_it_is(relay, master, open_page):
    example = re.search(r"^    <!DOCTYPE html>\n(    .*\n)+", GUIDE, re.MULTILINE)[0]
    for name in ("notify-1", "notify-2"):
        assert f"wss://{name}.example.com/" in example
        address = "%s:%d" % relay.repeater(master).address("client")
        example = example.replace(f"wss://{name}.example.com/", f"ws://{address}/")
    page = open_page(example)
    page.wait_until(lambda: "open" in page.find("body").text, "it is connected")
    master.publish(message("PHID-USER-alice", text="good news"))
    page.wait_until(lambda: "good news" in page.find("body").text, "the message is shown")


# --- one name with several addresses -----------------------------------------------------------------------


def free_on_both():
    """A port that is free on each of the addresses that every browser knows for `localhost`."""
    while True:
        port = unused_port()
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", port))
            return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                pytest.skip("no IPv6 on loopback, so no name with two addresses")


@pytest.mark.parametrize("end", [Repeaters.kill, Repeaters.drain])
def test_of_a_name_with_several_addresses_a_browser_takes_another_when_one_refuses(relay, master, open_page, end):
    port = free_on_both()
    repeaters = Repeaters(relay, master, f"127.0.0.1:{port}", f"[::1]:{port}")
    page = open_page()
    page.open_clients(4, f"ws://localhost:{port}/")
    publisher = relay.publisher(master, PHID, rate=50)
    publisher.wait_for_more(20)
    # A browser takes one address first as long as that answers: of a name, all its clients are at one place.
    assert sorted(repeaters.clients()) == [0, 4]
    first = repeaters.clients().index(4)
    end(repeaters, first)
    page.wait_until_open()
    wait_until(lambda: repeaters.clients()[1 - first] == 4, "all are at the other")
    publisher.wait_for_more(20)
    repeaters.start(first)
    end(repeaters, 1 - first)
    wait_until(lambda: repeaters.clients()[first] == 4, "all are back at the first")
    publisher.wait_for_more(20)
    publisher.stop()
    page.check_nothing_lost_or_repeated(publisher)
