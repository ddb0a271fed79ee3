"""A Debian in a folder that is booted: systemd as its first process, under systemd-nspawn."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from relay import ends_with_the_tests, wait_until

VARIABLES = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


class Booted:
    """`network` is the name of a network namespace; without, it has a network of its own, and nobody in it."""

    def __init__(self, root, network=None):
        if shutil.which("systemd-nspawn") is None:
            pytest.skip("systemd-nspawn is not installed")
        words = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", f"--directory={root.folder}"]
        words.append(f"--network-namespace-path=/run/netns/{network}" if network else "--private-network")
        self._log = open(root.folder.with_name(root.folder.name + ".console"), "w+")
        self._process = subprocess.Popen(
            [*words, "--boot"], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, preexec_fn=ends_with_the_tests
        )
        self._enter = []
        try:
            wait_until(self._is_up, "systemd is up", deadline=60)
        except AssertionError as error:  # before anything of ours is asked for
            console = self.console()[-300:]
            self.close()
            pytest.skip(f"systemd does not start here: {error}: {console}")
        except BaseException:
            self.close()
            raise

    def console(self):
        self._log.seek(0)
        return self._log.read()

    def _is_up(self):
        if self._process.poll() is not None:
            pytest.skip(f"systemd does not start here: {self.console()[-300:]}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        # At first the child is still one of this machine's, and asking it would be asking this machine.
        if not children or not self._has_its_own_world(children[0]):
            return False
        self._enter = ["nsenter", f"--target={children[0]}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wdns=/"]
        time.sleep(0.3)
        return self.ask("systemctl", "is-system-running")[1].strip() in ("running", "degraded")

    @staticmethod
    def _has_its_own_world(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid") and os.readlink(
                f"/proc/{pid}/ns/mnt"
            ) != os.readlink("/proc/self/ns/mnt")
        except FileNotFoundError:
            return False

    def ask(self, *command):
        """(exit code, output) of a command."""
        done = subprocess.run([*self._enter, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, env=VARIABLES)
        return done.returncode, done.stdout

    def run(self, *command):
        code, output = self.ask(*command)
        assert code == 0, f"{' '.join(command)}: {code}\n{output}\n{self.ask('journalctl', '--no-pager', '-n', '60')[1]}"
        return output

    def write(self, path, content):
        """A file as the host sees it: /tmp is no folder of the root, since systemd mounts another."""
        subprocess.run([*self._enter, "sh", "-c", f"cat > {path}"], input=content, check=True, timeout=60, env=VARIABLES)

    def states(self, *services):
        return self.ask("systemctl", "is-active", *services)[1].split()

    def close(self):
        if self._process.poll() is None:
            self._process.terminate()  # which it passes on as an order to power off
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
