"""Delays: decorrelated inside, three days outside, Retry-After within bounds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from webhooks import retries

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def highest(low: float, high: float) -> float:
    return high


def lowest(low: float, high: float) -> float:
    return low


def test_the_internal_backoff_grows_up_to_its_cap_and_never_below_its_base() -> None:
    delay, delays = 0.0, []
    for _ in range(10):
        delay = retries.decorrelated_backoff_seconds(delay, uniform=highest)
        delays.append(delay)
    assert delays[:3] == [15, 45, 135]
    assert delays[-1] == retries.BACKOFF_CAP_SECONDS
    assert retries.decorrelated_backoff_seconds(1000, uniform=lowest) == 5


def test_the_merchant_schedule_covers_three_days_in_ten_attempts() -> None:
    assert retries.MERCHANT_ATTEMPT_LIMIT == 10
    total_hours = sum(retries.MERCHANT_SCHEDULE_SECONDS) / 3600
    assert 71 < total_hours < 72
    assert retries.merchant_delay_seconds(10, retry_after_seconds=None) is None


def test_merchant_delays_are_spread_by_a_fifth_each_way() -> None:
    assert retries.merchant_delay_seconds(2, retry_after_seconds=None, uniform=lowest) == 240
    assert retries.merchant_delay_seconds(2, retry_after_seconds=None, uniform=highest) == 360


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(1, 300), (900, 900), (10**9, 24 * 3600), (None, 300)]
)
def test_retry_after_lengthens_the_wait_within_a_day_and_never_shortens_it(
    retry_after: float | None, expected: float
) -> None:
    delay = retries.merchant_delay_seconds(
        2, retry_after_seconds=retry_after, uniform=lambda low, high: 1.0
    )
    assert delay == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Tue, 01 Jan 2030 00:02:00 GMT", 120),
        ("Tue, 01 Jan 2030 00:02:00 -0000", 120),
        ("Mon, 31 Dec 2029 00:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("\u0663", None),
        ("", None),
        ("9" * 400, 999_999_999),
        ("Tue, 01 Jan 2030 00:02:00 +" + "9" * 30, None),
        ("Tue, 01 Jan " + "9" * 30 + " 00:02:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_or_not_at_all(
    text: str, seconds: float | None
) -> None:
    assert retries.parse_retry_after(text, now=NOW) == seconds


def test_the_pause_after_interruptions_doubles_up_to_a_minute() -> None:
    assert [retries.interruption_seconds(n) for n in (1, 2, 3, 4, 9, 19)] == [1, 1, 2, 4, 60, 60]


def test_an_error_is_described_in_one_capped_line_and_a_capped_trace() -> None:
    try:
        raise ValueError("x" * 20_000)
    except ValueError as error:
        reason, trace = retries.describe_error(error)
    assert (len(reason), len(trace)) == (500, 8000)
