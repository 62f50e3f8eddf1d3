"""What is a card number and what only looks like one: the one rule of every door and every net."""

from __future__ import annotations

import secrets
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typeid import TypeID

from audit import card_numbers
from tests.card_numbers import card_numbers as any_card_number
from tests.card_numbers import written

NUMBERS = [
    "4111111111111111",
    "4222222222222",  # 13 digits
    "4000000000000000006",  # 19 digits
    "5555555555554444",
    "2223003122003222",
    "2720994326581252",
    "378282246310005",
    "6011111111111117",
    "3056930009020004",
    "30569309025904",
    "36227206271667",
    "3566002020360505",
    "6200000000000005",
    "6759649826438453",
    "6304000000000000",
    "501800000009",  # 12 digits
    "2201382000000013",
    "9792000000000003",
]
NO_NUMBERS = [
    "1763640000000",  # milliseconds since 1970
    "1763640000000000",
    "1795168800000000000",
    "9999999999999995",  # no scheme
    "4111111111111112",  # fails the check
    "5555 5555 5555 444",
    "510000000000003",  # 15 digits that begin as a Mastercard does not
    "2026-11-20 12:00:00",
    "0.4111111111111111",
    "+4915112345672",
    "order 1001, 4200 EUR",
    "a4111111111111111",
    "4111111111111111b",
    "41111111111111114111111111111111",
    "550e8400-e29b-41d4-a716-446655440000",
    "50180000-0009-4111-8111-111111111111",
    "127.0.0.1:8000",
    "",
]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "around", ["{}", "card={};", "paid with {}.", "(12) {} - 07", "\u201e{}\u201c", "x_{}", "\n{}"]
)
def test_a_card_number_is_found_wherever_it_stands(number: str, around: str) -> None:
    text = around.format(number)
    assert card_numbers.carries(text)
    masked, count = card_numbers.mask(text)
    assert count == 1
    assert number not in masked
    assert number[:6] in masked
    assert number[-4:] in masked


@pytest.mark.parametrize("separators", [" ", "-", " - ", "\u00a0", "\u2013", "\u200b", "  "])
def test_spaces_and_dashes_hide_no_number(separators: str) -> None:
    assert card_numbers.carries(separators.join(["4111", "1111", "1111", "1111"]))
    assert card_numbers.carries(separators.join("4111111111111111"))


@pytest.mark.parametrize("zero", ["\uff10", "\u0660", "\u06f0", "\U0001d7ce"])
def test_digits_of_other_scripts_hide_no_number(zero: str) -> None:
    text = "".join(chr(ord(zero) + int(digit)) for digit in "4111111111111111")
    assert card_numbers.carries(text)
    assert card_numbers.mask(text)[0] == "411111******1111"


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_only_looks_similar_is_left_alone(text: str) -> None:
    assert not card_numbers.carries(text)
    assert card_numbers.mask(text) == (text, 0)


@given(number=any_card_number(), data=st.data())
def test_every_generated_number_is_found_and_masked(number: str, data: st.DataObject) -> None:
    text = data.draw(written(number))
    assert card_numbers.carries(text)
    masked, _ = card_numbers.mask(f"<{text}>")
    assert not card_numbers.carries(masked)


def test_our_own_ids_and_keys_are_no_card_numbers() -> None:
    made = [str(TypeID(prefix="pay")) for _ in range(5_000)]
    made += [str(uuid.uuid4()) for _ in range(20_000)]
    made += [f"test-{secrets.token_hex(16)}" for _ in range(5_000)]
    made += [f"sk_test_{secrets.token_urlsafe(32)}" for _ in range(5_000)]
    assert [text for text in made if card_numbers.carries(text)] == []


def test_a_number_of_thirteen_digits_after_a_plus_is_a_telephone_number() -> None:
    assert not card_numbers.carries("+4222222222222")
    assert card_numbers.carries("4222222222222")
    assert card_numbers.carries("+4111111111111111")
    assert card_numbers.carries("+49 4111 1111 1111 1111")


@pytest.mark.parametrize(
    "text",
    [
        "1 " * 400_000,
        "4 0 0 0 " * 100_000,
        "4000000000000001," * 50_000,
        "4" * 800_000,
        "é1" * 9**5,
    ],
)
def test_no_text_keeps_us_busy(text: str) -> None:
    started = time.perf_counter()
    card_numbers.carries(text)
    # Whoever looks at the rest of the text again from each digit is busy for many minutes.
    assert time.perf_counter() - started < 30


def test_a_number_at_the_end_of_very_many_digits_is_not_overlooked() -> None:
    assert card_numbers.carries("1 " * 400_000 + "4111111111111111")
