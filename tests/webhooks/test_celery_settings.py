"""The table of what stands against Celery's ways of losing tasks is what the settings say."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import redis
from celery import current_app
from django.conf import settings

TESTS = Path(__file__).resolve().parents[1]
DOCS = TESTS.parent / "docs"
CANVAS = {"chain", "chord", "group", "signature", "chunks"}
SENDING = {"shared_task", "task", "apply_async", "send_task", "send", "delay", "retry"}
WITH_TIME = {"countdown", "eta", "autoretry_for", "retry_backoff"}
# What is said in words there, or says where things are and not how they behave.
OTHERWISE_TOLD = {
    "broker_url",
    "broker_transport_options",
    "task_queues",
    "task_routes",
    "beat_schedule",
    "worker_max_memory_per_child",
}


def section() -> str:
    """What the documentation says about Celery."""
    words = (DOCS / "events-pipeline.md").read_text(encoding="utf-8")
    return words.split("## Celery on Redis, made harmless")[1].split("\n## ")[0]


def told() -> dict[str, Any]:
    """Setting -> value, from the code spans of the section."""
    spans = re.findall(r"`(\w+) = ([^`]+)`", section())
    return {name: ast.literal_eval(value) for name, value in spans}


def test_each_setting_of_the_table_is_what_celery_runs_with() -> None:
    transport = current_app.conf.broker_transport_options
    for name, value in told().items():
        actual = transport[name] if name in transport else current_app.conf[name]
        assert (name, actual) == (name, value)


def test_each_test_that_the_table_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", section()))
    sources = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
    assert len(named) > 10
    assert sorted(name for name in named if f"def {name}(" not in sources) == []


def test_no_task_is_chained_postponed_or_retried_by_celery() -> None:
    """Neither canvas nor time travels in a message, anywhere in the code."""
    found = []
    for app in ("audit", "config", "ledger", "payments", "webhooks"):
        for path in (TESTS.parent / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("celery"):
                    found += [alias.name for alias in node.names if alias.name in CANVAS]
                if isinstance(node, ast.Call) and last_name(node.func) in SENDING:
                    named = {keyword.arg for keyword in node.keywords}
                    found += [f"{path.name}: {name}=" for name in named & WITH_TIME]
    assert found == []


def last_name(node: ast.expr) -> str:
    """`apply_async` of `tasks.sweep.apply_async`."""
    return getattr(node, "attr", "") or getattr(node, "id", "")


def test_the_shipped_redis_settings_are_what_is_documented_and_what_tests_run_with() -> None:
    lines = (TESTS.parent / "deploy" / "redis.conf").read_text(encoding="utf-8").splitlines()
    shipped = dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    for name in ("maxmemory-policy", "appendonly", "appendfsync"):
        assert f"`{name} {shipped[name]}`" in section()
    assert shipped["maxmemory-policy"] == "noeviction"
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for name in ("maxmemory-policy", "appendonly", "appendfsync"):
            assert client.config_get(name) == {name: shipped[name]}


def test_each_setting_stands_in_the_table() -> None:
    set_here = {
        name.removeprefix("CELERY_").lower() for name in dir(settings) if name.startswith("CELERY_")
    }
    transport = set(current_app.conf.broker_transport_options)
    assert sorted((set_here | transport) - OTHERWISE_TOLD - set(told())) == []
    assert sorted(set(told()) - set_here - transport) == []
