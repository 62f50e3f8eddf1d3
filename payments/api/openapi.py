"""The API's description for programs, `/v1/openapi.json`; people read payments.api.reference.

Mental model: the document is made from the views once per process and served as bytes; nobody
needs a key to read it. `docs/openapi.json` is the same document, kept so that a change of the API
shows in a review; a test compares the two.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

from payments.api.authentication import SecretKeyRequired
from payments.scopes import scope_of

SCOPE = "x-scope"


class OperationSchema(AutoSchema):
    """What is told about an operation beyond its decorator: the scope that its view asks for."""

    def get_extensions(self) -> dict[str, Any]:
        """`x-scope`, such as "payments:write"; nothing where no restricted key is let in."""
        if SecretKeyRequired not in self.view.permission_classes:
            return {}
        resource: str = getattr(self.view, "resource", "")
        return {SCOPE: scope_of(resource, self.method)}


SECURITY_SCHEMES = {
    name: {"type": "http", "scheme": "bearer", "description": words}
    for name, words in {
        "secretKey": "A secret key, `sk_test_...` or `sk_live_...`. Server only.",
        "restrictedKey": (
            "A restricted key with the scope named here, `rk_test_...` or `rk_live_...`. "
            "Server only."
        ),
        "publishableKey": "A publishable key, `pk_test_...` or `pk_live_...`.",
    }.items()
}


def describe(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """What holds everywhere, added to the finished document: keys, headers, no unknown names."""
    result["components"]["securitySchemes"] = SECURITY_SCHEMES
    result["components"]["headers"] = {
        "Request-Id": {
            "description": "Names this request; tell it to support.",
            "schema": {"type": "string"},
        },
        "Florin-Version": {
            "description": "The dated version of the API that answered.",
            "schema": {"type": "string"},
        },
        "RateLimit-Limit": {
            "description": "How many requests the tightest bucket of this key or merchant holds.",
            "schema": {"type": "string"},
        },
        "RateLimit-Remaining": {
            "description": "How many of them are left.",
            "schema": {"type": "string"},
        },
        "RateLimit-Reset": {
            "description": "Seconds until all of them are there again.",
            "schema": {"type": "string"},
        },
        "Idempotent-Replayed": {
            "description": "`true` on an answer that was given before.",
            "schema": {"type": "string"},
        },
    }
    for name, component in result["components"]["schemas"].items():
        if name.endswith("Body"):
            component["additionalProperties"] = False
    limits = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
    every = ("Request-Id", "Florin-Version", *limits)
    for path in result["paths"].values():
        for operation in path.values():
            if SCOPE in operation:
                operation["security"].append({"restrictedKey": [operation[SCOPE]]})
            names = [p["name"] for p in operation.get("parameters", [])]
            replayed = ("Idempotent-Replayed",) if "Idempotency-Key" in names else ()
            for response in operation["responses"].values():
                response["headers"] = {
                    name: {"$ref": f"#/components/headers/{name}"} for name in (*every, *replayed)
                }
    return result


@cache
def document_text() -> str:
    """The OpenAPI 3.1 document as JSON text, made from the views."""
    document = SchemaGenerator().get_schema(request=None, public=True)
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=False) + "\n"


def document(request: HttpRequest) -> HttpResponse:
    """`/v1/openapi.json`"""
    return HttpResponse(document_text(), content_type="application/json")
