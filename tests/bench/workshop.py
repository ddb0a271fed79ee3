"""What every benchmark needs: its programs, built; the cores; what is told on the way, and what is kept of it."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Workshop:
    """Where the programs are, which cores there are, and where it is told how far things are."""

    def __init__(self, build=None, log=None):
        self.build = Path(build).resolve() if build else ROOT / "build-bench"
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise SystemExit("The benchmark needs two cores: one for the servers, one for the load.")
        self.load_core, self.server_core = cores[0], cores[1]
        self._log_file = open(log, "w") if log else None
        self._told = False

    # --- telling

    def log(self, line):
        if self._log_file:
            self._log_file.write(f"{time.monotonic():.3f} {line}\n")
            self._log_file.flush()

    def progress(self, text):
        self.log(f"-- {text}")
        self.show(text)

    def show(self, text):
        """Progress that is not worth a line of the log."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
            self._told = True

    def clear_progress(self):
        if self._told:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    # --- programs

    def program(self, name):
        return self.build / name

    def prepare(self, programs, packages=("build",)):
        self.progress("installing what is missing")
        done = subprocess.run([ROOT / "deploy/install-packages", *packages], stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise SystemExit(done.returncode)
        if not (self.build / "build.ninja").exists():
            self.progress(f"configuring {self.build.name}")
            command = ["meson", "setup", self.build, ROOT, "--buildtype=release"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.progress("building")
        done = subprocess.run(["ninja", "-C", self.build, *programs], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)


def add_common_options(parser):
    parser.add_argument("--output", metavar="FILE", help="write everything there, as JSON")
    parser.add_argument("--build", metavar="DIR", help="the build folder (build-bench), made when it is missing")
    parser.add_argument("--nice", type=int, default=0, help="of all processes; below 0, as root, for a busy machine")
    parser.add_argument("--log", metavar="FILE", help="write down what is run and what the servers say")


def commit():
    """As git names it; None where there is no git. It ends in "-dirty" if the tree differs from it."""
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or None


def _cpu_model():
    with open("/proc/cpuinfo") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), None)


def about_the_run():
    kernel = platform.release().partition("-")[0]  # what follows is the host's own name for it
    return {"commit": commit(), "kernel": kernel, "cpu": _cpu_model()}


def summary(outcomes, seconds):
    """The last line, and how many runs failed."""
    missed = sum(bar["verdict"] == "MISSED" for outcome in outcomes for bar in outcome.bars)
    kept = sum(bar["verdict"] == "ok" for outcome in outcomes for bar in outcome.bars)
    failed = sum(outcome.failed for outcome in outcomes)
    return f"{kept} bars kept, {missed} missed; {failed} scenarios with failed runs; {seconds:.0f} s", failed


def write_document(file, started, outcomes, **facts):
    """`started` is the wall clock's; `facts` are what the benchmark has to say of itself."""
    document = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        **about_the_run(),
        **facts,
        "scenarios": [outcome.as_json() for outcome in outcomes],
    }
    Path(file).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
