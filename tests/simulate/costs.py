"""What things cost: the form of costs.json, and how it follows from what was measured on one master with one repeater.

All times are microseconds of CPU, but where a name says otherwise. A node's work comes in turns (docs/design.md): a turn
reads all that is there, and then writes to each socket once. So a turn costs

    a master    of p publishes, for f followers
                publish.turn + p·publish.message + cold·publish.cold
                + f·(follower.turn + p·follower.message + cold·follower.cold)

    a repeater  of m messages, for f followers, with w writes to clients of d messages altogether
                receive.turn + m·receive.message + cold·receive.cold + what followers cost, as a master's
                + w·write(clients in use) + (d − w)·frame, and if w > 0: + cold·deliver.cold

`cold` grows with the time since the node's turn before, for what has run meanwhile has taken its place in the caches.
write() is interpolated between the numbers of clients at which it was measured, for the same reason: a thousand sockets
that take turns are in no cache any more. A write of several messages is not dearer than one of one message by `frame` alone:
whoever reads it is behind, and need not be woken for each. It costs `gathered` times as much, and `frame` for each further.
"""

import dataclasses
import json
import math
from pathlib import Path

FILE = Path(__file__).resolve().parent / "costs.json"
LONGEST_PAUSE = 2e4  # µs: beyond, nothing of it is left to be lost


def coldness(pause):
    """Of a turn that begins so many microseconds after the one before has ended.

    Of what others touch meanwhile, the share that is new to the caches falls as time goes on, by a power law.
    """
    return min(pause, LONGEST_PAUSE) ** 0.25


def reached(clients, matched, messages):
    """How many of the clients get at least one of so many messages, each of which is for `matched` of them."""
    return clients * (1 - (1 - matched / clients) ** messages) if clients else 0.0


@dataclasses.dataclass
class Turn:
    """What a node did in a turn, or on average in those of a window."""

    cold: float  # coldness() of the pause before it
    received: float = 0.0  # publishes or messages of the feed
    followers: float = 0.0
    writes: float = 0.0  # clients that were written to
    frames: float = 0.0  # deliveries; at least as many
    in_use: float = 1.0  # clients that take turns in being written to, on this core

    def gathered(self):
        """The share of writes that have more than one message."""
        return min(1.0, self.frames / self.writes - 1) if self.writes else 0.0


class Costs:
    """A value for each of the words above, `writes` by clients in use, and figures that have no part in a turn."""

    def __init__(self, values, writes, others=None):
        self.values = values
        self.writes = sorted(writes.items())
        self.others = others or {}

    def __getitem__(self, name):
        return self.values[name] if name in self.values else self.others[name]["value"]

    def write(self, in_use):
        """One write to a client, of so many that take turns. Beyond what was measured, the last figure stands."""
        points = self.writes
        if in_use <= points[0][0]:
            return points[0][1]
        for (low, below), (high, above) in zip(points, points[1:]):
            if in_use <= high:
                return below + (above - below) * math.log(in_use / low) / math.log(high / low)
        return points[-1][1]

    def _of(self, turn, kind):
        cold, received = turn.cold, turn.received
        own = self[f"{kind}.turn"] + received * self[f"{kind}.message"] + cold * self[f"{kind}.cold"]
        follower = self["follower.turn"] + received * self["follower.message"] + cold * self["follower.cold"]
        return own + turn.followers * follower

    def master_turn(self, turn):
        return self._of(turn, "publish")

    def repeater_turn(self, turn):
        cost = self._of(turn, "receive")
        if turn.writes > 0:
            behind = turn.gathered()
            cost += turn.writes * self.write(turn.in_use) * (1 - behind + behind * self["gathered"])
            cost += (turn.frames - turn.writes) * self["frame"]
            cost += turn.cold * self["deliver.cold"]
        return cost

    @classmethod
    def load(cls, path=FILE):
        document = json.loads(Path(path).read_text())
        writes = {int(point["clients in use"]): point["value"] for point in document["write"]}
        return cls({name: figure["value"] for name, figure in document["turn"].items()}, writes, document["others"])


# --- from windows to costs -----------------------------------------------------------------------------------

MASTER = ("publish.turn", "publish.message", "publish.cold", "follower.turn", "follower.message", "follower.cold")
REPEATER = ("receive.turn", "receive.message", "receive.cold", "deliver.cold", "frame", "gathered")


def _master_row(turn):
    own = [1.0, turn.received, turn.cold]
    return own + [turn.followers * each for each in own]


def _repeater_row(turn, knots):
    behind = turn.gathered()
    row = [1.0, turn.received, turn.cold, turn.cold if turn.writes else 0.0, turn.frames - turn.writes]
    row.append(turn.writes * behind)
    return row + [turn.writes * (1 - behind) if turn.in_use == knot else 0.0 for knot in knots]


def fit(master, repeater):
    """The costs that explain windows best. Both are lists of (Turn, CPU of such a turn); what is off by as many percent
    counts as much, whatever the window's size. No cost is below nothing."""
    knots = sorted({turn.in_use for turn, _ in repeater if turn.writes})
    values = dict(zip(MASTER, least_squares([(_master_row(turn), cpu) for turn, cpu in master])))
    found = least_squares([(_repeater_row(turn, knots), cpu) for turn, cpu in repeater])
    values.update(zip(REPEATER, found))
    writes = dict(zip(knots, found[len(REPEATER):]))
    many = [turn.in_use for turn, _ in repeater if turn.gathered() == 1]
    values["gathered"] = values["gathered"] / writes[max(many)] if many else 1.0
    return Costs(values, writes)


def least_squares(rows):
    """The x ≥ 0 with the smallest sum of ((row·x − value) / value)². Rows are (coefficients, value)."""
    scaled = [([each / value for each in row], 1.0) for row, value in rows]
    count = len(rows[0][0])
    used = [i for i in range(count) if any(row[i] for row, _ in scaled)]
    while True:
        solution = _solve([[sum(row[i] * row[j] for row, _ in scaled) + (1e-9 if i == j else 0.0) for j in used] for i in used],
                          [sum(row[i] for row, _ in scaled) for i in used])
        lowest = min(range(len(used)), key=lambda place: solution[place])
        if solution[lowest] >= 0:
            break
        del used[lowest]
    result = [0.0] * count
    for place, value in zip(used, solution):
        result[place] = value
    return result


def _solve(matrix, right):
    """Gauss, with pivots."""
    size = len(right)
    rows = [list(row) + [value] for row, value in zip(matrix, right)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda j: abs(rows[j][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for j in range(size):
            if j != i and rows[j][i]:
                factor = rows[j][i] / rows[i][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i])]
    return [rows[i][size] / rows[i][i] for i in range(size)]
