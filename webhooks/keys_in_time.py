"""The first key of a moment: ids begin with their time, so rows since then are found by key."""

from __future__ import annotations

from datetime import datetime

from typeid import TypeID
from uuid_utils import UUID


def first_id(prefix: str, moment: datetime) -> str:
    """The smallest id that can have been made at `moment`: ids begin with their time (UUIDv7)."""
    milliseconds = int(moment.timestamp() * 1000)
    smallest = UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)
    return str(TypeID.from_uuid(smallest, prefix))
