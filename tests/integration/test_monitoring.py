"""deploy/monitoring: the alert rules and the dashboard ask for metrics that there are, and the rules say when."""

import json
import re
import subprocess

from relay import ROOT

FOLDER = ROOT / "deploy" / "monitoring"


def known_names():
    names = set(re.findall(r"^\| `([a-z_]+)` \| \w+ \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    return names | {f"{name}_bucket" for name in names} | {"up"}


def promtool(*arguments):
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True)


def test_promtool_takes_the_alert_rules():
    check = promtool("check", "rules", FOLDER / "alerts.yml")
    assert check.returncode == 0, check.stdout + check.stderr


def test_the_alerts_are_raised_when_they_should_be():
    check = promtool("test", "rules", FOLDER / "alerts_test.yml")
    assert check.returncode == 0, check.stdout + check.stderr


def metrics_in(expression):
    return set(re.findall(r"\b(?:aphlict_relay|process)_[a-z_]+", expression))


def test_the_alerts_ask_for_metrics_that_there_are():
    asked = metrics_in((FOLDER / "alerts.yml").read_text())
    assert len(asked) > 8 and asked <= known_names()


def test_the_dashboard_asks_for_metrics_that_there_are():
    dashboard = json.loads((FOLDER / "grafana.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [each["query"] for each in dashboard["templating"]["list"]]
    asked = set().union(*map(metrics_in, expressions))
    assert len(asked) > 15 and asked <= known_names()


def test_the_panels_of_the_dashboard_do_not_overlap():
    places = set()
    for panel in json.loads((FOLDER / "grafana.json").read_text())["panels"]:
        box = panel["gridPos"]
        cells = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        assert not places & cells and box["x"] + box["w"] <= 24
        places |= cells
