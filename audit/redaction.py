"""The last net under the audit log: no card number and no secret is hashed into it for ever.

Callers choose what they record. This scanner assumes that one day somebody chooses wrongly: it
walks the value, masks what looks like a card number (audit.card_numbers), Authorization values and
secrets known by their prefix or by the name of their key, and says so (`masked`). It also makes the
value writable: what JSON, PostgreSQL or RFC 8785 cannot carry exactly becomes text. It masks and
counts, it does not raise: a payment must not fail because a message was too talkative. Only a value
of no known type is refused, because that is a mistake of the program and not of the data.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from audit import card_numbers
from audit.canonical import canonical_json

REDACTIONS = Counter(
    "florin_audit_redactions_total",
    "Values masked by the last-resort scanner before an audit event was written",
    ["kind"],
)

_MASK = "[redacted]"
_DEEPEST_LEVEL = 50
# RFC 8785 numbers are doubles: larger integers would not survive exactly.
_LARGEST_INTEGER = 2**53 - 1

_SECRET_TEXTS = (
    re.compile(r"\b(bearer |basic )\s*[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"\b((?:sk|rk)_(?:test|live)_|sbx_sk_)[0-9A-Za-z_-]+"),
    re.compile(r"\b(whsec_)[0-9A-Za-z+/=]+"),
    re.compile(r"\b([0-9A-Za-z_]+_secret_)[0-9A-Za-z]+"),
)
# Compared without case, underscores and dashes.
_SECRET_NAMES = frozenset(
    {
        *("authorization", "proxyauthorization", "cookie", "setcookie"),
        *("accesstoken", "refreshtoken", "idtoken", "sessiontoken", "passwd", "passphrase", "pin"),
        *("cvc", "cvc2", "cvv", "cvv2", "cvn", "csc", "cardverificationvalue", "securitycode"),
        *("trackdata", "track1", "track2"),
    }
)
_SECRET_ENDINGS = ("secret", "password", "privatekey", "apikey", "secretkey")
_AMOUNT_ENDINGS = ("minor", "amount")
# A text without one of these, in lower case and without underscores and dashes, has no secret
# known by its form, and JSON text without one of the others none known by the name of its key.
_FORM_HINTS = tuple(b"secret sktest sklive rktest rklive whsec bearer basic".split())
_NAME_HINTS = tuple(name.encode() + b'":' for name in sorted({*_SECRET_NAMES, *_SECRET_ENDINGS}))
_WRITE_PLAIN = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


class UnsupportedValue(TypeError):
    """A value that JSON has no form for; the message names where it stands and its type."""


@dataclass(frozen=True, slots=True)
class WritableJson:
    """Canonical JSON text (RFC 8785) of a value, and whether anything in it was masked."""

    text: str
    masked: bool


@dataclass(frozen=True, slots=True)
class WritableText:
    """A text that may be kept, and whether anything in it was masked."""

    text: str
    masked: bool


def writable_json(value: Any) -> WritableJson:
    """Make `value` (JSON types, Decimal, UUID, dates, enums, nested) safe to be kept for ever.

    Raises UnsupportedValue for any other type.
    """
    # Most values are harmless, and a few searches over the whole text prove it in a tenth of the
    # time that looking at every part takes.
    if _is_plain(value, 0):
        text = _WRITE_PLAIN(value)
        if text.isascii() and not _is_suspicious(text):
            return WritableJson(text=text, masked=False)
    scanner = _Scanner()
    cleaned = scanner.clean(value, name="", path="body", level=0)
    _count(scanner.found)
    return WritableJson(text=canonical_json(cleaned), masked=bool(scanner.found))


def writable_text(text: str) -> WritableText:
    """The same for one text that is not part of a body."""
    if text.isascii() and not _is_suspicious(text):
        return WritableText(text=text, masked=False)
    scanner = _Scanner()
    cleaned = scanner.clean_text(text)
    _count(scanner.found)
    return WritableText(text=cleaned, masked=bool(scanner.found))


def as_written(text: str) -> str:
    """How a text stands in the log, to search for it: an order number that was taken for a card
    is found by the order number.
    """
    return _Scanner().clean_text(text)


def _count(found: list[str]) -> None:
    for kind in found:
        REDACTIONS.labels(kind=kind).inc()


def _is_plain(value: Any, level: int) -> bool:
    """Only texts, integers, true, false and null, in dictionaries with text keys, and lists.

    Of such a value whose text is ASCII, the standard library writes the canonical form.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if level >= _DEEPEST_LEVEL:
        return False
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not _is_plain(item, level + 1):
                return False
        return True
    if kind is list or kind is tuple:
        return all(_is_plain(item, level + 1) for item in value)
    return False


def _is_suspicious(text: str) -> bool:
    """Whether a closer look is needed: never wrong when False, often for nothing when True."""
    raw = text.encode()
    if card_numbers.may_carry(raw):
        return True
    if b"\\u0000" in raw or b"\0" in raw:
        return True
    squeezed = raw.lower().translate(None, b"_-")
    for hint in _FORM_HINTS:
        if hint in squeezed:
            return True
    if b'":' in squeezed:
        for hint in _NAME_HINTS:
            if hint in squeezed:
                return True
    return False


class _Scanner:
    """Cleans a value; `found` gets the kind of each thing that was masked."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def clean(self, value: Any, *, name: str, path: str, level: int) -> Any:
        """`name` is the key the value stands under, `path` the way to it, for error messages."""
        if isinstance(value, Enum):
            value = value.value
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, Mapping | list | tuple):
            return self._clean_container(value, name=name, path=path, level=level)
        if name and _names_a_secret(name):
            return self._mask("secret", _MASK) if value != "" else ""
        if isinstance(value, str):
            return self.clean_text(value)
        if isinstance(value, int):
            return self._clean_integer(value, name=name)
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Decimal | UUID):
            return str(value)
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        if isinstance(value, date):
            return value.isoformat()
        raise UnsupportedValue(f"{path} is a {type(value).__name__}, which JSON cannot carry")

    def _clean_container(
        self, value: Mapping[Any, Any] | Sequence[Any], *, name: str, path: str, level: int
    ) -> Any:
        if level >= _DEEPEST_LEVEL:
            return self._mask("too_deep", f"[deeper than {_DEEPEST_LEVEL} levels]")
        if not isinstance(value, Mapping):
            return [
                self.clean(item, name=name, path=f"{path}[{index}]", level=level + 1)
                for index, item in enumerate(value)
            ]
        cleaned: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise UnsupportedValue(f"{path} has the key {key!r}, and keys must be text")
            kept = self.clean_text(key)
            while kept in cleaned:  # two keys that differ only in what was replaced
                kept += "\ufffd"
            cleaned[kept] = self.clean(item, name=key, path=f"{path}.{kept}", level=level + 1)
        return cleaned

    def clean_text(self, text: str) -> str:
        if "\0" in text or not text.isascii():
            writable = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            writable = writable.replace("\0", "\ufffd")
            if writable != text:
                self._mask("unwritable_text", writable)
            text = writable
        text = self._mask_cards(text)
        for pattern in _SECRET_TEXTS:
            text, found = pattern.subn(lambda match: match[1] + _MASK, text)
            if found:
                self._mask("secret", text)
        return text

    def _clean_integer(self, value: int, *, name: str) -> int | str:
        text = str(value)
        if len(text) >= card_numbers.LENGTH_MIN and not _squeezed(name).endswith(_AMOUNT_ENDINGS):
            masked = self._mask_cards(text)
            if masked != text:
                return masked
        return value if abs(value) <= _LARGEST_INTEGER else text

    def _mask_cards(self, text: str) -> str:
        masked, count = card_numbers.mask(text)
        for _ in range(count):
            self._mask("card_number", masked)
        return masked

    def _mask(self, kind: str, replacement: str) -> str:
        self.found.append(kind)
        return replacement


def _squeezed(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _names_a_secret(name: str) -> bool:
    squeezed = _squeezed(name)
    return squeezed in _SECRET_NAMES or squeezed.endswith(_SECRET_ENDINGS)
