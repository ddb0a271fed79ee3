"""Repeaters that stop, and connections between nodes that go bad: within what history holds, and beyond."""

from lab import wait
from scenarios import scenario
from trial import shorten

RATE = 200


def tree(trial, limits=None, lanes=None):
    """master - link - middle - leaf, and beside it a repeater that nothing happens to; clients on each."""
    lab = trial.lab
    master = lab.master("master", limits=limits)
    link = trial.link(master)
    middle = lab.repeater("middle", link, feed=True, limits=limits)
    leaf = lab.repeater("leaf", middle, limits=limits)
    other = lab.repeater("other", master, limits=limits)
    trial.plain_clients(2, middle, leaf, other)
    trial.pages(1, [leaf])
    trial.publish([master], RATE, **({"lanes": lanes} if lanes else {}))
    trial.wait_for_messages()
    return master, link, middle, leaf, other


def end_without_loss(trial, *members):
    trial.wait_for_messages()
    trial.settle()
    trial.judge()
    for member in members:
        trial.check(not member.events("gap"), f"{member} was told of a gap")


@scenario()
def stop_repeater(trial):
    """A repeater stopped (SIGSTOP) for 1 and for 10 s, and in the long form for 50 s, at 200 publishes/s."""
    master, _, middle, leaf, _ = tree(trial)
    for seconds in [1, 10, 50] if trial.long else [1, 10]:
        middle.freeze()
        trial.say(f"SIGSTOP {middle}")
        wait(seconds)
        middle.thaw()
        trial.fault_ended()
        trial.say(f"SIGCONT {middle} after {seconds} s")
        trial.wait_for_messages()
    end_without_loss(trial, middle, leaf)


@scenario()
def cut_upstream(trial):
    """The connection to the node above cut for 10 s (long: 50 s) at 200 publishes/s."""
    master, link, middle, leaf, _ = tree(trial)
    seconds = 50 if trial.long else 10
    link.cut()
    trial.say(f"{link} is cut")
    wait(seconds)
    link.restore()
    trial.fault_ended()
    trial.say(f"{link} works again after {seconds} s")
    end_without_loss(trial, middle, leaf)


@scenario()
def black_hole(trial):
    """The connection to the node above swallows everything for 18 s (long: 50 s): both ends find out, after 15 s."""
    master, link, middle, leaf, _ = tree(trial)
    seconds = 50 if trial.long else 18
    link.black_hole()
    trial.say(f"{link} swallows everything")
    wait(seconds)
    trial.check(middle.events("upstream_lost"), "the repeater has not found out")
    trial.check(master.events("repeater_disconnected"), "the master has not found out")
    link.restore()
    trial.fault_ended()
    trial.say(f"{link} works again after {seconds} s")
    end_without_loss(trial, middle, leaf)


@scenario()
def slow_link(trial):
    """The connection delayed by 500 ms, cut and made again while it is, and then throttled to 10 kB/s."""
    master, link, middle, leaf, _ = tree(trial)
    link.delay(0.5)
    trial.say(f"{link} takes 500 ms")
    wait(60 if trial.long else 4)
    link.cut()
    link.restore()
    link.delay(0.5)
    trial.say(f"{link} was cut and takes 500 ms")
    trial.wait_for_messages()
    link.restore()
    link.throttle(10_000)
    trial.say(f"{link} carries 10 kB/s")
    wait(50 if trial.long else 6)
    link.restore()
    trial.fault_ended()
    trial.say(f"{link} works again")
    end_without_loss(trial, middle, leaf)


@scenario()
def cut_in_frame(trial):
    """The connection cut in the middle of a frame, again and again."""
    master, link, middle, leaf, _ = tree(trial)
    for _ in range(50 if trial.long else 5):
        link.cut_in_the_middle_of_a_frame()
        trial.fault_ended()
        trial.say(f"{link} was cut in the middle of a frame")
        trial.wait_for_messages()
    trial.check(len(middle.events("upstream_lost")) >= 5, "the repeater has not noticed")
    end_without_loss(trial, middle, leaf)


def gap_of(member, event="gap", **fields):
    """The sequences that a member's log says are missing."""
    told = set()
    for line in member.events(event, **fields):
        told.update(range(int(line.fields["from"]), int(line.fields["to"]) + 1))
    return told


def check_told_exactly(trial, tellers):
    """What a member's clients miss, and only that, is in its log, and in that of the node that told it. `tellers`: that
    node, by member. One below another can miss more than that: what came too late there has left its history already."""
    sequences = {number: index + 1 for index, number in enumerate(trial.ledger().answer_order)}
    told = {str(member): gap_of(member) for member in tellers}
    for client in trial.clients:
        lost = {sequences[number] for number in trial.lost_by(client)}
        expected = set().union(*(told.get(home, set()) for home in client.homes))
        trial.check(lost == expected, f"{client.name} misses {shorten(lost)}, and was told {shorten(expected)}")
    for member, teller in tellers.items():
        missing = told[str(member)]
        trial.say(f"missing at {member}: {shorten(missing)}")
        trial.check(missing, f"{member} lost nothing: the gap was not tried")
        trial.check(member.status()["gaps"] > 0, f"{member} has no gap in its status")
        said = gap_of(teller, "gap_told", name=str(member))
        trial.check(said == missing, f"{teller} says that {member} misses {shorten(said)}, not {shorten(missing)}")
    trial.count()
    trial.check(trial.counts.repeated == trial.counts.disordered == 0, "repeated or out of order")
    trial.note("missing, as told", ", ".join(f"{name} {shorten(gap)}" for name, gap in told.items()))


SHORT_HISTORY = {"history.seconds": 5}


def cut_for_too_long(trial, history_ages):
    # One publish after the other, so that the sequences are those of the answers.
    master, link, middle, leaf, other = tree(trial, None if trial.long else SHORT_HISTORY, lanes=1)
    seconds = history_ages * (60 if trial.long else SHORT_HISTORY["history.seconds"])
    link.cut()
    trial.say(f"{link} is cut")
    wait(seconds)
    link.restore()
    trial.fault_ended()
    trial.say(f"{link} works again after {seconds} s")
    trial.wait_for_messages()
    trial.settle(missing_is_fine=True)
    check_told_exactly(trial, {middle: master, leaf: middle})
    trial.check(other.status()["gaps"] == 0, "the repeater that nothing happened to has a gap")


@scenario()
def gap(trial):
    """An upstream cut for longer than history holds: exactly what is missing is told, by the node and those below."""
    cut_for_too_long(trial, 1.5)


@scenario()
def long_gap(trial):
    """The same for more than twice as long, after which nodes forget the epochs that nobody speaks of."""
    cut_for_too_long(trial, 2.6)


@scenario()
def stopped_too_long(trial):
    """A repeater stopped for longer than history holds: the same."""
    master, _, middle, leaf, _ = tree(trial, None if trial.long else SHORT_HISTORY, lanes=1)
    # Until the master has given it up, since what is sent before that waits in the connection's buffers.
    seconds = 90 if trial.long else 25
    middle.freeze()
    trial.say(f"SIGSTOP {middle}")
    wait(seconds)
    middle.thaw()
    trial.fault_ended()
    trial.say(f"SIGCONT {middle} after {seconds} s")
    trial.wait_for_messages()
    trial.settle(missing_is_fine=True)
    check_told_exactly(trial, {middle: master, leaf: middle})


def restart_the_middle(trial, cut_for, limits):
    """The middle is restarted while it has no upstream, and meets a leaf whose cursor is older than its history."""
    lab = trial.lab
    master = lab.master("master", limits=limits)
    upper = trial.link(master)
    middle = lab.repeater("middle", upper, feed=True, limits=limits)
    lower = trial.link(middle)
    leaf = lab.repeater("leaf", lower, limits=limits)
    other = lab.repeater("other", master, limits=limits)
    trial.plain_clients(2, leaf, other)
    trial.publish([master], RATE, lanes=1)
    trial.wait_for_messages()
    lower.cut()
    trial.say("the leaf is cut off")
    trial.wait_for_messages(concerned=trial.clients[2:])
    upper.cut()
    middle.kill()
    middle.start()
    trial.say("the middle has lost its upstream, and is restarted")
    middle.wait_until_it_listens("repeater")
    lower.restore()
    leaf.node.wait_for_log("upstream_connected", after=leaf.node.log_mark())
    trial.say("the leaf follows the middle again, which has nothing")
    wait(cut_for)
    upper.restore()
    trial.fault_ended(trial.clients[:2])
    trial.say("the middle has its upstream again")
    trial.wait_for_messages()
    return master, middle, leaf


@scenario()
def restarted_middle(trial):
    """A middle repeater restarted without its upstream, a leaf with an older cursor, all within history: no loss."""
    _, middle, leaf = restart_the_middle(trial, 1, None)
    end_without_loss(trial, middle, leaf)


@scenario()
def restarted_middle_gap(trial):
    """The same for longer than history holds: the leaf is told exactly what it misses."""
    limits = None if trial.long else SHORT_HISTORY
    master, middle, leaf = restart_the_middle(trial, 90 if trial.long else 8, limits)
    trial.settle(missing_is_fine=True)
    check_told_exactly(trial, {leaf: middle})
