"""Reading JSON from outside: UTF-8, one object, each name once, no NaN or Infinity.

A duplicate name is refused because two readers may take different values from it, and the one who
checked need not be the one who acted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises ValueError, which says what is wrong."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(value, dict):
        return value
    raise ValueError("not a JSON object")


def written(value: Mapping[str, Any]) -> bytes:
    """An object that was read here as JSON again: compact, members in the order they came."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result
    names = [name for name, _ in pairs]
    twice = next(name for place, name in enumerate(names) if name in names[:place])
    raise ValueError(f"the name {twice!r} is there twice")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
