"""Drain what is due once, in a child of the fork server that may not survive it."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import connections

from tests.webhooks import effects
from tests.webhooks.settings_for_processes import FLORIN_EVENT_HANDLERS
from webhooks import inbox, outbox


def drain_once(database: str, now: datetime) -> None:
    """Apply provider events and run handlers in `database`, with those of the tests."""
    for alias in connections:
        connections[alias].settings_dict["NAME"] = database
    settings.FLORIN_EVENT_HANDLERS = FLORIN_EVENT_HANDLERS
    inbox.drain(apply=effects.apply, now=now)
    outbox.drain(now=now)
