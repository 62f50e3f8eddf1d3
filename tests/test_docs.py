"""The documents say what the code says: every name a reader may meet is explained in docs/.

Compared in both directions where a document lists names of one kind, so that what is gone from the
code is gone from the documents too.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from payments import state_diagram
from payments.actions.announcements import (
    ANNOUNCEMENTS,
    ANNOUNCEMENTS_OF_EDGES,
    SETTLED_IN_PLACE,
)
from payments.api import stream_metrics
from payments.api.openapi import document_text
from payments.errors import ErrorCode, ErrorType
from payments.machines import CAPTURE_EDGES, DISPUTE_EDGES, REFUND_EDGES, DisputeState
from payments.models import ReviewCase
from payments.providers.objects import (
    EVIDENCE_FILE_FIELDS,
    EVIDENCE_TEXT_FIELDS,
    DisputeStage,
)
from payments.states import EDGES, State
from payments.verification import CHECKS

BASE_DIR = Path(__file__).resolve().parent.parent
DOCS = BASE_DIR / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def first_cells(text: str) -> set[str]:
    """The names in the first column of every table."""
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


def environment_names() -> set[str]:
    """Every environment variable that the settings and the launcher read."""
    readers = re.compile(r"""(?:env\.\w+|environ\.get|environ)[(\[]\s*["']([A-Z][A-Z0-9_]+)["']""")
    names: set[str] = set()
    for path in (BASE_DIR / "config").rglob("*.py"):
        names |= set(readers.findall(path.read_text(encoding="utf-8")))
    return names - {"DJANGO_SETTINGS_MODULE", "PGUSER", "PATH", "HOME", "XDG_RUNTIME_DIR"}


def test_every_setting_is_documented_and_every_documented_one_is_read() -> None:
    told = first_cells(page("settings.md"))
    assert sorted(environment_names() - told) == []
    read_anywhere = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("config", "payments", "webhooks", "audit", "tests", ".ci", "tools")
        for path in (BASE_DIR / folder).rglob("*")
        if path.is_file() and path.suffix in (".py", ".sh", "")
    )
    assert sorted(name for name in told if name.isupper() and name not in read_anywhere) == []


@pytest.mark.parametrize("name", ["states", "captures", "refunds", "disputes"])
def test_every_machine_is_drawn_as_it_is(name: str) -> None:
    words = page("states.md")
    assert state_diagram.section(name) in words, "run `python manage.py draw_states --write`"


def test_every_state_and_edge_is_told() -> None:
    words = page("states.md")
    machines = {"captures": CAPTURE_EDGES, "refunds": REFUND_EDGES, "disputes": DISPUTE_EDGES}
    assert set(state_diagram.sections()) == {"states", *machines}
    assert {state.value for state in State} <= first_cells(words)
    assert all(f"`{edge.event}`" in words for edge in EDGES)
    for name, machine in machines.items():
        drawn = state_diagram.small_machine(name)
        for state, edges in machine.items():
            assert f"| `{state}` |" in drawn
            for event, target in edges.items():
                assert re.search(rf"    {state} --> {target}: .*\b{event}\b", drawn), event


def test_what_a_dispute_is_answered_with_is_documented() -> None:
    words = page("disputes.md")
    told = first_cells(words)
    stages, states = [stage.value for stage in DisputeStage], [s.value for s in DisputeState]
    assert told == {*EVIDENCE_TEXT_FIELDS, *EVIDENCE_FILE_FIELDS, *stages, *states}


def test_every_kind_of_review_case_is_documented() -> None:
    assert first_cells(page("review.md")) == set(ReviewCase.Kind.values)


def test_every_error_code_and_type_is_documented() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page("errors.md"), re.MULTILINE))
    assert listed == {code.name: str(code.status) for code in ErrorCode}
    assert all(f"`{kind.value}`" in page("errors.md") for kind in ErrorType)


# What happens to a payment's parts, to the way to a provider, and for a person.
EVENTS_OF_PARTS = {
    *(f"refund.{word}" for word in ("created", "updated", "succeeded", "failed")),
    *(
        f"dispute.{word}"
        for word in ("opened", "updated", "evidence_submitted", "accepted", "closed")
    ),
    *("review.opened", "review.resolved", "breaker.opened", "breaker.closed"),
    *("payment.initiated", "payment.contradicted"),
}


def test_every_event_type_is_documented_and_every_documented_one_is_emitted() -> None:
    of_payments = {*ANNOUNCEMENTS.values(), *ANNOUNCEMENTS_OF_EDGES.values(), SETTLED_IN_PLACE}
    known = of_payments | EVENTS_OF_PARTS | emitted_by_the_pipeline()
    told = first_cells(page("events.md"))
    assert sorted(known - told) == []
    actions = "".join(path.read_text() for path in (BASE_DIR / "payments/actions").glob("*.py"))
    assert sorted(name for name in told - known if f'"{name}"' not in actions) == []


def emitted_by_the_pipeline() -> set[str]:
    """Types that the code of the event pipeline emits by itself."""
    types: set[str] = set()
    for path in (BASE_DIR / "webhooks").glob("*.py"):
        for call in re.findall(r"outbox\.emit\((.{0,120})", path.read_text(), re.DOTALL):
            types |= set(re.findall(r'\btype="([a-z_.]+)"', call))
    return types


def test_every_address_of_the_api_is_documented() -> None:
    told = {
        (method, address)
        for methods, address in re.findall(r"`((?:GET|POST|PATCH|DELETE)) (/\S+?)`", page("api.md"))
        for method in [methods]
    }
    paths = json.loads(document_text())["paths"]
    served = {
        (method.upper(), path)
        for path, operations in paths.items()
        for method in operations
        if method in ("get", "post", "patch", "put", "delete")
    }
    assert sorted(served - told) == []
    assert sorted((method, path) for method, path in told if path.startswith("/v1")) == sorted(
        served
    )


def test_every_other_address_is_named_somewhere_in_the_documents() -> None:
    words = "\n".join(path.read_text() for path in [*PAGES, BASE_DIR / "README.md"])

    def roots(patterns: list[URLPattern | URLResolver]) -> set[str]:
        found = set()
        for pattern in patterns:
            route = str(pattern.pattern)
            if route == "" and isinstance(pattern, URLResolver):
                found |= roots(pattern.url_patterns)
            else:
                found.add("/" + route.split("<")[0].rstrip("/"))
        return found

    addresses = {root for root in roots(get_resolver().url_patterns) if root != "/"}
    assert {root for root in addresses if root not in words} == set()


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    response = Client(REMOTE_ADDR="127.0.0.1").get("/metrics")
    assert response.status_code == 200
    of_streams = generate_latest(stream_metrics.REGISTRY)
    exposed = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families((response.content + of_streams).decode())
        if family.name.startswith("florin_")
    }
    told = {name for name in first_cells(page("metrics.md")) if name.startswith("florin_")}
    assert sorted(exposed - told) == []
    assert sorted(told - exposed) == []


def test_every_make_target_is_documented_and_every_documented_one_exists() -> None:
    makefile = (BASE_DIR / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    readme = (BASE_DIR / "README.md").read_text(encoding="utf-8")
    words = readme + "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    used = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(code(words))))
    assert sorted(used - targets) == []
    helped = subprocess.run(
        ["make", "help"], cwd=BASE_DIR, capture_output=True, text=True, check=True
    ).stdout
    assert sorted(target for target in targets if target not in helped) == []
    assert {"run", "test", "check", "prove", "bench", "help"} <= targets


def code(text: str) -> list[str]:
    """What stands in code spans and code blocks."""
    return re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)


def test_every_management_command_that_is_named_exists() -> None:
    words = "\n".join(path.read_text() for path in [*PAGES, BASE_DIR / "README.md"])
    named = set(re.findall(r"manage\.py ([a-z_]+)", words))
    assert sorted(named - set(get_commands())) == []


def test_every_check_of_verify_is_documented() -> None:
    assert sorted(check for check in CHECKS if f"`{check}`" not in page("proofs.md")) == []


@pytest.mark.parametrize("path", [BASE_DIR / "README.md", *PAGES], ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        destination = (path.parent / file).resolve() if file else path
        if not destination.exists() or (
            anchor and destination.suffix == ".md" and anchor not in anchors(destination)
        ):
            broken.append(target)
    assert broken == []


def anchors(path: Path) -> set[str]:
    """The anchors that a reader of Markdown makes of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_files_that_the_readme_tells_to_read_exist() -> None:
    readme = (BASE_DIR / "README.md").read_text(encoding="utf-8")
    files = re.findall(r"^\| `([\w/]+\.py)` \|", readme, re.MULTILINE)
    assert files
    assert [file for file in files if not (BASE_DIR / file).exists()] == []
