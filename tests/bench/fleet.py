"""Many servers and many load processes, which hold more clients together than one process has descriptors."""

import json
import secrets
import string

from measuring import Session, check
from peers import Floor, relay_of
from processes import Failed, Load, cpu_of

GROUP = 10  # clients that one targeted message is for


def tree_of(count):
    """A master and so many repeaters below it."""

    class Tree(relay_of(count)):
        name = "relay"

        def start(self):
            # Pages ping every 15 s; these clients do not, and a node that hears nothing pings after 30 s. A client that
            # is gone without a word is found by the kernel, too, which probes after 60 s of silence.
            self.config = self.folder / "repeater.json"
            self.config.write_text(json.dumps({"limits": {"client.ping.seconds": 3600}}))
            super().start()

        def start_repeater(self, name):
            super().start_repeater(name, clients=("--config", self.config, "--clients", "127.0.0.1:0"))

    return Tree


def floors_of(count):
    """So many floors. A message for all is published to each of them."""

    class Floors(Floor):
        def start(self):
            self.client_addresses, publish_addresses = [], []
            for number in range(count):
                server = self.serve(f"floor-{number + 1}", [self.bench.program("tests/bench/aphlict-floor")])
                self.client_addresses.append(server.address("client"))
                publish_addresses.append(server.address("admin"))
            self.publish_address = ",".join(publish_addresses)

    return Floors


class Fleet(Session):
    """The servers of a peer, and as many load processes. Each of these holds clients of all the servers, in turn, as a
    random choice from a list would spread them: the clients that one message is for are on as many servers as they can.
    The first load process publishes; each checks what its own clients get."""

    PATIENCE = 300  # seconds

    def __init__(self, workshop, peer_class, plan):
        super().__init__(workshop, peer_class)
        self.plan = plan
        self.loads = [self.load]
        program = workshop.program("tests/bench/aphlict-load")
        for number in range(1, plan.processes):
            self.loads.append(Load(program, workshop.load_core, workshop.log, f"load-{number + 1}"))
        self.connected = [0] * len(self.loads)

    def close(self):
        for load in self.loads:
            load.hang_up()  # closing takes all of them a while
        for load in self.loads:
            load.stop(self.PATIENCE)
        super().close()

    def ask_all(self, command, options=lambda number: {}, loads=None):
        """The answers of all load processes to what they are asked at once. `options` gives each its own."""
        loads = self.loads if loads is None else loads
        for number, load in enumerate(loads):
            load.tell(command, spin=0, **options(number))
        return [load.answer() for load in loads]

    def connect_some(self, clients, everyone=False):
        """Clients of the first load process, in groups of GROUP."""
        self._connect(self.loads[:1], lambda number: clients, everyone)

    def connect_rest(self, everyone=False):
        self._connect(self.loads, lambda number: self.plan.share(number) - self.connected[number], everyone)

    def _connect(self, loads, wanted, everyone):
        addresses = self.peer.client_addresses
        groups = -(-self.plan.of_each // GROUP)  # of a load process

        def options(number):
            turned = addresses[number % len(addresses):] + addresses[: number % len(addresses)]
            return {
                "address": ",".join(turned),
                "path": self.peer.client_path,
                "subscribe": self.peer.subscribe,
                "sync": 1,
                "clients": wanted(number),
                "group_size": GROUP,
                "first_group": number * groups + self.connected[number] // GROUP,
                "everyone": int(everyone),
                "timeout": self.PATIENCE,
            }

        self.ask_all("connect", options, loads)
        for number in range(len(loads)):
            self.connected[number] += wanted(number)

    def subscribe_to_everyone(self):
        """One more PHID for each client, the same for all."""
        self.ask_all("everyone", lambda number: {"patience": self.PATIENCE})

    def target(self, messages, groups):
        """Each message to one of the first groups, one after the other."""
        return self.publish(messages, targets=groups, spin=0, patience=60)

    def broadcast(self):
        """One message to everyone. It has arrived when the last client of the last process has it."""
        text = "".join(secrets.choice(string.ascii_lowercase) for _ in range(22))
        self.ask_all("expect", lambda number: {"text": text}, self.loads[1:])
        results = [self.publish(1, to="everyone", text=text, spin=0, patience=self.PATIENCE)]
        results += map(check, self.ask_all("await", lambda number: {"patience": self.PATIENCE}, self.loads[1:]))
        deliveries = sum(result["deliveries"] for result in results)
        if deliveries != sum(self.connected):
            raise Failed(f"{deliveries} of {sum(self.connected)} clients were reached")
        seconds = max(result["last_complete"] for result in results) - results[0]["first_sent"]
        return {"deliveries": deliveries, "seconds": seconds}

    def storm(self, every):
        """Each client of so many is reset, and all of them come back at once."""
        answers = self.ask_all("storm", lambda number: {"every": every, "timeout": self.PATIENCE})
        return sum(answer["connected"] for answer in answers)

    def check(self):
        """Raises Failed if any client anywhere has got what it must not, or was closed."""
        for result in self.ask_all("check"):
            check(result)

    def serving(self, values):
        """Of figures by server, those of the servers that have clients."""
        return [value for name, value in values.items() if name != "master"]

    def _own_seconds(self):
        return super()._own_seconds() + sum(cpu_of(load.pid).seconds for load in self.loads[1:])
