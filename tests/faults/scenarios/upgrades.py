"""A tree of the last released version is replaced node by node by the present one, while messages flow."""

import released
from lab import ADMIN, CLIENT, FEED, Loopback
from relay import nodes_below, wait_until
from scenarios import scenario

RATE = 100


def nodes_of(status):
    """The version of each node of the tree, by its name."""
    return {status["name"]: status["relay.version"], **{node["name"]: node["version"] for node in nodes_below(status)}}


def upgrade(trial, order):
    """`order`: of the master, the two in the middle, and the three at the end, one after the other."""
    version, old = released.programs(trial.say)
    lab = trial.lab
    network = Loopback()  # where all versions follow each other without a secret

    def start(name, role, *upstreams, feed=True, clients=True, **config):
        host = network.add(name)
        servers = [{"type": "admin", "listen": host.address, "port": ADMIN}]
        servers.append({"type": "client", "listen": host.address, "port": CLIENT if clients else None})
        servers.append({"type": "repeater", "listen": host.address, "port": FEED if feed else None})
        if upstreams:
            config["upstream"] = [[each.feed_url for each in upstreams]]
        return lab.member(name, role, host, {"servers": servers, **config}, binary=old[role])

    master = start("master", "master", clients=False, state=str(lab.folder / "state"))
    master.wait_until_it_listens("repeater")
    middles = [start(f"middle-{n}", "repeater", master).wait_until_synchronised() for n in range(2)]
    leaves = [start(f"leaf-{n}", "repeater", *middles, feed=False) for n in range(3)]
    members = [master, *middles, *leaves]
    for leaf in leaves:
        leaf.wait_until_synchronised().wait_until_it_listens("client")
    trial.pages(6, leaves)
    trial.publish([master], RATE)
    trial.wait_for_messages()
    wait_until(lambda: nodes_of(master.status()) == {each.name: version for each in members}, "the whole tree is there")
    for member in order(members):
        member.stop()
        member.process.pop("binary")
        member.start().wait_until_it_listens("admin")
        if member is not master:
            member.wait_until_synchronised().wait_until_it_listens("client")
        trial.fault_ended()
        trial.say(f"{member} is upgraded")
        trial.wait_for_messages()
    present = master.status()["relay.version"]
    trial.check(present != version, f"the present version is {version}, too")
    wait_until(lambda: nodes_of(master.status()) == {each.name: present for each in members}, "all are of the present version")
    trial.note("from and to", f"{version}, {present}")
    trial.settle()
    trial.judge()
    trial.check(not any(member.events("gap") for member in members), "there was a gap")


@scenario(long_only=True)
def upgrade_from_below(trial):
    """The last released version is replaced by the present one node by node, the browsers' repeaters first."""
    upgrade(trial, reversed)


@scenario(long_only=True)
def upgrade_from_above(trial):
    """The same with the master first."""
    upgrade(trial, list)
