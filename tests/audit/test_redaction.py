"""The last-resort scanner: finds cards and secrets, leaves everything else alone, never raises."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.redaction import REDACTIONS, UnsupportedValue, writable_json, writable_text

CARDS = [
    "4242424242424242",
    "4242 4242 4242 4242",
    "4000-0566-5566-5556",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "3782 822463 10005",
    "371449635398431",
    "6011111111111117",
    "6555900000604105",
    "3056930009020004",
    "36227206271667",
    "3566002020360505",
    "6200000000000005",
    "6205500000000000004",
    "6759649826438453",
    "2201382000000013",
]
HARMLESS = [
    "4242424242424241",  # fails the check digit
    "1763640000000000",  # microseconds since 1970
    "1763640000000",
    "9999999999999995",  # no issuer
    "pay_01jcm6g3x4fe8tbk4242424242",
    "a4242424242424242b",
    "0.4242424242424242",
    "2026-11-20",
    "42424242424242424242424242",
    "5f2c4242-4242-4242-8424-242424242424",
    "basic",
    "the client's secret garden",
    "authorized",
]
SECRETS = [
    ("Bearer abcdefgh12345678", "Bearer [redacted]"),
    ("authorization: basic dXNlcjpwYXNz", "authorization: basic [redacted]"),
    ("key sk_live_4eC39HqLyjWDarjtT1zdp7dc!", "key sk_live_[redacted]!"),
    ("rk_test_abc123", "rk_test_[redacted]"),
    ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_[redacted]"),
    ("pi_3Abc_secret_Xyz9", "pi_3Abc_secret_[redacted]"),
]


def cleaned(value: Any) -> Any:
    return json.loads(writable_json(value).text)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("surroundings", ["{}", "card={};", "paid with {}.", "\u201e{}\u201c"])
def test_a_card_number_is_masked_wherever_it_stands(card: str, surroundings: str) -> None:
    digits = "".join(filter(str.isdigit, card))
    masked = f"{digits[:6]}{'*' * (len(digits) - 10)}{digits[-4:]}"
    found = writable_json({"a": [{"b": surroundings.format(card)}]})
    assert found.masked
    assert json.loads(found.text) == {"a": [{"b": surroundings.format(masked)}]}
    assert writable_text(surroundings.format(card)).text == surroundings.format(masked)


def test_a_card_number_as_a_number_or_a_key_is_masked() -> None:
    assert cleaned({"number": 4242424242424242}) == {"number": "424242******4242"}
    assert cleaned({"4242424242424242": 1}) == {"424242******4242": 1}


def test_an_amount_is_no_card_number() -> None:
    found = writable_json({"amount_minor": 4242424242424242, "Amount": 4242424242424242})
    assert not found.masked
    assert json.loads(found.text) == {"amount_minor": 4242424242424242, "Amount": 4242424242424242}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_similar_is_left_alone(text: str) -> None:
    found = writable_json({"value": text})
    assert (json.loads(found.text), found.masked) == ({"value": text}, False)


@pytest.mark.parametrize(("text", "masked"), SECRETS)
def test_a_secret_is_known_by_its_form(text: str, masked: str) -> None:
    found = writable_json({"value": text})
    assert (json.loads(found.text), found.masked) == ({"value": masked}, True)
    assert writable_text(text).text == masked


@pytest.mark.parametrize(
    "name",
    [
        *("client_secret", "clientSecret", "Authorization", "Proxy-Authorization", "set-cookie"),
        *("password", "new_password", "api_key", "X-Api-Key", "private_key", "access_token"),
        *("cvc", "CVV2", "card_verification_value", "securityCode", "webhook_secret", "pin"),
    ],
)
def test_a_secret_is_known_by_the_name_of_its_key(name: str) -> None:
    assert cleaned({name: "hunter2"}) == {name: "[redacted]"}
    assert cleaned({name: ["one", 2]}) == {name: ["[redacted]", "[redacted]"]}
    assert cleaned({name: {"id": "kept"}}) == {name: {"id": "kept"}}


def test_the_absence_of_a_secret_is_no_secret() -> None:
    found = writable_json({"cvc": None, "password": "", "client_secret": False, "cvc_check": "ok"})
    assert not found.masked


def test_every_masking_is_counted_by_kind() -> None:
    def count(kind: str) -> float:
        return float(REDACTIONS.labels(kind=kind)._value.get())

    cards, secrets = count("card_number"), count("secret")
    writable_json({"a": "4242424242424242", "password": "x"})
    assert (count("card_number"), count("secret")) == (cards + 1, secrets + 1)


class Colour(StrEnum):
    RED = "red"


class Level(Enum):
    HIGH = 3


def test_values_that_json_lacks_become_text() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert cleaned(
        {
            "decimal": Decimal("1.50"),
            "uuid": UUID(int=5),
            "moment": moment,
            "day": date(2026, 1, 2),
            "enums": (Colour.RED, Level.HIGH),
            "large": [2**53, -(2**53), 2**53 - 1],
            "not_finite": [float("nan"), float("-inf")],
            "float": 1.5,
        }
    ) == {
        "decimal": "1.50",
        "uuid": "00000000-0000-0000-0000-000000000005",
        "moment": "2026-01-02T01:04:05.000000+00:00",
        "day": "2026-01-02",
        "enums": ["red", 3],
        "large": ["9007199254740992", "-9007199254740992", 9007199254740991],
        "not_finite": ["nan", "-inf"],
        "float": 1.5,
    }


def test_text_that_the_database_cannot_hold_is_replaced_and_flagged() -> None:
    found = writable_json({"a\0": "x\0y", "b": "\ud800", "c": "\U0001f600"})
    assert found.masked
    assert json.loads(found.text) == {"a\ufffd": "x\ufffdy", "b": "\ufffd", "c": "\U0001f600"}
    assert writable_json({"a": "x\0y"}).text == '{"a":"x\ufffdy"}'
    assert writable_text("x\0y").text == "x\ufffdy"


def test_no_key_is_lost_when_two_become_equal() -> None:
    assert cleaned({"a\0": 1, "a\ufffd": 2}) == {"a\ufffd": 1, "a\ufffd\ufffd": 2}


def test_a_value_of_hostile_depth_is_cut_off() -> None:
    value: Any = 1
    for _ in range(5_000):
        value = [value]
    found = writable_json({"deep": value})
    assert found.masked
    assert "[deeper than 50 levels]" in found.text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [b"x"]}, r"body\.a\[0\] is a bytes"),
        ({"a": {1: 2}}, "body.a has the key 1"),
        ({"a": object()}, "body.a is a object"),
    ],
)
def test_a_mistake_of_the_program_is_told_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(UnsupportedValue, match=message):
        writable_json(value)


ORDINARY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=30)
    | st.sampled_from([*CARDS, *HARMLESS, *(text for text, _ in SECRETS)]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=10) | st.sampled_from(["cvc", "api-key", "Password", "amount", "pin"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ORDINARY)
def test_the_result_is_canonical_and_clean_and_scanning_it_again_changes_nothing(
    value: Any,
) -> None:
    first = writable_json([value])
    assert first.text == rfc8785.dumps(json.loads(first.text)).decode()
    again = writable_json(json.loads(first.text))
    assert again.text == first.text


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ORDINARY)
def test_the_quick_look_overlooks_nothing_that_the_thorough_one_finds(value: Any) -> None:
    quick = writable_json([value])

    class Thorough(list[Any]):
        """Not a plain list, so every part of it is looked at."""

    assert writable_json(Thorough([value])) == quick
