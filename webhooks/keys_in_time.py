"""The first key of a moment: ids begin with their time, so rows since then are found by key."""

from __future__ import annotations

from datetime import UTC, datetime

from typeid import TypeID
from uuid_utils import UUID


def first_id(prefix: str, moment: datetime) -> str:
    """The smallest id that can have been made at `moment`: ids begin with their time (UUIDv7)."""
    milliseconds = int(moment.timestamp() * 1000)
    smallest = UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)
    return str(TypeID.from_uuid(smallest, prefix))


def moment_of(id: str) -> datetime:
    """When an id was made, in whole milliseconds. Raises typeid's errors for another kind of id."""
    return datetime.fromtimestamp((_number(id) >> 80) / 1000, UTC)


def id_after(id: str) -> str:
    """The smallest id that sorts after this one, so that reading goes on behind it."""
    return str(TypeID.from_uuid(UUID(int=_number(id) + 1), TypeID.from_string(id).prefix))


def _number(id: str) -> int:
    return int(TypeID.from_string(id).uuid.int)
