"""A real browser on a host of its own, and a proxy on another."""

import contextlib
import re
import shutil
import subprocess
import sys

from authority import Authority
from lab import CLIENT, Skip
from relay import ROOT, command_exists, ends_with_the_tests, wait_until

PAGES, DRIVER = 8000, 9515  # ports of the browser's host
NOTIFY = "notify.example.com"

# Any number of clients in one page, each with what it was told.
PAGE = """<!DOCTYPE html>
<script type="module">
import {AphlictClient} from "./aphlict-client.js";
window.numbers = [];
window.openClients = (count, urls, phid) => {
  for (let n = 0; n < count; ++n) {
    const told = [];
    window.numbers.push(told);
    const client = new AphlictClient(urls);
    client.addEventListener("message", ({message}) => told.push(message.number));
    client.subscribe(phid);
  }
};
</script>
"""


class Process:
    def __init__(self, host, command, log):
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [*host.prefix, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=ends_with_the_tests,
            )

    def close(self):
        self._process.terminate()
        self._process.wait()


def listens(host, port):
    with contextlib.suppress(OSError), host.socket() as probe:
        probe.settimeout(1)
        probe.connect((host.address, port))
        return True


class HaProxy:
    """deploy/proxies/haproxy.cfg before these repeaters."""

    def __init__(self, lab, host, repeaters):
        program = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
        if program is None:
            raise Skip("needs haproxy")
        self.url = f"wss://{host.address}/"
        certificate = Authority(lab.folder / "authority").sign()
        pem = lab.folder / f"{NOTIFY}.pem"
        pem.write_text(certificate.cert.read_text() + certificate.key.read_text())
        text = (ROOT / "deploy/proxies/haproxy.cfg").read_text()
        text = re.sub(r"^ +(user|group) haproxy$", "", text, flags=re.MULTILINE)  # the trial may have no other user
        text = re.sub(r"^ +server notify-.*\n", "", text, flags=re.MULTILINE).rstrip()
        for each in repeaters:
            text += f"\n    server {each} {each.host.address}:{CLIENT}"
        file = lab.folder / "haproxy.cfg"
        file.write_text(text.replace(f"/etc/haproxy/{NOTIFY}.pem", str(pem)) + "\n")
        lab.keep(Process(host, [program, "-db", "-f", file], lab.folder / "haproxy.log"))
        wait_until(lambda: listens(host, 443), "HAProxy listens")


class Browser:
    """`numbers()` are those of the messages that each client was told, in order."""

    def __init__(self, lab, host, phid):
        try:
            from selenium import webdriver
        except ImportError:
            raise Skip("needs selenium (python3-selenium)") from None
        if not command_exists("chromedriver"):
            raise Skip("needs chromedriver (chromium-driver)")
        self._phid = phid
        folder = lab.folder / "page"
        folder.mkdir()
        (folder / "index.html").write_text(PAGE)
        shutil.copy(ROOT / "deploy/browser/aphlict-client.js", folder)
        serve = [sys.executable, "-m", "http.server", PAGES, "--directory", folder]
        lab.keep(Process(host, serve, lab.folder / "pages.log"))
        lab.keep(Process(host, ["chromedriver", f"--port={DRIVER}", "--allowed-ips="], lab.folder / "chromedriver.log"))
        for port in (PAGES, DRIVER):
            wait_until(lambda port=port: listens(host, port), f"port {port} of the browser's host is there")
        options = webdriver.ChromeOptions()
        flags = ["headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update"]
        flags += ["disable-sync", "no-first-run", "ignore-certificate-errors", f"user-data-dir={lab.folder / 'browser'}"]
        for flag in flags:
            options.add_argument(f"--{flag}")
        self._driver = webdriver.Remote(f"http://{host.address}:{DRIVER}", options=options)
        lab.keep(self)
        self._driver.get(f"http://127.0.0.1:{PAGES}/")
        wait_until(lambda: self._driver.execute_script("return 'openClients' in window"), "the page is there")

    def open_clients(self, count, *urls):
        self._driver.execute_script("openClients(...arguments)", count, urls, self._phid)

    def numbers(self):
        return self._driver.execute_script("return numbers")

    def close(self):
        self._driver.quit()
