"""What a webhook, a payment, a capture and a refund cost over HTTP, against a bare Django view with
one INSERT.

Mental model: limit and measured take turns on the same running server within seconds of each
other, so that whatever else the machine does hits both alike; the ratio is the median of the
rounds' ratios. The bare view gets a body as long as what it is compared with. Then webhooks arrive
by the clock, half as many as can be taken in, and the bare view gets the same: what a provider
sees on an ordinary day.
"""

from __future__ import annotations

import json
import secrets
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from standardwebhooks import Webhook

from tests.benchmarks.load_generator import Load, request_bytes, run_load
from tests.proofs.stand import Stand

# What the bare view (bare_view.py) writes to.
BARE_TABLE = "CREATE TABLE bench_bare (id bigserial PRIMARY KEY, body text NOT NULL)"
INTAKE_BAR = 0.8
# Creating, capturing and refunding are one kind of thing: a key, a row lock, an audited intent, a
# call to the provider, an outcome with its books. So they have one bar.
CREATE_BAR = CAPTURE_BAR = REFUND_BAR = 0.15
_ROUNDS = 5
_CONNECTIONS = 16
_INTAKE_REQUESTS = 2000
# Arriving by the clock: as many at once as the load balancer of a provider would have open.
_CLOCKED_ROUNDS = 3
_CLOCKED_SECONDS = 5.0
_CLOCKED_CONNECTIONS = 64
_CREATE_REQUESTS = 400
_VERB_REQUESTS = 250

# How many payments are made at once before their captures or refunds are measured.
_MAKERS = 8
PAYMENT: dict[str, Any] = {
    "amount_minor": 4200,
    "currency": "EUR",
    "confirm": True,
    "payment_method": "tok_visa",
    "metadata": {"order": "7"},
}

Requests = Callable[[int], list[bytes]]


def run(stand: Stand) -> list[dict[str, Any]]:
    """One dictionary per figure: name, value, limit, ratio, bar, errors and their rate, holds."""
    return [
        *webhook_intake(stand),
        *payment_create(stand),
        *payment_capture(stand),
        *payment_refund(stand),
    ]


def webhook_intake(stand: Stand) -> list[dict[str, Any]]:
    """Verify a signature, commit the event, answer 200: requests per second, and how long one
    takes when they come at half that rate.
    """
    path = f"/webhooks/sandbox/{stand.shop['endpoint_token']}"
    example = json.dumps(_event("sbp_example"), separators=(",", ":")).encode()

    def events(count: int) -> list[bytes]:
        return [_signed_event(path, stand.shop["webhook_secret"]) for _ in range(count)]

    rounds = _take_turns(stand, events, _bare(example), _INTAKE_REQUESTS, _INTAKE_REQUESTS)
    half = statistics.median(measured.per_second for measured, _ in rounds) / 2
    return [
        *_figures("webhook intake", rounds, bar=INTAKE_BAR),
        *_by_the_clock(stand, "webhook intake", events, _bare(example), per_second=half),
    ]


def payment_create(stand: Stand) -> list[dict[str, Any]]:
    """Create and confirm a payment, idempotent, audited, the provider asked over HTTP."""
    body = json.dumps(PAYMENT).encode()

    def payments(count: int) -> list[bytes]:
        return [_keyed(stand, "/v1/payments", body) for _ in range(count)]

    rounds = _take_turns(stand, payments, _bare(body), _CREATE_REQUESTS, _INTAKE_REQUESTS)
    return _figures("payment create", rounds, bar=CREATE_BAR)


def payment_capture(stand: Stand) -> list[dict[str, Any]]:
    """Capture a held payment in full; the payments were made before the clock started."""
    body = json.dumps({"amount_minor": PAYMENT["amount_minor"]}).encode()

    def captures(count: int) -> list[bytes]:
        held = made_payments(stand, count, capture_method="manual")
        return [_keyed(stand, f"/v1/payments/{payment}/capture", body) for payment in held]

    rounds = _take_turns(stand, captures, _bare(body), _VERB_REQUESTS, _INTAKE_REQUESTS)
    return _figures("payment capture", rounds, bar=CAPTURE_BAR)


def payment_refund(stand: Stand) -> list[dict[str, Any]]:
    """Give a part of a captured payment back; the payments were made before the clock started."""

    def refunds(count: int) -> list[bytes]:
        return [
            _keyed(stand, "/v1/refunds", _refund_body(payment))
            for payment in made_payments(stand, count)
        ]

    bare = _bare(_refund_body("pay_01kafr7xh8f0v9d3m2c5t6b7ne"))
    rounds = _take_turns(stand, refunds, bare, _VERB_REQUESTS, _INTAKE_REQUESTS)
    return _figures("refund", rounds, bar=REFUND_BAR)


def _refund_body(payment: str) -> bytes:
    return json.dumps({"payment": payment, "amount_minor": 1200, "reason": "duplicate"}).encode()


def _keyed(stand: Stand, path: str, body: bytes) -> bytes:
    headers = [
        ("Authorization", f"Bearer {stand.shop['secret_key']}"),
        ("Idempotency-Key", f"bench-{secrets.token_hex(16)}"),
    ]
    return request_bytes("POST", path, body, headers)


def made_payments(stand: Stand, count: int, **changes: str) -> list[str]:
    """The ids of that many new payments, confirmed, `changes` made to what is asked for."""
    body = json.dumps({**PAYMENT, **changes})
    pool = urllib3.PoolManager(maxsize=_MAKERS, block=True, retries=False, timeout=60.0)

    def make(_: int) -> str:
        headers = {
            "Authorization": f"Bearer {stand.shop['secret_key']}",
            "Idempotency-Key": f"bench-{secrets.token_hex(16)}",
            "Content-Type": "application/json",
        }
        url = f"{stand.base_url}/v1/payments"
        answer = pool.request("POST", url, body=body, headers=headers)
        assert answer.status == 201, answer.data
        return str(answer.json()["id"])

    with ThreadPoolExecutor(max_workers=_MAKERS) as makers:
        return list(makers.map(make, range(count)))


def _take_turns(
    stand: Stand, measured: Requests, bare: Requests, count: int, bare_count: int
) -> list[tuple[Load, Load]]:
    """(measured, bare) of each round, after one short round to warm everything up."""
    port = urlsplit(stand.base_url).port or 0

    def load(requests: list[bytes]) -> Load:
        return run_load(port=port, connections=_CONNECTIONS, requests=requests)

    load(measured(_CONNECTIONS * 4))
    load(bare(_CONNECTIONS * 4))
    return [(load(measured(count)), load(bare(bare_count))) for _ in range(_ROUNDS)]


def _by_the_clock(
    stand: Stand, name: str, measured: Requests, bare: Requests, *, per_second: float
) -> list[dict[str, Any]]:
    """Percentiles at a fixed rate of arrivals, against the bare view's at the same rate."""
    port = urlsplit(stand.base_url).port or 0
    count = max(100, int(per_second * _CLOCKED_SECONDS))

    def load(requests: list[bytes]) -> Load:
        return run_load(
            port=port, connections=_CLOCKED_CONNECTIONS, requests=requests, per_second=per_second
        )

    rounds = [(load(measured(count)), load(bare(count))) for _ in range(_CLOCKED_ROUNDS)]
    return _percentiles(name, f"at half its maximum, {per_second:.0f}/s by the clock", rounds)


def _bare(body: bytes) -> Requests:
    return lambda count: [request_bytes("POST", "/webhooks/bare", body)] * count


def _figures(name: str, rounds: list[tuple[Load, Load]], *, bar: float) -> list[dict[str, Any]]:
    """Throughput with its bar, and both percentiles, which are reported and have none."""
    errors = sum(measured.errors + bare.errors for measured, bare in rounds)
    asked = sum(measured.requests + bare.requests for measured, bare in rounds)
    value = statistics.median(measured.per_second for measured, _ in rounds)
    limit = statistics.median(bare.per_second for _, bare in rounds)
    ratio = statistics.median(measured.per_second / bare.per_second for measured, bare in rounds)
    throughput = {
        "name": f"{name}: requests/s against a bare view with one INSERT",
        "value": round(value, 1),
        "limit": round(limit, 1),
        "ratio": round(ratio, 3),
        "bar": f">= {bar}",
        "errors": errors,
        "error_rate": round(errors / asked, 5),
        "holds": ratio >= bar and errors == 0,
    }
    return [throughput, *_percentiles(name, f"at {_CONNECTIONS} connections", rounds)]


def _percentiles(
    name: str, condition: str, rounds: list[tuple[Load, Load]]
) -> list[dict[str, Any]]:
    """p50 and p99 beside the bare view's, which are reported and have no bar."""
    errors = sum(measured.errors + bare.errors for measured, bare in rounds)
    asked = sum(measured.requests + bare.requests for measured, bare in rounds)
    figures = []
    for share, label in ((0.5, "p50"), (0.99, "p99")):
        pairs = [
            (measured.percentile_ms(share), bare.percentile_ms(share)) for measured, bare in rounds
        ]
        figures.append(
            {
                "name": f"{name}: {label} ms {condition} (reported)",
                "value": round(statistics.median(ours for ours, _ in pairs), 1),
                "limit": round(statistics.median(theirs for _, theirs in pairs), 1),
                "ratio": round(statistics.median(ours / theirs for ours, theirs in pairs), 2),
                "bar": None,
                "errors": errors,
                "error_rate": round(errors / asked, 5),
                "holds": errors == 0,
            }
        )
    return figures


def _signed_event(path: str, secret: str) -> bytes:
    event = _event(f"sbp_{secrets.token_hex(12)}")
    raw = json.dumps(event, separators=(",", ":"))
    sent_at = datetime.now(UTC)
    headers = [
        ("webhook-id", event["id"]),
        ("webhook-timestamp", str(int(sent_at.timestamp()))),
        ("webhook-signature", Webhook(secret).sign(event["id"], sent_at, raw)),
    ]
    return request_bytes("POST", path, raw.encode(), headers)


def _event(payment_id: str) -> dict[str, Any]:
    """A provider's event as the sandbox sends it, about a payment that was not made through us and
    so has no reference of ours: applying it ends as `ignored`, with nothing left to wait for.
    """
    return {
        "object": "event",
        "id": f"sbe_{secrets.token_hex(12)}",
        "type": "payment.captured",
        "created_at": "2026-11-20T12:00:00.000+00:00",
        "account": "sba_0123456789abcdef0123",
        "livemode": False,
        "data": {
            "payment": {
                "object": "payment",
                "id": payment_id,
                "version": 3,
                "status": "captured",
                "amount_minor": 4200,
                "currency": "EUR",
                "capture": "automatic",
                "amount_capturable_minor": 0,
                "amount_captured_minor": 4200,
                "amount_settled_minor": 0,
                "amount_returned_minor": 0,
                "reference": "",
                "description": "",
                "client_secret": f"{payment_id}_secret_0123456789abcdef01234567",
                "attempt": 1,
                "token": "tok_visa",
                "method": {"kind": "card", "brand": "visa", "last4": "4242"},
                "charge": f"sbc_{payment_id}",
                "fee_minor": 152,
                "fee_currency": "EUR",
                "refunds": [],
                "disputes": [],
                "settled": False,
                "created_at": "2026-11-20T12:00:00.000+00:00",
                "livemode": False,
            }
        },
    }
