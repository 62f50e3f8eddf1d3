"""Who listens to which domain event: read from one setting, FLORIN_EVENT_HANDLERS.

Mental model: a handler is a plain function `handler(event, *, now) -> None` with a name that its
stored deliveries carry, a list of type patterns and a policy. It runs inside the transaction that
marks its delivery done, so it may write to this database and must not talk to the network: a
handler with an effect elsewhere writes a row here and lets another process carry it out.
`block` keeps the aggregate's later events back while one is failing or dead, `skip` lets them by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.checks import Error
from django.utils.module_loading import import_string


@dataclass(frozen=True, kw_only=True, slots=True)
class EventView:
    """A domain event as handlers and readers see it."""

    id: str
    type: str
    aggregate_type: str
    aggregate_id: str
    seq: int
    owner: str
    livemode: bool
    payload: Mapping[str, Any]
    causation_id: str
    occurred_at: datetime
    created_at: datetime


@dataclass(frozen=True)
class Handler:
    """One entry of FLORIN_EVENT_HANDLERS; `function` is imported when first run."""

    name: str
    function: str
    types: tuple[str, ...]
    policy: str

    def load(self) -> Callable[..., None]:
        """The function itself. Raises ImportError when the setting points nowhere."""
        loaded: Callable[..., None] = import_string(self.function)
        return loaded


def registered() -> list[Handler]:
    """Every handler, in the order of the setting."""
    return [
        Handler(
            name=entry["name"],
            function=entry["function"],
            types=tuple(entry["types"]),
            policy=entry["policy"],
        )
        for entry in settings.FLORIN_EVENT_HANDLERS
    ]


def listening_to(event_type: str) -> list[Handler]:
    """The handlers whose patterns match `event_type`."""
    return [handler for handler in registered() if matches(handler.types, event_type)]


def by_name() -> dict[str, Handler]:
    """Every handler under its name."""
    return {handler.name: handler for handler in registered()}


def matches(patterns: Iterable[str], event_type: str) -> bool:
    """Whether one of `patterns` (`*`, `payment.*`, `payment.settled`) covers `event_type`."""
    return not patterns_covering(event_type).isdisjoint(patterns)


def patterns_covering(event_type: str) -> set[str]:
    """Every pattern that covers `event_type`: itself, each family of it, and `*`."""
    parts = event_type.split(".")
    families = {".".join([*parts[:length], "*"]) for length in range(1, len(parts))}
    return {"*", event_type} | families


def check_settings(**_: Any) -> Sequence[Error]:
    """Django system check: every handler is complete, unique and can be imported."""
    problems: list[Error] = []
    seen: set[str] = set()
    for entry in settings.FLORIN_EVENT_HANDLERS:
        missing = {"name", "function", "types", "policy"} - set(entry)
        if missing:
            problems.append(
                Error(f"Event handler {entry} lacks {sorted(missing)}.", id="webhooks.E001")
            )
            continue
        if entry["name"] in seen:
            problems.append(
                Error(f"Event handler {entry['name']} is named twice.", id="webhooks.E002")
            )
        seen.add(entry["name"])
        if entry["policy"] not in ("block", "skip"):
            problems.append(
                Error(
                    f"Event handler {entry['name']} has policy {entry['policy']!r}.",
                    hint='Choose "block" or "skip".',
                    id="webhooks.E003",
                )
            )
        try:
            import_string(entry["function"])
        except ImportError as error:
            problems.append(Error(f"Event handler {entry['name']}: {error}", id="webhooks.E004"))
    return problems
