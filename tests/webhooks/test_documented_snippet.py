"""The code that merchants copy from the documentation does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from webhooks import retries, signing, transport

PAGE = Path(__file__).resolve().parents[2] / "docs" / "merchant-webhooks.md"
SECRET = signing.new_secret()
BODY = json.dumps({"id": "evt_1", "type": "payment.settled"}).encode()


@pytest.fixture(scope="module")
def verified_event() -> Callable[..., dict[str, Any]]:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(PAGE), "exec"), names)
    function: Callable[..., dict[str, Any]] = names["verified_event"]
    return function


def headers(*secrets: str, at: datetime | None = None) -> dict[str, str]:
    return signing.headers(
        secrets=secrets, message_id="evt_1", attempted_at=at or datetime.now(UTC), body=BODY
    )


def test_it_accepts_what_florin_sends_also_during_a_rotation(
    verified_event: Callable[..., dict[str, Any]],
) -> None:
    assert verified_event(headers(SECRET), BODY, SECRET)["type"] == "payment.settled"
    both = headers(signing.new_secret(), SECRET)
    assert verified_event(both, BODY, SECRET)["id"] == "evt_1"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "garbage"},
        {"webhook-signature": "v1,\u00e9"},
        {"webhook-timestamp": "now"},
        {"webhook-id": "evt_2"},
    ],
)
def test_it_refuses_what_is_forged_or_malformed(
    verified_event: Callable[..., dict[str, Any]], change: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=r"malformed|fits"):
        verified_event(headers(SECRET) | change, BODY, SECRET)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_it_refuses_a_request_without_one_of_the_headers(
    verified_event: Callable[..., dict[str, Any]], name: str
) -> None:
    present = headers(SECRET)
    del present[name]
    with pytest.raises(ValueError, match=r"malformed|fits"):
        verified_event(present, BODY, SECRET)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_it_refuses_what_is_old_or_from_the_future(
    verified_event: Callable[..., dict[str, Any]], minutes: int
) -> None:
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    with pytest.raises(ValueError, match="too old"):
        verified_event(headers(SECRET, at=moment), BODY, SECRET)


def test_the_page_tells_the_schedule_and_the_limits_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    units = {"s": 1, "min": 60, "h": 3600}
    told = re.search(r"three days: after (.*?), each spread", text.replace("\n", " "))
    assert told is not None
    steps = re.findall(r"(\d+) (s|min|h)", told.group(1))
    assert tuple(int(n) * units[unit] for n, unit in steps) == retries.MERCHANT_SCHEDULE_SECONDS
    assert f"within {transport.DEADLINE_SECONDS:g} seconds" in text
    assert f"first {transport.RESPONSE_BODY_CAP_BYTES // 1024} kB" in text
