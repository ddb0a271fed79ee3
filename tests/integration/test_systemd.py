"""deploy/systemd as `meson install` installs it: systemd's word on the units, the nodes that they start, and the rest."""

import fnmatch
import functools
import getpass
import grp
import os
import re
import secrets
import shutil
import subprocess

import pytest

from made_once import made_once
from relay import BINARIES, BUILD, ROOT, message, wait_until
from units import FOLDER, Unit

SERVICES = ["aphlict-master.service", "aphlict-repeater@.service"]
EXPOSURE = 1.5  # what `systemd-analyze security` may say, of 10
PHID = "PHID-USER-1"

each_service = pytest.mark.parametrize("name", SERVICES)


@functools.cache
def why_no_network():
    """Why nobody here can have a network with settings of its own; empty where one can."""
    done = subprocess.run(["unshare", "--net", "sysctl", "-qw", "net.core.somaxconn=1000"], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"nobody here can set a network's own settings: {done.stderr.strip()}"


needs_a_network = pytest.mark.skipif(bool(why_no_network()), reason=why_no_network())


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, **options)


def run_well(*command, **options):
    done = run(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(prefix):
    """With the programs that are there: compiling them again would tell nothing."""
    build = prefix.with_name(prefix.name + "-build")
    run_well("meson", "setup", build, ROOT, f"--prefix={prefix}", f"-Dprebuilt={BUILD.resolve()}", "-Dtests=false")
    run_well("meson", "install", "-C", build)


@pytest.fixture
def installed(tmp_path_factory):
    return made_once(tmp_path_factory, "installed", install)


@pytest.fixture
def units(installed, tmp_path):
    """A copy of the units, and an instance of the template, which systemd looks at as a unit of its own."""
    folder = tmp_path / "units"
    shutil.copytree(installed / "lib/systemd/system", folder)
    shutil.copy(folder / "aphlict-repeater@.service", folder / "aphlict-repeater@1.service")
    return folder


# --- units -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aphlict-master.service", "aphlict-repeater@1.service", "aphlict-relay.target"])
def test_systemd_finds_nothing_wrong_with_a_unit(units, name):
    done = run("systemd-analyze", "verify", "--man=no", units / name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@each_service
def test_a_service_is_exposed_to_little(units, name):
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", units / name)
    told = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert told and float(told[1]) <= EXPOSURE, done.stdout + done.stderr


def test_both_services_are_hardened_alike(units):
    def hardening(name):
        text = (units / name).read_text()
        return text[text.index("\n# Nothing of the host") :]

    assert hardening(SERVICES[0]) == hardening(SERVICES[1])


@each_service
def test_a_service_is_given_longer_than_the_drain(units, name):
    assert int(Unit(units / name)["TimeoutStopSec"]) >= 20 + 3 + 3 + 10  # drain.seconds, its last time, the goodbye, and some


@each_service
def test_what_is_wrong_the_next_time_as_well_is_not_tried_again(relay, units, name):
    role = "repeater" if "repeater" in name else "master"
    codes = Unit(units / name).words("RestartPreventExitStatus")
    for option in ("--nonsense", f"--config={relay.config_file('{')}"):
        assert str(run(BINARIES[role], option).returncode) in codes


@each_service
def test_what_a_reload_checks_first_is_what_was_started(units, name):
    unit = Unit(units / name)
    as_the_user = f"/usr/bin/setpriv --reuid={unit['User']} --regid={unit['Group']} --init-groups --no-new-privs"
    check = f"+/usr/bin/nsenter --target $MAINPID --mount {as_the_user} {unit['ExecStart']} --check-config"
    assert unit.settings["ExecReload"] == [check, "/bin/sh -c 'kill -HUP ${MAINPID}'"]


def test_what_is_enabled_starts_with_the_host_and_with_the_target(installed, tmp_path):
    shutil.copytree(installed / "lib/systemd/system", tmp_path / "usr/lib/systemd/system")
    run_well("systemctl", f"--root={tmp_path}", "enable", "aphlict-master", "aphlict-repeater@1", "aphlict-repeater@2")
    links = {path.relative_to(tmp_path / "etc/systemd/system") for path in (tmp_path / "etc/systemd/system").rglob("*.service")}
    assert {str(link) for link in links} == {
        f"{target}.target.wants/{service}.service"
        for target in ("multi-user", "aphlict-relay")
        for service in ("aphlict-master", "aphlict-repeater@1", "aphlict-repeater@2")
    }
    for name in SERVICES:  # what stops the target stops them
        assert Unit(tmp_path / "usr/lib/systemd/system" / name)["PartOf"] == "aphlict-relay.target"


# --- what they start ---------------------------------------------------------------------------------------


class Host:
    """What the units find on a host: secret, state and configuration, in a folder of the test."""

    def __init__(self, relay, units):
        self.relay, self.units = relay, units
        self.credentials = relay.folder / "credentials"
        self.credentials.mkdir()
        self.secret = self.credentials / "secret"
        self.secret.write_text(secrets.token_hex(32))
        self.secret.chmod(0o400)
        (relay.folder / "state" / "aphlict-master").mkdir(parents=True)
        self.configs = {}

    def configure(self, role, config):
        self.configs[f"/etc/aphlict-relay/{role}.json"] = str(self.relay.config_file(config))

    def options(self, name, **specifiers):
        unit = Unit(self.units / name)
        words = unit.command(d=self.credentials, S=self.relay.folder / "state", **specifiers)
        return [self.configs.get(word, word) for word in words[1:]]


@pytest.fixture
def host(relay, units):
    return Host(relay, units)


def test_what_a_unit_starts_is_a_right_command_line(host):
    host.configure("master", {})
    host.configure("repeater", {"upstream": [["http://127.0.0.1:22282"]]})
    for role, name in zip(("master", "repeater"), SERVICES):
        done = run(BINARIES[role], *host.options(name), "--check-config")
        assert done.returncode == 0 and "mode" not in done.stderr, done.stderr


def test_the_secret_that_a_unit_loads_is_the_one_that_it_reads(host):
    host.configure("master", {})
    for name in SERVICES:
        assert Unit(host.units / name)["LoadCredential"] == "secret:/etc/aphlict-relay/secret"
    host.secret.write_text("short")
    done = run(BINARIES["master"], *host.options(SERVICES[0]), "--check-config")
    assert done.returncode == 78 and "shorter than 16 bytes" in done.stderr


def test_the_repeaters_of_a_host_share_a_port_and_have_an_admin_port_each(relay, host):
    """As the unit starts them; but the port of the clients is one on which nobody listens here."""
    master = relay.master(f"--secret-file={host.secret}")
    host.configure("repeater", {"upstream": [[master.feed_url]], "drain.seconds": 0})
    numbers = secrets.SystemRandom().sample(range(1, 255), 2)
    first, second = (host.options(SERVICES[1], instance=str(number)) for number in numbers)
    first = relay.start("repeater", *first, "--clients=127.0.0.1:0")
    second = relay.start("repeater", *second, "--clients=127.0.0.1:%d" % first.address("client")[1])
    assert first.address("client") == second.address("client")
    assert [node.address("admin") for node in (first, second)] == [(f"127.0.0.{number}", 22283) for number in numbers]
    clients = [relay.client(first, subscribe=[PHID]) for _ in range(40)]
    body = master.publish(message(PHID))
    for client in clients:
        client.expect(body)
    shares = [node.status()["clients.active"] for node in (first, second)]
    assert sum(shares) == 40 and all(shares)
    names = {each["name"] for each in master.status()["repeaters"]}
    assert names == {f"host-{number}" for number in numbers}


# --- beside them -------------------------------------------------------------------------------------------


def test_sysusers_makes_the_user_of_the_services(installed, units, tmp_path):
    (tmp_path / "etc").mkdir()
    run_well("systemd-sysusers", f"--root={tmp_path}", installed / "lib/sysusers.d/aphlict-relay.conf")
    name, _, _, _, _, home, shell = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert (home, shell) == ("/", "/usr/sbin/nologin")
    assert {Unit(units / each)[key] for each in SERVICES for key in ("User", "Group")} == {name}


@needs_a_network
def test_the_kernel_takes_its_settings(installed):
    """In a network of its own, which has these settings for itself."""
    path = installed / "lib/sysctl.d/60-aphlict-relay.conf"
    wanted = dict(re.findall(r"^(\S+) = (\S+)$", path.read_text(), re.M))
    assert set(wanted) == {"net.ipv4.tcp_migrate_req", "net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"}
    shown = run_well("unshare", "--net", "sh", "-ec", 'sysctl --quiet --load="$0"; sysctl "$@"', path, *wanted)
    assert dict(line.split(" = ") for line in shown.splitlines()) == wanted


def test_the_queue_that_the_nodes_ask_for_is_one_that_they_get(installed):
    asked = re.search(r"kBacklog = ([\d']+);", (ROOT / "common/net/listener.h").read_text())[1].replace("'", "")
    assert f"net.core.somaxconn = {asked}\n" in (installed / "lib/sysctl.d/60-aphlict-relay.conf").read_text()


def test_logs_are_rotated_and_written_anew(relay, installed, tmp_path):
    """By logrotate itself. In systemctl's place stands a script that sends the node what it was told to send."""
    logs = tmp_path / "logs"
    config = relay.config_file({"logs": [{"path": str(logs / "master.log")}]})
    node = relay.start("master", "--admin=127.0.0.1:0", "--repeaters=none", f"--config={config}")
    wait_until(lambda: (logs / "master.log").exists() and "listening" in (logs / "master.log").read_text(), "its log")
    (tmp_path / "bin").mkdir()
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\nfor word; do case $word in --signal=*) kill -s ${{word#--signal=}} {node.process.pid};; esac; done\n')
    systemctl.chmod(0o755)
    text = (installed / "etc/logrotate.d/aphlict-relay").read_text()
    assert text.count("/var/log/aphlict-relay/") == 1 and text.count("su aphlict-relay aphlict-relay") == 1
    text = text.replace("/var/log/aphlict-relay", str(logs))
    text = text.replace("su aphlict-relay aphlict-relay", f"su {getpass.getuser()} {grp.getgrgid(os.getegid()).gr_name}")
    (tmp_path / "logrotate.conf").write_text(text)
    path = f"{tmp_path}/bin:/usr/sbin:{os.environ['PATH']}"
    run_well("logrotate", "--force", f"--state={tmp_path}/rotated", tmp_path / "logrotate.conf", env={**os.environ, "PATH": path})
    wait_until((logs / "master.log").exists, "a new log")
    assert "listening" in (logs / "master.log.1").read_text()
    patterns = [word.strip("'") for word in (tmp_path / "asked").read_text().split()]
    for service in ("aphlict-master.service", "aphlict-repeater@12.service"):
        assert any(fnmatch.fnmatch(service, pattern) for pattern in patterns)


def test_everything_in_the_folder_is_installed(installed):
    """Each file's text, as far as it is not filled in."""
    found = "\n".join(path.read_text() for path in installed.rglob("*") if path.is_file() and "bin" not in path.parts)
    for path in FOLDER.iterdir():
        for part in re.split(r"@\w+@", path.read_text()):
            assert part in found, path
