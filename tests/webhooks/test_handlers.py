"""Handlers are declared in one setting, matched by pattern, and checked before they run."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from webhooks import handlers

GOOD = {
    "name": "good",
    "function": "tests.webhooks.effects.blocking_handler",
    "types": ["payment.*"],
    "policy": "block",
}


@pytest.mark.parametrize(
    ("pattern", "type", "covered"),
    [
        ("*", "payment.settled", True),
        ("payment.*", "payment.settled", True),
        ("payment.settled", "payment.settled", True),
        ("payment.*", "payments.settled", False),
        ("payment.*", "refund.created", False),
        ("payment", "payment.settled", False),
        ("a.b.*", "a.b.c", True),
        ("a.*", "a.b.c", True),
    ],
)
def test_a_pattern_covers_a_type_a_family_or_everything(
    pattern: str, type: str, covered: bool
) -> None:
    assert handlers.matches([pattern], type) is covered


def test_the_shipped_setting_passes_the_checks() -> None:
    call_command("check")


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([{"name": "bare"}], "webhooks.E001"),
        ([GOOD, GOOD], "webhooks.E002"),
        ([GOOD | {"policy": "sometimes"}], "webhooks.E003"),
        ([GOOD | {"function": "tests.webhooks.effects.nowhere"}], "webhooks.E004"),
    ],
)
def test_a_wrong_entry_stops_the_start_with_words(
    entries: list[dict[str, object]], problem: str, settings: Settings
) -> None:
    settings.FLORIN_EVENT_HANDLERS = entries
    with pytest.raises(SystemCheckError, match=problem):
        call_command("check")
