"""Masters that die and come back."""

from lab import wait
from relay import wait_until
from scenarios import scenario


def kill_and_restart(trial, master, dead_for):
    master.kill()
    trial.say(f"kill -9 {master}")
    wait(dead_for)
    master.start()
    trial.fault_ended()
    trial.say(f"{master} starts again after {dead_for:.2f} s")
    master.wait_until_it_listens("repeater")


def kill_master_again_and_again(trial, times, rate, *options):
    master = trial.lab.master("master", *options)
    repeaters = [trial.lab.repeater(f"repeater{i}", master) for i in range(2)]
    trial.plain_clients(2, *repeaters)
    # Every third publish is tried again until it is answered: only its uniqueID tells the master that it has it.
    publisher = trial.publish([master], rate, persistent=lambda number: number % 3 == 0)
    trial.say(f"{rate} publishes/s")
    for _ in range(times):
        wait(trial.random.uniform(0.5, 2.5))
        kill_and_restart(trial, master, trial.random.uniform(0, 0.5))
        trial.wait_for_messages()
    wait(0.5)
    trial.settle()
    trial.judge()
    trial.note("uncertain", trial.counts.uncertain)
    trial.note("publishes/s", round(trial.counts.published / publisher.seconds))
    trial.check(not master.events("epoch_ended"), "the master has begun a new epoch")


@scenario()
def kill_master(trial):
    """kill -9 of a master with a state folder under 1,000 publishes/s, at random moments."""
    kill_master_again_and_again(trial, 20 if trial.long else 3, 1000)


@scenario()
def kill_master_power(trial):
    """The same with --durability power, at 200 publishes/s."""
    kill_master_again_and_again(trial, 20 if trial.long else 2, 200, "--durability=power")


@scenario()
def lost_answers(trial):
    """kill -9 of a master whose answers were lost on their way, while it had everything: it knows all of it again."""
    master = trial.lab.master("master")
    link = trial.link(master, "admin")
    trial.plain_clients(2, trial.lab.repeater("repeater", master))
    trial.publish([link], 200, persistent=lambda number: True)
    known_again = []
    for _ in range(10 if trial.long else 2):
        trial.wait_for_messages()
        link.swallow_answers()
        trial.say("answers are lost")
        trial.wait_for_new_messages()
        kill_and_restart(trial, master, 0.1)
        link.restore()
        # New messages come before those publishes are tried again, which takes as long as the publisher pauses.
        wait_until(lambda: master.status()["repeats"] >= 10, "10 publishes made again that the master had")
        known_again.append(master.status()["repeats"])
    trial.settle()
    trial.judge()
    trial.note("publishes that the master knew again", known_again)


@scenario()
def two_masters(trial):
    """Two masters with state folders, either killed and restarted at random, at 200 publishes/s by Phabricator's rule."""
    masters = [trial.lab.master(f"master{i}") for i in range(2)]
    repeaters = [trial.lab.repeater(f"repeater{i}", *masters) for i in range(2)]
    trial.plain_clients(2, *repeaters)
    publisher = trial.publish(masters, 200)
    end = publisher.started + (600 if trial.long else 20)
    while publisher.now() < end:
        wait(trial.random.uniform(0.2, 3))
        kill_and_restart(trial, trial.random.choice(masters), trial.random.uniform(0, 2))
    trial.wait_for_messages()
    trial.settle()
    trial.judge()
    trial.check(trial.counts.answered == trial.counts.published, "one of two masters is always there to answer")
    trial.note("repeats dropped by repeaters", [repeater.status()["repeats"] for repeater in repeaters])


@scenario()
def late_master(trial):
    """A master stopped for longer than publishers wait: the same publish is accepted by both, and delivered once."""
    masters = [trial.lab.master(f"master{i}") for i in range(2)]
    repeaters = [trial.lab.repeater(f"repeater{i}", *masters) for i in range(2)]
    trial.plain_clients(2, *repeaters)
    trial.publish(masters, 100)
    for master in masters * (5 if trial.long else 1):
        wait(0.5)
        master.freeze()
        trial.say(f"SIGSTOP {master}")
        wait(3)
        master.thaw()
        trial.fault_ended()
        trial.say(f"SIGCONT {master}")
    trial.wait_for_messages()
    trial.settle()
    trial.judge()
    dropped = [repeater.status()["repeats"] for repeater in repeaters]
    trial.note("repeats dropped by repeaters", dropped)
    trial.check(min(dropped) > 0, "no publish reached both masters: nothing was tried")
