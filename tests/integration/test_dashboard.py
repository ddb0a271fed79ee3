"""The dashboard in headless Chromium, with a tree of real nodes."""

import json

import pytest

import browser
from browser import driver  # noqa: F401: a fixture
from relay import RawConnection, Stopwatch, message, request, unused_port, wait_until

from selenium.webdriver.common.keys import Keys  # isort: skip: browser.py has looked for it

PHID = "PHID-USER-dashboard"
SOON = 2.0  # seconds for each level of the tree, where the machine has nothing else to do


class Dashboard(browser.Page):
    """The page, by what a person sees of it and does with it."""

    def open(self, node):
        host, port = node.address("admin")
        self.driver.get(f"http://{host}:{port}/dashboard/")
        self.wait_until(lambda: self.connection() == "live", "it is live")

    def connection(self):
        return self.find("#connection-state").text

    def row(self, name):
        """The cells of a node by their label, or nothing."""
        rows = self.find_all(f"#node-rows tr[data-node='{name}']")
        if not rows:
            return {}
        # One call for the whole row: it is drawn anew each second.
        cells = "return [...arguments[0].querySelectorAll('td')].map((cell) => [cell.dataset.label, cell.textContent])"
        return dict(self.driver.execute_script(cells, rows[0]))

    def cell(self, name, label):
        try:
            return self.row(name).get(label)
        except browser.StaleElement:
            return None

    def wait_until(self, condition, what, soon=None):
        """`soon`: seconds within which it must be so, where the machine has time to spare."""
        watch = Stopwatch()
        super().wait_until(condition, what)
        took = watch.seconds()
        assert soon is None or took <= soon or not watch.is_fair(), f"{took} s: {what}"

    def wait_for_cell(self, name, label, *texts, soon=None):
        self.wait_until(lambda: self.cell(name, label) in texts, f"{label} of {name} is {texts}", soon)

    def events(self):
        return [text for text in self.driver.execute_script(
            "return [...document.querySelectorAll('#events li span')].map((line) => line.textContent)"
        )]  # fmt: skip

    def wait_for_event(self, text, soon=None):
        self.wait_until(lambda: text in self.events(), f"the event {text}", soon)


@pytest.fixture
def tree(relay):
    """A master, a repeater in the middle, and one below it."""
    master = relay.master("--name=master")
    middle = relay.repeater(master, options=["--name=middle"], repeaters="127.0.0.1:0")
    leaf = relay.repeater(middle, options=["--name=leaf"], limits={"client.stalled.bytes": 1, "client.stalled.seconds": 1})
    return {"master": master, "middle": middle, "leaf": leaf}


@pytest.fixture
def dashboard(driver, tree):  # noqa: F811: the fixture
    page = Dashboard(driver)
    page.open(tree["master"])
    page.wait_for_cell("leaf", "State", "ready")
    driver.get_log("browser")  # what other pages have left there
    yield page
    driver.get("about:blank")


def test_the_tree_and_its_clients_are_shown(relay, tree, dashboard):
    clients = [relay.client(tree["leaf"], subscribe=[PHID]) for _ in range(3)]
    dashboard.wait_for_cell("leaf", "Clients", "3", soon=2 * SOON + 1)
    assert dashboard.find("#now-nodes").text == "3"
    clients[0].close()
    dashboard.wait_for_cell("leaf", "Clients", "2")


def test_rates_and_latency_are_shown(relay, tree, dashboard):
    client = relay.client(tree["leaf"], subscribe=[PHID])
    publisher = relay.publisher(tree["master"], PHID, rate=50)
    dashboard.wait_until(lambda: 20 < float(dashboard.find("#now-publishes").text.replace("–", "0")) < 80, "50 publishes/s")
    dashboard.wait_until(lambda: 20 < float(dashboard.cell("leaf", "Deliveries/s") or 0) < 80, "50 deliveries/s")
    dashboard.wait_until(lambda: "ms" in dashboard.find("#now-latency").text or "µs" in dashboard.find("#now-latency").text, "latency")
    publisher.stop()
    client.close()


def test_a_killed_repeater_is_shown_as_gone_and_back(relay, tree, dashboard):
    tree["leaf"].kill()
    dashboard.wait_for_cell("leaf", "State", "gone", soon=2 * SOON)
    dashboard.wait_for_event("leaf has gone")
    relay.repeater(tree["middle"], options=["--name=leaf"])
    dashboard.wait_for_event("leaf is back")
    assert dashboard.find("#now-nodes").text in ("3", "3, 1 gone")


def test_a_repeater_that_lags_is_shown(relay, tree, dashboard):
    publisher = relay.publisher(tree["master"], PHID, rate=50)
    dashboard.wait_until(lambda: dashboard.find("#now-publishes").text not in ("–", "0"), "messages flow")
    tree["middle"].freeze()
    dashboard.wait_for_cell("middle", "State", "lagging", soon=SOON + 2)
    tree["middle"].thaw()
    dashboard.wait_for_cell("middle", "State", "ready")
    publisher.stop()


def test_a_client_that_is_cut_is_shown_with_the_reason(relay, tree, dashboard):
    client = relay.raw_client(tree["leaf"], receive_buffer=4096)
    client.subscribe(PHID)
    for _ in range(8):
        tree["master"].publish(message(PHID, text="x" * 1_000_000))
    tree["leaf"].wait_for_log("client_cut")
    dashboard.wait_for_event("leaf has cut a client: unread", soon=2 * SOON)
    dashboard.wait_for_cell("leaf", "Cut", "1")
    assert "unread" in dashboard.find("#refused-rows").text


def test_what_is_refused_is_shown_with_the_reason(relay, tree, dashboard):
    connection = RawConnection(tree["leaf"].address("client"))
    connection.send(b"GET / HTTP/1.1\r\n bad\r\n\r\n")
    assert connection.read_reply().status == 400
    connection.close()
    dashboard.wait_until(lambda: "malformed" in dashboard.find("#refused-rows").text, "the reason", soon=2 * SOON + 1)


def test_it_says_plainly_that_its_server_is_lost(tree, dashboard):
    tree["master"].freeze()
    dashboard.wait_until(lambda: dashboard.find("#lost").is_displayed(), "it says so")
    assert dashboard.connection() == "lost"
    assert "No answer from this server since" in dashboard.find("#lost").text
    tree["master"].thaw()
    dashboard.wait_until(lambda: dashboard.connection() == "live", "it is live again")
    assert not dashboard.find("#lost").is_displayed()


def test_a_test_message_arrives_by_way_of_each_node_that_tells_its_url(relay, driver):  # noqa: F811
    master = relay.master("--name=master")
    port = unused_port()
    relay.repeater(master, options=["--name=told", f"--public-url=ws://127.0.0.1:{port}/"], clients=f"127.0.0.1:{port}")
    relay.repeater(master, options=["--name=untold"])
    page = Dashboard(driver)
    page.open(master)
    page.wait_for_cell("told", "State", "ready")
    page.find("#test-phids").send_keys("PHID-TEST-1" + Keys.ENTER)
    page.wait_until(lambda: "arrived at 1 of 2" in page.find("#test-state").text, "it arrived")
    results = {row.get_attribute("data-node"): row.find_element("css selector", "td").text for row in page.find_all("#test-rows tr")}
    assert results["untold"] == "it tells no public URL"
    assert results["told"].endswith(("ms", "µs"))


def test_a_token_is_asked_for_where_one_is_needed(relay, tmp_path, driver):  # noqa: F811
    secret = tmp_path / "token"
    secret.write_text("0123456789abcdef0123456789abcdef\n")
    secret.chmod(0o600)
    config = {"servers": [{"type": "admin", "port": 0, "listen": "127.0.0.1", "allow": {"status": ["10.0.0.0/8"]}}]}
    config["admin.secret.file"] = str(secret)
    master = relay.start("master", f"--config={relay.config_file(config)}", "--drain=0")
    host, port = master.address("admin")
    page = Dashboard(driver)
    driver.get(f"http://{host}:{port}/dashboard/")
    page.wait_until(lambda: page.find("#token").is_displayed(), "it asks")
    page.find("#token").send_keys("0123456789abcdef0123456789abcdef" + Keys.ENTER)
    page.wait_until(lambda: page.connection() == "live", "it is live")
    assert not page.find("#token-form").is_displayed()
    driver.execute_script("sessionStorage.clear()")


def test_nothing_comes_from_elsewhere_and_nothing_is_logged_as_an_error(tree, dashboard):
    host, port = tree["master"].address("admin")
    loaded = dashboard.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded and all(url == f"http://{host}:{port}/status/" for url in loaded)
    assert not [entry for entry in dashboard.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_reads_well_on_every_screen(tree, dashboard, scheme, width):
    driver = dashboard.driver  # noqa: F811
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        dashboard.wait_until(lambda: driver.execute_script("return innerWidth") == width, "the screen has that width")
        assert driver.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        contrasts = driver.execute_script(CONTRASTS)
        assert contrasts and min(contrasts) >= 4.5
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


# Of each colour of text with the card that it stands on (WCAG 2.1, 1.4.3).
CONTRASTS = """
const luminance = (hex) => {
  const full = hex.length === 4 ? hex.replace(/[0-9a-f]/gi, "$&$&") : hex;
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(full.slice(at, at + 2), 16) / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const style = getComputedStyle(document.documentElement);
const value = (name) => luminance(style.getPropertyValue(name).trim());
const card = value("--card");
return ["--text", "--quiet", "--accent", "--good", "--warn", "--bad"].map((name) => {
  const [high, low] = [value(name), card].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
});
"""


def test_the_page_is_for_everybody_who_reaches_the_port_and_tells_nothing(relay):
    master = relay.master()
    reply = master.request("GET", "/dashboard/")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert master.request("GET", "/dashboard").status == 301
    assert master.request("POST", "/dashboard/", b"").status == 405


def test_a_page_of_the_server_itself_may_publish_and_no_other(relay):
    master = relay.master()
    host, port = master.address("admin")
    body = json.dumps({"subscribers": [PHID]})
    own = {"Origin": f"http://{host}:{port}", "Host": f"{host}:{port}"}
    assert request((host, port), "POST", "/", body, own).status == 200
    for foreign in ("http://evil.example", f"http://{host}:{port + 1}", "null"):
        assert request((host, port), "POST", "/", body, {**own, "Origin": foreign}).status == 403
    rebound = {"Origin": f"http://evil.example:{port}", "Host": f"evil.example:{port}"}
    assert request((host, port), "POST", "/", body, rebound).status == 403
    wait_until(lambda: master.status()["messages.in"] == 1, "one was taken")
