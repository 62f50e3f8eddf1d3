"""The API reference for people, `/docs/api`: one plain page made from the OpenAPI document.

Mental model: the document knows everything, so nothing is written twice; here it is read into rows
that a template can show (parameters, members, errors, a curl line, answers), once per process. The
page is plain HTML with its style inside: no script, nothing loaded from anywhere, so it works
behind every firewall, in every browser, and on paper.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify

from payments.api.openapi import SCOPE, document_text
from payments.errors import ErrorCode
from payments.scopes import READ, RESOURCES, WRITE

_METHODS = ("get", "post", "patch", "put", "delete")
_CODE = re.compile(r"`([^`]+)`")
_DEEPEST_MEMBER = 3
_KIND_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "array": "list",
    "null": "null",
}


@dataclass(frozen=True, kw_only=True)
class Member:
    """A parameter, or a member of an object: its path, what it holds, and whether it must be."""

    name: str
    kind: str
    shape: str = ""  # the object's name, where it is shown on its own
    place: str = ""  # "path", "query", "header" or ""
    required: bool = False
    words: SafeString
    choices: tuple[str, ...] = ()
    limits: str = ""
    default: str = ""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A piece of text to copy or to compare with, and what it shows."""

    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One status of success: what it means, and how it looks."""

    status: str
    words: SafeString
    shape: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one address with everything a caller has to know."""

    id: str
    method: str
    path: str
    summary: str
    words: SafeString
    scope: str
    parameters: tuple[Member, ...]
    body: tuple[Member, ...]
    body_words: SafeString
    requests: tuple[Example, ...]
    answers: tuple[Answer, ...]
    errors: tuple[ErrorCode, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The operations on one kind of object."""

    name: str
    slug: str
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """An object that answers hold, with its members."""

    name: str
    title: str
    words: SafeString
    members: tuple[Member, ...]


def reference(request: HttpRequest) -> HttpResponse:
    """`/docs/api`."""
    return HttpResponse(reference_page())


@cache
def reference_page() -> str:
    """The whole page, made once per process like the document it tells of."""
    reader = _Reader(json.loads(document_text()))
    return render_to_string(
        "docs/api.html",
        {
            "version": settings.FLORIN_API_VERSION,
            "base_url": settings.FLORIN_BASE_URL,
            "groups": reader.groups(),
            "shapes": reader.shapes(),
            "scopes": [
                {"read": f"{name}:{READ}", "write": f"{name}:{WRITE}", "resource": resource}
                for name, resource in RESOURCES.items()
            ],
        },
    )


class _Reader:
    """Reads one OpenAPI document into what the page shows."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._paths = document["paths"]
        self._schemas: Mapping[str, Any] = document["components"]["schemas"]

    def groups(self) -> list[Group]:
        """Every operation, under the tag it carries; resources first, in the order of scopes."""
        groups: dict[str, Group] = {}
        for path, item in self._paths.items():
            for method in _METHODS:
                if method in item:
                    tag = item[method]["tags"][0]
                    group = groups.setdefault(tag, Group(name=tag, slug=slugify(tag)))
                    group.operations.append(self._operation(method, path, item[method]))
        order = [resource.replace("_", "-") for resource in RESOURCES]
        return sorted(
            groups.values(),
            key=lambda group: order.index(group.slug) if group.slug in order else len(order),
        )

    def shapes(self) -> list[Shape]:
        """Every object an answer may hold, by name."""
        return [
            Shape(
                name=name,
                title=_title(name),
                words=_prose(schema.get("description", "")),
                members=tuple(self._members(schema)),
            )
            for name, schema in sorted(self._schemas.items())
            if self._is_shown(name)
        ]

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> Operation:
        parameters = operation.get("parameters", [])
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        _, body_schema = self._resolved(body.get("schema", {}))
        answers, errors = [], []
        for status, response in operation["responses"].items():
            content = response["content"]["application/json"]
            if int(status) < 400:
                answers.append(self._answer(status, response, content))
            else:
                errors += [e["value"]["error"]["code"] for e in content["examples"].values()]
        return Operation(
            id=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=operation["summary"],
            words=_prose(_beyond(operation["summary"], operation.get("description", ""))),
            scope=operation.get(SCOPE, ""),
            parameters=tuple(self._parameter(parameter) for parameter in parameters),
            body=tuple(self._members(body_schema)),
            body_words=_prose(body_schema.get("description", "")),
            requests=tuple(_curl_lines(method, path, parameters, body, operation)),
            answers=tuple(answers),
            errors=tuple(ErrorCode[code] for code in errors),
        )

    def _answer(
        self, status: str, response: Mapping[str, Any], content: Mapping[str, Any]
    ) -> Answer:
        name, _ = self._resolved(content["schema"])
        return Answer(
            status=status,
            words=_prose(response["description"]),
            shape=name if self._is_shown(name) else "",
            examples=tuple(
                Example(title=example.get("summary", name), text=_json(example["value"]))
                for name, example in content["examples"].items()
            ),
        )

    def _parameter(self, parameter: Mapping[str, Any]) -> Member:
        return self._member(
            parameter["name"],
            {**parameter["schema"], "description": parameter.get("description", "")},
            required=parameter.get("required", False),
            place=parameter["in"],
        )

    def _members(self, schema: Mapping[str, Any], prefix: str = "") -> Iterator[Member]:
        """The members of an object; those of an object inside that is not shown on its own follow
        it, by their path.
        """
        required = schema.get("required", [])
        for name, member in schema.get("properties", {}).items():
            path = f"{prefix}{name}"
            shown = self._member(path, member, required=name in required)
            yield shown
            _, inner = self._resolved(member)
            if not shown.shape and path.count(".") < _DEEPEST_MEMBER:
                yield from self._members(inner, f"{path}.")

    def _member(
        self, name: str, schema: Mapping[str, Any], *, required: bool, place: str = ""
    ) -> Member:
        kind, shape = self._kind(schema)
        _, resolved = self._resolved(schema)
        items = self._resolved(schema.get("items", {}))[1]
        choices = resolved.get("enum") or items.get("enum") or ()
        default = schema.get("default")
        return Member(
            name=name,
            kind=kind,
            shape=shape,
            place=place,
            required=required,
            words=_prose(schema.get("description", "")),
            choices=tuple(str(choice) for choice in choices if choice not in ("", None)),
            limits=_limits(schema),
            default="" if default in (None, "", [], {}) else _json(default),
        )

    def _kind(self, schema: Mapping[str, Any]) -> tuple[str, str]:
        """What a value is, in words, and the name of the object it is where that is shown."""
        name, resolved = self._resolved(schema)
        types = resolved.get("type", "object" if "properties" in resolved else "any value")
        types = [types] if isinstance(types, str) else types
        nullable = "null" in types or {"type": "null"} in schema.get("oneOf", [])
        (kind, *_) = [each for each in types if each != "null"]
        shape = name if self._is_shown(name) else ""
        if kind == "array":
            inner, shape = self._kind(resolved.get("items", {}))
            words = f"list of {inner}"
        elif kind == "string" and resolved.get("format") == "date-time":
            words = "time, ISO 8601 in UTC"
        elif shape:
            words = _title(shape)
        else:
            words = _KIND_WORDS.get(kind, kind)
        return f"{words} or null" if nullable else words, shape

    def _resolved(self, schema: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """A schema behind its references, with the last name it has."""
        for wrapper in ("allOf", "oneOf", "anyOf"):
            inner = [one for one in schema.get(wrapper, []) if one != {"type": "null"}]
            if len(inner) == 1:
                return self._resolved(inner[0])
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            return name, self._resolved(self._schemas[name])[1]
        return "", schema

    def _is_shown(self, name: str) -> bool:
        return name.endswith("Object") and "properties" in self._schemas[name]


def _curl_lines(
    method: str,
    path: str,
    parameters: list[Mapping[str, Any]],
    body: Mapping[str, Any],
    operation: Mapping[str, Any],
) -> Iterator[Example]:
    """The request on a command line, once per example of its body."""
    publishable = "publishableKey" in operation["security"][0]
    headers = [f"Authorization: Bearer ${'PUBLISHABLE_KEY' if publishable else 'SECRET_KEY'}"]
    for parameter in parameters:
        example = next((e["value"] for e in parameter.get("examples", {}).values()), "")
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(example))
        elif parameter["name"] == "Idempotency-Key":
            headers.append("Idempotency-Key: $(uuidgen)")
        elif parameter["in"] == "header" and parameter.get("required"):
            headers.append(f"{parameter['name']}: {example}")
    verb = "" if method == "get" else f" -X {method.upper()}"
    lines = [f"curl{verb} {settings.FLORIN_BASE_URL}{path}", *(f'-H "{each}"' for each in headers)]
    examples = body.get("examples", {})
    if not examples:
        yield Example(title=operation["summary"], text=" \\\n  ".join(lines))
    for name, example in examples.items():
        text = _json(example["value"]).replace("'", "'\\''")
        sent = [*lines, '-H "Content-Type: application/json"', f"-d '{text}'"]
        yield Example(title=example.get("summary", name), text=" \\\n  ".join(sent))


def _beyond(summary: str, description: str) -> str:
    """A description, unless it only says the summary again."""
    return "" if description.strip().rstrip(".") == summary else description


def _limits(schema: Mapping[str, Any]) -> str:
    """Lengths and ranges in words, "" where there are none worth telling."""
    words = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words.append(f"{low} to {high}")
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if longest is not None:
        words.append(
            f"{shortest} to {longest} characters" if shortest else f"up to {longest} characters"
        )
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    if most is not None:
        words.append(f"{fewest} to {most} entries" if fewest else f"up to {most} entries")
    if schema.get("maxProperties") is not None:
        words.append(f"up to {schema['maxProperties']} pairs")
    return ", ".join(words)


def _title(name: str) -> str:
    """An object's name as people say it: PaymentWithSecretsObject is "Payment with secrets"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Object")).capitalize()


def _prose(text: str) -> SafeString:
    """Words in which `code` is set as code; everything else is escaped."""
    paragraphs = "</p><p>".join(
        _CODE.sub(r"<code>\1</code>", escape(" ".join(part.split()))) for part in text.split("\n\n")
    )
    # Escaped above; what is added are tags without anything from outside.
    return mark_safe(paragraphs)  # noqa: S308


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
