"""Lists: pages by cursor, newest first, with filters that are refused when unknown.

Mental model: ids sort by time, so a page is an index range below (`starting_after`) or above
(`ending_before`) an id; it costs the same however deep it lies, and rows that arrive meanwhile
shift nothing. One row more than asked tells whether there is more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import QueryDict
from django.utils.dateparse import parse_datetime

from payments.errors import ErrorCode, FlorinError

LIMIT_DEFAULT = 10
LIMIT_MAX = 100
PAGE_PARAMETERS = frozenset({"limit", "starting_after", "ending_before"})
_IDENTIFIER = re.compile(r"[a-z]{1,8}_[0-9a-z]{1,30}")

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which page is asked for. At most one of the cursors is set."""

    limit: int = LIMIT_DEFAULT
    starting_after: str = ""
    ending_before: str = ""


def read_query(
    query: QueryDict,
    *,
    filters: Collection[str] = (),
    paged: bool = True,
    elsewhere: Collection[str] = (),
) -> tuple[Page, dict[str, str]]:
    """The page and the filters of a query string; the caller reads the names `elsewhere` itself.

    Raises FlorinError: parameter_unknown, parameter_invalid (repeated, NUL, wrong limit).
    """
    known = set(filters) | (PAGE_PARAMETERS if paged else set())
    values: dict[str, str] = {}
    for name in query:
        if name in elsewhere:
            continue
        shown = name.encode("ascii", "replace").decode()[:100]
        if name not in known:
            raise FlorinError(
                ErrorCode.parameter_unknown, f"There is no parameter {shown!r}.", param=shown
            )
        given = query.getlist(name)
        if len(given) != 1 or not given[0] or "\x00" in given[0]:
            raise _invalid(name, "This is given once, and is not empty.")
        values[name] = given[0]
    page = Page(
        limit=_limit(values.pop("limit", str(LIMIT_DEFAULT))),
        starting_after=identifier("starting_after", values.pop("starting_after", "")),
        ending_before=identifier("ending_before", values.pop("ending_before", "")),
    )
    if page.starting_after and page.ending_before:
        raise _invalid("ending_before", "Give starting_after or ending_before, not both.")
    return page, values


def page_of(
    rows: QuerySet[Row], page: Page, *, represent: Callable[[Row], dict[str, Any]]
) -> dict[str, Any]:
    """The list object of one page of `rows`, newest first. One query."""
    if page.ending_before:
        found = list(rows.filter(pk__gt=page.ending_before).order_by("pk")[: page.limit + 1])
        has_more = len(found) > page.limit
        found = found[: page.limit][::-1]
    else:
        if page.starting_after:
            rows = rows.filter(pk__lt=page.starting_after)
        found = list(rows.order_by("-pk")[: page.limit + 1])
        has_more = len(found) > page.limit
        found = found[: page.limit]
    return list_object([represent(row) for row in found], has_more=has_more)


def list_object(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """The one shape of every list."""
    return {"object": "list", "data": data, "has_more": has_more}


def identifier(name: str, text: str) -> str:
    """The id in a query parameter, "" when it is not given. Raises FlorinError."""
    if text and not _IDENTIFIER.fullmatch(text):
        raise _invalid(name, "This is the id of an object, such as pay_01kafr7xh8....")
    return text


def moment(name: str, value: str) -> datetime:
    """A moment of a filter: ISO 8601 with an offset or Z. Raises FlorinError."""
    try:
        parsed = parse_datetime(value)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise _invalid(name, "A moment looks like 2026-11-20T12:00:00Z.")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise _invalid(name, "This moment is out of reach.") from None


def within(
    rows: QuerySet[Row], filters: Mapping[str, str], *, prefix: str, column: str
) -> QuerySet[Row]:
    """The rows whose moment lies between the filters `<prefix>_from` and `<prefix>_until`, as far
    as they are given. Raises FlorinError.
    """
    for suffix, comparison in (("from", "gte"), ("until", "lt")):
        name = f"{prefix}_{suffix}"
        if name in filters:
            rows = rows.filter(**{f"{column}__{comparison}": moment(name, filters[name])})
    return rows


def one_of(filters: Mapping[str, str], name: str, known: Iterable[str]) -> str | None:
    """A filter that takes one of a few words; None when it is not given. Raises FlorinError."""
    value = filters.get(name)
    words = list(known)
    if value is not None and value not in words:
        raise FlorinError(
            ErrorCode.parameter_invalid, f"{name} is one of: {', '.join(words)}.", param=name
        )
    return value


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= LIMIT_MAX:
        raise _invalid("limit", f"A limit is a whole number from 1 to {LIMIT_MAX}.")
    return int(text)


def _invalid(name: str, words: str) -> FlorinError:
    return FlorinError(ErrorCode.parameter_invalid, f"{name}: {words}", param=name)
