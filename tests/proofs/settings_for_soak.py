"""Florin's settings with an applier and a handler that count, for the soak of the pipeline."""

from __future__ import annotations

from config.settings import *  # noqa: F403
from config.settings import FLORIN_EVENT_HANDLERS as _SHIPPED

FLORIN_EVENT_HANDLERS = [
    *_SHIPPED,
    {
        "name": "blocking",
        "function": "tests.webhooks.effects.blocking_handler",
        "types": ["order.*"],
        "policy": "block",
    },
]
FLORIN_INBOX_APPLY = "tests.proofs.soak_applier.apply"
# Nothing may be put off: what is soaked is how events survive, not how load is refused.
FLORIN_WEBHOOK_BUSY_INBOX_SECONDS = 86_400.0
