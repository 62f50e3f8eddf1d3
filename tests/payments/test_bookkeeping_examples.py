"""The worked examples of docs/bookkeeping.md, taken through the sandbox and read from the books."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.log import Actor, acting_as
from ledger.balances import entries_for_source
from payments import bookkeeping
from payments.actions.provider_accounts import create_provider_account
from payments.models import Merchant, Payment
from tests.payments.shop import Shop

PAGE = Path(__file__).parents[2] / "docs" / "bookkeeping.md"
EXAMPLES = re.findall(r"<!-- example: card (\d+) ([A-Z]{3}) -->\n\n((?:\|.*\n)+)", PAGE.read_text())


def rows_of(table: str) -> list[tuple[str, str, str, str]]:
    """The lines of a Markdown table, its two heading lines left out."""
    rows = [line.strip("|").split("|") for line in table.strip().splitlines()[2:]]
    return [tuple(cell.strip() for cell in row) for row in rows]  # type: ignore[misc]


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 4


def booked(payment: Payment) -> list[tuple[str, str, str, str]]:
    """The payment's journal as the page writes it."""
    return [
        (
            entry.kind if line.line_number == 1 else "",
            line.account.code,
            str(line.debit_minor or ""),
            str(line.credit_minor or ""),
        )
        for entry in entries_for_source("payment", payment.pk)
        for line in entry.lines
    ]


@pytest.mark.parametrize(("amount_minor", "currency", "table"), EXAMPLES)
def test_the_books_are_as_the_page_says(
    shop: Shop, amount_minor: str, currency: str, table: str
) -> None:
    payment = shop.created(amount_minor=int(amount_minor), currency=currency)
    shop.settle()
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "settled"
    assert booked(payment) == rows_of(table)


def settled(shop: Shop, **parameters: Any) -> Payment:
    payment = shop.created(**parameters)
    shop.later(minutes=2)
    return payment


def refunded_before_settlement(shop: Shop) -> Payment:
    shop.settings(settle_after_seconds=600)
    payment = shop.created()
    shop.refund(payment.pk, 1000)
    shop.later(minutes=11)
    return payment


def refunded_in_full_after_settlement(shop: Shop) -> Payment:
    payment = settled(shop)
    shop.refund(payment.pk)
    return payment


def refunded_with_the_fee(shop: Shop) -> Payment:
    payment = settled(shop)
    shop.refund(payment.pk, 2100, refund_platform_fee=True)
    return payment


def refund_that_came_back(shop: Shop) -> Payment:
    payment = settled(shop, payment_method="tok_refund_fails_late")
    shop.refund(payment.pk, 1000)
    shop.later(minutes=1)
    return payment


def disputed(shop: Shop, result: str) -> Payment:
    payment = settled(shop)
    shop.stage(payment.pk, "dispute", amount_minor=1000)
    shop.deliver_events()
    shop.stage_dispute(payment.disputes.get().pk, result)
    shop.deliver_events()
    return payment


def returned_debit(shop: Shop) -> Payment:
    payment = shop.created(payment_method="tok_bank")
    shop.later(minutes=1)
    shop.later(minutes=2)
    shop.stage(payment.pk, "return", code="R10")
    shop.deliver_events()
    return payment


def captured_in_parts(shop: Shop) -> Payment:
    payment = shop.created(capture_method="manual")
    shop.capture(payment.pk, 1500, final=False)
    shop.capture(payment.pk, 2000)
    shop.later(minutes=2)
    return payment


def voided_after_capture(shop: Shop) -> Payment:
    shop.settings(settle_after_seconds=600)
    payment = shop.created()
    shop.cancel(payment.pk)
    return payment


def on_the_merchants_own_account(shop: Shop) -> Payment:
    with acting_as(Actor(type="system", id="test")):
        account = create_provider_account(
            provider="sandbox",
            name="Alice's own",
            livemode=False,
            merchant=shop.merchant,
            secret_key=shop.sandbox_key,
            publishable_key="sbx_pk_unused",
            webhook_secrets=["whsec_unused"],
            api_base="",
            actor=Actor(type="system", id="test"),
            now=shop.now(),
            owned_by_merchant=True,
        )
    shop.account = account
    return settled(shop)


LIVES: dict[str, Callable[[Shop], Payment]] = {
    "captured in two parts": captured_in_parts,
    "refund before settlement": refunded_before_settlement,
    "refund after settlement": refunded_in_full_after_settlement,
    "refund with the fee": refunded_with_the_fee,
    "refund that came back": refund_that_came_back,
    "dispute won": lambda shop: disputed(shop, "won"),
    "dispute lost": lambda shop: disputed(shop, "lost"),
    "debit returned": returned_debit,
    "voided after capture": voided_after_capture,
    "the merchant's own provider account": on_the_merchants_own_account,
}
LIFE_TABLES = dict(re.findall(r"<!-- example: life ([^>]+) -->\n\n((?:\|.*\n)+)", PAGE.read_text()))


def test_every_life_is_on_the_page() -> None:
    assert set(LIFE_TABLES) == set(LIVES)


@pytest.mark.parametrize("name", LIVES)
def test_the_books_of_a_life_are_as_the_page_says(shop: Shop, name: str) -> None:
    # The entries of one change are posted in one statement: their order among them means nothing.
    assert sorted(booked(LIVES[name](shop))) == sorted(rows_of(LIFE_TABLES[name]))


@given(
    amount_minor=st.integers(1, 10**12),
    basis_points=st.integers(0, 10_000),
    fixed_minor=st.integers(0, 10**9),
)
def test_the_platforms_fee_is_never_negative_and_never_more_than_the_amount(
    amount_minor: int, basis_points: int, fixed_minor: int
) -> None:
    merchant = Merchant(fee_basis_points=basis_points, fee_fixed_minor=fixed_minor)
    fee = bookkeeping.platform_fee_minor(merchant, amount_minor)
    assert 0 <= fee <= amount_minor


@pytest.mark.parametrize(
    ("amount_minor", "basis_points", "fixed_minor", "fee"),
    [
        (100, 150, 0, 2),  # 1.5 rounds up
        (99, 150, 0, 1),  # 1.485 rounds down
        (33, 150, 0, 0),  # 0.495 rounds down
        (34, 150, 0, 1),  # 0.51 rounds up
        (4200, 150, 20, 83),
        (10, 0, 20, 10),
        (10_000, 10_000, 0, 10_000),
        (1, 5_000, 0, 1),  # half rounds up
        (0, 150, 0, 0),
    ],
)
def test_the_platforms_fee_rounds_half_up(
    amount_minor: int, basis_points: int, fixed_minor: int, fee: int
) -> None:
    merchant = Merchant(fee_basis_points=basis_points, fee_fixed_minor=fixed_minor)
    assert bookkeeping.platform_fee_minor(merchant, amount_minor) == fee
