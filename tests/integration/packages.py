"""The Debian package, built once in a run of the tests by the command that builds it, of the programs that are tested."""

import os

import pytest

from debian_root import run
from made_once import made_once
from relay import BUILD, ROOT, is_sanitized


def _build(path):
    options = "nocheck noautodbgsym"
    run(ROOT / "deploy/debian/build", path, env={**os.environ, "APHLICT_RELAY_BUILD": str(BUILD.resolve()), "DEB_BUILD_OPTIONS": options})


def debian_package(tmp_path_factory):
    """Its path. Skips where the programs are not those that users have."""
    if is_sanitized():
        pytest.skip("the package is of the programs as users have them, and these are sanitized")
    (package,) = made_once(tmp_path_factory, "package", _build).glob("*.deb")
    return package
