"""Which dead letters are meant: by kind, handler, endpoint, event type, reason and time of death.

Mental model: a filter is a value. It is shown in words, kept as JSON with the run it started, and
turned into one query per kind over the index of that kind's dead rows. Within a kind the rows have
one order, which is the order of every lane: arrival for provider events, id for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from webhooks.models import EventDelivery, InboxEvent, MerchantDelivery

KINDS = ("inbox", "handler", "merchant")
KIND_WORDS = {
    "inbox": "provider events",
    "handler": "deliveries to our handlers",
    "merchant": "deliveries to merchants",
}
_TEXT_MAX = 200


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Empty members mean "any". `event_type` is exact, or a family like `payment.*`; `since` and
    `until` bound the time of death, `until` excluded. Raises ValueError for what cannot match.
    """

    kind: str = ""
    handler: str = ""
    endpoint_id: str = ""
    event_type: str = ""
    reason_contains: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.kind and self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, not {self.kind!r}.")
        if self.handler and self.endpoint_id:
            raise ValueError("A dead letter has a handler or an endpoint, never both: choose one.")
        if self.handler and self.kind not in ("", "handler"):
            raise ValueError(f"A handler goes with the kind handler, not {self.kind}.")
        if self.endpoint_id and self.kind not in ("", "merchant"):
            raise ValueError(f"An endpoint goes with the kind merchant, not {self.kind}.")
        for name in ("handler", "endpoint_id", "event_type", "reason_contains"):
            if len(getattr(self, name)) > _TEXT_MAX:
                raise ValueError(f"{name} is longer than {_TEXT_MAX} characters.")
        for moment in (self.since, self.until):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("Times need a zone: write 2026-11-30T12:00:00Z, say.")
        if self.since and self.until and self.since >= self.until:
            raise ValueError("The time range is empty: since has to be before until.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds it can match, in the order in which a run goes through them."""
        if self.handler:
            return ("handler",)
        if self.endpoint_id:
            return ("merchant",)
        return (self.kind,) if self.kind else KINDS

    def died_before(self, moment: datetime) -> Filter:
        """The same, without what died at `moment` or later."""
        return replace(self, until=min(self.until, moment) if self.until else moment)

    def as_json(self) -> dict[str, str]:
        """Only what is asked for; times in ISO 8601."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
            if value
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Filter:
        """What `as_json` wrote."""
        moments = {
            name: datetime.fromisoformat(stored[name])
            for name in ("since", "until")
            if stored.get(name)
        }
        return cls(**{**stored, **moments})

    def words(self) -> list[tuple[str, str]]:
        """(what, value) of everything asked for, to read."""
        asked = [
            ("Kind", KIND_WORDS.get(self.kind, "")),
            ("Handler", self.handler),
            ("Endpoint", self.endpoint_id),
            ("Event type", self.event_type),
            ("Reason contains", self.reason_contains),
            ("Died since", _moment(self.since)),
            ("Died before", _moment(self.until)),
        ]
        return [(name, value) for name, value in asked if value]


def _moment(value: datetime | None) -> str:
    return f"{value:%d %b %Y, %H:%M:%S} UTC" if value else ""


def matching(kind: str, wanted: Filter) -> QuerySet[Any]:
    """The dead rows of one kind that are meant, without an order."""
    rows = _DEAD[kind]()
    type_column = "event_type" if kind == "inbox" else "event__type"
    if wanted.event_type.endswith(".*"):
        rows = rows.filter(**{f"{type_column}__startswith": wanted.event_type[:-1]})
    elif wanted.event_type:
        rows = rows.filter(**{type_column: wanted.event_type})
    if wanted.handler:
        rows = rows.filter(handler=wanted.handler)
    if wanted.endpoint_id:
        rows = rows.filter(endpoint_id=wanted.endpoint_id)
    if wanted.reason_contains:
        rows = rows.filter(reason__icontains=wanted.reason_contains)
    if wanted.since:
        rows = rows.filter(finished_at__gte=wanted.since)
    if wanted.until:
        rows = rows.filter(finished_at__lt=wanted.until)
    return rows


def counts(wanted: Filter) -> dict[str, int]:
    """How many dead letters of each kind are meant; kinds that cannot match are left out."""
    return {kind: matching(kind, wanted).order_by().count() for kind in wanted.kinds}


def next_rows(kind: str, wanted: Filter, *, after: str, limit: int) -> list[tuple[str, str]]:
    """(position, row id) of the next rows behind position `after` ("" from the start), in order."""
    column, read = _POSITION[kind]
    rows = matching(kind, wanted)
    if after:
        rows = rows.filter(**{f"{column}__gt": read(after)})
    found = rows.order_by(column).values_list(column, "pk")[:limit]
    return [(str(position), str(row_id)) for position, row_id in found]


_DEAD: dict[str, Callable[[], QuerySet[Any]]] = {
    "inbox": lambda: InboxEvent.objects.filter(status="dead"),
    "handler": lambda: EventDelivery.objects.filter(status="dead"),
    "merchant": lambda: MerchantDelivery.objects.filter(status="dead"),
}
_POSITION: dict[str, tuple[str, Callable[[str], Any]]] = {
    "inbox": ("arrival", int),
    "handler": ("id", int),
    "merchant": ("id", str),
}
