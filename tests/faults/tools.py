"""What the suite compiles for itself."""

import os
import subprocess
import tempfile
from pathlib import Path

import relay

HERE = Path(__file__).resolve().parent


def build(source, *options):
    """Compiles a tool, once for each change of its source, and returns its path."""
    source = HERE / source
    tool = relay.BUILD / "faults" / source.stem
    if not tool.exists() or tool.stat().st_mtime < source.stat().st_mtime:
        tool.parent.mkdir(parents=True, exist_ok=True)
        compiler = "c++" if source.suffix == ".cc" else "cc"
        with tempfile.NamedTemporaryFile(dir=tool.parent, delete=False) as new:  # another trial may do the same
            pass
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", *options, "-o", new.name, source], check=True)
        os.chmod(new.name, 0o755)
        os.replace(new.name, tool)
    return tool
