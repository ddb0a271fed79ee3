"""Debian in a folder: what debootstrap makes, in a network of its own, and commands and nodes that run in it."""

import contextlib
import functools
import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from made_once import made_once

MINUTES = 60


def run(*command, minutes=5, **options):
    """The output of a command that must go well."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=minutes * MINUTES, **options)
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}"
    return done.stdout


def codename():
    return next(line for line in Path("/etc/os-release").read_text().splitlines() if line.startswith("VERSION_CODENAME=")).partition("=")[2]


def archive():
    """The address of Debian's archive, as apt on this machine has it for this machine's own release."""
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in targets.splitlines():
        address, release, component = line.split()
        if release == codename() and component == "main":
            return address
    return pytest.skip(f"apt has no {codename()}/main here: {targets}")


# In memory, as dpkg waits for the disk after each package. What apt in it needs to go on with the lists that debootstrap
# has fetched is put beside; and a chroot has nobody who starts services.
MAKE = """
mkdir "$1"
mount -t tmpfs tmpfs "$1"
debootstrap --variant=minbase "$2" "$1" "$3" || exit 75
cp /etc/resolv.conf "$1/etc/resolv.conf"
echo "deb $3 $2 main" >"$1/etc/apt/sources.list"
printf '#!/bin/sh\\nexit 101\\n' >"$1/usr/sbin/policy-rc.d"
chmod 755 "$1/usr/sbin/policy-rc.d"
tar -C "$1" -cf "$0" .
"""


def _make(path):
    """A tar file of the smallest Debian, about a minute's work."""
    folder = path.with_suffix(".folder")
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
    words = ["unshare", "--mount", "bash", "-ec", MAKE, path, folder, codename(), archive()]
    made = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10 * MINUTES)
    if made.returncode == 75:
        pytest.skip(f"debootstrap makes no Debian here: {made.stdout[-300:]}")
    assert made.returncode == 0, made.stdout
    folder.rmdir()


@functools.cache
def why_not_here():
    """Why a Debian in a folder cannot be made, or used, on this machine; empty where it can."""
    if os.geteuid() != 0:
        return "only root can make a Debian in a folder"
    probe = (
        "mount -t tmpfs tmpfs /run && cd /run && mknod null c 1 3 && echo > null"
        " && ip netns add host && ip link add switch type bridge"
        " && ip link add cable type veth peer name eth0 netns host"
    )
    done = subprocess.run(["unshare", "--mount", "--net", "sh", "-ec", probe], capture_output=True, text=True)
    return f"this machine lets nobody make a Debian in a folder: {done.stderr.strip()}" if done.returncode != 0 else ""


needs_debian_root = pytest.mark.skipif(bool(why_not_here()), reason=why_not_here())


class DebianRoot:
    """A folder with Debian, as nobody has used it yet."""

    def __init__(self, folder):
        self.folder = folder
        self.network = "relay-" + secrets.token_hex(4)
        folder.mkdir(exist_ok=True)

    def fill(self, tar):
        run("tar", "-C", self.folder, "-xf", tar)

    def _into(self, user, network=None):
        """The words before a command that run it in the root, and become it by exec. /proc ends with it."""
        into = ["ip", "netns", "exec", network] if network else []
        enter = 'mount -t proc proc "$0/proc" && exec chroot ${1:+--userspec="$1"} "$0" "${@:2}"'
        return [*into, "unshare", "--mount", "bash", "-c", enter, str(self.folder), user or ""]

    def run(self, *command, user=None, minutes=5, network=None, environment=None):
        """The output of a command in the root, which must go well."""
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        variables |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        return run(*self._into(user, network), *command, minutes=minutes, env={**variables, **(environment or {})})

    def ask(self, *command, **options):
        """The same, in the network of the nodes."""
        return self.run(*command, network=self.network, **options)

    def start(self, relay, role, command, user, network=None):
        """A node by a whole command line, in the network of the root or another."""
        program, *options = command
        return relay.start(role, *options, binary=program, prefix=self._into(user, network or self.network))

    def install(self, *packages):
        self.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)

    def files(self):
        """Everything in it, as paths that begin with a slash."""
        found = set()
        for path, folders, files in os.walk(self.folder):
            found |= {"/" + os.path.relpath(os.path.join(path, name), self.folder) for name in folders + files}
        return found

    def __truediv__(self, path):
        return self.folder / path.lstrip("/")


@contextlib.contextmanager
def debian_root(tmp_path_factory, folder):
    tar = made_once(tmp_path_factory, "debian.tar", _make)
    root = DebianRoot(folder)
    run("ip", "netns", "add", root.network)
    try:
        run("ip", "netns", "exec", root.network, "ip", "link", "set", "lo", "up")
        root.fill(tar)
        yield root
    finally:
        run("ip", "netns", "delete", root.network)
        shutil.rmtree(folder, ignore_errors=True)
