"""Florin's settings with the tests' handlers, for sweepers and workers on private servers."""

from __future__ import annotations

from config.settings import *  # noqa: F403

FLORIN_EVENT_HANDLERS = [
    {
        "name": "blocking",
        "function": "tests.webhooks.effects.blocking_handler",
        "types": ["order.*"],
        "policy": "block",
    },
    {
        "name": "skipping",
        "function": "tests.webhooks.effects.skipping_handler",
        "types": ["order.placed"],
        "policy": "skip",
    },
]
FLORIN_INBOX_APPLY = "tests.webhooks.effects.apply"
FLORIN_PERIODIC_JOBS = [
    {"name": "tick", "function": "tests.webhooks.effects.tick", "every_seconds": 1.0}
]
# A test waits for beat; an operator does not.
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "webhooks.tasks.sweep",
        "schedule": 1.0,
        "options": {"queue": "events", "expires": 5.0},
    },
}
