"""deploy/container: the images as their Dockerfile makes them, run as compose.yaml says, behind the proxy of haproxy.cfg.

No container engine is needed. The steps of the Dockerfile are carried out in the smallest Debian, by chroot; but the
package that its first stage builds is that of test_debian_package.py, made by the same command of the programs that are
tested. Containers are hosts in a network such as compose.yaml describes; the engine's DNS is a few lines here.
"""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

import dockerfile
from debian_root import debian_root, needs_debian_root, run
from networks import Network
from packages import debian_package
from relay import ROOT, wait_until

FOLDER = ROOT / "deploy" / "container"
STAGES = dockerfile.read(FOLDER / "Dockerfile")
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
ROLES = ("master", "repeater")



def settings(name):
    """A JSON file, without its comments."""
    return json.loads(re.sub(r"^\s*//.*$", "", (FOLDER / name).read_text(), flags=re.M))


# --- the files, among each other ---------------------------------------------------------------------------


def test_the_first_stage_builds_the_package_by_its_command():
    steps = [text for word, text in STAGES["build"].steps if word == "RUN"]
    assert steps == ["apt-get update && /source/deploy/install-packages build package", "/source/deploy/debian/build /packages"]
    assert ("COPY", ". /source") in STAGES["build"].steps
    assert STAGES["build"].base == STAGES["runtime"].base  # what is compiled there runs here


@pytest.mark.parametrize("role", ROLES)
def test_compose_runs_what_the_dockerfile_makes(role):
    service, stage = SERVICES[role], STAGES[role]
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == FOLDER / "Dockerfile"
    assert service["build"]["target"] == stage.name
    mounts = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert mounts[f"./{role}.json"] == stage.command[stage.command.index("--config") + 1]
    kept = {target for source, target in mounts.items() if source in COMPOSE["volumes"]}
    assert kept == set(stage.volumes)
    (secret,) = service["secrets"]
    assert settings(f"{role}.json")["secret.file"] == f"/run/secrets/{secret}" and secret in COMPOSE["secrets"]
    listens = {server["port"] for server in settings(f"{role}.json")["servers"]}
    assert listens == set(stage.ports)
    assert int(service["stop_grace_period"].removesuffix("s")) >= settings(f"{role}.json").get("drain.seconds", 20) + 16


def test_the_networks_of_the_configurations_are_those_of_compose():
    (subnet,) = (each["subnet"] for each in COMPOSE["networks"]["relay"]["ipam"]["config"])
    admin = next(server for server in settings("master.json")["servers"] if server["type"] == "admin")
    (clients,) = settings("repeater.json")["servers"]
    assert subnet in admin["allow"] and clients["trusted.proxies"] == [subnet]
    assert settings("repeater.json")["upstream"] == [["http://master:22282"]] and "master" in SERVICES


def test_every_file_of_the_folder_is_used():
    used = {"Dockerfile", "Dockerfile.dockerignore", "compose.yaml"}
    for service in SERVICES.values():
        used |= {volume.split(":")[0].removeprefix("./") for volume in service["volumes"] if volume.startswith("./")}
    assert {path.name for path in FOLDER.iterdir()} - {"secret"} == used


# --- the images, and what runs of them ---------------------------------------------------------------------


@pytest.fixture
def package(tmp_path_factory):
    return debian_package(tmp_path_factory)


@pytest.fixture
def image(tmp_path_factory, tmp_path, package):
    """What both images share, all but how they are started."""
    with debian_root(tmp_path_factory, tmp_path / "root") as root:
        dockerfile.carry_out(STAGES["runtime"], root, {("build", "/packages"): package.parent})
        assert not STAGES["master"].steps and not STAGES["repeater"].steps
        yield root


NAME_SERVER = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.11", 53))
print("listening", flush=True)
while True:
    query, sender = server.recvfrom(4096)
    names = {name: addresses for name, *addresses in map(str.split, open(sys.argv[1]))}
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    found = names.get(".".join(labels), []) if query[at + 1 : at + 3] == b"\\0\\1" else []
    head = query[:2] + b"\\x85\\x80\\0\\1" + len(found).to_bytes(2, "big") + b"\\0\\0\\0\\0"
    records = b"".join(b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\1\\0\\4" + socket.inet_aton(each) for each in found)
    server.sendto(head + question + records, sender)
"""


class Composed:
    """The containers of compose.yaml."""

    def __init__(self, relay, image):
        self.relay, self.image = relay, image
        (subnet,) = (each["subnet"] for each in COMPOSE["networks"]["relay"]["ipam"]["config"])
        self._addresses = subnet.rpartition(".")[0]
        self.network = relay.keep(Network(f"{self._addresses}.1/{subnet.partition('/')[2]}"))
        self._processes = []
        relay.keep(self)  # ended before the network is
        self._names = relay.folder / "names"
        self._repeaters = []
        self._last = 1
        secret = image / "/run/secrets/feed"
        secret.parent.mkdir(parents=True)
        secret.write_text(secrets.token_hex(32) + "\n")
        secret.chmod(0o400)
        os.chown(secret, *map(int, STAGES["master"].user.split(":")))
        for role in ROLES:
            shutil.copy(FOLDER / f"{role}.json", image / f"/etc/aphlict-relay/{role}.json")
        (image / "/etc/hosts").write_text(f"127.0.0.1 localhost\n{self._addresses}.2 master\n")
        (image / "/etc/resolv.conf").write_text("")

    def _next(self):
        self._last += 1
        address = f"{self._addresses}.{self._last}"
        return address, self.network.add(address)

    def start(self, role):
        """A container of that role: (address, network, node)."""
        address, network = self._next()
        stage = STAGES[role]
        node = self.image.start(self.relay, role, [*stage.entrypoint, *stage.command], stage.user, network)
        if role == "repeater":
            node.wait_for_log("listening", type="client")
            self._repeaters.append(address)
            self.name_repeaters(*self._repeaters)
        else:
            node.wait_for_log("listening", type="repeater")
        return address, network, node

    def name_repeaters(self, *addresses):
        """What the engine's DNS says from now on."""
        fresh = self._names.with_suffix(".new")
        fresh.write_text(f"repeater {' '.join(addresses)}\n")
        fresh.rename(self._names)

    def _run(self, network, *words):
        process = subprocess.Popen(["ip", "netns", "exec", network, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._processes.append(process)
        return process

    def start_proxy(self):
        address, network = self._next()
        server = self._run(network, sys.executable, "-c", NAME_SERVER, self._names)
        assert server.stdout.readline() == "listening\n"
        mounted = [volume.split(":") for volume in SERVICES["proxy"]["volumes"]]
        ((source, target, _),) = mounted
        assert target == "/usr/local/etc/haproxy/haproxy.cfg"  # where the image of HAProxy reads it
        self._run(network, "haproxy", "-W", "-db", "-f", FOLDER / source)
        return address

    def health(self, role, network):
        """What the engine would find: the exit code of the image's own check."""
        into = self.image._into(STAGES[role].user, network)
        timeout = int(STAGES[role].health_options["timeout"])
        try:
            return subprocess.run([*into, *STAGES[role].health], capture_output=True, timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            return "too late"

    def outside(self, *words):
        """A command of the programs on the engine's own host."""
        return self.image.run(*words, network=self.network.switch)

    def close(self):
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)


def check_what_an_image_has_not(image):
    """Nothing of the build, and no secret: an image is no place for one."""
    for path in ("/packages", "/source", "/etc/aphlict-relay/secret"):
        assert not (image / path).exists()
    assert not list((image / "/var/lib/apt/lists").glob("*"))
    for program in ("g++", "cc1plus", "meson", "ninja"):
        assert shutil.which(program, path=f"{image.folder}/usr/bin") is None


@needs_debian_root
@pytest.mark.slow
def test_messages_go_through_the_containers_and_the_proxy_to_as_many_repeaters_as_there_are(image, relay):
    check_what_an_image_has_not(image)
    composed = Composed(relay, image)
    master_address, master_network, master = composed.start("master")
    first = composed.start("repeater")
    proxy = composed.start_proxy()
    url = f"ws://{proxy}:22280/"

    # Published on the engine's host, read by way of the proxy.
    def passes():
        done = subprocess.run(
            [*image._into(None, composed.network.switch), "/usr/bin/aphlict-master", "check", "--admin", f"http://{master_address}:22281", "--client", url],
            capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode == 0 and url in done.stdout

    wait_until(passes, "a message through the proxy")

    # Scaled: the proxy finds the second by its name, and browsers get to it.
    second = composed.start("repeater")
    admin = f"http://{master_address}:22281"

    def clients():
        status = json.loads(composed.outside("/usr/bin/aphlict-master", "status", "--json", "--admin", admin))
        return sorted(each["figures"]["clients"] for each in status["repeaters"])

    listeners = []

    def both_have_some():
        listeners.append(composed._run(composed.network.switch, *image._into(None), "/usr/bin/aphlict-master", "listen", url, "--phid", "PHID-USER-1"))
        return all(clients()) and len(clients()) == 2

    wait_until(both_have_some, "browsers on both repeaters")

    # The image's user, who may write nothing but the state.
    uid = STAGES["master"].user.partition(":")[0]
    for node in (master, first[2], second[2]):
        status = open(f"/proc/{node.process.pid}/status").read()
        assert re.search(rf"^Uid:\t{uid}\t{uid}\t", status, re.M)
    owned = run("find", image.folder, "-xdev", "-user", uid, "-not", "-path", "*/proc/*").split()
    assert {path.removeprefix(str(image.folder)) for path in owned} <= {
        "/run/secrets/feed", *(f"/var/lib/aphlict-master{each}" for each in ("", "/data.mdb", "/state", "/lock"))
    }  # fmt: skip

    # Healthy, and not when it does not answer or is not there.
    assert composed.health("master", master_network) == 0
    assert composed.health("repeater", first[1]) == 0
    first[2].freeze()
    assert composed.health("repeater", first[1]) != 0
    first[2].thaw()
    for process in listeners:
        process.terminate()
    first[2].send_signal(signal.SIGTERM)
    assert first[2].wait_for_exit() == 0
    assert composed.health("repeater", first[1]) != 0
    wait_until(passes, "a message through the proxy, by way of the other repeater")
