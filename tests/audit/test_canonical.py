"""The bytes of an event: unambiguous, and the same in Python and in the database."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import log
from audit.canonical import EventFields, canonical_json, microseconds
from tests.audit.conftest import append_event

FIELDS = EventFields(
    id=7,
    recorded_at=datetime(2026, 11, 20, 12, 0, 0, 1, tzinfo=UTC),
    xid=99,
    occurred_at=datetime(2026, 11, 20, 11, 59, 59, 999999, tzinfo=UTC),
    event_type="payment.captured",
    actor_type="user",
    actor_id="1",
    actor_display="Ann",
    stream_type="payment",
    stream_id="pay_1",
    trace_id="",
    request_id="req_1",
    reason="",
    redacted=False,
    reference_list='[["order","7"]]',
    body='{"amount_minor":1}',
)
ONE_LINE = st.text(
    alphabet=st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=40
).filter(lambda text: text.strip() != "")
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def test_the_bytes_of_an_event_are_one_plain_line_per_field() -> None:
    assert FIELDS.evidence() == (
        b"florin-audit-event-v1\n7\n1795176000000001\n99\n1795175999999999\npayment.captured\n"
        b'user\n1\nAnn\npayment\npay_1\n\nreq_1\n\nf\n[["order","7"]]\n{"amount_minor":1}'
    )


def test_the_hash_is_that_of_a_leaf_in_a_merkle_tree() -> None:
    assert FIELDS.leaf_hash() == hashlib.sha256(b"\x00" + FIELDS.evidence()).digest()


@pytest.mark.parametrize("name", ["actor_id", "stream_id", "reason", "reference_list", "body"])
def test_a_line_break_in_a_field_has_no_bytes(name: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        replace(FIELDS, **{name: "a\nb"}).evidence()  # type: ignore[arg-type]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    first=st.lists(ONE_LINE, min_size=4, max_size=4),
    second=st.lists(ONE_LINE, min_size=4, max_size=4),
)
def test_different_fields_have_different_bytes(first: list[str], second: list[str]) -> None:
    def event(texts: list[str]) -> EventFields:
        actor, display, stream, reason = texts
        return replace(
            FIELDS, actor_id=actor, actor_display=display, stream_id=stream, reason=reason
        )

    one, other = event(first), event(second)
    assert (one.evidence() == other.evidence()) == (one == other)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    body=st.dictionaries(st.text(max_size=10), BODIES, max_size=4),
    actor_id=ONE_LINE,
    stream_id=ONE_LINE,
    reference=ONE_LINE,
    occurred_at=st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
)
def test_whatever_is_appended_has_the_same_hash_in_python_and_in_the_database(
    body: dict[str, object],
    actor_id: str,
    stream_id: str,
    reference: str,
    occurred_at: datetime,
) -> None:
    event = append_event(
        body=body,
        actor=log.Actor(type="user", id=actor_id),
        stream_id=stream_id,
        references=[("order", reference)],
        occurred_at=occurred_at,
    )
    assert event.fields().leaf_hash() == bytes(event.leaf_hash)


def test_time_is_whole_microseconds_without_rounding() -> None:
    assert microseconds(datetime(2106, 2, 7, 6, 28, 15, 999999, tzinfo=UTC)) == 4294967295999999
    assert microseconds(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == -1


def test_canonical_json_sorts_keys_as_utf16_and_writes_numbers_as_ecmascript() -> None:
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2, "a": 1e21, "b": 0.1}) == (
        '{"a":1e+21,"b":0.1,"\U0001f600":2,"\ufb33":1}'
    )


def test_the_recipe_in_the_documentation_computes_the_hash() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```python\n(import hashlib\n.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(recipe, names)
    row = {name: getattr(FIELDS, name) for name in EventFields.__slots__} | {
        "recorded_at": microseconds(FIELDS.recorded_at),
        "occurred_at": microseconds(FIELDS.occurred_at),
        "redacted": "f",
    }
    assert names["leaf_hash"](row) == FIELDS.leaf_hash()
