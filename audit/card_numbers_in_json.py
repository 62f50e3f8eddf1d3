"""Card numbers in JSON: found behind its escapes, and masked without changing anything else."""

from __future__ import annotations

import json
import re
from typing import Any

from audit import card_numbers

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))")


def masked(raw: bytes) -> bytes:
    """JSON as it may be stored: itself, unless it carries a card number; then the same JSON with
    every such number masked. What carries one and is no JSON is returned empty.
    """
    if not (b"\\u" in raw or card_numbers.may_carry(raw)):
        return raw
    if not card_numbers.carries(unescaped(raw.decode("utf-8", "replace"))):
        return raw
    try:
        return json.dumps(_masked(json.loads(raw)), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return b""


def unescaped(text: str) -> str:
    """What JSON's escapes stand for; a line break, for one, ends a word, and its `n` does not."""
    return _ESCAPE.sub(_meant, text)


def _meant(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return "\n" if escape[2] in "bfnrt" else escape[2]


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {card_numbers.mask(name)[0]: _masked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    text, count = card_numbers.mask(str(value))
    return text if count else value
