"""Celery's scheduler, which says that it lives by what it does: a message of its schedule went out.

Mental model: beat sends one message every five seconds, so a beat that has sent none for a minute
hangs or is cut off from the broker. It is named in CELERY_BEAT_SCHEDULER.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from celery.beat import PersistentScheduler
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from webhooks import signs_of_life

ROLE = "beat"

logger = structlog.get_logger(__name__)


class Scheduler(PersistentScheduler):
    """Sends what is due as Celery does, and gives a sign of life after each message."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._started_at = datetime.now(UTC)
        self._sent = 0
        super().__init__(*arguments, **options)

    def apply_async(self, *arguments: Any, **options: Any) -> Any:
        """Publish one message. Raises celery.beat.SchedulingError, and gives no sign then."""
        result = super().apply_async(*arguments, **options)
        self._sent += 1
        self._say(self._give)
        return result

    def close(self) -> None:
        """End as it should, so that nobody misses this process."""
        super().close()
        self._say(lambda: signs_of_life.leave(ROLE))

    def _give(self) -> None:
        signs_of_life.give(
            role=ROLE, started_at=self._started_at, passes=self._sent, now=datetime.now(UTC)
        )

    def _say(self, word: Callable[[], None]) -> None:
        """Messages go out whether or not the database hears of it."""
        try:
            close_old_connections()
            word()
        except DatabaseError as error:
            logger.warning("beat.no_sign_of_life", error=f"{type(error).__name__}: {error}")
            connection.close()
