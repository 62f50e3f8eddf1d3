"""Taking typed values out of a PSP's JSON: right or refused, never coerced.

A wrong type inside an answer means that we cannot read it, which for a call is UNKNOWN and for a
webhook is UnreadableEvent; both come from the one exception here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


class UnreadableObject(ValueError):
    """A PSP's object is not as it is documented; the message names the field."""


def text(source: Mapping[str, Any], name: str) -> str:
    """A string; absent and null are the empty string."""
    value = source.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnreadableObject(f"{name} is not a string")
    return value


def required_text(source: Mapping[str, Any], name: str) -> str:
    """A string that is there and not empty."""
    value = text(source, name)
    if not value:
        raise UnreadableObject(f"{name} is missing")
    return value


def whole(source: Mapping[str, Any], name: str) -> int:
    """A whole number that is there."""
    value = source.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnreadableObject(f"{name} is not a whole number")
    return value


def optional_whole(source: Mapping[str, Any], name: str) -> int | None:
    """A whole number, or None when absent or null."""
    return None if source.get(name) is None else whole(source, name)


def flag(source: Mapping[str, Any], name: str) -> bool | None:
    """Yes or no, or None when absent or null."""
    value = source.get(name)
    if value is not None and not isinstance(value, bool):
        raise UnreadableObject(f"{name} is neither true nor false")
    return value


def mapping(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object; absent and null are the empty one."""
    value = source.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnreadableObject(f"{name} is not an object")
    return value


def moment(source: Mapping[str, Any], name: str) -> datetime | None:
    """A time with its zone in RFC 3339, or None when absent or null."""
    value = text(source, name)
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise UnreadableObject(f"{name} is not a time") from None
    if at.tzinfo is None:
        raise UnreadableObject(f"{name} has no time zone")
    return at.astimezone(UTC)


def epoch(source: Mapping[str, Any], name: str) -> datetime | None:
    """A time given in whole seconds since 1970, or None when absent or null."""
    seconds = optional_whole(source, name)
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise UnreadableObject(f"{name} is not a time") from None
