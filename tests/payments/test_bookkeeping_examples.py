"""The worked examples of docs/bookkeeping.md, taken through the sandbox and read from the books."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.balances import entries_for_source
from payments import bookkeeping
from payments.models import Merchant
from tests.payments.shop import Shop

PAGE = Path(__file__).parents[2] / "docs" / "bookkeeping.md"
EXAMPLES = re.findall(r"<!-- example: card (\d+) ([A-Z]{3}) -->\n\n((?:\|.*\n)+)", PAGE.read_text())


def rows_of(table: str) -> list[tuple[str, str, str, str]]:
    """The lines of a Markdown table, its two heading lines left out."""
    rows = [line.strip("|").split("|") for line in table.strip().splitlines()[2:]]
    return [tuple(cell.strip() for cell in row) for row in rows]  # type: ignore[misc]


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize(("amount_minor", "currency", "table"), EXAMPLES)
def test_the_books_are_as_the_page_says(
    shop: Shop, amount_minor: str, currency: str, table: str
) -> None:
    payment = shop.created(amount_minor=int(amount_minor), currency=currency)
    shop.settle()
    shop.deliver_events()
    assert shop.payment(payment.pk).state == "settled"
    booked = [
        (
            entry.kind if line.line_number == 1 else "",
            line.account.code,
            str(line.debit_minor or ""),
            str(line.credit_minor or ""),
        )
        for entry in entries_for_source("payment", payment.pk)
        for line in entry.lines
    ]
    assert booked == rows_of(table)


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
