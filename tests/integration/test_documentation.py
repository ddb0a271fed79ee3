"""What the programs say about themselves is what the documentation says. Settings: test_config.py; metrics: test_metrics.py."""

import json
import os
import re
import signal

import pytest

from relay import ROOT, run_to_end

README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ROLES = pytest.mark.parametrize("role", ["master", "repeater"])


def manual(role):
    return run_to_end(role, "generate", "man").stdout.replace("\\-", "-")


def terms(page, section):
    """The terms of the list in a section of a manual page."""
    text = page.partition(f".SH {section}\n")[2].partition("\n.SH ")[0]
    return re.findall(r"^\.TP\n\\fB(\S+)\\fR", text, re.MULTILINE)


def rows(head, text=README):
    """The first cells of the table whose first row begins with `head`."""
    lines = text[text.index(f"\n| {head}") :].strip().splitlines()
    cells = []
    for line in lines[2:]:
        if not line.startswith("| "):
            break
        cells.append(line.split(" | ")[0].strip("| "))
    return cells


@ROLES
def test_every_signal_that_a_node_catches_is_documented(relay, master, role):
    node = master if role == "master" else relay.repeater(master)
    status = open(f"/proc/{node.process.pid}/status").read()
    mask = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
    caught = {each.name for each in signal.Signals if mask >> (each - 1) & 1}
    sanitizers = {"SIGSEGV", "SIGBUS", "SIGFPE"}  # which catch these to tell more
    assert caught - sanitizers == set(rows("signal")) == set(terms(manual(role), "SIGNALS"))


@ROLES
def test_every_exit_code_is_documented(role):
    sentence = README[README.index("Exit codes are") :].partition("\n\n")[0]
    documented = set(re.findall(r"\b\d+\b", sentence.replace("sysexits(3)", "")))
    assert documented == set(terms(manual(role), "EXIT STATUS"))
    assert set(rows("exit code", OPERATIONS)) <= documented


def test_the_manual_has_the_exit_codes_that_the_sources_know():
    sources = [path for folder in ("common", "master", "repeater") for path in (ROOT / folder).rglob("*.cc")]
    names = {name for path in sources for name in re.findall(r"\bEX_[A-Z]+\b", path.read_text())}
    assert {str(getattr(os, name)) for name in names} | {"1"} == set(terms(manual("master"), "EXIT STATUS"))


def test_every_endpoint_is_documented_and_there(master):
    error = json.loads(master.request("GET", "/none-of-them").body)["error"]
    own = re.findall(r"(?:GET|POST) /[a-z/]*", error)
    assert own == re.findall(r"(?:GET|POST) /[a-z/]*", " ".join(rows("endpoint")))
    for method, _, path in (each.partition(" ") for each in own):
        assert master.request(method, path, '{"subscribers":[]}' if method == "POST" else None).status == 200


@ROLES
def test_every_command_is_documented(role):
    page = manual(role).partition("\n.SH COMMANDS\n")[2].partition("\n.SH ")[0]
    commands = re.findall(r"^\.SS (\S+)$", page, re.MULTILINE)
    assert commands == [cell.strip("`").split()[0] for cell in rows("command")]
    for command in commands:
        assert f"aphlict-master {command}" in OPERATIONS


def documents():
    folders = [ROOT, *(ROOT / name for name in ("docs", "docs/decisions", "tests/bench", "tests/simulate"))]
    return [path for folder in folders for path in sorted(folder.glob("*.md"))]


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_document_points_to_is_there(page):
    text = page.read_text()
    named = set(re.findall(r"`((?:docs|deploy|tests|common|master|repeater)/[\w./-]*\w)`", text))
    missing = {path for path in named if not (ROOT / path).exists() and "NAME" not in path}
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#[^)]*)?\)", text):
        aim = page.parent / target if target else page
        headings = re.findall(r"^#+ (.*)$", aim.read_text(), re.MULTILINE) if aim.is_file() else []
        anchors = {"#" + re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
        if not aim.exists() or (anchor and anchor not in anchors):
            missing.add(target + anchor)
    assert missing == set()


def test_the_counts_of_single_steps_are_those_that_were_recorded():
    page = (ROOT / "docs" / "performance.md").read_text().partition("## Single steps")[2].partition("\n## ")[0]
    told = {name: int(count.replace(",", "")) for name, count in re.findall(r"^\| `([\w-]+)` \| ([\d,]+) \|", page, re.MULTILINE)}
    assert told == json.loads((ROOT / "tests" / "micro" / "counts.json").read_text())["instructions"]


def test_every_document_is_named_in_the_readme():
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"docs/[\w-]+\.md", README))


DEPLOYED = {
    "browser": "test_browser_client.py",
    "container": "test_container.py",
    "debian": "test_debian_package.py",
    "demo": "test_quickstart.py",
    "install-packages": "test_debian_package.py",
    "kubernetes": "test_kubernetes.py",
    "meson.build": "test_systemd.py",  # which installs
    "monitoring": "test_monitoring.py",
    "proxies": "test_proxies.py",
    "quickstart": "test_quickstart.py",
    "systemd": "test_systemd.py",
}


def test_whatever_is_deployed_is_tested():
    """What the tests do with each file of a folder is theirs to say: most list the folder."""
    assert {path.name for path in (ROOT / "deploy").iterdir()} == set(DEPLOYED)
    for test in DEPLOYED.values():
        assert (ROOT / "tests" / "integration" / test).exists()
