"""Rules and waits for tests in which a provider falls ill: quick to open, quick to try again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.test import override_settings

from payments.actions.through_breaker import breaker
from payments.providers.breaker import BreakerState
from tests.payments.shop import Shop
from webhooks.models import DomainEvent

MINIMUM_CALLS = 4
OPEN_SECONDS = 1.0
PERMITS = 2


def quick_breakers(**more: Any) -> override_settings:
    """Breakers that open after four failed calls and try two again after a second."""
    quick = {
        "FLORIN_BREAKER_MINIMUM_CALLS": MINIMUM_CALLS,
        "FLORIN_BREAKER_OPEN_SECONDS": OPEN_SECONDS,
        "FLORIN_BREAKER_PERMITS": PERMITS,
    }
    return override_settings(**quick | more)


def name_of(shop: Shop, operation_class: str = "create") -> str:
    """The breaker's name of a shop's account."""
    return f"{shop.account.pk}:{operation_class}"


def state_of(shop: Shop, operation_class: str = "create") -> BreakerState:
    """A shop's breaker as Redis has it."""
    found = breaker().state(name_of(shop, operation_class))
    assert found is not None, "Redis did not answer"
    return found


def told_of(shop: Shop, operation_class: str = "create") -> list[str]:
    """The events told about a shop's breaker, in order."""
    events = DomainEvent.objects.filter(
        aggregate_type="breaker", aggregate_id=name_of(shop, operation_class)
    )
    return list(events.order_by("seq").values_list("type", flat=True))


def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
