"""A real browser: the quick start's page in headless Chromium, as a client of two repeaters."""

import os
import signal

import pytest

import browser
from browser import driver  # noqa: F401: a fixture
from test_quickstart import quickstart  # noqa: F401: a fixture

from selenium.webdriver.common.keys import Keys  # isort: skip: browser.py has looked for it

BOTH = ["repeater-1", "repeater-2"]


class Page(browser.Page):
    """The page, by what a person sees of it and does with it."""

    def state(self, repeater):
        return self.find(f"#{repeater} [role=status]").text

    def wait_for_state(self, repeater, beginning):
        self.wait_until(lambda: self.state(repeater).startswith(beginning), f"{repeater} is {beginning}")

    def messages(self, repeater):
        return [item.text for item in self.find_all(f"#{repeater} li span:first-child")]

    def wait_for_messages(self, repeater, *texts):
        self.wait_until(lambda: self.messages(repeater) == list(texts), f"{texts} by way of {repeater}")

    def publish(self, text):
        field = self.find("#text")
        field.clear()
        field.send_keys(text)
        self.find("form button").click()

    def press(self, repeater, name):
        """Presses the button of a repeater, which must be called so."""
        button = self.find(f"#{repeater} button")
        assert button.accessible_name == f"{name} {repeater}"
        button.click()


@pytest.fixture
def page(driver, quickstart):
    driver.get(quickstart.url)
    page = Page(driver)
    page.wait_until(lambda: len(page.find_all("section")) == 2, "a box for each repeater")
    for repeater in BOTH:
        page.wait_for_state(repeater, "connected")
    yield page
    driver.get("about:blank")


def test_what_is_published_on_the_page_arrives_by_way_of_both_repeaters(page):
    texts = ["Hello", "Grüße, 世界 & <b>no markup</b>", "Hello"]
    for text in texts:
        page.publish(text)
    for repeater in BOTH:
        page.wait_for_messages(repeater, *texts)
    assert page.find("#problem").text == ""


def test_the_page_shows_that_a_repeater_has_gone_and_is_back_and_what_was_published_meanwhile(page):
    page.publish("before")
    page.wait_for_messages("repeater-1", "before")
    page.press("repeater-1", "Stop")
    page.wait_for_state("repeater-1", "gone since ")
    page.publish("meanwhile")
    page.wait_for_messages("repeater-2", "before", "meanwhile")
    assert (page.state("repeater-2"), page.messages("repeater-1")) == ("connected", ["before"])
    page.press("repeater-1", "Start")
    page.wait_for_state("repeater-1", "connected")
    page.wait_for_messages("repeater-1", "before", "meanwhile")
    page.publish("after")
    for repeater in BOTH:
        page.wait_for_messages(repeater, "before", "meanwhile", "after")


def test_a_repeater_that_crashes_is_shown_as_gone_and_can_be_started_again(page, quickstart):
    os.kill(quickstart.nodes["repeater-2"], signal.SIGKILL)
    page.wait_for_state("repeater-2", "gone since ")
    assert page.state("repeater-1") == "connected"
    page.press("repeater-2", "Start")
    page.wait_for_state("repeater-2", "connected")


def test_a_repeater_that_was_away_when_the_page_was_loaded_can_be_started_from_it(page):
    page.press("repeater-1", "Stop")
    page.wait_for_state("repeater-1", "gone since ")
    page.driver.refresh()
    page.wait_until(lambda: len(page.find_all("section")) == 2, "a box for each repeater")
    page.wait_for_state("repeater-1", "gone since ")
    page.press("repeater-1", "Start")
    page.wait_for_state("repeater-1", "connected")


def test_the_page_says_so_when_it_cannot_publish(page, quickstart):
    os.kill(quickstart.nodes["master"], signal.SIGKILL)
    page.publish("to nobody")
    page.wait_until(lambda: "master" in page.find("#problem").text, "the master is missed")
    assert [page.state(repeater) for repeater in BOTH] == ["connected", "connected"]
    quickstart.close()
    page.publish("to nobody")
    page.wait_until(lambda: "still running" in page.find("#problem").text, "the quick start is missed")
    for repeater in BOTH:
        page.wait_for_state(repeater, "gone since ")


def test_the_page_can_be_used_by_keyboard_alone(page):
    page.find("body").click()
    focused = lambda: page.driver.switch_to.active_element
    for name in ["Message", "Publish", "Stop repeater-1", "Messages by way of repeater-1", "Stop repeater-2"]:
        focused().send_keys(Keys.TAB)
        assert focused().accessible_name == name
    focused().send_keys(Keys.SPACE)
    page.wait_for_state("repeater-2", "gone since ")
    assert focused().accessible_name == "Start repeater-2"
    focused().send_keys(Keys.SPACE)
    page.wait_for_state("repeater-2", "connected")
    page.find("#text").send_keys("!" + Keys.ENTER)
    for repeater in BOTH:
        page.wait_for_messages(repeater, "Hello!")


# Of each text, the contrast to what lies behind it, as WCAG 2 counts it.
LOW_CONTRASTS = """
const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => {
  const [r, g, b] = rgb(color).map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  const color = getComputedStyle(element).backgroundColor;
  return rgb(color)[3] === 0 ? behind(element.parentElement) : color;
};
const contrast = (element) => {
  const [dark, bright] = [getComputedStyle(element).color, behind(element)].map(light).sort((a, b) => a - b);
  return (bright + 0.05) / (dark + 0.05);
};
const texts = [...document.querySelectorAll("main *")].filter((element) =>
  element.localName === "input" || [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
return [texts.length, texts.map((element) => [element.outerHTML, contrast(element)]).filter(([_, c]) => c < 4.5)];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_the_page_can_be_told_from_what_is_behind_it(page, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    assert page.driver.execute_script(f"return matchMedia('(prefers-color-scheme: {scheme})').matches")
    page.publish("Hello")
    page.wait_for_messages("repeater-2", "Hello")
    page.press("repeater-1", "Stop")
    page.wait_for_state("repeater-1", "gone since ")
    count, low = page.driver.execute_script(LOW_CONTRASTS)
    assert count > 12 and low == []
