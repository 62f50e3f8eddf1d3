"""The sandbox PSP's HTTP in small values: a request that was read, an answer, a refusal.

Everything else in this package works on these three and never sees WSGI. Errors have one shape,
`{"error": {"type", "code", "message", "param", ...}}`, and a JSON body is read strictly: one
object, UTF-8, no duplicate names, no NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from payments.providers.strict_json import read_object

MAXIMUM_BODY_BYTES = 65_536
PAGE = 1_000
MAXIMUM_EVIDENCE_BYTES = 12 * 1_048_576  # a handful of files, in base64


@dataclass(frozen=True, kw_only=True)
class Response:
    """One answer. `dropped` closes the connection without a single byte, as a dying PSP would."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    dropped: bool = False

    def payload(self) -> bytes:
        """The bytes to send: `raw` when given, else the body as compact JSON; none for a 204."""
        if self.status == 204:
            return b""
        return self.raw or json.dumps(self.body, separators=(",", ":")).encode()


class Refusal(Exception):
    """An answer that is a no; raised anywhere below the router, it becomes the response."""

    def __init__(
        self,
        status: int,
        kind: str,
        code: str,
        message: str,
        *,
        param: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        **extra: Any,
    ) -> None:
        super().__init__(message)
        body = error_body(kind, code, message, param, extra)
        self.response = Response(status=status, body=body, headers=headers)


def error_body(
    kind: str, code: str, message: str, param: str = "", extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The error object; `extra` adds e.g. the payment that was declined."""
    error: dict[str, Any] = {"type": kind, "code": code, "message": message}
    if param:
        error["param"] = param
    error.update(extra or {})
    return {"error": error}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, read completely. `body` is the decoded JSON object ({} when there is none)."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    authorization: str
    idempotency_key: str
    base_url: str

    @property
    def bearer(self) -> str:
        """The key that was sent with `Authorization: Bearer`, or the empty string."""
        scheme, _, key = self.authorization.partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    @classmethod
    def read(cls, environ: Mapping[str, Any]) -> Request:
        """Read a WSGI environment. Raises Refusal 400 or 413 for a body that is not one object."""
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        scheme, host = environ["wsgi.url_scheme"], environ.get("HTTP_HOST", "127.0.0.1")
        return cls(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            query={name: values[-1] for name, values in query.items()},
            body=_read_body(environ),
            authorization=environ.get("HTTP_AUTHORIZATION", ""),
            idempotency_key=environ.get("HTTP_IDEMPOTENCY_KEY", ""),
            base_url=f"{scheme}://{host}",
        )


def _read_body(environ: Mapping[str, Any]) -> dict[str, Any]:
    if environ["REQUEST_METHOD"] in {"GET", "HEAD", "OPTIONS"}:
        return {}
    evidence = environ["PATH_INFO"].endswith("/evidence")
    maximum_bytes = MAXIMUM_EVIDENCE_BYTES if evidence else MAXIMUM_BODY_BYTES
    raw = environ["wsgi.input"].read(maximum_bytes + 1)
    if not raw:
        return {}
    if len(raw) > maximum_bytes:
        message = f"The body is larger than {maximum_bytes} bytes."
        raise Refusal(413, "invalid_request", "body_too_large", message)
    # The payer's page is the one place that posts a form; curl's default type is not a form here.
    if environ["PATH_INFO"].endswith("/authentication") and not raw.startswith(b"{"):
        return {name: values[-1] for name, values in parse_qs(raw.decode("ascii")).items()}
    try:
        return read_object(raw)
    except ValueError as error:
        message = f"The body must be one JSON object: {error}."
        raise Refusal(400, "invalid_request", "body_unreadable", message) from None


def fingerprint_source(request: Request) -> bytes:
    """What an idempotency key is bound to: method, concrete path and canonical body."""
    body = json.dumps(request.body, sort_keys=True, separators=(",", ":"))
    return f"{request.method}\n{request.path}\n{body}".encode()


def page_of(request: Request) -> tuple[int, int]:
    """Which part of a list is wanted: after which `seq`, and how many at most.

    Raises Refusal 400.
    """
    try:
        after = int(request.query.get("after", "0"))
        limit = int(request.query.get("limit", str(PAGE)))
    except ValueError:
        message = "after and limit must be whole numbers."
        raise Refusal(400, "invalid_request", "invalid", message, param="limit") from None
    return after, max(1, min(limit, PAGE))
