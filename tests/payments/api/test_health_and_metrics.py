"""Health: what fails, what is merely degraded; metrics: who may read them, and what is in them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings
from prometheus_client.parser import text_string_to_metric_families

from config.processes import BASE_DIR
from payments.api.measurements import GROUPS
from tests.payments.api.conftest import Api
from tests.payments.shop import Shop
from webhooks.models import Heartbeat

# Asks an address in a process of its own, whose environment points where the test says.
ASK = """
import sys, django
django.setup()
from django.test import Client
client = Client(raise_request_exception=False, SERVER_NAME="localhost")
answer = client.get(sys.argv[1], headers={"Authorization": "Bearer sk_test_unknown"})
print(answer.status_code, answer.content.decode())
"""


def ask_elsewhere(path: str, **environment: str) -> str:
    """The answer of an address in a process with another environment."""
    completed = subprocess.run(
        [sys.executable, "-c", ASK, path],
        cwd=BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout


def scrape() -> dict[str, Any]:
    """The exposition as families by name."""
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    text = answer.content.decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_healthz_touches_nothing() -> None:
    gone = "postgres://nobody@127.0.0.1:1/none"
    assert ask_elsewhere("/healthz", DATABASE_URL=gone).startswith("200")


def test_readyz_fails_without_the_database() -> None:
    gone = "postgres://nobody@127.0.0.1:1/none"
    assert ask_elsewhere("/readyz", DATABASE_URL=gone).startswith("503")


def test_readyz_is_degraded_but_ready_without_redis() -> None:
    answer = ask_elsewhere("/readyz", REDIS_URL="redis://127.0.0.1:1/0")
    assert answer.startswith("200")
    assert '"redis": {"status": "degraded"' in answer


def test_readyz_tells_a_process_that_has_gone_silent() -> None:
    Heartbeat.objects.all().delete()
    checks = Client().get("/readyz").json()["checks"]
    assert checks["worker"]["status"] == "degraded"
    now = datetime.now(UTC)
    for role in ("worker", "sweeper"):
        Heartbeat.objects.create(process=f"{role}-1", role=role, started_at=now, beat_at=now)
    ready = Client().get("/readyz").json()
    assert ready["checks"]["worker"]["status"] == ready["checks"]["sweeper"]["status"] == "ok"
    # The inbox holds what other tests left; the whole is well when each part is.
    well = all(check["status"] == "ok" for check in ready["checks"].values())
    assert (ready["status"] == "ok") is well


def test_without_a_database_the_api_says_503_and_try_again() -> None:
    answer = ask_elsewhere("/v1/payments", DATABASE_URL="postgres://nobody@127.0.0.1:1/none")
    assert answer.startswith("503")
    assert '"code":"service_unavailable"' in answer


def test_every_group_of_figures_can_be_read(api: Api, shop: Shop) -> None:
    api.create()
    api.create(capture_method="manual")
    families = scrape()
    up = {
        sample.labels["group"]: sample.value
        for sample in families["florin_metrics_group_up"].samples
    }
    assert up == dict.fromkeys(GROUPS, 1.0)
    states = {sample.labels["state"] for sample in families["florin_payments_last_hour"].samples}
    assert {"captured", "authorized"} <= states
    assert families["florin_provider_operation_seconds_last_hour"].samples
    assert families["florin_audit_partition_days_ahead"].samples[0].value > 1
    assert families["florin_inbox_partition_days_ahead"].samples[0].value > 1
    assert families["florin_inbox_expired_months"].samples[0].value == 0
    books = families["florin_ledger_balance_minor"].samples
    assert any(sample.labels["code"] == "merchant:pending" for sample in books)


def test_refused_webhooks_and_requests_are_counted() -> None:
    Client().post("/webhooks/sandbox/unknown", b"{}", content_type="application/json")
    families = scrape()
    refused = {
        (sample.labels["provider"], sample.labels["code"])
        for sample in families["florin_provider_webhooks_refused"].samples
    }
    assert ("sandbox", "not_found") in refused
    routes = {sample.labels["route"] for sample in families["florin_http_requests"].samples}
    assert "/webhooks/<provider:provider_code>/<token:endpoint_token>" in routes


def test_several_processes_share_their_counters(tmp_path: Path) -> None:
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    ask_elsewhere("/v1/unknown", **shared)
    ask_elsewhere("/v1/unknown", **shared)
    exposition = ask_elsewhere("/metrics", **shared)
    assert (
        'florin_http_requests_total{method="GET",route="unmatched",status="404"} 2.0' in exposition
    )


@pytest.mark.parametrize(
    ("token", "headers", "address", "status"),
    [
        ("", {}, "127.0.0.1", 200),
        ("", {}, "::1", 200),
        ("", {}, "192.0.2.7", 404),
        ("", {"X-Forwarded-For": "192.0.2.7"}, "127.0.0.1", 404),
        ("s3cret", {}, "127.0.0.1", 404),
        ("s3cret", {"Authorization": "Bearer wrong"}, "192.0.2.7", 404),
        ("s3cret", {"Authorization": "Bearer s3cret"}, "192.0.2.7", 200),
    ],
)
def test_metrics_are_for_this_machine_or_for_the_token(
    token: str, headers: dict[str, str], address: str, status: int
) -> None:
    with override_settings(FLORIN_METRICS_TOKEN=token):
        answer = Client().get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert answer.status_code == status
