"""The scenarios by name, in the order in which they are listed."""

import dataclasses
import importlib
from collections.abc import Callable

MODULES = ["masters", "repeaters", "rolling", "drains", "bounds", "liveness", "hosts", "upgrades", "random_faults", "attacks"]


@dataclasses.dataclass
class Scenario:
    name: str
    run: Callable
    alone: bool  # measures times, so that nothing else may run beside it
    long_only: bool

    @property
    def summary(self):
        return " ".join(self.run.__doc__.split())


ALL = {}


def scenario(alone=False, long_only=False):
    def register(function):
        ALL[function.__name__] = Scenario(function.__name__, function, alone, long_only)
        return function

    return register


def load():
    for module in MODULES:
        importlib.import_module(f"scenarios.{module}")
    return ALL
