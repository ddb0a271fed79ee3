"""The machines of a trial: each member of a relay is a host of its own, which can lose its cable, be killed, frozen,
and started again at the same place.

With network namespaces a host is one of them, with a cable (veth) to a switch (bridge) in the suite's own namespace;
on a machine without, it is an address of the loopback network, and what needs a cable is skipped.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
import relay  # noqa: E402

ADMIN, CLIENT, FEED = 22281, 22280, 22282
CLIENT_ADDRESSES = range(200, 216)  # the last part of each
CLONE_NEWNET = 0x40000000


class Skip(Exception):
    """The machine has not what a scenario needs."""


def command(*words):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


class Loopback:
    """Hosts as addresses of 127.0.0.0/8, from a part of it that only this process takes."""

    cables = False

    def __init__(self):
        self._last = 1
        self._network = f"127.{64 + os.getpid() // 256 % 128}.{os.getpid() % 256}"
        self.suite_address = f"{self._network}.1"

    def client_addresses(self):
        """Addresses of the suite's own, for very many connections."""
        return [f"{self._network}.{last}" for last in CLIENT_ADDRESSES]

    def mount(self, *_arguments):
        raise Skip("needs mounts of its own")

    def add(self, name):
        self._last += 1
        return Host(name, f"{self._network}.{self._last}")


class Namespaces:
    """Hosts as network namespaces. The suite runs in a network and mount namespace of its own (tests/faults/run), so
    that all of it goes with the last process of the trial."""

    cables = True

    def __init__(self):
        self._last = 1
        self.suite_address = "10.77.0.1"
        command("mount", "-t", "tmpfs", "tmpfs", "/run")  # where iproute2 keeps the names of namespaces
        command("ip", "link", "set", "lo", "up")
        command("ip", "link", "add", "switch", "type", "bridge")
        command("ip", "addr", "add", f"{self.suite_address}/24", "dev", "switch")
        for address in self.client_addresses():
            command("ip", "addr", "add", f"{address}/24", "dev", "switch")
        command("ip", "link", "set", "switch", "up")

    def client_addresses(self):
        return [f"10.77.0.{last}" for last in CLIENT_ADDRESSES]

    def mount(self, *arguments):
        command("mount", *arguments)

    def add(self, name):
        self._last += 1
        address = f"10.77.0.{self._last}"
        cable = f"to-{name}"
        command("ip", "netns", "add", name)
        command("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        command("ip", "link", "set", cable, "master", "switch", "up")
        command("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        command("ip", "-n", name, "link", "set", "lo", "up")
        command("ip", "-n", name, "link", "set", "eth0", "up")
        return Host(name, address, cable)


@dataclasses.dataclass
class Host:
    name: str
    address: str
    cable: str = ""  # the switch's end of it; empty on loopback

    @property
    def _namespace(self):
        return f"/run/netns/{self.name}"

    @property
    def prefix(self):
        """What runs a command on this host."""
        return ["nsenter", f"--net={self._namespace}"] if self.cable else []

    def set(self, key, value):
        """Sets a sysctl of its network."""
        self._need_cable()
        command(*self.prefix, "sysctl", "-q", "-w", f"{key}={value}")

    def pull_cable(self):
        """Nothing gets in or out, and nobody is told."""
        self._need_cable()
        command("ip", "link", "set", self.cable, "down")

    def plug_cable_in(self):
        self._need_cable()
        command("ip", "link", "set", self.cable, "up")

    def slow_cable_down(self, rate):
        """What is sent to it waits in a queue that passes no more than `rate`, as tc(8) writes it."""
        self._need_cable()
        queue = ["tbf", "rate", rate, "burst", "4k", "limit", "200k"]
        command("tc", "qdisc", "add", "dev", self.cable, "root", *queue)

    def socket(self):
        """A TCP socket that belongs to this host."""
        self._need_cable()
        made = []

        def make():  # the namespace is the thread's, and a socket keeps that in which it was made
            with open(self._namespace) as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) == 0:
                    made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not made:
            raise RuntimeError(f"no socket in {self.name}")
        return made[0]

    def _need_cable(self):
        if not self.cable:
            raise Skip("needs network namespaces")


class Member:
    """A master or a repeater of the relay, through all its lives: always the same host, ports and state folder."""

    def __init__(self, name, role, host, admin_port, arguments, process):
        self.name = name
        self.role = role
        self.host = host
        self.admin_port = admin_port
        self.arguments = arguments
        self.process = process  # how to run it: keywords of relay.Node
        self.lives = []

    def __str__(self):
        return self.name

    @property
    def node(self):
        """Its present or last life."""
        return self.lives[-1]

    def address(self, server_type):
        return self.host.address, {"admin": self.admin_port, "client": CLIENT, "repeater": FEED}[server_type]

    @property
    def feed_url(self):
        return "http://%s:%d" % self.address("repeater")

    def start(self):
        """Starts it, and returns without waiting for anything."""
        self.lives.append(relay.Node(self.role, self.arguments, prefix=self.host.prefix, **self.process))
        return self

    def wait_until_it_listens(self, server_type):
        self.node.address(server_type)
        return self

    def wait_until_synchronised(self):
        self.node.wait_for_log("synchronised")
        return self

    def kill(self):
        self.node.kill()

    def stop(self):
        """Asks it to drain and go, and waits until it has gone in peace."""
        self.node.stop()

    def freeze(self):
        self.node.freeze()

    def thaw(self):
        self.node.thaw()

    def status(self, instance=""):
        """What its status says. REQUIRES: its admin port can be reached."""
        reply = relay.request(self.address("admin"), "GET", f"/status/?instance={instance}")
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json()

    def events(self, event, **fields):
        """Log lines of all its lives."""
        return [line for life in self.lives for line in life.events(event, **fields)]

    def resident_kib(self):
        for line in Path(f"/proc/{self.node.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError(f"{self} has no memory")

    def processor_seconds(self):
        """(on a processor, waiting for one), since it started."""
        running, waiting = Path(f"/proc/{self.node.process.pid}/schedstat").read_text().split()[:2]
        return int(running) / 1e9, int(waiting) / 1e9


class Lab:
    def __init__(self, folder, network):
        self.folder = Path(folder)
        self.secret_file = self.folder / "secret"
        self.secret_file.write_text(secrets.token_hex(32) + "\n")
        self.secret_file.chmod(0o600)
        self.network = network
        self.members = []
        self._closing = contextlib.ExitStack()

    def keep(self, thing):
        """Has `thing` closed at the end, before the members are."""
        self._closing.callback(thing.close)
        return thing

    def host(self, name):
        return self.network.add(name)

    def master(self, name, *options, state=True, clients=False, drain=0, limits=None, host=None, **process):
        """A running master. `state`: with a folder of its own, or at that path, or none."""
        options = list(options)
        if state:
            options.append(f"--state={self.folder / f'state-{name}' if state is True else state}")
        member = self._member(name, "master", host, ADMIN, True, clients, drain, options, limits, process)
        return member.wait_until_it_listens("repeater")

    def repeater(
        self,
        name,
        *groups,
        options=(),
        feed=False,
        drain=0,
        limits=None,
        host=None,
        admin_port=ADMIN,
        synchronised=True,
        **process,
    ):
        """A running repeater. Each group is a member, a link, or a list of them."""
        upstream = []
        for group in groups:
            members = group if isinstance(group, (list, tuple)) else [group]
            upstream.append("--upstream=" + ",".join(each.feed_url for each in members))
        options = [*upstream, *options]
        member = self._member(name, "repeater", host, admin_port, feed, True, drain, options, limits, process)
        if synchronised:
            member.wait_until_synchronised().wait_until_it_listens("client")
        return member

    def member(self, name, role, host, config, **process):
        """A node of which a configuration file says everything; on its way to running."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(config))
        member = Member(name, role, host, ADMIN, [f"--name={name}", "--drain=0", f"--config={file}"], process)
        self.members.append(member)
        return member.start()

    def _member(self, name, role, host, admin_port, feed, clients, drain, options, limits, process):
        host = host or self.host(name)
        at = f"{host.address}:%d"
        arguments = [f"--name={name}", f"--drain={drain}", f"--secret-file={self.secret_file}", f"--admin={at % admin_port}"]
        arguments.append("--clients=" + (at % CLIENT if clients else "none"))
        arguments.append("--repeaters=" + (at % FEED if feed else "none"))
        if limits:
            file = self.folder / f"{name}.json"
            file.write_text(json.dumps({"limits": limits}))
            arguments.append(f"--config={file}")
        member = Member(name, role, host, admin_port, [*arguments, *map(str, options)], process)
        self.members.append(member)
        return member.start()

    def clean_up(self):
        """Ends everything. Returns what was wrong with the processes."""
        problems = []
        try:
            self._closing.close()
        except Exception as error:  # whatever it is, the processes below must still be looked at
            problems.append(f"at the end: {error!r}")
        for member in self.members:
            member.node.ask_to_stop()
        for member in self.members:
            for life in member.lives:
                problems += [f"{member.name}: {problem}" for problem in life.clean_up()]
        return problems

    def write_logs(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for member in self.members:
            for index, life in enumerate(member.lives):
                (folder / f"{member.name}-{index + 1}.log").write_text(life.log_text() + "\n")


def wait(seconds):
    """For durations that belong to a fault: how long it lasts, or how long something is watched."""
    time.sleep(seconds)
