"""The Celery application: workers execute what PostgreSQL holds, a message only wakes them."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("florin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@task_prerun.connect
def _drop_broken_connections(**_: Any) -> None:
    """Let a pool process survive a restart of PostgreSQL: connections are kept between tasks."""
    from django.db import close_old_connections

    close_old_connections()
