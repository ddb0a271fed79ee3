"""What scenarios are written with: sessions with a peer, windows of CPU, rounds that alternate, bars."""

import dataclasses
import math
import statistics
import time

from peers import Aphlict
from processes import Failed, Load, cpu_of, machine_busy_seconds

WRONGS = ("lost", "repeated", "disordered", "misdelivered", "garbled", "refused", "closed")


def check(result):
    """A run that lost, repeated, disordered or misdelivered anything has no figure."""
    wrongs = [f"{result[wrong]} {wrong}" for wrong in WRONGS if result.get(wrong)]
    if wrongs:
        raise Failed(", ".join(wrongs) + f" ({result.get('problem')})")
    return result


@dataclasses.dataclass
class Window:
    """What a run cost its servers, by process name, and what the load generator saw."""

    cpu: dict
    result: dict
    foreign: float  # CPU that others used meanwhile, in cores
    seconds: float  # until the servers were quiet

    @property
    def total_cpu(self):
        first, *others = self.cpu.values()
        return sum(others, first)


class Session:
    """A running peer, and the load generator that holds its clients."""

    def __init__(self, bench, peer_class):
        self.bench = bench
        self.name = peer_class.name
        self.peer = peer_class(bench)
        self.load = Load(bench.program("tests/bench/aphlict-load"), bench.load_core, bench.log)
        self.idle = 0.0  # CPU that the servers use in a second of their own accord, where that is not next to nothing

    def close(self):
        self.load.stop()
        self.peer.stop()

    def connect(self, clients, address=None, sync=True, **options):
        peer = self.peer
        return self.load.ask(
            "connect",
            address=address or peer.client_address,
            path=peer.client_path,
            subscribe=peer.subscribe,
            sync=int(sync and peer.syncs),
            clients=clients,
            tls=int(peer.tls),
            **options,
        )

    def publish(self, messages, in_flight=1, **options):
        return check(
            self.load.ask(
                "publish",
                address=self.peer.publish_address,
                path=self.peer.publish_path,
                messages=messages,
                in_flight=in_flight,
                **options,
            )
        )

    def ping(self, **options):
        """All clients ping; each pong must come."""
        result = self.load.ask("ping", **options)
        if result["pongs"] != result["pings"] or result["closed"]:
            raise Failed(f"{result['pings']} pings, {result['pongs']} pongs, {result['closed']} clients closed")
        return result

    def window(self, work):
        """Runs `work`, and says what it cost the servers."""
        busy_before, others_before = machine_busy_seconds(), self._own_seconds()
        before, started = self.peer.cpu(), time.monotonic()
        result = work()
        after = self.settled_cpu()
        seconds = time.monotonic() - started
        cpu = {name: after[name] - before[name] for name in after}
        own = sum(each.seconds for each in cpu.values()) + self._own_seconds() - others_before
        return Window(cpu, result, max(0.0, machine_busy_seconds() - busy_before - own) / seconds, seconds)

    def _own_seconds(self):
        """CPU of the benchmark's own processes, the servers left out."""
        return cpu_of(self.load.pid).seconds + time.process_time()

    def settled_cpu(self):
        """The servers' CPU once they have nothing left to do."""
        last, looked = self.peer.cpu(), time.monotonic()
        for _ in range(100):
            time.sleep(0.02)
            now, before, looked = self.peer.cpu(), looked, time.monotonic()
            used = sum(now[name].seconds - last[name].seconds for name in now)
            if used < 0.0005 + 1.5 * self.idle * (looked - before):
                return now
            last = now
        return last

    def publish_window(self, messages, **options):
        return self.window(lambda: self.publish(messages, **options))

    def messages_for(self, cpu_seconds, first=8, limit=200_000, **options):
        """How many messages cost about so much CPU. Warms up on the way."""
        messages = first
        while True:
            window = self.publish_window(messages, **options)
            used = max(each.seconds for each in window.cpu.values())
            if used > cpu_seconds / 8 or messages >= limit or window.result["seconds"] > 10 * cpu_seconds:
                wanted = messages * cpu_seconds / max(used, 1e-6)
                in_flight = options.get("in_flight", 1)
                return max(in_flight, min(limit, math.ceil(wanted / in_flight) * in_flight))
            messages = min(limit, messages * 4)


class Series:
    """One figure over the rounds."""

    def __init__(self, unit, values=()):
        self.unit = unit
        self.values = list(values)

    @property
    def median(self):
        return statistics.median(self.values)

    def as_json(self):
        return {"unit": self.unit, "median": self.median, "low": min(self.values), "high": max(self.values),
                "rounds": self.values}


class Outcome:
    """What a scenario has found: figures by subject, failures, bars."""

    def __init__(self, name):
        self.name = name
        self.figures = {}  # subject -> {metric -> Series}
        self.failures = {}  # subject -> text
        self.absent = {}  # subject -> why
        self.bars = []
        self.notes = {}
        self.foreign = 0.0
        self.split = {}  # (subject, metric) -> [Cpu summed over the rounds, number of units]

    def add(self, subject, metric, unit, value):
        self.figures.setdefault(subject, {}).setdefault(metric, Series(unit)).values.append(value)

    def add_cpu(self, subject, metric, cpu, count, scale=1e6, unit="µs"):
        """CPU for each of `count` things. Its split is that of all rounds together: one has too few ticks."""
        self.add(subject, metric, unit, cpu.seconds * scale / count)
        total = self.split.setdefault((subject, metric), [cpu - cpu, 0])
        total[0] = total[0] + cpu
        total[1] += count

    def user_per_unit(self, subject, metric, scale=1e6):
        if self.median(subject, metric) is None:
            return None
        return self.split[subject, metric][0].user_part * self.median(subject, metric)

    def fail(self, subject, why):
        self.failures[subject] = str(why)
        self.figures.pop(subject, None)

    def series(self, subject, metric):
        return self.figures.get(subject, {}).get(metric)

    def median(self, subject, metric):
        series = self.series(subject, metric)
        return series.median if series and series.values else None

    def ratio(self, one, other):
        """The median of the rounds' own ratios: both of a round ran under the same conditions."""
        one, other = self.series(*one), self.series(*other)
        if not one or not other or len(one.values) != len(other.values):
            return None
        return statistics.median(a / b if b else math.inf for a, b in zip(one.values, other.values))

    def add_difference(self, subject, metric, one, other, divided_by=1):
        """A figure that is what one has more than the other, round by round."""
        one, other = self.series(*one), self.series(*other)
        if one and other and len(one.values) == len(other.values):
            for a, b in zip(one.values, other.values):
                self.add(subject, metric, one.unit, (a - b) / divided_by)

    def difference_bar(self, text, one, other, limit):
        """For figures that are differences, which may be next to nothing: the ratio of their medians.

        There is no verdict where the rounds differ by more than what the bar is about.
        """
        one, other = self.series(*one), self.series(*other)
        if not one or not other:
            return self.bar(text, None, limit)
        room = limit * other.median
        drowned = min(other.values) <= 0 or max(one.values) - min(one.values) > 2 * room
        self.bar(text, None if drowned else max(0.0, one.median / other.median), limit, unit="×")
        if drowned:
            self.bars[-1]["verdict"] = "drowned in noise"

    def note(self, text, value):
        if value is not None:
            self.notes[text] = value

    def bar(self, text, value, limit, needs=None, unit=""):
        """`value` must be at most `limit`. `needs` names a subject without which there is no value."""
        if value is not None:
            verdict = "ok" if value <= limit else "MISSED"
        elif needs == Aphlict.name and needs in self.absent:
            verdict = "n/a without --aphlict"
        else:
            verdict = "no figure"
        self.bars.append({"bar": text, "value": value, "limit": limit, "unit": unit, "verdict": verdict})

    def ratio_bar(self, text, one, other, limit):
        self.bar(text, self.ratio(one, other), limit, needs=other[0], unit="×")

    @property
    def failed(self):
        return bool(self.failures)

    def as_json(self):
        figures = {}
        for subject, metrics in self.figures.items():
            figures[subject] = {}
            for metric, series in metrics.items():
                figures[subject][metric] = series.as_json()
                if (subject, metric) in self.split:
                    figures[subject][metric]["user_part"] = self.split[subject, metric][0].user_part
        return {"scenario": self.name, "figures": figures, "failures": self.failures, "absent": self.absent,
                "bars": self.bars, "notes": self.notes, "foreign_cores": round(self.foreign, 2)}


def alternate(bench, outcome, subjects, measure):
    """Each round measures every subject once, A B C, A B C …: what disturbs the machine disturbs all.

    `subjects` maps names to sessions; `measure(name, session)` adds figures to the outcome and may return its window.
    """
    for number in range(bench.rounds):
        for name, session in subjects.items():
            if name in outcome.failures:
                continue
            bench.progress(f"{outcome.name}: round {number + 1} of {bench.rounds}: {name}")
            try:
                window = measure(name, session)
            except Failed as failure:
                outcome.fail(name, failure)
                continue
            if isinstance(window, Window):
                outcome.foreign = max(outcome.foreign, window.foreign)
