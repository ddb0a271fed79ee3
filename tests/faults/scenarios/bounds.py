"""What is too much for a node: herds, full disks, clients that read nothing, no descriptors."""

import os
import socket
import time

from herd import Herd, HerdLedger, percentile
from lab import Skip, wait
from publisher import Publisher
from relay import RawClient, is_sanitized, wait_until
from scenarios import scenario

PATIENCE = 120  # seconds for what takes long on a machine that has other things to do


@scenario(alone=True)
def herd(trial):
    """8,000 clients of a killed repeater come back to another that already has 8,000."""
    lab = trial.lab
    clients, groups, rate = 8000, 160, 50
    hosts = [lab.host(name) for name in ("doomed", "other")]
    for host in hosts:
        host.set("net.core.somaxconn", 16384)  # or the kernel cuts the listen queue down to 4,096
    master = lab.master("master")
    doomed, other = (lab.repeater(host.name, master, host=host) for host in hosts)
    staying = lab.keep(Herd(lab.network, clients, groups, [other]))
    coming = lab.keep(Herd(lab.network, clients, groups, [doomed, other]))
    ledger = HerdLedger(groups, f"{trial.random.getrandbits(48):012x}")
    wait_until(lambda: staying.open() == coming.open() == clients, "all clients are there", PATIENCE)
    trial.say(f"{clients} clients on each of two repeaters")
    publisher = lab.keep(Publisher([master], rate, ledger, trial.random.random()))
    publisher.start()
    wait(10 if trial.long else 4)
    killed = time.monotonic()
    ran, waited = other.processor_seconds()
    doomed.kill()
    trial.say(f"kill -9 {doomed}")
    wait_until(lambda: coming.when_all_were_open_after(killed), "all have come back", PATIENCE)
    back = coming.when_all_were_open_after(killed)
    ran, waited = (now - then for now, then in zip(other.processor_seconds(), (ran, waited)))
    trial.say("all have come back")
    wait(5 if trial.long else 2)
    publisher.stop()
    wait_until(lambda: staying.has_all() and coming.has_all(), "all have everything", PATIENCE)
    staying.close()
    coming.close()
    last = publisher.started + publisher.seconds
    before = percentile(staying.between(publisher.started + 1, killed), 0.99)
    during = percentile(staying.between(killed, back + 1), 0.99)
    after = percentile(staying.between(back + 1, last), 0.99)
    trial.counts.published, trial.counts.answered = len(ledger.texts), len(ledger.answer_order)
    trial.counts.lost = staying.last["missing"] + coming.last["missing"]
    trial.note("all back within", f"{back - killed:.2f} s")
    trial.note("p99 of those who stayed", f"before {before:.2f} ms, during {during:.2f} ms, after {after:.2f} ms")
    trial.note("failed at the other repeater", coming.failed(1) or "none")
    trial.check(trial.counts.answered == trial.counts.published, "publishes failed")
    trial.check(trial.counts.lost == 0, f"{staying.last['missing']} and {coming.last['missing']} messages are missing")
    trial.check(not coming.failed(1), f"handshakes failed: {coming.failed(1)}")
    trial.check(not staying.failed(0), f"handshakes failed: {staying.failed(0)}")
    trial.note("the repeater, meanwhile", f"ran for {ran:.2f} s, and waited {waited:.2f} s for a processor")
    if not trial.long or waited > ran / 2:
        why = "the machine has other things to do" if trial.long else "only the long form judges them"
        trial.note("not judged", f"times: {why}")
        return
    trial.check(back - killed < 10, "they were not back within 10 s")
    trial.check(during <= 10 * before, "p99 latency of those who stayed is more than 10 times what it was")


@scenario()
def all_leave(trial):
    """Thousands of clients vanish at the very moment at which the node above goes: the repeater outlives both."""
    lab = trial.lab
    hosts = [lab.host("repeater")]
    hosts[0].set("net.core.somaxconn", 16384)
    master = lab.master("master")
    repeater = lab.repeater("repeater", master, host=hosts[0])
    for _ in range(20 if trial.long else 3):
        herd = Herd(lab.network, 6000, 1, [repeater])
        wait_until(lambda: herd.open() == 6000, "all clients are there", PATIENCE)
        mark = repeater.node.log_mark()
        herd.kill()
        wait(trial.random.uniform(0, 0.1))
        master.stop()
        trial.say("all clients and the master have gone")
        master.start().wait_until_it_listens("repeater")
        repeater.node.wait_for_log("synchronised", after=mark)
        wait_until(lambda: repeater.status()["clients.active"] == 0, "nobody is counted any longer")
    trial.check(repeater.node.running(), "the repeater has died")


def fill(path):
    """Writes a file until there is no more room."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        os.close(descriptor)


@scenario()
def full_disk(trial):
    """The disk of the state folder fills up: publishes are answered 507, nothing answered 200 is lost, and it goes on."""
    lab = trial.lab
    disk = lab.folder / "disk"
    disk.mkdir()
    lab.network.mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", disk)
    master = lab.master("master", state=disk / "state")
    repeater = lab.repeater("repeater", master)
    trial.plain_clients(2, repeater)
    trial.publish([master], 200, padding=1000)
    for _ in range(10 if trial.long else 2):
        trial.wait_for_messages()
        filler = disk / "filler"
        fill(filler)
        trial.say("the disk is full")
        master.node.wait_for_log("publish_not_stored", after=master.node.log_mark())
        wait(1)
        filler.unlink()
        trial.fault_ended()
        trial.say("there is room again")
        trial.wait_for_messages()
    master.kill()
    master.start().wait_until_it_listens("repeater")
    trial.say("kill -9 and restart of the master")
    trial.wait_for_messages()
    trial.settle()
    trial.judge()
    statuses = trial.publishers[0].statuses
    trial.note("answers", dict(statuses))
    trial.check(statuses[507] > 10, "nothing was answered 507")
    trial.check(not set(statuses) - {200, 507}, "other answers than 200 and 507")
    late = lab.repeater("late", master)
    missing = len(trial.ledger().answer_order) - late.status()["history.size"]
    trial.check(missing <= 0, f"the state folder lacks {missing} messages")


@scenario()
def reads_nothing(trial):
    """Clients that read nothing are cut off, and nobody else notices."""
    lab = trial.lab
    master = lab.master("master")
    repeater = lab.repeater("repeater", master)
    trial.plain_clients(4, repeater)
    before = repeater.resident_kib()
    deaf = [lab.keep(RawClient(repeater.address("client"), receive_buffer=4096)) for _ in range(5)]
    for client in deaf:
        client.subscribe(trial.ledger().phid)
    trial.publish([master], 100, padding=20_000)
    trial.say("5 clients read nothing of 2 MB/s")
    wait_until(lambda: repeater.status()["clients.active"] == 4, "they are cut off")
    trial.fault_ended()
    trial.wait_for_messages()
    trial.settle()
    trial.judge()
    grown = repeater.resident_kib() - before
    trial.note("memory grew by", f"{grown} KiB")
    codes = {line.fields["code"] for line in repeater.events("client_cut")}
    trial.check(codes == {"1013"}, f"cut with {codes}")
    # History of 20 kB messages for the time that it took, and what 5 clients may have unsent.
    trial.check(grown < 64 * 1024 + 5 * 9 * 1024 + 32 * 1024, "more memory than the bounds admit")


def publish_ahead(master, requests):
    """Sends (instance, body) as publishes on one connection, many before the first is answered. Returns the statuses."""
    statuses = []
    with socket.create_connection(master.address("admin")) as connection, connection.makefile("rb") as answers:
        for start in range(0, len(requests), 64):
            batch = requests[start : start + 64]
            head = "POST /?instance=%s HTTP/1.1\r\nHost: master\r\nContent-Length: %d\r\n\r\n"
            connection.sendall(b"".join((head % (name, len(body))).encode() + body for name, body in batch))
            for _ in batch:
                statuses.append(int(answers.readline().split()[1]))
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answers.read(length)
    return statuses


@scenario()
def worst_load(trial):
    """Each client at its bound of unsent bytes, the history full, every instance taken: memory is what the bounds say."""
    lab = trial.lab
    mib = 1024 * 1024
    clients, unsent, history, instances = (200 if trial.long else 20), 4 * mib, 32 * mib, 65_536
    limits = {
        "client.unsent.bytes": unsent,
        "client.stalled.bytes": unsent,
        "history.bytes": history,
        "history.seconds": 3600,
        "instances": instances,
    }
    master = lab.master("master", state=False, limits=limits)
    repeater = lab.repeater("repeater", master, limits=limits)
    before = {member: member.resident_kib() for member in (master, repeater)}
    deaf = [lab.keep(RawClient(repeater.address("client"), receive_buffer=4096)) for _ in range(clients)]
    piece = 64 * 1024
    for number, client in enumerate(deaf):  # what each waits for is another's to keep
        client.subscribe(f"PHID-{number}")
        body = b'{"subscribers":["PHID-%d"],"padding":"%s"}' % (number, b"-" * piece)
        trial.check(set(publish_ahead(master, [("", body)] * (unsent // (piece + 100)))) == {200}, "publishes failed")
    trial.say(f"{clients} clients with {unsent // mib} MiB unsent each")
    body = b'{"subscribers":["PHID-NOBODY"],"padding":"%s"}' % (b"-" * 280)
    statuses = publish_ahead(master, [(f"instance-{number}", body) for number in range(instances)])
    trial.say("every instance is taken")
    # One, Phabricator's own, has clients.
    trial.check(statuses == [200] * (instances - 1) + [503], f"answers were {sorted(set(statuses))}")
    last = f"instance-{instances - 2}"
    wait_until(lambda: repeater.status(last)["messages.in"] == 1, "the repeater has them all")
    trial.check(repeater.status()["clients.active"] == clients, "a client was cut off below its bound")
    # README.md: the bounds themselves, a tenth for the memory's administration, and 512 bytes for an instance.
    admitted = {
        master: (history * 1.1 + instances * 512) / 1024 + 4096,
        repeater: ((history + clients * unsent) * 1.1 + instances * 512) / 1024 + 4096,
    }
    for member, most in admitted.items():
        grown = member.resident_kib() - before[member]
        trial.note(f"{member} grew by", f"{grown} KiB of {most:.0f} admitted")
        trial.check(grown < most or is_sanitized(), "more memory than the bounds admit")


def crowd(trial, member, count):
    """Connections that do no more than come."""
    sockets = []
    for _ in range(count):
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex(member.address("client"))
        sockets.append(each)
    return sockets


@scenario()
def no_descriptors(trial):
    """More clients than descriptors: they wait in the queue, and feed and clients go on; so too where the bound is wrong."""
    lab = trial.lab
    if is_sanitized():
        raise Skip("the sanitizers need descriptors of their own, and report what is right when they get none")
    master = lab.master("master")
    link = trial.link(master)
    bounded = lab.repeater("bounded", link, descriptors=400)
    wrong = lab.repeater("wrong", link, descriptors=400, limits={"clients": 10_000})
    trial.plain_clients(2, bounded, wrong)
    trial.publish([master], 200)
    crowds = {member: crowd(trial, member, 600) for member in (bounded, wrong)}
    trial.say("600 connections to each of two repeaters with 400 descriptors")
    bounded.node.wait_for_log("listener_full")
    wrong.node.wait_for_log("accept_failed")
    busy, _ = wrong.processor_seconds()
    trial.wait_for_messages(200)
    trial.check(wrong.processor_seconds()[0] - busy < 0.5, "it spins while it has no descriptors")
    link.cut()
    link.restore()
    trial.say("the upstream is cut")
    bounded.node.wait_for_log("synchronised", after=bounded.node.log_mark())
    wait(1)
    for sockets in crowds.values():
        for each in sockets:
            each.close()
    trial.fault_ended()
    trial.say("the 600 have left")
    trial.wait_for_messages()
    trial.plain_clients(2, bounded, wrong)
    trial.settle()
    trial.judge()
