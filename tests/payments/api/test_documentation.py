"""The documentation says what the code does: OpenAPI, addresses, errors, settings, metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate

from config.processes import BASE_DIR
from payments.api.measurements import GROUPS
from payments.api.openapi import document_text
from payments.errors import ErrorCode
from payments.providers.refusals import STANDARD

DOCS = BASE_DIR / "docs"
METHODS = ("get", "post", "patch", "delete")
# Nothing is made or moved there, and telling it twice changes nothing (docs/api.md, Idempotency).
WITHOUT_KEY = {"/v1/client/payments/{payment_id}/return"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document_text())
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def read(name: str) -> str:
    return (DOCS / name).read_text()


def test_the_openapi_document_is_valid_and_served(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)
    answer = Client().get("/v1/openapi.json")
    assert (answer.status_code, answer.json()) == (200, document)


def test_the_kept_document_is_the_served_one() -> None:
    kept = read("openapi.json")
    assert kept == document_text(), "run `python manage.py write_openapi`"


def test_every_address_of_the_api_is_in_the_document(document: dict[str, Any]) -> None:
    routed = set()
    for pattern in get_resolver("payments.api.urls").url_patterns:
        assert isinstance(pattern, URLPattern)
        route = re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        view = getattr(pattern.callback, "view_class", None)
        if view is not None:
            methods = [method for method in METHODS if hasattr(view, method)]
            routed |= {(method.upper(), f"/{route}") for method in methods}
    assert routed == {(method, path) for method, path, _ in operations(document)}


def test_every_operation_has_examples_errors_and_its_headers(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        parameters = {parameter["name"] for parameter in operation.get("parameters", [])}
        once = method == "POST" and path not in WITHOUT_KEY
        assert ("Idempotency-Key" in parameters) == once, where
        statuses = set(operation["responses"])
        assert {"401", "403", "500", "503"} <= statuses, where
        # A provider account, a payment.
        names_another = operation["operationId"] in ("createPayment", "createRefund")
        assert ("404" in statuses) == ("{" in path or names_another), where
        for status, response in operation["responses"].items():
            (content,) = response["content"].values()
            assert content["examples"], f"{where} {status}"
            assert {"Request-Id", "Florin-Version"} <= set(response["headers"]), where
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["examples"], where


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        contents = [content for _, content in _contents(operation)]
        for content in contents:
            schema = {**content["schema"], "components": document["components"]}
            validator = Draft202012Validator(schema)
            for example in content["examples"].values():
                problems = [problem.message for problem in validator.iter_errors(example["value"])]
                assert problems == [], f"{method} {path}"


def _contents(operation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    return [
        pair
        for body in [*bodies, *operation["responses"].values()]
        for pair in body["content"].items()
    ]


def test_every_address_is_in_the_guide(document: dict[str, Any]) -> None:
    guide = set(re.findall(r"^\| `(\w+) (/v1/[^`]*)` \|", read("api.md"), re.MULTILINE))
    assert guide == {(method, path) for method, path, _ in operations(document)}


def test_every_error_code_is_documented_as_it_is() -> None:
    text = read("errors.md")
    documented = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    table = [(code.name, str(code.status), code.type.value, code.meaning) for code in ErrorCode]
    assert documented == table


def test_every_standard_refusal_is_documented_as_it_is() -> None:
    text = read("errors.md")
    documented = re.findall(r"^\| `(\w+)` \| (yes|no) \| (.*) \| (.*) \|$", text, re.MULTILINE)
    rows = [
        (
            name,
            "yes" if row.retryable else "no",
            f"`{row.advice}`" * bool(row.advice),
            row.payer_message,
        )
        for name, row in STANDARD.items()
    ]
    assert documented[: len(rows)] == rows


def test_the_errors_page_has_an_anchor_for_every_code() -> None:
    page = Client().get("/docs/errors").content.decode()
    for code in ErrorCode:
        assert f'id="{code.name}"' in page


def test_every_setting_is_documented_and_no_other() -> None:
    source = (BASE_DIR / "config" / "settings.py").read_text()
    named = re.findall(r'\benv\.\w+\(\s*"(\w+)"', source)
    documented = re.findall(
        r"^\| `(\w+)` \| (?:required|empty|`|\.)", read("settings.md"), re.MULTILINE
    )
    assert sorted(documented) == sorted(set(named))


def test_every_metric_is_documented() -> None:
    apps = ("audit", "ledger", "webhooks", "payments")
    sources = [source for app in apps for source in (BASE_DIR / app).rglob("*.py")]
    kinds = "Counter|Histogram|Gauge|GaugeMetricFamily|CounterMetricFamily"
    metric = re.compile(rf'(?:{kinds})\(\s*"(florin_\w+)"')
    found = metric.findall("".join(map(Path.read_text, sources)))
    made = {name.removesuffix("_total") for name in found}
    documented = {
        name.removesuffix("_total")
        for name in re.findall(r"^\| `(florin_\w+)`", read("metrics.md"), re.MULTILINE)
    }
    assert documented == made
    assert len(GROUPS) >= 7
