"""docs/migrating.md: every command in it, in order, on two hosts with a systemd each.

What stands for Phabricator, and for Aphlict itself, are scripts of a few lines; the rest is the package as it is.
"""

import json
import re
import shutil

import pytest

from booted import Booted
from debian_root import debian_root, needs_debian_root
from networks import Network
from packages import debian_package
from relay import ROOT, wait_until

PAGE = (ROOT / "docs" / "migrating.md").read_text()
MASTER, NOTIFY = "master.example.com", "notify-1.example.com"
ADDRESSES = {MASTER: "10.98.0.2", NOTIFY: "10.98.0.3"}
SECRET = "/etc/aphlict-relay/secret"
PHID = "PHID-USER-1"

APHLICT_FILE = """{
  "servers": [
    {"type": "client", "port": 22280, "listen": "0.0.0.0", "ssl.key": null, "ssl.cert": null, "ssl.chain": null},
    {"type": "admin", "port": 22281, "listen": "127.0.0.1", "ssl.key": null, "ssl.cert": null, "ssl.chain": null}
  ],
  "logs": [{"path": "/var/log/aphlict.log"}],
  "cluster": [],
  "pidfile": "/var/tmp/aphlict.pid"
}
"""
# In Aphlict's place, whatever takes its ports by its file.
APHLICT = """#!/bin/sh -e
case "$1" in
  start) exec systemd-run --quiet --unit=aphlict aphlict-master --config /path/to/aphlict.json --repeaters none ;;
  stop) exec systemctl stop aphlict ;;
esac
exit 64
"""
PHABRICATOR_CONFIG = """#!/bin/sh -e
[ "$*" = "set --stdin notification.servers" ]
cat > /path/to/phabricator/notification.servers
"""


def blocks():
    """The indented blocks: (None, path, JSON) of a file, and (host, None, commands)."""
    host = None
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE):
        lines = [line[4:] for line in block.strip("\n").splitlines()]
        while lines:  # a file and commands may follow each other
            if found := re.match(r"// (/\S+)$", lines[0]):
                end = lines.index("}") + 1
                yield None, found[1], "\n".join(lines[1:end])
            else:
                found = re.match(r"# on ([\w.-]+)", lines[0])
                assert found, f"a block that names no host: {lines[0]}"
                host = found[1]
                end = next((n for n, line in enumerate(lines) if n > 0 and re.match(r"//|# on ", line)), len(lines))
                yield host, None, [line for line in lines[1:end] if line]
            lines = lines[end:]
            while lines and not lines[0]:
                lines.pop(0)


class Hosts:
    """Both hosts, booted, and what has been done on them."""

    def __init__(self, relay, roots, package):
        self.roots = roots
        self._package = package
        network = relay.keep(Network("10.98.0.1/24"))
        self.booted = {}
        for name, root in roots.items():
            (root / "/etc/hostname").write_text(name + "\n")
            (root / "/etc/hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{ADDRESSES[each]} {each}\n" for each in roots))
            self.booted[name] = relay.keep(Booted(root, network.add(ADDRESSES[name])))

    def script(self, host, path, text):
        file = self.roots[host] / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def run(self, host, command):
        """A line of the page, which must go well. Returns what it said."""
        if command.startswith("apt-get install"):
            # The host's network has nobody who has packages. What it needs is there: this installs from the file alone.
            self.booted[host].write(f"/tmp/{self._package.name}", self._package.read_bytes())
        if command.startswith("scp "):
            source, target = command.split()[1:]
            name, _, path = source.partition(":")
            shutil.copy(self.roots[name] / path, self.roots[host] / target)  # with its mode, as scp of root would
            return ""
        return self.booted[host].run("bash", "-c", f"cd /root && {command}")

    def write(self, path, text):
        host = MASTER if path.endswith("master.json") else NOTIFY
        (self.roots[host] / path).write_text(text + "\n")

    def check_a_message_arrives(self, at):
        """Published on the master's host, told by a client port."""
        self.run(MASTER, f"aphlict-master notify --phid {PHID}")
        told = self.run(MASTER, f"aphlict-master listen {at} --phid {PHID} --replay 60 --count 1")
        assert PHID in told


@pytest.fixture
def hosts(relay, tmp_path_factory, tmp_path):
    package = debian_package(tmp_path_factory)
    with debian_root(tmp_path_factory, tmp_path / "master") as first, debian_root(tmp_path_factory, tmp_path / "notify") as second:
        for root in (first, second):
            shutil.copy(package, root / "/tmp" / package.name)
            root.install("systemd", "systemd-sysv", "dbus", "openssl", "ca-certificates", f"/tmp/{package.name}")
            root.run("dpkg", "--purge", "aphlict-relay")  # what it depends on stays
            (root / "/tmp" / package.name).unlink()
            (root / "/usr/sbin/policy-rc.d").unlink()
        hosts = Hosts(relay, {MASTER: first, NOTIFY: second}, package)
        hosts.script(MASTER, "/path/to/phabricator/bin/aphlict", APHLICT)
        hosts.script(MASTER, "/path/to/phabricator/bin/config", PHABRICATOR_CONFIG)
        (first / "/path/to/aphlict.json").write_text(APHLICT_FILE)
        yield hosts
        for booted in hosts.booted.values():
            booted.close()


@pytest.mark.slow
@needs_debian_root
def test_every_command_of_the_way_over_and_back(hosts):
    master, notify = hosts.booted[MASTER], hosts.booted[NOTIFY]
    ran = 0
    for host, path, content in blocks():
        if path:
            hosts.write(path, content)
            continue
        for command in content:
            said = hosts.run(host, command)
            ran += 1
            if command.startswith("apt-get") and host == MASTER:
                hosts.run(MASTER, "/path/to/phabricator/bin/aphlict start")  # which was there before all this
                wait_until(lambda: master.states("aphlict") == ["active"], "Aphlict runs")
            elif "aphlict.json --check-config" in command:
                assert "the configuration is fine" in said and "cluster" not in said
            elif command == "systemctl enable --now aphlict-master":
                assert master.states("aphlict", "aphlict-master") == ["inactive", "active"]
                hosts.check_a_message_arrives(f"ws://{MASTER}:22280/")
            elif command.startswith("aphlict-master check"):
                assert re.search(r"^delivery .* ok$", said, re.M), said
            elif command.startswith("systemctl enable --now aphlict-repeater"):
                assert notify.states(*(f"aphlict-repeater@{n}" for n in range(1, 5))) == ["active"] * 4
                hosts.check_a_message_arrives(f"ws://{NOTIFY}:22280/")
            elif "notification.servers" in command:
                servers = json.loads((hosts.roots[MASTER] / "/path/to/phabricator/notification.servers").read_text())
                assert servers == [
                    {"type": "admin", "host": "127.0.0.1", "port": 22281, "protocol": "http"},
                    {"type": "client", "host": NOTIFY, "port": 22280, "protocol": "http"},
                ]
            elif command == "systemctl reload aphlict-master":
                assert master.ask("aphlict-master", "check", "--client", "ws://127.0.0.1:22280/")[0] == 1  # it is closed
                assert "22282" in (hosts.roots[MASTER] / "/etc/aphlict-relay/master.json").read_text()
                hosts.check_a_message_arrives(f"ws://{NOTIFY}:22280/")
            elif command.endswith("aphlict start"):
                assert master.states("aphlict", "aphlict-master") == ["active", "inactive"]
                hosts.check_a_message_arrives(f"ws://{MASTER}:22280/")
    assert ran >= 20
