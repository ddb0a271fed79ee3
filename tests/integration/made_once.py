"""What takes long to make is made by one of pytest's workers, and used by all."""

import fcntl
import os


def made_once(tmp_path_factory, name, make):
    """The path that `make(path)` has made, in this run of the tests."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    path = base / name
    made = base / f"{name}.made"
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            make(path)
            made.touch()
    return path
