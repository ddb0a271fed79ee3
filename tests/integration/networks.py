"""A switch and hosts with an address each, as network namespaces."""

import secrets
import subprocess

from debian_root import run


class Network:
    """`address` is the switch's own, with the length of its prefix."""

    def __init__(self, address):
        self._prefix = address.partition("/")[2]
        self._name = "relay-" + secrets.token_hex(4)
        self._hosts = []
        run("ip", "netns", "add", self._name)
        try:
            self._in("link", "add", "switch", "type", "bridge")
            self._in("addr", "add", address, "dev", "switch")
            self._in("link", "set", "switch", "up")
        except BaseException:
            self.close()
            raise

    def _in(self, *words, name=None):
        run("ip", "-n", name or self._name, *words)

    def add(self, address):
        """A host on the switch. Returns the name of its namespace."""
        name = f"{self._name}-{len(self._hosts)}"
        run("ip", "netns", "add", name)
        self._hosts.append(name)
        cable = f"cable{len(self._hosts)}"
        self._in("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._in("link", "set", cable, "master", "switch", "up")
        self._in("addr", "add", f"{address}/{self._prefix}", "dev", "eth0", name=name)
        for each in ("lo", "eth0"):
            self._in("link", "set", each, "up", name=name)
        return name

    @property
    def switch(self):
        return self._name

    def close(self):
        for name in [*self._hosts, self._name]:
            subprocess.run(["ip", "netns", "delete", name], check=False)
