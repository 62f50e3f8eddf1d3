"""The alert rules speak of metrics that exist, and each leads to words that say what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from tests.test_docs import BASE_DIR, anchors, first_cells, page

RULES = BASE_DIR / "deploy" / "prometheus" / "florin-alerts.yml"
# Made by Prometheus itself when it scrapes.
OF_PROMETHEUS = {"up"}
FUNCTIONS = {
    *("sum", "by", "on", "and", "or", "rate", "increase", "delta", "absent"),
    *("avg_over_time", "min_over_time", "max"),
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    assert group["name"] == "florin"
    found: list[dict[str, Any]] = group["rules"]
    return found


def metric_names(text: str) -> set[str]:
    return set(re.findall(r"\bflorin_\w+", text))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_is_complete_and_its_runbook_has_an_entry(rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Florin[A-Z]\w+", rule["alert"])
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert all(isinstance(words, str) and len(words) > 20 for words in notes.values())
    file, _, anchor = notes["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in anchors(BASE_DIR / file)
    for template in re.findall(r"\{\{.*?\}\}", notes["summary"] + notes["description"]):
        assert re.match(r"\{\{ (\$value|\$labels\.\w+|with query|\.|end)\b|\{\{ \. ", template)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_expression_is_well_formed(rule: dict[str, Any]) -> None:
    """A careful look in place of promtool: brackets pair up, every word is known."""
    expression = rule["expr"]
    closing = {")": "(", "]": "[", "}": "{"}
    opened: list[str] = []
    for character in re.sub(r'"[^"]*"', "", expression):
        if character in "([{":
            opened.append(character)
        elif character in closing:
            assert opened.pop() == closing[character], expression
    assert opened == [], expression
    without_matchers = re.sub(r"\{[^}]*\}|\[\d+[mhd]\]|\b(?:by|on) \([^)]*\)", " ", expression)
    words = set(re.findall(r"[a-z_]\w*", without_matchers))
    unknown = {word for word in words - FUNCTIONS - OF_PROMETHEUS if not metric_names(word)}
    assert unknown == set()
    assert re.search(r"(>|<|==) ?[\d.]", expression), "an alert compares with a number"


def test_every_metric_of_an_alert_exists_and_has_the_labels_it_is_asked_by() -> None:
    named = set().union(
        *(metric_names(rule["expr"] + rule["annotations"]["description"]) for rule in rules())
    )
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(
            r"^\| `(florin_\w+)` \|([^|]*)\|", page("metrics.md"), re.MULTILINE
        )
    }
    assert sorted(named - set(documented)) == []
    response = Client(REMOTE_ADDR="127.0.0.1").get("/metrics")
    exposed = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(response.content.decode())
    }
    assert sorted(named - exposed) == []
    for rule in rules():
        for name, matchers in re.findall(r"(florin_\w+)\{([^}]*)\}", rule["expr"]):
            asked = set(re.findall(r"(\w+)(?:=~|!=|=)", matchers))
            assert asked <= documented[name], rule["alert"]
        labels = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        known = set().union(*(documented[name] for name in metric_names(rule["expr"])), {"job"})
        assert labels <= known, rule["alert"]


def test_every_entry_of_the_runbook_belongs_to_an_alert() -> None:
    headings = re.findall(r"^## (.+)$", page("runbook.md"), re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    assert first_cells(page("runbook.md")) == set()


def test_what_an_alert_names_in_the_code_is_there() -> None:
    """Jobs, log lines and settings in the runbook are spelled as the code spells them."""
    sources = "".join(
        path.read_text(encoding="utf-8")
        for app in ("config", "payments", "webhooks", "audit")
        for path in (BASE_DIR / app).rglob("*.py")
    )
    names = re.findall(r"`([a-z_]+\.[a-z_]+|[A-Z_]{8,}|[a-z]+(?:_[a-z]+)+)`", page("runbook.md"))
    prometheus_own = {"rule_files"}
    postgresql_own = {"pg_stat_activity"}
    tables = {"audit_event", "webhooks_periodic_job"}
    unknown = sorted(
        name
        for name in set(names) - prometheus_own - postgresql_own - tables
        if name not in sources
    )
    assert unknown == []
    assert Path(RULES).exists()
