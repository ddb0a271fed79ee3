"""The dashboard in headless Chromium, with a tree of real nodes."""

import json
import re

import pytest

import browser
from browser import driver  # noqa: F401: a fixture
from relay import RawConnection, Stopwatch, message, request, unused_port, wait_until, write_secret

from test_feed import Follower

from selenium.webdriver.common.action_chains import ActionChains  # isort: skip: browser.py has looked for it
from selenium.webdriver.common.keys import Keys  # isort: skip

PHID = "PHID-USER-dashboard"
SOON = 2.0  # seconds for each level of the tree, where the machine has nothing else to do
TOKEN = "0123456789abcdef0123456789abcdef"


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

    def text(self, selector):
        """Of what may be drawn anew at any moment; also of what is not to be seen."""
        return self.driver.execute_script("return document.querySelector(arguments[0]).textContent", selector)

    def wait_for_text(self, selector, part):
        self.wait_until(lambda: part in self.text(selector), f"{part} in {selector}")

    def test_results(self):
        """What the test message's table says of each node."""
        rows = self.find_all("#test-rows tr")
        return {row.get_attribute("data-node"): row.find_element("css selector", "td").text for row in rows}

    def press(self, *keys):
        """On the keyboard, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def focus(self):
        """Which element has it: its id, or the name of the region."""
        return self.driver.execute_script(
            "const at = document.activeElement; return at.id || at.getAttribute('aria-labelledby') || at.className"
        )

    def line(self):
        """What the chart of the clients draws, who are counted with each look: [[x of its points] of each line]."""
        path = self.find_all("#charts figure path")[-1].get_attribute("d") or ""
        return [[float(x) for x in re.findall(r"[ML]([\d.]+) ", "M" + part)] for part in path.split("M")[1:]]

    def wait_for_looks(self, more, what="it looks"):
        """Each look that is drawn is a point of the line, for five minutes."""
        known = sum(map(len, self.line()))
        self.wait_until(lambda: sum(map(len, self.line())) >= known + more, what)

    def accessible(self):
        """[(role, name, node)] as a screen reader has them."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        name = lambda node: node.get("name", {}).get("value", "")  # noqa: E731
        return [(node["role"]["value"], name(node), node) for node in nodes if not node["ignored"]]

    def prefer(self, scheme):
        """A colour scheme, or none by ''."""
        features = [{"name": "prefers-color-scheme", "value": scheme}] if scheme else []
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def hard_to_read(self):
        """What of the text that is shown has less contrast than WCAG 2.1 asks for (1.4.3)."""
        texts = self.driver.execute_script(CONTRASTS)
        assert len(texts) > 20
        return [text for text in texts if text[1] < 4.5]


@pytest.fixture
def tree(relay):
    """A master, a repeater in the middle, and one below it."""
    master = relay.master("--name=master")
    middle = relay.repeater(master, options=["--name=middle"], repeaters="127.0.0.1:0")
    limits = {"client.stalled.bytes": 1, "client.stalled.seconds": 1}
    leaf = relay.repeater(middle, options=["--name=leaf"], limits=limits)
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
    dashboard.wait_until(lambda: 20 < float(dashboard.text("#now-publishes").replace("–", "0")) < 80, "50 publishes/s")
    deliveries = lambda: (dashboard.cell("leaf", "Deliveries/s") or "–").replace("–", "0")  # noqa: E731
    dashboard.wait_until(lambda: 20 < float(deliveries()) < 80, "50 deliveries/s")
    dashboard.wait_until(lambda: re.search("[mµ]s", dashboard.text("#now-latency")), "latency")
    publisher.stop()
    client.close()


def test_a_killed_repeater_is_shown_as_gone_and_back(relay, tree, dashboard):
    tree["leaf"].kill()
    dashboard.wait_for_cell("leaf", "State", "gone", soon=2 * SOON)
    dashboard.wait_for_event("leaf has gone")
    relay.repeater(tree["middle"], options=["--name=leaf"])
    dashboard.wait_for_event("leaf is back")
    assert dashboard.find("#now-nodes").text in ("3", "3, 1 gone")


def test_what_happens_to_a_node_that_is_listed_twice_is_told_once(relay, driver):  # noqa: F811
    master = relay.master("--name=master")
    options = (["--name=left"], ["--name=right"])
    middles = [relay.repeater(master, options=each, repeaters="127.0.0.1:0") for each in options]
    page = Dashboard(driver)
    page.open(master)
    page.wait_for_cell("right", "State", "ready")
    limits = {"client.stalled.bytes": 1, "client.stalled.seconds": 1}
    twice = relay.repeater(*middles, options=["--name=twice"], limits=limits)
    page.wait_until(lambda: len(page.find_all("#node-rows tr[data-node='twice']")) == 2, "it is listed below each")
    assert page.find("#now-nodes").text == "4"
    client = relay.raw_client(twice, receive_buffer=4096)
    client.subscribe(PHID)
    for _ in range(8):
        master.publish(message(PHID, text="x" * 1_000_000))
    page.wait_for_event("twice has cut a client: unread")
    twice.kill()
    page.wait_for_event("twice has gone")
    events = [text for text in page.events() if text.startswith("twice ")]
    assert len(events) == len(set(events)), events
    assert "twice has come" in events


@pytest.mark.parametrize("name, levels", [("middle", 1), ("leaf", 2)])
def test_a_repeater_that_lags_is_shown(relay, tree, dashboard, name, levels):
    publisher = relay.publisher(tree["master"], PHID, rate=50)
    dashboard.wait_until(lambda: dashboard.text("#now-publishes") not in ("–", "0"), "messages flow")
    tree[name].freeze()
    dashboard.wait_for_cell(name, "State", "lagging", soon=levels * SOON)
    tree[name].thaw()
    dashboard.wait_for_cell(name, "State", "ready")
    publisher.stop()


def test_nobody_is_said_to_lag_where_all_is_well(relay, tree, dashboard):
    """Neither where much is published, nor with a message now and then."""
    watch = Stopwatch()
    publisher = relay.publisher(tree["master"], PHID, rate=100)
    publisher.wait_for_more(500)
    publisher.stop()
    for _ in range(4):
        tree["master"].publish(message(PHID))
        dashboard.wait_for_looks(1)
        dashboard.wait_until(lambda: all(node["lag"] == 0 for node in below(tree["master"].status())), "all have told")
    events = dashboard.events()
    assert not [text for text in events if text.endswith(" lags")] or not watch.is_fair(), events


def below(status):
    """The entries of a status of all nodes below."""
    return [entry for node in status["repeaters"] for entry in (node, *below(node))]


def test_the_charts_are_drawn_and_a_time_without_an_answer_is_a_gap(tree, dashboard):
    dashboard.wait_until(lambda: len(dashboard.line()) == 1 and len(dashboard.line()[0]) >= 4, "a line")
    [line] = dashboard.line()
    assert line[-1] == 300  # now, at the right end of five minutes
    assert all(0 < after - before < 2 for before, after in zip(line, line[1:])), line
    watch = Stopwatch()
    tree["master"].freeze()
    dashboard.wait_until(lambda: dashboard.connection() == "lost", "it is lost")
    lost = watch.seconds()
    tree["master"].thaw()
    dashboard.wait_until(lambda: len(dashboard.line()) == 2 and len(dashboard.line()[1]) >= 3, "the line goes on")
    before, after = dashboard.line()
    assert lost - 0.1 < after[0] - before[-1] < lost + 4
    assert abs((after[-1] - before[0]) - (line[-1] - line[0]) - watch.seconds()) < 3, "a second is as wide as any other"
    label = dashboard.find_all("#charts svg")[-1].get_attribute("aria-label")
    assert label == "Clients: now 0, in five minutes at most 0"


# What a master passes on: numbers, identifiers, lists of numbers, and objects of these (common/feed/figures.h).
ODD_FIGURES = [
    {"latency": {}},
    {"latency": 7},
    {"latency": {"bounds_us": [1, 2], "counts": "many"}},
    {"latency": {"bounds_us": [1, 2], "counts": [1]}},
    {"closed": 3, "refused": "never"},
    {"closed": {"constructor": 1, "silent": "often"}, "refused": {"client": [], "pointless": 1}},
    {"state": 5, "clients": "some", "messages_out": {}, "unsent_bytes": [1], "gaps": [], "lag_ms": "long"},
    {},
]


def test_a_node_with_odd_figures_keeps_none_of_the_others_from_being_shown(relay, tree, dashboard):
    """As a later version may have."""
    above = [tree["master"].status()["fingerprint"]]
    client = relay.client(tree["leaf"], subscribe=[PHID])
    publisher = relay.publisher(tree["master"], PHID, rate=20)
    follower = relay.keep(Follower(tree["master"]))
    for revision, figures in enumerate(ODD_FIGURES, 1):
        node = {"id": follower.id, "name": "odd", "revision": revision, "above": above, "figures": figures}
        follower.tell(type="status", nodes=[node], gone=[])
        tree["master"].wait_for_status(
            lambda status: figures in [entry["figures"] for entry in status["repeaters"]], f"{figures} are told"
        )
        dashboard.wait_for_looks(2, f"the page looks with {figures}")
        dashboard.wait_for_cell("odd", "State", "unknown", "lagging")
        assert "NaN" not in dashboard.text("main") and "undefined" not in dashboard.text("main")
        assert not dashboard.text("#broken") and not dashboard.text("#lost")
    dashboard.wait_until(lambda: re.search("[mµ]s", dashboard.text("#now-latency")), "the others' latency")
    assert dashboard.connection() == "live"
    publisher.stop()
    client.close()


def test_an_error_of_the_page_is_not_taken_for_one_of_the_server(tree, dashboard):
    dashboard.driver.execute_script("document.getElementById('now-gaps').id = 'lost-gaps'")
    dashboard.wait_until(lambda: dashboard.find("#broken").is_displayed(), "it says so")
    assert "this page cannot show all of it" in dashboard.find("#broken").text
    dashboard.driver.execute_script("document.getElementById('lost-gaps').id = 'now-gaps'")
    dashboard.wait_until(lambda: not dashboard.find("#broken").is_displayed(), "it can again")
    dashboard.wait_for_looks(1)
    assert dashboard.connection() == "live" and not dashboard.find("#lost").is_displayed()


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
    results = page.test_results()
    assert results["untold"] == "it tells no public URL"
    assert results["told"].endswith(("ms", "µs"))


def test_a_test_message_of_another_instance_goes_there(relay, driver):  # noqa: F811
    port = unused_port()
    master = relay.master("--name=master")
    told = ["--name=told", f"--public-url=ws://127.0.0.1:{port}/"]
    repeater = relay.repeater(master, options=told, clients=f"127.0.0.1:{port}")
    others = relay.client(repeater, subscribe=["PHID-TEST-1"])
    page = Dashboard(driver)
    page.open(master)
    page.wait_for_cell("told", "State", "ready")
    instance = page.find("#test-instance")
    instance.clear()
    instance.send_keys("dog")
    page.find("#test-phids").send_keys("PHID-TEST-1" + Keys.ENTER)
    page.wait_for_text("#test-state", "arrived at 1 of 1")
    assert (master.status("dog")["messages.in"], master.status()["messages.in"]) == (1, 0)
    others.settle()
    others.expect()


def test_where_a_client_port_may_lack_the_origin_of_the_page_the_row_says_so(relay, driver):  # noqa: F811
    master = relay.master("--name=master")
    port = unused_port()
    server = {"type": "client", "listen": "127.0.0.1", "port": port, "origins": ["https://phabricator.example.com"]}
    config = relay.config_file({"servers": [server], "name": "choosy", "public.url": f"ws://127.0.0.1:{port}/"})
    relay.start("repeater", f"--config={config}", f"--upstream={master.feed_url}", "--drain=0")
    page = Dashboard(driver)
    page.open(master)
    page.wait_for_cell("choosy", "State", "ready")
    page.find("#test-phids").send_keys(Keys.ENTER)
    page.wait_for_text("#test-state", "arrived at 0 of 1")
    host, port = master.address("admin")
    assert f"`origins` of that port lacks http://{host}:{port}" in page.test_results()["choosy"]


def guarded_master(relay, tmp_path, **allow):
    secret = write_secret(tmp_path / "token", TOKEN)
    config = {"servers": [{"type": "admin", "port": 0, "listen": "127.0.0.1", "allow": allow}]}
    config["admin.secret.file"] = str(secret)
    return relay.start("master", f"--config={relay.config_file(config)}", "--repeaters=none", "--drain=0")


def test_a_token_is_asked_for_where_one_is_needed(relay, tmp_path, driver):  # noqa: F811
    master = guarded_master(relay, tmp_path, status=["10.0.0.0/8"])
    host, port = master.address("admin")
    page = Dashboard(driver)
    driver.get(f"http://{host}:{port}/dashboard/")
    page.wait_until(lambda: page.find("#token").is_displayed(), "it asks")
    assert page.find("#token-label").text.startswith("This status is not open to you")
    page.find("#token").send_keys(TOKEN + Keys.ENTER)
    page.wait_until(lambda: page.connection() == "live", "it is live")
    assert not page.find("#token-form").is_displayed()
    driver.execute_script("sessionStorage.clear()")


def test_a_token_is_asked_for_where_only_a_publish_needs_one(relay, tmp_path, driver):  # noqa: F811
    master = guarded_master(relay, tmp_path, publish=["10.0.0.0/8"])
    page = Dashboard(driver)
    page.open(master)
    assert not page.find("#token-form").is_displayed()
    for token in ("", "not the one" * 4):
        if token:
            page.press(token, Keys.ENTER)
            page.wait_until(lambda: page.focus() == "test-send", "Send is at hand again")
            page.press(Keys.ENTER)
        else:
            page.find("#test-phids").send_keys(Keys.ENTER)
        page.wait_for_text("#test-state", "the token is not" if token else "publish is not for")
        page.wait_until(lambda: page.find("#token").is_displayed() and page.focus() == "token", "it asks")
    assert page.find("#token-label").text.startswith("Publishing is not open to you")
    page.wait_for_looks(2, "it has looked at the status since, which is open")
    assert page.find("#token-form").is_displayed()
    page.press(TOKEN, Keys.ENTER)
    page.wait_until(lambda: page.focus() == "test-send", "Send is at hand again")
    page.press(Keys.ENTER)
    page.wait_for_text("#test-state", "sent; taken after")
    assert not page.find("#token-form").is_displayed()
    assert master.status()["messages.in"] == 1
    driver.execute_script("sessionStorage.clear()")


def test_nothing_comes_from_elsewhere_and_nothing_is_logged_as_an_error(tree, dashboard):
    host, port = tree["master"].address("admin")
    entries = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    loaded = dashboard.driver.execute_script(entries)
    assert loaded and all(url == f"http://{host}:{port}/status/" for url in loaded)
    assert not [entry for entry in dashboard.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_reads_well_on_every_screen(tree, dashboard, scheme, width):
    driver = dashboard.driver  # noqa: F811
    dashboard.prefer(scheme)
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        dashboard.wait_until(lambda: driver.execute_script("return innerWidth") == width, "the screen has that width")
        widths = "const {scrollWidth, clientWidth} = document.documentElement; return [scrollWidth, clientWidth]"
        needed, there = driver.execute_script(widths)
        assert needed <= there
        assert dashboard.hard_to_read() == []
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        dashboard.prefer("")


def test_it_reads_well_while_the_server_is_lost(tree, dashboard):
    tree["leaf"].kill()
    dashboard.wait_for_cell("leaf", "State", "gone")
    tree["master"].freeze()
    dashboard.wait_until(lambda: dashboard.find("#lost").is_displayed(), "it is lost")
    borders = dashboard.find("main section").value_of_css_property("border-top-style")
    for scheme in ("light", "dark"):
        dashboard.prefer(scheme)
        assert dashboard.hard_to_read() == []
    dashboard.prefer("")
    tree["master"].thaw()
    dashboard.wait_until(lambda: dashboard.connection() == "live", "it is live again")
    assert dashboard.find("main section").value_of_css_property("border-top-style") != borders, "one sees at once which"


# [[text, its contrast with what it stands on]], of all that is to be seen (WCAG 2.1, relative luminance). Nothing here
# stands on an image, and what a half transparent element shows is mixed of its own colour and what is behind.
CONTRASTS = """
const luminance = (colour) => {
  const [r, g, b] = colour.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const parse = (text) => {
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
  return {colour: [r, g, b], alpha: a};
};
const mix = (front, behind, alpha) => front.map((v, i) => v * alpha + behind[i] * (1 - alpha));
// What stands behind the text of an element, and the colour of that text.
const seen = (element) => {
  if (element === null) return {back: [255, 255, 255], text: [0, 0, 0]};
  const behind = seen(element.parentElement).back;
  const style = getComputedStyle(element);
  const own = parse(style.backgroundColor);
  const back = mix(own.colour, behind, own.alpha);
  const text = parse(style.color);
  let opacity = 1;
  for (let at = element; at !== null; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
  return {back, text: mix(mix(text.colour, back, text.alpha), back, opacity)};
};
const hasText = (element) =>
  element.localName === "input" || [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
return [...document.body.querySelectorAll("*")]
  .filter((element) => element.localName !== "script" && element.checkVisibility() && hasText(element))
  .map((element) => {
    const {back, text} = seen(element);
    const [high, low] = [luminance(back), luminance(text)].sort((a, b) => b - a);
    return [element.textContent || element.id, (high + 0.05) / (low + 0.05)];
  });
"""


def test_all_of_it_is_reached_and_used_by_the_keyboard(tree, dashboard):
    driver = dashboard.driver  # noqa: F811
    order = ["skip", "nodes-title", "refused-title", "events", "test-instance", "test-phids", "test-send"]
    reached = []
    for _ in order:
        dashboard.press(Keys.TAB)
        reached.append(dashboard.focus())
        outline = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"one sees that {reached[-1]} has the focus"
    assert reached == order
    dashboard.press(Keys.ENTER)
    dashboard.wait_for_text("#test-state", "sent; taken after")
    assert dashboard.focus() == "test-send"
    with_shift = ActionChains(driver).key_down(Keys.SHIFT)
    with_shift.send_keys(*[Keys.TAB] * (len(order) - 1)).key_up(Keys.SHIFT).perform()
    assert dashboard.focus() == "skip"
    dashboard.press(Keys.ENTER)
    assert dashboard.focus() == "nodes"


def test_a_screen_reader_has_a_name_for_all_of_it(tree, dashboard):
    dashboard.wait_for_text("#charts", "at most")
    shown = dashboard.accessible()
    named = {(role, name) for role, name, _ in shown}
    headings = [name for role, name, _ in shown if role == "heading"]
    assert headings == [
        "Aphlict Relay",
        "Now",
        "The last five minutes",
        "Nodes",
        "Refused, and cut off",
        "What happened",
        "Send a test message",
    ]
    assert {("textbox", "Instance"), ("textbox", "PHIDs, by spaces"), ("button", "Send")} <= named
    assert {("rowheader", name) for name in ("master", "middle", "leaf")} <= {
        (role, name.split()[0]) for role, name in named if role == "rowheader"
    }
    images = [name for role, name, _ in shown if role in ("image", "img")]
    assert len(images) == 4 and all("in five minutes at most" in name for name in images), images
    live = {role for role, _, node in shown if any(p["name"] == "live" for p in node.get("properties", []))}
    assert {"log", "status"} <= live
    # Whatever takes the focus has a name, but for the document.
    focusable = [
        (role, name)
        for role, name, node in shown
        if role != "RootWebArea" and any(p["name"] == "focusable" and p["value"]["value"] for p in node["properties"])
    ]
    assert focusable and all(name for _, name in focusable), focusable


def test_it_is_not_said_again_and_again_that_all_is_as_it_was(tree, dashboard):
    """What is written anew into a live region is read out anew."""
    dashboard.driver.execute_script(
        "window.changes = 0;"
        "const observer = new MutationObserver((all) => { changes += all.length; });"
        "for (const region of document.querySelectorAll('[role=status], [role=alert]'))"
        "  observer.observe(region, {subtree: true, childList: true, characterData: true});"
    )
    dashboard.wait_for_looks(3)
    assert dashboard.driver.execute_script("return changes") == 0


def test_the_page_is_for_everybody_who_reaches_the_port_and_tells_nothing(relay):
    master = relay.master()
    reply = master.request("GET", "/dashboard/")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    redirect = master.request("GET", "/dashboard")
    assert (redirect.status, redirect.headers["Location"]) == (301, "dashboard/")  # behind a proxy's prefix, too
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
