"""The servers that are compared, each behind the same few words: start it, where to connect, where to publish."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from authority import P256, RSA, Authority
from processes import PATIENCE, Failed, Server, child_of, cpu_of, pss_of

HERE = Path(__file__).resolve().parent
SUBSCRIBE = '{"command":"subscribe","data":[%P]}'


def unused_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port):
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise Failed(f"nothing listens on port {port}")
        time.sleep(0.05)


class Peer:
    """One server, or a few that work together. `watched` names the processes whose CPU counts, by pid."""

    name = ""
    client_path = "/"
    publish_path = "/"
    subscribe = SUBSCRIBE
    tls = False  # clients connect with TLS
    syncs = True  # answers Aphlict's ping, which tells that a subscribe has been dealt with

    def __init__(self, bench):
        self.bench = bench
        self.servers = []
        self.watched = {}
        self.client_address = None
        self.publish_address = None
        self.folder = Path(tempfile.mkdtemp(prefix="aphlict-bench-"))
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        raise NotImplementedError

    def serve(self, name, command, cwd=None):
        server = Server(name, command, self.bench.server_core, self.bench.log, cwd)
        self.servers.append(server)
        self.watched[name] = server.pid
        return server

    def stop(self):
        for server in reversed(self.servers):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self):
        return {name: cpu_of(pid) for name, pid in self.watched.items()}

    def pss(self):
        return {name: pss_of(pid) for name, pid in self.watched.items()}


class Floor(Peer):
    """One send() for each delivery, and nothing that could be left out."""

    name = "floor"
    options = ()

    def start(self):
        server = self.serve("floor", [self.bench.program("tests/bench/aphlict-floor"), *self.options])
        self.client_address = server.address("client")
        self.publish_address = server.address("admin")


class GatheringFloor(Floor):
    """The same, with one writev() for what a turn has for a client."""

    name = "floor-gather"
    options = ("--gather",)


class RelayedFloor(Floor):
    """The floor behind a bare TCP relay."""

    name = "floor behind a TCP relay"

    def start(self):
        super().start()
        relay = self.serve("tcp-relay", [self.bench.program("tests/bench/aphlict-tcp-relay"), self.client_address])
        self.client_address = relay.address("client")


class Relay(Peer):
    """A master and one repeater, as in production: clients on the repeater."""

    name = "relay"

    def start(self):
        self.start_master()
        self.start_repeater()

    def start_master(self, *options):
        self.master = self.serve(
            "master",
            [self.bench.program("master/aphlict-master"), "--admin", "127.0.0.1:0", "--repeaters", "127.0.0.1:0",
             *options],
        )
        self.publish_address = self.master.address("admin")
        self.feed_address = self.master.address("repeater")

    def start_repeater(self, name="repeater", clients=("--clients", "127.0.0.1:0"), upstream=None, follows=1):
        """`clients` and `upstream` are its options for these: by default it has clients, and follows the master, once."""
        upstream = upstream or ("--upstream", f"http://{self.feed_address}")
        repeater = self.serve(
            name, [self.bench.program("repeater/aphlict-repeater"), *upstream, "--admin", "127.0.0.1:0", *clients]
        )
        repeater.wait_for(r"\bsynchronised\b", times=follows)
        if "none" not in clients:
            self.client_address = repeater.address("client")
        return repeater


class SecureRelay(Relay):
    """The same, with TLS on the repeater's client port: a P-256 key, as most certificates have."""

    name = "relay with TLS"
    tls = True
    key = P256

    def start(self):
        self.start_master()
        certificate = Authority(self.folder / "authority").sign(key=self.key)
        server = {"type": "client", "listen": "127.0.0.1", "port": 0, **certificate.keys()}
        (self.folder / "repeater.json").write_text(json.dumps({"servers": [server]}))
        self.start_repeater(clients=("--config", self.folder / "repeater.json"))


class RsaRelay(SecureRelay):
    """With a key that costs a server more than its clients: they share the machine with it, and it is to be the slower."""

    name = "relay with TLS by RSA"
    key = RSA


class LoneMaster(Relay):
    """A master and nothing else."""

    name = "master"

    def start(self):
        self.start_master()


class StatefulMaster(Relay):
    """A master with a state folder."""

    name = "master --state"
    durability = "process"

    def start(self):
        self.start_master("--state", self.folder / "state", "--durability", self.durability)


class PowerMaster(StatefulMaster):
    """One that waits for the disk."""

    name = "master --state --durability power"
    durability = "power"


class ServingMaster(Relay):
    """A master that serves the clients itself."""

    name = "master-with-clients"

    def start(self):
        self.start_master("--clients", "127.0.0.1:0")
        self.client_address = self.master.address("client")


def relay_of(count):
    """A master with so many repeaters."""

    class RelayOfMany(Relay):
        name = f"master with {count} repeaters"

        def start(self):
            self.start_master()
            self.client_addresses = []
            for number in range(count):
                self.start_repeater(f"repeater-{number + 1}")
                self.client_addresses.append(self.client_address)

    return RelayOfMany


class NodeWs(Peer):
    """A small server on npm's ws."""

    name = "node-ws"

    @staticmethod
    def why_not(bench):
        return bench.node_ws_problem()

    def start(self):
        server = self.serve("node-ws", ["node", HERE / "node" / "server.js"])
        self.client_address = server.address("client")
        self.publish_address = server.address("admin")


class Nchan(Peer):
    """nginx with the nchan module: a channel for each PHID, so a client can subscribe to one."""

    name = "nchan"
    client_path = "/subscribe/%G"
    publish_path = "/publish/%G"
    subscribe = None
    syncs = False
    MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

    @staticmethod
    def why_not(bench):
        if not Nchan.MODULE.exists() or not shutil.which("nginx", path="/usr/sbin:/usr/bin"):
            return "nginx with libnginx-mod-nchan is not installed"
        return None

    def start(self):
        clients, publishes = unused_port(), unused_port()
        self.client_address, self.publish_address = f"127.0.0.1:{clients}", f"127.0.0.1:{publishes}"
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"""
            load_module {self.MODULE};
            {user}
            daemon off;
            worker_processes 1;
            pid {self.folder}/nginx.pid;
            error_log stderr warn;
            events {{ worker_connections 19900; multi_accept on; }}
            http {{
              access_log off;
              keepalive_requests 1000000000;
              client_body_temp_path {self.folder}/body;
              proxy_temp_path {self.folder}/proxy;
              fastcgi_temp_path {self.folder}/fastcgi;
              uwsgi_temp_path {self.folder}/uwsgi;
              scgi_temp_path {self.folder}/scgi;
              nchan_shared_memory_size 256M;
              server {{
                listen 127.0.0.1:{clients} backlog=4096;
                location ~ ^/subscribe/(.+)$ {{
                  nchan_subscriber websocket;
                  nchan_channel_id $1;
                  nchan_subscriber_first_message newest;
                }}
              }}
              server {{
                listen 127.0.0.1:{publishes} backlog=4096;
                location ~ ^/publish/(.+)$ {{
                  nchan_publisher http;
                  nchan_channel_id $1;
                  nchan_message_buffer_length 100;
                }}
              }}
            }}
            """
        )
        server = self.serve("nginx", ["/usr/sbin/nginx", "-p", self.folder, "-c", self.folder / "nginx.conf"])
        wait_for_port(clients)
        self.watched = {"nginx": child_of(server.pid)}  # the worker


class Aphlict(Peer):
    """Aphlict itself, where --aphlict names the folder that holds its aphlict_server.js."""

    name = "aphlict"

    @staticmethod
    def script(folder):
        for inside in ("", "server", "support/aphlict/server"):
            script = Path(folder) / inside / "aphlict_server.js"
            if script.exists():
                return script
        return None

    @staticmethod
    def why_not(bench):
        if bench.aphlict is None:
            return "no --aphlict"
        return None if Aphlict.script(bench.aphlict) else f"no aphlict_server.js in {bench.aphlict}"

    def start(self):
        self.start_one(self.name, unused_port(), unused_port())

    def start_one(self, name, clients, publishes, cluster=()):
        self.client_address, self.publish_address = f"127.0.0.1:{clients}", f"127.0.0.1:{publishes}"
        no_tls = {"ssl.key": None, "ssl.cert": None, "ssl.chain": None}
        config = {
            "servers": [
                {"type": "client", "port": clients, "listen": "127.0.0.1", **no_tls},
                {"type": "admin", "port": publishes, "listen": "127.0.0.1", **no_tls},
            ],
            "logs": [],
            "cluster": [{"host": "127.0.0.1", "port": port, "protocol": "http"} for port in cluster],
            "pidfile": str(self.folder / f"{name}.pid"),
        }
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(config))
        script = self.script(self.bench.aphlict)
        self.serve(name, ["node", "--max-old-space-size=4096", script, f"--config={path}"], cwd=script.parent)
        wait_for_port(clients)
        wait_for_port(publishes)


class AphlictPair(Aphlict):
    """Two of them that post to each other what they are told. Clients and publishers are at the first."""

    name = "aphlict-pair"

    def start(self):
        ports = [unused_port() for _ in range(4)]
        self.start_one("second", ports[2], ports[3], cluster=[ports[1]])
        self.start_one("first", ports[0], ports[1], cluster=[ports[3]])


def install_ws():
    """npm's ws, beside the server that uses it; what went wrong, or None."""
    folder = HERE / "node"
    if (folder / "node_modules" / "ws").exists():
        return None
    if not shutil.which("npm"):
        return "npm is not installed"
    done = subprocess.run(
        ["npm", "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--silent"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return None if done.returncode == 0 else f"npm cannot install ws: {done.stderr.strip()[-200:]}"

