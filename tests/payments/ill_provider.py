"""Rules and waits for tests in which a provider falls ill: quick to open, quick to try again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis
from django.conf import settings
from django.test import override_settings

from payments.actions.resume_rounds import resume_due
from payments.actions.through_breaker import breaker
from payments.models import ProviderOperation
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


def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def recovered(shop: Shop) -> bool:
    """Work one round of recovery; whether every operation of the shop has its outcome then."""
    shop.ahead_by(seconds=20)
    resume_due(clock=shop.now)
    return not ProviderOperation.objects.filter(
        payment__merchant=shop.merchant, finished_at=None
    ).exists()


def recover(shop: Shop) -> None:
    """The provider is well again: finish what is open, so that nothing is left behind."""
    shop.settings(
        outage=False,
        hang_before_commit=0,
        hang_after_commit=0,
        fail_before_commit=0,
        fail_reads=0,
        hang_reads=0,
    )
    forget_breaker(shop)
    until(lambda: recovered(shop))


def forget_breaker(shop: Shop, operation_class: str = "create") -> None:
    """Lose a breaker, as an emptied Redis does."""
    name = f"florin:breaker:{name_of(shop, operation_class)}"
    redis.Redis.from_url(settings.REDIS_URL).delete(name, f"{name}:permits")
