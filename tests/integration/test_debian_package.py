"""deploy/debian: the package is built, installed in a clean Debian, used there as it is, removed, and gone."""

import json
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from booted import Booted
from debian_root import debian_root, needs_debian_root, run
from packages import debian_package
from relay import ROOT, wait_until
from units import Unit

FOLDER = ROOT / "deploy" / "debian"
USER = "aphlict-relay"
# What apt and dpkg keep for themselves about whatever was there.
KEPT_BY_APT = re.compile(r"/var/(cache|lib)/(apt|dpkg|debconf|systemd/deb-systemd-helper-\w+)\b|/var/log/(apt|dpkg\.log|alternatives\.log)|/etc/[\w-]+-$|/etc/ld.so.cache|/var/cache/ldconfig")


@pytest.fixture
def package(tmp_path_factory):
    return debian_package(tmp_path_factory)


@pytest.fixture
def root(tmp_path_factory, tmp_path):
    with debian_root(tmp_path_factory, tmp_path / "root") as root:
        yield root


def build_dependencies():
    text = (FOLDER / "control").read_text()
    listed = text.partition("Build-Depends:\n")[2].partition("\n\n")[0]
    return {re.split(r"[\s,]", line.strip())[0] for line in listed.splitlines()}


def test_what_the_package_is_built_with_is_what_a_build_needs():
    script = (ROOT / "deploy/install-packages").read_text()
    needed = set(re.search(r"build\) +packages\+=\(([^)]*)\)", script)[1].split())
    here = {"debhelper-compat", "dh-sequence-installsysusers", "libllhttp-dev"}
    assert build_dependencies() - here == needed - {"g++"}  # which every Debian package may take for granted


def test_lintian_finds_no_error(package):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on=error", package], capture_output=True, text=True, timeout=300)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.findall(r"^E: ", done.stdout, re.M)


def test_the_package_has_the_version_of_the_project(package):
    version = re.search(r"version: '(.*)'", (ROOT / "meson.build").read_text())[1]
    assert run("dpkg-deb", "--field", package, "Version").strip() == version


def unit_in(root, name):
    return Unit(root / f"/lib/systemd/system/{name}")


def start_as_its_unit_says(relay, root, role, name):
    """As systemd would: its user, its command, its folders, a copy of the secret that is the user's."""
    unit = unit_in(root, name)
    credentials, state = f"/run/credentials/{name}", "/var/lib"
    source = unit["LoadCredential"].partition(":")[2]
    root.run("install", "-d", "-o", USER, "-m", "0500", credentials)
    root.run("install", "-o", USER, "-m", "0400", source, f"{credentials}/secret")
    for setting, folder in (("StateDirectory", state), ("LogsDirectory", "/var/log")):
        for each in unit.words(setting):
            root.run("install", "-d", "-o", USER, f"{folder}/{each}")
    command = unit.command(d=credentials, S=state)
    assert "--config" in command and (root / command[command.index("--config") + 1]).exists()
    return root.start(relay, role, command, user=f"{unit['User']}:{unit['Group']}")


@pytest.mark.slow
@needs_debian_root
def test_a_host_with_the_package_passes_messages_on_and_without_it_is_as_before(root, relay, package):
    before = root.files()
    passwd = (root / "/etc/passwd").read_text()

    # Installed.
    (root / "/tmp" / package.name).write_bytes(package.read_bytes())
    root.install("systemd-standalone-sysusers", f"/tmp/{package.name}")
    assert USER in (root / "/etc/passwd").read_text()
    for program in ("aphlict-master", "aphlict-repeater"):
        assert root.run(program, "--version").split()[0] == program
        for file in (f"/usr/share/man/man8/{program}.8.gz", f"/usr/share/bash-completion/completions/{program}"):
            assert (root / file).stat().st_size > 1000
    assert not [path for path in root.files() if ".wants/aphlict" in path]  # nothing is enabled by itself

    # Started, with the secret that the documentation has made.
    (root / "/etc/aphlict-relay/secret").write_text(secrets.token_hex(32) + "\n")
    (root / "/etc/aphlict-relay/secret").chmod(0o600)
    master = start_as_its_unit_says(relay, root, "master", "aphlict-master.service")
    master.wait_for_log("listening", type="repeater")
    repeater = start_as_its_unit_says(relay, root, "repeater", "aphlict-repeater@.service")
    repeater.wait_for_log("listening", type="client")
    uid = int(re.search(rf"^{USER}:x:(\d+):", (root / "/etc/passwd").read_text(), re.M)[1])
    for node in (master, repeater):
        assert re.search(rf"^Uid:\t{uid}\t{uid}\t", Path(f"/proc/{node.process.pid}/status").read_text(), re.M)

    # A message goes through: published at the master, read at the repeater.
    phid = "PHID-USER-" + secrets.token_hex(8)
    assert "200 OK" in root.ask("aphlict-master", "notify", "--phid", phid)
    heard = root.ask("aphlict-repeater", "listen", "ws://127.0.0.1:22280/", "--phid", phid, "--replay", "60", "--count", "1")
    assert any(phid in json.loads(line)["subscribers"] for line in heard.splitlines() if line.startswith("{"))
    found = root.ask("aphlict-master", "check", "--client", "ws://127.0.0.1:22280/", "--node", "http://127.0.0.1:22283")
    assert re.search(r"^delivery +ws://127.0.0.1:22280/ .* ok$", found, re.M), found
    for node in (repeater, master):
        node.stop()

    # Removed: what is the administrator's stays.
    root.run("apt-get", "remove", "-y", "-q", "aphlict-relay")
    assert not (root / "/usr/bin/aphlict-master").exists()
    assert (root / "/etc/aphlict-relay/master.json").exists() and (root / "/var/lib/aphlict-master/data.mdb").exists()

    # Purged: nothing stays, also of what systemctl enable makes.
    wants = root / "/etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "aphlict-repeater@1.service").symlink_to("/lib/systemd/system/aphlict-repeater@.service")
    root.run("dpkg", "--purge", "aphlict-relay")
    root.run("apt-get", "autoremove", "--purge", "-y", "-q", "systemd-standalone-sysusers")
    (root / "/tmp" / package.name).unlink()
    root.run("rm", "-r", "/run/credentials")
    left = {path for path in root.files() - before if not KEPT_BY_APT.search(path)}
    assert {path for path in left if "aphlict" in path} == set()
    assert left == set()
    assert (root / "/etc/passwd").read_text() == passwd


# --- under a running systemd -------------------------------------------------------------------------------


SERVICES = ["aphlict-master", "aphlict-repeater@1", "aphlict-repeater@2"]


@pytest.mark.slow
@needs_debian_root
def test_systemd_starts_reloads_and_stops_the_services_and_they_go_with_the_package(root, relay, package):
    (root / "/tmp" / package.name).write_bytes(package.read_bytes())
    root.install("systemd", "systemd-sysv", "dbus", f"/tmp/{package.name}")
    (root / "/usr/sbin/policy-rc.d").unlink()
    secret = root / "/etc/aphlict-relay/secret"
    host = relay.keep(Booted(root))

    # Without the secret, none starts, or is tried again.
    code, _ = host.ask("systemctl", "start", "aphlict-master")
    assert code != 0 and host.states("aphlict-master") == ["failed"]
    assert host.run("systemctl", "show", "--property=ExecMainStatus", "--value", "aphlict-master").strip() == "243"
    secret.write_text(secrets.token_hex(32) + "\n")
    secret.chmod(0o600)

    # Started, as the documentation says.
    host.run("systemctl", "enable", "--now", *SERVICES)
    assert host.states(*SERVICES) == ["active"] * 3
    tree = host.run("aphlict-master", "status")
    assert re.search(r"^ +\S+-1 +ready", tree, re.M) and re.search(r"^ +\S+-2 +ready", tree, re.M)
    assert "ready" in host.run("aphlict-repeater", "status", "--admin", "http://127.0.0.2:22283")
    found = host.run("aphlict-master", "check", "--client", "ws://127.0.0.1:22280/")
    assert re.search(r"^delivery +ws://127.0.0.1:22280/ .* ok$", found, re.M), found

    # Reloaded; and told what is wrong.
    host.run("systemctl", "reload", *SERVICES)
    config = root / "/etc/aphlict-relay/master.json"
    right = config.read_text()
    config.write_text('{"nonsense": 1}')
    code, _ = host.ask("systemctl", "reload", "aphlict-master")
    assert code != 0 and "nonsense" in host.run("journalctl", "--no-pager", "--unit=aphlict-master")
    config.write_text(right)
    assert host.states(*SERVICES) == ["active"] * 3

    # A reload takes another secret: a repeater that comes with it is let in.
    secret.write_text(secrets.token_hex(32) + "\n")
    host.run("systemctl", "reload", "aphlict-master")
    host.run("systemctl", "restart", "aphlict-repeater@1")
    assert re.search(r"^ +\S+-1 +ready", host.run("aphlict-master", "status"), re.M)
    assert "upstream_refused" not in host.run("journalctl", "--no-pager", "--unit=aphlict-repeater@1")

    # All at once.
    host.run("systemctl", "stop", "aphlict-relay.target")
    assert host.states(*SERVICES) == ["inactive"] * 3
    host.run("systemctl", "start", "aphlict-relay.target")
    wait_until(lambda: host.states(*SERVICES) == ["active"] * 3, "all are back")

    # And they go with the package.
    pids = [host.run("systemctl", "show", "--property=MainPID", "--value", each).strip() for each in SERVICES]
    host.run("apt-get", "purge", "-y", "-q", "aphlict-relay")
    for pid in pids:
        assert host.ask("test", "-e", f"/proc/{pid}")[0] != 0
    assert not [path for path in root.files() if "aphlict" in path and not KEPT_BY_APT.search(path) and not path.startswith(("/proc", "/run", "/tmp"))]
