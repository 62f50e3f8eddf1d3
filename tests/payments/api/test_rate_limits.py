"""Limits per key and per merchant, told in headers and kept without Redis."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings

from payments.api.rate_limits import Bucket, Limiter
from payments.models import IdempotencyKey, Payment
from payments.quick_redis import QuickRedis
from tests.payments.api.conftest import Api, payment_body
from tests.payments.shop import Shop, new_key

NARROW = {"read": (4.0, 6.0), "write": (2.0, 3.0), "client": (2.0, 4.0)}


@pytest.fixture
def narrow() -> Iterator[None]:
    """A few requests per second; no test below takes long enough to fill a bucket again."""
    with override_settings(
        FLORIN_RATE_LIMITS={
            kind: (of_key / 60, of_merchant / 60) for kind, (of_key, of_merchant) in NARROW.items()
        },
        FLORIN_RATE_LIMIT_TEST_MODE_SHARE=1.0,
        FLORIN_RATE_LIMIT_BURST_SECONDS=60.0,
    ):
        yield


def limited(answer: object) -> tuple[int, int, int]:
    headers = answer.headers  # type: ignore[attr-defined]
    names = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
    limit, remaining, reset = (int(headers[name]) for name in names)
    return limit, remaining, reset


def test_every_answer_tells_what_is_left(api: Api, narrow: None) -> None:
    first = limited(api.get("/v1/payments"))
    second = limited(api.get("/v1/balance"))
    assert first[:2] == (4, 3)
    assert second[:2] == (4, 2)
    assert 0 < first[2] <= 15 < second[2] <= 30


def test_the_request_too_many_gets_429_with_retry_after_and_writes_nothing(
    api: Api, shop: Shop, narrow: None
) -> None:
    for _ in range(2):
        assert api.post("/v1/payments", payment_body()).status_code == 201
    key = new_key()
    answer = api.post("/v1/payments", payment_body(), idempotency_key=key)
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limited", "rate_limit_error")
    assert 1 <= int(answer["Retry-After"]) <= 30
    assert limited(answer)[:2] == (2, 0)
    assert Payment.objects.filter(merchant=shop.merchant).count() == 2
    assert not IdempotencyKey.objects.filter(merchant=shop.merchant, key=key).exists()


def test_a_body_is_not_read_before_the_limit(api: Api, narrow: None) -> None:
    for _ in range(2):
        api.post("/v1/payments", b"no json")
    assert api.post("/v1/payments", b"no json").status_code == 429


def test_reads_and_writes_have_buckets_of_their_own(api: Api, narrow: None) -> None:
    for _ in range(3):
        last = api.post("/v1/payments", b"no json")
    assert last.status_code == 429
    assert api.get("/v1/payments").status_code == 200


def test_another_merchant_is_not_touched(api: Api, another_shop: Shop, narrow: None) -> None:
    while api.get("/v1/payments").status_code != 429:
        continue
    assert Api(another_shop.secret_key).get("/v1/payments").status_code == 200


def test_a_browser_cannot_use_up_what_the_server_needs(api: Api, shop: Shop, narrow: None) -> None:
    browser = Api(shop.publishable_key)
    while browser.get("/v1/client/payments/pay_unknown").status_code != 429:
        continue
    assert api.get("/v1/payments").status_code == 200


def test_an_unknown_key_is_refused_without_being_counted() -> None:
    answer = Api(f"sk_test_{secrets.token_urlsafe(32)}").get("/v1/payments")
    assert answer.status_code == 401
    assert "RateLimit-Limit" not in answer.headers


# --- the buckets themselves -----------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


def buckets(per_second: float = 10, capacity: float = 20) -> tuple[Bucket, Bucket]:
    name = secrets.token_hex(6)
    return (
        Bucket(key=f"test:rate:{name}:key", per_second=per_second, capacity=capacity),
        Bucket(key=f"test:rate:{name}:merchant", per_second=per_second * 2, capacity=capacity * 2),
    )


@pytest.fixture
def nowhere() -> QuickRedis:
    """A Redis that nobody runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return QuickRedis(f"redis://127.0.0.1:{port}/0", pause_seconds=60)


@pytest.fixture(params=["in Redis", "in one process"])
def limiter(request: pytest.FixtureRequest, nowhere: QuickRedis) -> Limiter:
    shared = QuickRedis(settings.REDIS_URL, timeout_seconds=5)
    return Limiter(shared=shared if request.param == "in Redis" else nowhere, clock=Clock())


def test_a_bucket_gives_its_burst_and_then_its_rate(limiter: Limiter) -> None:
    of = buckets()
    clock: Clock = limiter._clock  # type: ignore[assignment]
    taken = [limiter.take(of).retry_after_seconds == 0 for _ in range(25)]
    assert taken == [True] * 20 + [False] * 5
    clock.seconds += 0.5
    taken = [limiter.take(of).retry_after_seconds == 0 for _ in range(10)]
    assert taken == [True] * 5 + [False] * 5
    clock.seconds += 3600
    assert limiter.take(of).remaining == 19


def test_a_refused_request_takes_nothing_from_any_bucket(limiter: Limiter) -> None:
    narrow_key, merchant = buckets(capacity=2)
    wide_key = Bucket(key=f"{narrow_key.key}:second", per_second=10, capacity=100)
    for _ in range(10):
        limiter.take((narrow_key, merchant))
    of_other_key = limiter.take((wide_key, merchant))
    assert (of_other_key.limit, of_other_key.remaining) == (4, 1)


def test_the_merchants_bucket_limits_all_keys_together(limiter: Limiter) -> None:
    one, merchant = buckets(capacity=20)
    other = Bucket(key=f"{one.key}:other", per_second=10, capacity=40)
    for _ in range(20):
        assert limiter.take((one, merchant)).retry_after_seconds == 0
    taken = [limiter.take((other, merchant)).retry_after_seconds == 0 for _ in range(30)]
    assert taken == [True] * 20 + [False] * 10
