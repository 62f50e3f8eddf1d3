"""The table of what stands against Celery's ways of losing tasks is what the settings say."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
# What is said in words there, or says where things are and not how they behave.
OTHERWISE_TOLD = {
    "broker_url",
    "broker_transport_options",
    "task_queues",
    "task_routes",
    "beat_schedule",
    "worker_max_memory_per_child",
}


def told() -> dict[str, Any]:
    """Setting -> value, from the code spans of the section."""
    words = (DOCS / "events-pipeline.md").read_text(encoding="utf-8")
    section = words.split("## Celery on Redis, made harmless")[1].split("\n## ")[0]
    spans = re.findall(r"`(\w+) = ([^`]+)`", section)
    return {name: ast.literal_eval(value) for name, value in spans}


def test_each_setting_of_the_table_is_what_celery_runs_with() -> None:
    transport = current_app.conf.broker_transport_options
    for name, value in told().items():
        actual = transport[name] if name in transport else current_app.conf[name]
        assert (name, actual) == (name, value)


def test_each_setting_stands_in_the_table() -> None:
    set_here = {
        name.removeprefix("CELERY_").lower() for name in dir(settings) if name.startswith("CELERY_")
    }
    transport = set(current_app.conf.broker_transport_options)
    assert sorted((set_here | transport) - OTHERWISE_TOLD - set(told())) == []
    assert sorted(set(told()) - set_here - transport) == []
