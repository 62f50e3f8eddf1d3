"""The API reference is a page for people: complete, readable without a script, from one place."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from payments.api.openapi import document_text
from payments.errors import ErrorCode
from payments.scopes import SCOPES
from tests.payments.admin.visiting import picture
from tests.processes import RunningProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

METHODS = ("get", "post", "patch", "delete")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document_text())
    return found


@pytest.fixture(scope="module")
def page(databases: object) -> str:
    answer = Client().get("/docs/api")
    assert answer.status_code == 200
    return answer.content.decode()


def sections(page: str) -> dict[str, str]:
    """The text of each operation's part of the page, by its id."""
    parts = re.findall(r'<article id="(\w+)" class="operation">(.*?)</article>', page, re.DOTALL)
    return dict(parts)


def test_every_operation_is_told_with_its_address_scope_errors_and_examples(
    page: str, document: dict[str, Any]
) -> None:
    told = sections(page)
    operations = {
        operation["operationId"]: (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }
    assert told.keys() == operations.keys()
    for name, (method, path, operation) in operations.items():
        text = html.unescape(told[name])
        assert f">{method}</span> <code>{path}</code>" in text, name
        assert operation["summary"] in text
        assert operation.get("x-scope", "Key: publishable") in text
        assert "curl" in text
        for parameter in operation.get("parameters", []):
            assert f"<code>{parameter['name']}</code>" in text, name
        codes = {
            example["value"]["error"]["code"]
            for status, response in operation["responses"].items()
            if int(status) >= 400
            for example in response["content"]["application/json"]["examples"].values()
        }
        listed = re.findall(r'#(\w+)"><code>\1</code>', text)
        assert set(listed) == codes, name
        assert codes <= {code.name for code in ErrorCode}
        for status in operation["responses"]:
            if int(status) < 400:
                assert f"<strong>{status}</strong>" in text, name


def test_every_member_of_every_body_and_object_is_told(page: str, document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        if name.endswith(("Body", "Object")):
            for member in schema.get("properties", {}):
                # Members of an object inside a body are told by their path.
                assert re.search(rf"<code>[\w.]*\b{member}</code>", page), f"{name}.{member}"
    assert all(f"<code>{scope}</code>" in page for scope in SCOPES)


def test_the_page_needs_no_script_and_loads_nothing(page: str) -> None:
    assert "<script" not in page
    assert re.findall(r'\b(?:src|srcset|data)="', page) == []
    assert re.findall(r'<link\b(?! rel="icon" href="data:)|@import|url\(', page) == []
    assert re.findall(r'\bon\w+="', page) == []


def test_every_link_leads_somewhere(page: str) -> None:
    names = re.findall(r'\bid="([\w-]+)"', page)
    assert len(names) == len(set(names))
    targets = set(re.findall(r'href="([^"]+)"', page))
    assert {target[1:] for target in targets if target.startswith("#")} <= set(names)
    for address in {target.partition("#")[0] for target in targets} - {""}:
        if not address.startswith("data:"):
            assert Client().get(address).status_code == 200, address


def test_every_security_requirement_names_a_scheme(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    for item in document["paths"].values():
        for method, operation in item.items():
            if method in METHODS:
                names = {name for requirement in operation["security"] for name in requirement}
                assert names
                assert names <= schemes.keys()
                scopes = [each.get("restrictedKey") for each in operation["security"]]
                assert "x-scope" not in operation or [operation["x-scope"]] in scopes


@pytest.mark.parametrize(("name", "width"), [("wide", 1440), ("narrow", 420)])
def test_it_reads_well_in_a_browser_without_javascript(
    browser: Browser, web: RunningProcess, name: str, width: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 950}, java_script_enabled=False
    )
    opened = context.new_page()
    requests: list[str] = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(f"{web.url}/docs/api#createPayment")
    picture(opened, f"api-reference-{name}", whole=False)
    assert [url.partition("#")[0] for url in requests] == [f"{web.url}/docs/api"]
    assert opened.is_visible("#createPayment h3")
    assert opened.is_visible("#createPayment pre")
    wider = "document.documentElement.scrollWidth"
    context.close()
    with_script = browser.new_page(viewport={"width": width, "height": 950})
    with_script.goto(f"{web.url}/docs/api")
    assert with_script.evaluate(wider) <= width
    picture(with_script, f"api-reference-{name}-top", whole=False)
    with_script.close()
