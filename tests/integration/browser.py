"""Headless Chromium, for tests of pages. A test module that imports this is skipped where there is no browser."""

import pytest

from relay import DEADLINE, command_exists

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (python3-selenium)")
if not command_exists("chromedriver"):
    pytest.skip("chromedriver is not installed (chromium-driver)", allow_module_level=True)

from selenium.common.exceptions import StaleElementReferenceException as StaleElement  # noqa: E402, F401
from selenium.webdriver.chrome.service import Service  # noqa: E402: only where there is selenium
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

FLAGS = [
    "--headless",
    "--no-sandbox",  # which root has not
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class Page:
    """The page, by what a person sees of it and does with it."""

    def __init__(self, driver):
        self.driver = driver

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait_until(self, condition, what):
        WebDriverWait(self.driver, DEADLINE, poll_frequency=0.05).until(lambda _: condition(), what)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(service=Service("chromedriver"), options=options)
    yield driver
    driver.quit()
