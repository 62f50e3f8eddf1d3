"""Bytes of a request to one JSON object, or a refusal; stricter than Python's own reader.

Mental model: whatever two readers could understand differently is refused here, before anything is
looked at: duplicate names, NaN and Infinity, invalid UTF-8, a byte order mark, lone surrogates and
NUL (which PostgreSQL cannot hold), anything but an object, anything above one megabyte. Numbers
stay what they were written as, so the fields can tell `12` from `12.0`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from payments.errors import ErrorCode, FlorinError

BODY_BYTES_MAX = 1_048_576


class StrictJSONParser(BaseParser):
    """The only parser of the merchant API: `application/json`, UTF-8, one object."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The request's object. Raises FlorinError(body_too_large or json_invalid)."""
        request = (parser_context or {})["request"]
        return parse_object(read_body(request._request))


def read_body(request: HttpRequest) -> bytes:
    """The raw bytes of a request of at most one megabyte. Raises FlorinError(body_too_large)."""
    declared = request.META.get("CONTENT_LENGTH") or "0"
    # Looked at before reading: a body that is too large is never taken into memory.
    if not declared.isdecimal() or int(declared) > BODY_BYTES_MAX:
        raise FlorinError(ErrorCode.body_too_large)
    return request.body


def parse_object(raw: bytes) -> dict[str, Any]:
    """One JSON object. Raises FlorinError(json_invalid) that says what is wrong with it."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise FlorinError(ErrorCode.json_invalid, "The body is not valid UTF-8.") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant
        )
        _refuse_unstorable(text, value)
    except RecursionError:
        raise FlorinError(ErrorCode.json_invalid, "The body is nested too deeply.") from None
    except ValueError as error:  # includes JSONDecodeError and integers of thousands of digits
        raise FlorinError(ErrorCode.json_invalid, f"The body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise FlorinError(ErrorCode.json_invalid, "The body has to be a JSON object: {...}.")
    return value


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FlorinError(
            ErrorCode.json_invalid, f"The name {_shown(twice)} appears twice.", param=_shown(twice)
        )
    return found


def _refuse_constant(name: str) -> Any:
    raise FlorinError(ErrorCode.json_invalid, f"{name} is not JSON; numbers have to be finite.")


def _refuse_unstorable(text: str, value: Any) -> None:
    """Refuse NUL and half surrogates; only an escape can bring them in, so look there first."""
    if "\\u" not in text:
        return
    written = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in written.replace("\\\\", ""):
        raise FlorinError(ErrorCode.json_invalid, "Text may not contain NUL (\\u0000).")
    try:
        written.encode()
    except UnicodeEncodeError:
        raise FlorinError(
            ErrorCode.json_invalid, "Text may not contain half of a surrogate pair."
        ) from None


def _shown(name: str) -> str:
    """A name of the caller's, short and printable, for a message."""
    return name.encode("ascii", "replace").decode()[:100]
