"""The Debian package, built once in a run of the tests by the command that builds it, of the programs that are tested."""

import os

from debian_root import run
from made_once import made_once
from relay import BUILD, ROOT


def _build(path):
    options = "nocheck noautodbgsym"
    run(ROOT / "deploy/debian/build", path, env={**os.environ, "APHLICT_RELAY_BUILD": str(BUILD.resolve()), "DEB_BUILD_OPTIONS": options})


def debian_package(tmp_path_factory):
    """Its path."""
    (package,) = made_once(tmp_path_factory, "package", _build).glob("*.deb")
    return package
