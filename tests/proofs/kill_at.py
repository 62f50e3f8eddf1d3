"""Carry out one merchant request and die by SIGKILL at a named point of it.

Imported by a fork server, which sets Django up once and opens no connection; each of its children
is a fresh process that carries out one request. Nothing of Florin is replaced: the function at the
point is called as always, and the process kills itself right before or right after it.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import django
from django.apps import apps
from django.db import connections

if not apps.ready:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

from audit.log import Actor, acting_as
from payments import idempotency
from payments.actions.answer_request import answer_request
from payments.models import Merchant

# point -> (name as called where the operation is driven, die before or after the call)
POINTS = {
    "after the key is claimed": ("ACTIONS", "before"),
    "after payment and provider key are committed": ("_call", "before"),
    "after the provider answered, before it is recorded": ("_call", "after"),
    "after it is recorded, before the merchant is answered": ("record", "after"),
}


def _place(point: str, operation: str) -> tuple[str, str, str]:
    """The module and the name in it that stand for a point of an operation, and when to die."""
    name, when = POINTS[point]
    if name == "ACTIONS":
        return "payments.actions.answer_request", name, when
    if operation.startswith("payment_methods."):
        recorded = "record_method_outcome" if name == "record" else name
        return "payments.actions.method_calls", recorded, when
    return "payments.actions.call_provider", "record_outcome" if name == "record" else name, when


def die() -> None:
    """As the system would, when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(function: Callable[..., Any], when: str) -> Callable[..., Any]:
    """`function`, which its process does not survive."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if when == "after":
            function(*arguments, **options)
        die()

    return call


def arm(point: str, operation: str) -> None:
    """Put death at the point."""
    module_name, name, when = _place(point, operation)
    module = importlib.import_module(module_name)
    target = getattr(module, name)
    if isinstance(target, dict):
        target.update({key: deadly(function, when) for key, function in target.items()})
    else:
        setattr(module, name, deadly(target, when))


def request_and_die(point: str, asked: dict[str, Any], database: str) -> None:
    """Claim the key, answer the request in `database`, never come so far."""
    for alias in connections:
        connections[alias].settings_dict["NAME"] = database
    arm(point, asked["operation"])

    def clock() -> datetime:
        return datetime.now(UTC)

    with acting_as(Actor(type="api_key", id="key_test"), request_id="req_test"):
        claim = idempotency.claim(
            merchant=Merchant.objects.get(pk=asked["merchant"]),
            livemode=False,
            key=asked["key"],
            operation=asked["operation"],
            method="POST",
            path=f"/v1/{asked['operation']}",
            parameters=asked["parameters"],
            actor_id="key_test",
            request_id="req_test",
            now=clock(),
        )
        assert isinstance(claim, idempotency.Claim), "Bug! the key is not new"
        answer_request(claim=claim, clock=clock)
    raise AssertionError("Bug! the process survived its point of death")
