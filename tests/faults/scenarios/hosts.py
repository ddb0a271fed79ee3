"""The whole of it, each part on a host of its own: what an administrator deploys, and a browser."""

from browser_host import Browser, HaProxy
from lab import ADMIN, CLIENT, wait
from relay import wait_until
from scenarios import scenario
from trial import PHID

RATE = 50


def start_repeater(lab, name, host, master, proxy):
    servers = [
        {"type": "admin", "listen": host.address, "port": ADMIN},
        {"type": "client", "listen": "0.0.0.0", "port": CLIENT, "trusted.proxies": [proxy.address], "proxy.protocol": True},
    ]
    config = {"upstream": [[master.feed_url]], "secret.file": str(lab.secret_file), "servers": servers}
    return lab.member(name, "repeater", host, config)


@scenario()
def hosts_and_a_browser(trial):
    """A master, three repeaters, HAProxy and Chromium on six hosts: a repeater's host is cut off, and heals."""
    lab = trial.lab
    proxy_host, browser_host = lab.host("proxy"), lab.host("browsers")
    proxy_host.socket().close()  # skips where a host has no cable
    master = lab.master("master")
    hosts = [lab.host(f"host-{n}") for n in range(3)]
    repeaters = [start_repeater(lab, f"repeater-{n}", host, master, proxy_host) for n, host in enumerate(hosts)]
    for each in repeaters:
        each.wait_until_synchronised().wait_until_it_listens("client")
    proxy = HaProxy(lab, proxy_host, repeaters)
    browser = Browser(lab, browser_host, PHID)
    browser.open_clients(12, proxy.url)
    browser.open_clients(12, *(f"ws://{each.address}:{CLIENT}/" for each in hosts))
    ledger = trial.ledger()
    trial.publish([master], RATE)

    def all_have(number, what):
        wait_until(lambda: all(number in told for told in browser.numbers()), what, deadline=90)

    wait_until(lambda: ledger.answer_order, "a message is accepted")
    all_have(ledger.answer_order[0], "all clients have the first message")
    cut = trial.random.choice(repeaters)
    of_the_cut = cut.status()["clients.active"]
    trial.check(of_the_cut >= 4, f"only {of_the_cut} clients are at {cut}")
    mark = cut.node.log_mark()
    cut.host.pull_cable()
    trial.say(f"the host of {cut}, which has {of_the_cut} of 24 clients, is cut off")
    wait(18)
    trial.check(master.events("repeater_disconnected"), "the master has not found out")
    all_have(ledger.answer_order[-1], "all clients have found another repeater")
    trial.say("all clients are at other repeaters")
    cut.host.plug_cable_in()
    trial.fault_ended()
    cut.node.wait_for_log("synchronised", after=mark)
    trial.say(f"{cut} is back")
    wait(3)
    trial.settle()
    all_have(ledger.answer_order[-1], "all clients have the last message")
    answered = set(ledger.answer_order)
    told = browser.numbers()
    lost = sum(len(answered - set(numbers)) for numbers in told)
    repeated = sum(len(numbers) - len(set(numbers)) for numbers in told)
    trial.note("24 clients in Chromium, 12 behind HAProxy", f"{lost} lost, {repeated} repeated of {len(answered)} messages each")
    trial.check(lost == 0 and repeated == 0, f"{lost} lost, {repeated} repeated")
    trial.judge()
    trial.check(not cut.events("gap"), f"{cut} was told of a gap")
