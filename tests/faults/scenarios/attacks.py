"""Strangers, while 1,000 honest clients are there and 100 messages a second flow: nobody else may notice them."""

import json
import os
import subprocess
import sys

import attackers
from authority import Authority
from herd import Herd, HerdLedger, percentile
from lab import ADMIN, CLIENT, FEED, wait
from publisher import Publisher
from relay import is_sanitized, wait_until
from scenarios import ALL, Scenario

CLIENTS, GROUPS, RATE = 1000, 100, 100
SECURE = 22284
PATIENCE = 120
UNFINISHED_KIB = 16 * 1024

# Where the node counts each, and how the log says it: a path into the status, or an event.
COUNTED = {
    "slow_heads": ("refused", "client", "too_slow"),
    "silent_connections": ("refused", "client", "too_slow"),
    "endless_heads": ("refused", "client", "too_large"),
    "endless_bodies": ("refused", "admin", "too_large"),
    "smuggled_requests": ("refused", "admin", "malformed"),
    "foreign_pages": ("refused", "admin", "origin"),
    "deep_publishes": "publish_refused",
    "strangers_at_the_feed": ("refused", "repeater", "secret"),
    "too_many_clients": "listener_full",
    "tiny_fragments": ("clients.closed", "fragments"),
    "huge_frames": ("clients.closed", "too_large"),
    "unfinished_messages": ("clients.closed", "unfinished"),
    "broken_frames": ("clients.closed", "protocol_error"),
    "bad_utf8": ("clients.closed", "not_utf8"),
    "long_commands": ("clients.closed", "too_large"),
    "deep_commands": ("commands.ignored",),
    "binary_commands": ("commands.ignored",),
    "equal_keys": ("commands.ignored",),
    "subscriptions_without_end": ("clients.closed", "subscriptions"),
    "replay_floods": ("commands.ignored",),
    "half_handshakes": ("refused", "client", "tls"),
    "no_handshakes": ("refused", "client", "tls"),
    # What follows breaks no rule; its cost is bounded, and that is all.
    "pipelined_requests": None,
    "resets": None,
    "ping_floods": None,
    "alike_subscriptions": None,
    "whole_handshakes": None,
}
assert COUNTED.keys() == attackers.ATTACKS.keys()


def start_node(trial):
    """A master with everything that can be attacked."""
    lab = trial.lab
    host = lab.host("node")
    server = {"listen": host.address}
    certificate = Authority(lab.folder / "authority").sign("node")
    config = {
        "servers": [
            {"type": "admin", "port": ADMIN, **server},
            {"type": "client", "port": CLIENT, **server},
            {"type": "client", "port": SECURE, **server, **certificate.keys()},
            {"type": "repeater", "port": FEED, **server},
        ],
        "secret.file": str(lab.secret_file),
        # So that what takes too long is seen in the short form, too.
        "limits": {
            "head.seconds": 2,
            "command.seconds": 2,
            "clients": CLIENTS + 600,
            "unfinished.bytes": UNFINISHED_KIB * 1024,
        },
    }
    node = lab.member("node", "master", host, config)
    for server_type in ("admin", "client", "repeater"):
        node.wait_until_it_listens(server_type)
    return node


def counted(node, where):
    if where is None:
        return 0
    if isinstance(where, str):
        return len(node.events(where))
    value = node.status()
    for key in where:
        value = value.get(key, 0 if key == where[-1] else {})
    return value


def admitted_kib(node):
    """What the README says that a node may take, with these settings, one port attacked, and nobody who stops reading."""
    subscriptions = CLIENTS + 5 * 65_536  # those of the attacks with the most
    clients = ((CLIENTS + 600) * 640 + subscriptions * 80) // 1024
    return (4 * 1024 + clients + 64 * 1024 + UNFINISHED_KIB) * 11 // 10


def set_a_processor_aside():
    """Strangers have machines of their own; here they have a processor of their own, where there are two. Returns
    theirs; the others are for this process and what it starts. REQUIRES: no other scenario runs at the same time."""
    processors = os.sched_getaffinity(0)
    strangers = {max(processors)} if len(processors) > 1 else processors
    os.sched_setaffinity(0, processors - strangers or processors)
    return strangers


def run_attack(trial, name):
    strangers = set_a_processor_aside() if trial.long else os.sched_getaffinity(0)
    node = start_node(trial)
    lab = trial.lab
    herd = lab.keep(Herd(lab.network, CLIENTS, GROUPS, [node]))
    ledger = HerdLedger(GROUPS, f"{trial.random.getrandbits(48):012x}")
    wait_until(lambda: herd.open() == CLIENTS, "all clients are there", PATIENCE)
    publisher = lab.keep(Publisher([node], RATE, ledger, trial.random.random()))
    publisher.start()
    wait(5 if trial.long else 1.5)
    memory = node.resident_kib()
    count = counted(node, COUNTED[name])
    address = node.host.address
    targets = {"client": CLIENT, "admin": ADMIN, "repeater": FEED, "tls": SECURE}
    begun = publisher.now()
    attacker = subprocess.Popen(
        [sys.executable, "-B", attackers.__file__, name, *(f"{key}={address}:{port}" for key, port in targets.items())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, strangers),
    )  # fmt: skip
    trial.say(name)
    most = memory
    end = begun + (20 if trial.long else 4)
    while publisher.now() < end:
        wait(0.1)
        most = max(most, node.resident_kib())
    if COUNTED[name] is not None:
        wait_until(lambda: counted(node, COUNTED[name]) > count, f"{name} is counted: {COUNTED[name]}")
    ended = publisher.now()
    goes = json.loads(attacker.communicate("")[0])["goes"]
    trial.say("over")
    wait(5 if trial.long else 1)
    publisher.stop()
    wait_until(herd.has_all, "all have everything", PATIENCE)
    trial.check(herd.open() == CLIENTS, f"only {herd.open()} honest clients are there")
    lost_connections = sum(line["open"] < CLIENTS for line in herd.between(begun, ended + 1))
    trial.check(lost_connections == 0, "an honest client was cut off meanwhile")
    herd.close()
    trial.counts.published, trial.counts.answered = len(ledger.texts), len(ledger.answer_order)
    trial.counts.lost = herd.last["missing"]
    trial.check(trial.counts.lost == 0, f"{trial.counts.lost} messages are missing")
    trial.check(trial.counts.answered == trial.counts.published, "publishes failed")
    before = percentile(herd.between(publisher.started + 0.5, begun), 0.99)
    during = percentile(herd.between(begun, ended), 0.99)
    where = COUNTED[name] if isinstance(COUNTED[name], str) else ".".join(COUNTED[name] or ["breaks no rule"])
    trial.note("counted", f"{where}: {counted(node, COUNTED[name]) - count}, goes: {goes}")
    trial.note("p99 of the honest", f"before {before:.2f} ms, during {during:.2f} ms")
    trial.note("memory", f"grew by {most - memory} KiB")
    trial.check(node.node.running(), "the node has died")
    if not is_sanitized():
        trial.check(most < admitted_kib(node), f"the node took {most} KiB where {admitted_kib(node)} are admitted")
    if trial.long:
        trial.check(during <= 5 * before, "p99 latency of the honest is more than 5 times what it was")


def register(name):
    function = attackers.ATTACKS[name][0]

    def run(trial):
        run_attack(trial, name)

    run.__doc__ = "Attack: " + (function.__doc__ or name.replace("_", " ") + ".")
    ALL[name] = Scenario(name, run, alone=False, long_only=False)


for each in COUNTED:
    register(each)
