"""The programs of the last released version, built from the commit that released it."""

import fcntl
import re
import subprocess

from lab import Skip
from relay import BUILD, ROOT


def git(*words):
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skip(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout


def version_in(meson_build):
    return re.search(r"^ *version: '([^']+)'", meson_build, re.MULTILINE)[1]


def last_release():
    """(version, commit): the commit that gave a version its place in the changelog, with that version in meson.build."""
    present = version_in((ROOT / "meson.build").read_text())
    for heading, version in re.findall(r"^(## ([\d.]+) .*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE):
        commits = git("log", "--format=%H", f"-S{heading}", "--", "CHANGELOG.md").split()
        if version != present and commits and version_in(git("show", f"{commits[-1]}:meson.build")) == version:
            return version, commits[-1]
    raise Skip("the history has no released version")


def programs(say):
    """Its version, and the paths of its programs by role. Building them takes minutes; they stay in the build folder."""
    version, commit = last_release()
    folder = BUILD / "released" / version
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # two scenarios may ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        return version, _built(folder, version, commit, say)


def _built(folder, version, commit, say):
    paths = {role: folder / "build" / role / f"aphlict-{role}" for role in ("master", "repeater")}
    if not all(path.exists() for path in paths.values()):
        say(f"building {version}, of commit {commit[:12]}")
        source = folder / "source"
        git("worktree", "prune")
        if not source.exists():
            git("worktree", "add", "--detach", str(source), commit)
        log = folder / "build.log"
        with log.open("w") as output:
            for words in (
                ["meson", "setup", folder / "build", source],
                ["ninja", "-C", folder / "build", "master/aphlict-master", "repeater/aphlict-repeater"],
            ):
                if subprocess.run(list(map(str, words)), stdout=output, stderr=subprocess.STDOUT).returncode != 0:
                    raise RuntimeError(f"{words[0]} failed; see {log}")
        git("worktree", "remove", "--force", str(source))
    return paths
