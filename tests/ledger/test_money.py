"""Money is whole minor units, and a split always adds up."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import (
    EXPONENTS,
    LARGEST_AMOUNT_MINOR,
    CurrencyMismatch,
    InvalidMoney,
    Money,
    UnknownCurrency,
    allocate,
    exponent,
    is_currency,
    validate_currency,
)

amounts = st.integers(-LARGEST_AMOUNT_MINOR, LARGEST_AMOUNT_MINOR)
currencies = st.sampled_from(sorted(EXPONENTS))
weights = st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any)


@pytest.mark.parametrize(
    ("currency", "decimals"), [("JPY", 0), ("EUR", 2), ("USD", 2), ("BHD", 3), ("CLF", 4)]
)
def test_each_currency_has_the_decimals_of_iso_4217(currency: str, decimals: int) -> None:
    assert exponent(currency) == decimals


@pytest.mark.parametrize("text", ["eur", "EURO", "", "XXX", "€", " EUR", "EU1"])
def test_what_is_no_currency_is_refused_with_a_way_out(text: str) -> None:
    assert not is_currency(text)
    with pytest.raises(UnknownCurrency, match="use an ISO 4217 code"):
        validate_currency(text)


def test_what_is_no_text_is_no_currency() -> None:
    assert not is_currency(None)
    assert not is_currency(978)


@pytest.mark.parametrize("amount", [1.0, "1", None, True, Decimal(1), float("nan")])
def test_an_amount_that_is_no_integer_is_refused(amount: object) -> None:
    with pytest.raises(InvalidMoney, match="integer number of minor units"):
        Money(amount, "EUR")  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [2**63, -(2**63)])
def test_an_amount_beyond_a_bigint_is_refused(amount: int) -> None:
    with pytest.raises(InvalidMoney, match="out of range"):
        Money(amount, "EUR")


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [("10.5", "EUR", 1050), ("10", "JPY", 10), ("-0.001", "BHD", -1), ("1e2", "EUR", 10_000)],
)
def test_major_units_become_minor_units(text: str, currency: str, minor: int) -> None:
    assert Money.from_major(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency"), [("10.005", "EUR"), ("0.5", "JPY"), ("NaN", "EUR"), ("Infinity", "EUR")]
)
def test_fractions_of_a_minor_unit_are_refused(text: str, currency: str) -> None:
    with pytest.raises(InvalidMoney):
        Money.from_major(text, currency)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidMoney, match="use digits"):
        Money.from_major("ten", "EUR")


@given(amounts, currencies)
def test_major_units_lead_back_to_the_same_money(amount: int, currency: str) -> None:
    money = Money(amount, currency)
    assert Money.from_major(money.major, currency) == money


def test_money_is_written_with_its_currencys_decimals() -> None:
    assert str(Money(123_456, "EUR")) == "1,234.56 EUR"
    assert str(Money(-5, "JPY")) == "-5 JPY"
    assert str(Money(5, "BHD")) == "0.005 BHD"


def test_money_of_one_currency_adds_subtracts_and_compares() -> None:
    one, two = Money(1, "EUR"), Money(2, "EUR")
    assert one + one == two
    assert two - one == one
    assert one < two
    assert one <= one
    assert two > one
    assert two >= two


def test_two_currencies_never_meet() -> None:
    with pytest.raises(CurrencyMismatch):
        Money(1, "EUR") + Money(1, "USD")
    with pytest.raises(CurrencyMismatch):
        assert Money(1, "EUR") < Money(1, "USD")


def test_the_unit_left_over_goes_to_the_largest_remainder_and_then_to_the_first() -> None:
    assert [part.amount_minor for part in allocate(Money(100, "EUR"), [1, 1, 1])] == [34, 33, 33]
    assert [part.amount_minor for part in allocate(Money(10, "EUR"), [1, 5, 3])] == [1, 6, 3]
    assert [part.amount_minor for part in allocate(Money(-100, "EUR"), [1, 1, 1])] == [
        -34,
        -33,
        -33,
    ]


@pytest.mark.parametrize("bad", [[], [0, 0], [1, -1], [1.5], [True]])
def test_weights_that_cannot_split_are_refused(bad: list[int]) -> None:
    with pytest.raises(InvalidMoney, match="cannot split money"):
        allocate(Money(1, "EUR"), bad)


@given(amounts, weights)
def test_parts_add_up_and_differ_from_their_exact_share_by_less_than_a_unit(
    amount: int, shares: list[int]
) -> None:
    parts = allocate(Money(amount, "EUR"), shares)
    assert sum(part.amount_minor for part in parts) == amount
    for part, share in zip(parts, shares, strict=True):
        exact = Fraction(amount * share, sum(shares))
        assert abs(part.amount_minor - exact) < 1
        assert share or part.amount_minor == 0


@given(st.integers(0, 10**12), weights)
def test_a_larger_weight_never_gets_less(amount: int, shares: list[int]) -> None:
    parts = allocate(Money(amount, "EUR"), shares)
    ordered = sorted(zip(shares, parts, strict=True), key=lambda pair: pair[0])
    for (smaller, less), (larger, more) in pairwise(ordered):
        assert smaller == larger or less.amount_minor <= more.amount_minor
