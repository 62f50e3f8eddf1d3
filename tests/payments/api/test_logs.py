"""Logs: one JSON object per line, tied to its request, without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from config.logs import mask_credentials
from tests.payments.api.conftest import Api, payment_body
from tests.payments.shop import Shop


class Lines:
    """What was written through the configured handler."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter([json.loads(line) for line in self.stream.getvalue().splitlines()])


@pytest.fixture
def lines() -> Iterator[Lines]:
    captured = Lines()
    (configured,) = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter)
    ]
    handler = logging.StreamHandler(captured.stream)
    handler.setFormatter(configured.formatter)
    logging.getLogger().addHandler(handler)
    yield captured
    logging.getLogger().removeHandler(handler)


def test_every_request_has_one_access_line(api: Api, lines: Lines) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    answer = api.post("/v1/payments", payment_body(), traceparent=f"00-{trace_id}-{'1' * 16}-01")
    (line,) = [line for line in lines if line["logger"] == "florin.access"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/payments", 201)
    assert line["request_id"] == answer["Request-Id"]
    assert line["trace_id"] == trace_id
    assert line["actor"].startswith("api_key:key_")
    assert line["duration_ms"] > 0


def test_no_secret_of_a_request_is_in_the_logs(api: Api, shop: Shop, lines: Lines) -> None:
    payment = api.create(confirm=None, payment_method=None)
    Api(shop.publishable_key).get(
        f"/v1/client/payments/{payment['id']}", **{"Client-Secret": payment["client_secret"]}
    )
    Api(shop.secret_key + "x").get("/v1/payments")
    written = lines.stream.getvalue()
    for secret in (
        shop.secret_key,
        shop.publishable_key,
        shop.sandbox_key,
        payment["client_secret"],
        payment["provider_client_secret"],
    ):
        assert secret not in written


def test_a_secret_inside_somebody_elses_words_is_masked(lines: Lines, shop: Shop) -> None:
    try:
        raise ValueError(f"cannot reach x with Authorization: Bearer {shop.secret_key}")
    except ValueError:
        logging.getLogger("some.library").exception("failed with %s", "whsec_" + "a" * 32)
    (line,) = [line for line in lines if line["logger"] == "some.library"]
    assert shop.secret_key not in json.dumps(line)
    assert "whsec_********" in line["event"]
    assert "ValueError" in line["exception"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("sk_live_abcdef123456", "sk_live_********"),
        ("rk_test_abcdef123456", "rk_test_********"),
        ("pay_1_secret_abcdef123", "pay_1_secret_********"),
        ("Basic c2tfdGVzdF8xOg==", "Basic ********"),
        ("the basic idea", "the basic idea"),
        ("task_test_abcdefgh", "task_test_abcdefgh"),
    ],
)
def test_what_looks_like_a_credential_keeps_its_beginning_only(text: str, masked: str) -> None:
    assert mask_credentials(text) == masked
