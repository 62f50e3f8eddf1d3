"""Which accounts each money event names, and how: read from the postings alone, before any row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from ledger.accounts import AccountKey
from ledger.balances import balance
from ledger.posting import Posting, post_many
from payments import bookkeeping, chart_of_accounts
from payments.models import Capture, Merchant, Payment
from tests.payments.shop import Shop

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def payment(**amounts: Any) -> Payment:
    """A captured payment of 10.00 EUR with a platform fee of 0.35, never saved."""
    facts = {
        "id": "pay_one",
        "merchant_id": "mer_one",
        "provider_account_id": "pacc_one",
        "livemode": True,
        "currency": "EUR",
        "amount_minor": 1000,
        "amount_captured_minor": 1000,
        "platform_fee_minor": 35,
        "provider_fee_minor": 59,
    }
    return Payment(**(facts | amounts))


def sides(posting: Posting | None) -> list[tuple[str, str, int, int]]:
    """(account, owner, debit, credit) of each line."""
    assert posting is not None
    return [
        (line.account.code, line.account.owner, line.debit_minor, line.credit_minor)
        for line in posting.lines
    ]


def capture(amount_minor: int = 1000, fee_minor: int = 35) -> Capture:
    """A capture of that payment, never saved."""
    return Capture(id="cap_one", amount_minor=amount_minor, platform_fee_minor=fee_minor)


def test_a_capture_owes_the_merchant_the_net_and_earns_the_fee() -> None:
    assert sides(bookkeeping.captured(payment(), capture=capture(), now=NOW)) == [
        ("psp:clearing", "pacc_one", 1000, 0),
        ("merchant:pending", "mer_one", 0, 965),
        ("platform_fee_income", "", 0, 35),
    ]


def test_a_capture_without_fee_has_no_line_of_nothing() -> None:
    assert sides(bookkeeping.captured(payment(), capture=capture(fee_minor=0), now=NOW)) == [
        ("psp:clearing", "pacc_one", 1000, 0),
        ("merchant:pending", "mer_one", 0, 1000),
    ]


def test_a_capture_that_the_fee_takes_all_of_owes_the_merchant_nothing() -> None:
    assert sides(bookkeeping.captured(payment(), capture=capture(fee_minor=1000), now=NOW)) == [
        ("psp:clearing", "pacc_one", 1000, 0),
        ("platform_fee_income", "", 0, 1000),
    ]


def test_the_providers_fee_lowers_what_it_owes_us() -> None:
    assert sides(bookkeeping.provider_fee(payment(), change_minor=59, now=NOW)) == [
        ("psp_fee_expense", "", 59, 0),
        ("psp:clearing", "pacc_one", 0, 59),
    ]
    assert bookkeeping.provider_fee(payment(), change_minor=0, now=NOW) is None


def test_a_fee_that_falls_raises_what_the_provider_owes_us() -> None:
    assert sides(bookkeeping.provider_fee(payment(), change_minor=-9, now=NOW)) == [
        ("psp:clearing", "pacc_one", 9, 0),
        ("psp_fee_expense", "", 0, 9),
    ]


def test_an_entry_is_found_by_its_payment_and_its_fact() -> None:
    posting = bookkeeping.captured(payment(), capture=capture(), now=NOW)
    assert posting is not None
    assert posting.idempotency_key == "pay_one:payment.captured:cap_one"
    assert posting.kind == "payment.captured"
    assert (posting.source_type, posting.source_id) == ("payment", "pay_one")
    assert posting.effective_at == NOW
    assert posting.livemode is True
    assert {line.account.livemode for line in posting.lines} == {True}
    assert {line.account.currency for line in posting.lines} == {"EUR"}
    in_test_mode = bookkeeping.captured(payment(livemode=False), capture=capture(), now=NOW)
    assert in_test_mode is not None
    assert in_test_mode.livemode is False


def test_a_fact_from_outside_is_booked_whatever_the_floors_say() -> None:
    posting = bookkeeping.captured(payment(), capture=capture(), now=NOW)
    assert posting is not None
    assert posting.enforce_floors is False


@pytest.mark.parametrize(
    ("account", "kind", "stripes", "floor_minor"),
    [
        (chart_of_accounts.clearing, "asset", 16, None),
        (chart_of_accounts.merchant_pending, "liability", 1, None),
        (chart_of_accounts.merchant_available, "liability", 1, 0),
        (chart_of_accounts.platform_fee_income, "income", 16, None),
        (chart_of_accounts.provider_fee_expense, "expense", 16, None),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_busy_accounts_are_spread_and_only_the_wallet_has_a_floor(
    account: Callable[[Payment], AccountKey], kind: str, stripes: int, floor_minor: int | None
) -> None:
    key = account(payment())
    assert (key.kind, key.stripes, key.floor_minor) == (kind, stripes, floor_minor)


@pytest.mark.parametrize(
    ("amount_minor", "basis_points", "fixed_minor", "fee_minor"),
    [
        (1000, 150, 20, 35),
        (1000, 0, 0, 0),
        (33, 150, 0, 0),  # 0.495 down
        (100, 50, 0, 1),  # 0.5 up
        (99, 50, 0, 0),  # 0.495 down
        (10, 0, 20, 10),  # never more than the amount
        (1000, 10_000, 0, 1000),
        (1000, 10_000, 5, 1000),
    ],
)
def test_the_platforms_fee_is_rounded_half_up(
    amount_minor: int, basis_points: int, fixed_minor: int, fee_minor: int
) -> None:
    merchant = Merchant(fee_basis_points=basis_points, fee_fixed_minor=fixed_minor)
    assert bookkeeping.platform_fee_minor(merchant, amount_minor) == fee_minor


def test_booking_the_same_twice_books_it_once(shop: Shop) -> None:
    captured = shop.created()
    again = bookkeeping.captured(captured, capture=captured.captures.get(), now=shop.now())
    assert again is not None
    with transaction.atomic():
        (posted,) = post_many([again])
    assert not posted.created
    assert balance(chart_of_accounts.merchant_pending(captured)).balance_minor == 4200 - 83
