"""What things cost: the form of costs.json, and how it follows from what was measured on one master with one repeater.

All times are microseconds of CPU, but where a name says otherwise. A node's work comes in turns (docs/design.md): a turn
reads all that is there, and then writes to each socket once. So a turn costs

    master                          of p publishes, for f followers
      publish.turn + p·publish.message + cold·publish.cold + f·(follower.turn + p·follower.message + cold·follower.cold)

    repeater                        of m messages, for f followers, with w writes to clients of d messages altogether
      receive.turn + m·receive.message + cold·receive.cold + f·(as a master's, with m for p)
      + w·write(clients in use) + (d − w)·frame, and if w > 0: + cold·deliver.cold

where `cold` grows with the logarithm of the time since the node's turn before: what ran meanwhile has taken its place in
the caches. write() is interpolated between the numbers of clients at which it was measured, for the same reason: a
thousand sockets that take turns are in no cache any more.
"""

import dataclasses
import json
import math
from pathlib import Path

FILE = Path(__file__).resolve().parent / "costs.json"
HOT = 50.0  # µs between turns, about which a process begins to find its caches taken
LONGEST_PAUSE = 1e5  # µs: beyond, nothing of it is left to be lost


def coldness(pause):
    """Of a turn that begins so many microseconds after the one before has ended."""
    return math.log1p(min(pause, LONGEST_PAUSE) / HOT)


@dataclasses.dataclass
class Turn:
    """What a node did in a turn, or on average in those of a window."""

    pause: float  # µs
    received: float = 0.0  # publishes or messages of the feed
    followers: float = 0.0
    writes: float = 0.0  # clients that were written to
    frames: float = 0.0  # deliveries; at least as many
    in_use: float = 1.0  # clients that take turns in being written to, on this core


class Costs:
    """A value for each of the words above, `writes` by clients in use, and figures that have no part in a turn."""

    def __init__(self, values, writes, others=None, about=None):
        self.values = values
        self.writes = sorted(writes.items())
        self.others = others or {}
        self.about = about or {}

    def __getitem__(self, name):
        return self.values[name] if name in self.values else self.others[name]["median"]

    def write(self, in_use):
        """One write to a client, of so many that take turns. Beyond what was measured, the last figure stands."""
        points = self.writes
        if in_use <= points[0][0]:
            return points[0][1]
        for (low, below), (high, above) in zip(points, points[1:]):
            if in_use <= high:
                return below + (above - below) * math.log(in_use / low) / math.log(high / low)
        return points[-1][1]

    def _of(self, turn, kind, received):
        cold = coldness(turn.pause)
        own = self[f"{kind}.turn"] + received * self[f"{kind}.message"] + cold * self[f"{kind}.cold"]
        follower = self["follower.turn"] + received * self["follower.message"] + cold * self["follower.cold"]
        return own + turn.followers * follower

    def master_turn(self, turn):
        return self._of(turn, "publish", turn.received)

    def repeater_turn(self, turn):
        cost = self._of(turn, "receive", turn.received)
        if turn.writes > 0:
            cost += turn.writes * self.write(turn.in_use) + (turn.frames - turn.writes) * self["frame"]
            cost += coldness(turn.pause) * self["deliver.cold"]
        return cost

    @classmethod
    def load(cls, path=FILE):
        document = json.loads(Path(path).read_text())
        turn = document["turn"]
        writes = {int(point["clients in use"]): point["median"] for point in document["write"]}
        return cls({name: figure["median"] for name, figure in turn.items()}, writes, document["others"],
                   document["about"])


# --- from windows to costs -----------------------------------------------------------------------------------

MASTER = ("publish.turn", "publish.message", "publish.cold", "follower.turn", "follower.message", "follower.cold")
REPEATER = ("receive.turn", "receive.message", "receive.cold", "deliver.cold", "frame")


def _master_row(turn):
    cold = coldness(turn.pause)
    own = [1.0, turn.received, cold]
    return own + [turn.followers * each for each in own]


def _repeater_row(turn, knots):
    cold = coldness(turn.pause)
    row = [1.0, turn.received, cold, cold if turn.writes else 0.0, turn.frames - turn.writes]
    return row + [turn.writes if turn.in_use == knot else 0.0 for knot in knots]


def fit(master, repeater):
    """The costs that explain windows best. Both are lists of (Turn, CPU of such a turn); what is off by as many percent
    counts as much, whatever the window's size. No cost is below nothing."""
    knots = sorted({turn.in_use for turn, _ in repeater if turn.writes})
    values = dict(zip(MASTER, least_squares([(_master_row(turn), cpu) for turn, cpu in master])))
    found = least_squares([(_repeater_row(turn, knots), cpu) for turn, cpu in repeater])
    values.update(zip(REPEATER, found))
    return Costs(values, dict(zip(knots, found[len(REPEATER):])))


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
