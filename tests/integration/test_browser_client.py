"""deploy/browser/aphlict-client.js, in Node.js with made-up clocks: the cases are in aphlict_client_cases.mjs.

With a real browser and real repeaters: test_browser_spread.py.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from relay import DEADLINE

CASES = Path(__file__).with_name("aphlict_client_cases.mjs")

if shutil.which("node") is None:
    pytest.skip("Node.js is not installed (nodejs)", allow_module_level=True)


_run = subprocess.run(["node", CASES], capture_output=True, text=True, timeout=2 * DEADLINE)
RESULTS = json.loads(_run.stdout) if _run.returncode == 0 else {"it can be tried": _run.stderr}


@pytest.mark.parametrize("name", RESULTS)
def test_the_browser_client(name):
    assert RESULTS[name] is None, RESULTS[name]
