"""A provider's event as it is read and stored, whichever way it came: pushed to us, or listed.

No provider sends card numbers, so one that stands in an event is masked before anything is stored.
"""

from __future__ import annotations

import structlog

from audit import card_numbers_in_json
from payments.providers.base import Notification, Provider

logger = structlog.get_logger(__name__)


def as_stored(provider: Provider, raw: bytes) -> tuple[Notification, bytes]:
    """Which event this is, and its bytes as they may be kept. Raises UnreadableEvent."""
    event = provider.read_webhook(raw)
    kept = card_numbers_in_json.masked(raw)
    if kept is raw:
        return event, raw
    logger.warning("card_data.masked_in_provider_event")
    return provider.read_webhook(kept), kept
