"""Reads systemd's units as far as ours go, for those who run without systemd what a unit says."""

import re

from relay import ROOT

FOLDER = ROOT / "deploy" / "systemd"


class Unit:
    """`settings` has the values of each key, in order, whatever its section: all keys of ours are of one section."""

    def __init__(self, path):
        self.settings = {}
        for line in path.read_text().splitlines():
            if found := re.match(r"(\w+)=(.*)$", line):
                self.settings.setdefault(found[1], []).append(found[2])

    def __getitem__(self, key):
        """The value of a key that is there once."""
        (value,) = self.settings[key]
        return value

    def words(self, key):
        return {word for value in self.settings.get(key, []) for word in value.split()}

    def command(self, instance="1", **specifiers):
        """The words of `ExecStart`, with variables and specifiers (`S="/var/lib"`) put in."""
        specifiers = {"i": instance, "H": "host", **specifiers}

        def expand(text):
            return re.sub(r"%(\w)", lambda found: str(specifiers[found[1]]), text)

        variables = dict(expand(each).split("=", 1) for each in self.settings.get("Environment", []))
        return [re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word) for word in expand(self["ExecStart"]).split()]
