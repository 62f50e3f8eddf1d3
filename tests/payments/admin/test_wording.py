"""Nothing reaches a person as a raw key: every name that the code can write has words.

The names are not listed here but taken from the machines, the models and the source itself, so
that whoever adds a state, an event or a journal entry is told to word it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from payments.actions import announcements, observe_dispute, observe_refund
from payments.actions.answer_request import ACTIONS
from payments.admin import wording, wording_edges, wording_parts
from payments.machines import CaptureState, DisputeState, RefundState
from payments.models import Attempt, ProviderOperation, Refund, ReviewCase
from payments.providers.base import Outcome
from payments.providers.objects import EVIDENCE_FILE_FIELDS, EVIDENCE_TEXT_FIELDS, DisputeStage
from payments.states import EDGES, EVENTS, Edge, State

BASE = Path(settings.BASE_DIR)
SUBJECTS = (
    "payment|refund|dispute|review|customer|payment_method|mandate|breaker|endpoint|dead_letter"
)
NAME = re.compile(rf"(?:{SUBJECTS})\.[a-z_]+")
RAW_KEY = re.compile(r"\b[a-z]+_[a-z_]+\b|PSP|psp")


def strings_in(*paths: str) -> Iterator[str]:
    """Every string constant of these files and folders."""
    for path in paths:
        place = BASE / path
        for file in sorted(place.rglob("*.py") if place.is_dir() else [place]):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def written_by(*paths: str) -> set[str]:
    """The names of events and entries that stand in the source as they are written."""
    return {text for text in strings_in(*paths) if NAME.fullmatch(text)}


def causes_in_source() -> set[str]:
    """What `Cause(type=...)` is given anywhere."""
    found: set[str] = set()
    for file in (BASE / "payments" / "actions").glob("*.py"):
        found |= set(re.findall(r'Cause\(type="(\w+)"', file.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.source}-{edge.event}")
def test_every_edge_is_told_in_words(edge: Edge) -> None:
    words = wording.edge_meaning(edge.event)
    assert edge.event in wording_edges.EDGES
    assert not RAW_KEY.search(words), words
    assert words[:1].isupper()


def test_no_words_are_kept_for_edges_that_are_gone() -> None:
    assert set(wording_edges.EDGES) == set(EVENTS)


def test_every_event_type_is_told_in_words() -> None:
    emitted = {
        *announcements.ANNOUNCEMENTS.values(),
        *announcements.ANNOUNCEMENTS_OF_EDGES.values(),
        announcements.SETTLED_IN_PLACE,
        *observe_refund._ANNOUNCEMENTS.values(),
        *(f"dispute.{word}" for word in dispute_words()),
        "breaker.opened",
        "breaker.closed",
        *(
            name
            for name in written_by("webhooks", "payments/actions")
            if name not in wording.LEDGER_KINDS and name not in wording.NOTES
        ),
    } - {"breaker.not_told", "mandate.accepted_at"}  # a log line, and a parameter's name
    assert sorted(emitted - set(wording.EVENTS)) == []
    assert not [words for words in wording.EVENTS.values() if RAW_KEY.search(words)]


def dispute_words() -> set[str]:
    """What `tell_dispute` is asked to tell."""
    source = (BASE / "payments/actions/operation_parts.py").read_text(encoding="utf-8")
    source += Path(observe_dispute.__file__).read_text(encoding="utf-8")
    found = set(re.findall(r'word = "(\w+)" if [^"]*?(?:"\w+" )?else "(\w+)"', source))
    words = {word for pair in found for word in pair}
    return words | {"opened", "updated", "closed", "evidence_submitted", "accepted"}


def test_every_journal_entry_is_told_in_words() -> None:
    kinds = written_by("payments/bookkeeping.py")
    kinds |= {
        name
        for name in written_by("payments/actions/facts.py")
        if name not in announcements.ANNOUNCEMENTS.values()
    }
    assert len(kinds) >= 13
    assert sorted(kinds - set(wording.LEDGER_KINDS)) == []
    assert not [words for words in wording.LEDGER_KINDS.values() if RAW_KEY.search(words)]


def test_every_note_of_the_audit_trail_is_told_in_words() -> None:
    parts = {f"refund.{state}" for state in RefundState} - {"refund.requested"}
    parts |= {"refund.created", *(f"dispute.{word}" for word in dispute_words())}
    parts |= {"dispute.file_added", "review.opened", "review.decided", "review.resolved"}
    parts |= {"payment.provider_fee_learnt", "provider.contradiction"}
    assert sorted(parts - set(wording.NOTES)) == []


VOCABULARIES: dict[str, tuple[Any, Any]] = {
    "states": (State, wording.STATES),
    "captures": (CaptureState, wording_parts.CAPTURES),
    "refunds": (RefundState, wording_parts.REFUNDS),
    "disputes": (DisputeState, wording_parts.DISPUTES),
    "stages": (DisputeStage, wording_parts.DISPUTE_STAGES),
    "cases": (ReviewCase.Kind, wording_parts.CASES),
    "sources of refunds": (Refund.Source, wording_parts.REFUND_SOURCES),
    "reasons of refunds": (Refund.Reason, wording_parts.REFUND_REASONS),
    "calls": (ProviderOperation.Kind, wording.OPERATIONS),
    "tries": (Attempt.State, wording.ATTEMPT_TONES),
    "texts of evidence": (EVIDENCE_TEXT_FIELDS, wording_parts.EVIDENCE_TEXTS),
    "files of evidence": (EVIDENCE_FILE_FIELDS, wording_parts.EVIDENCE_FILES),
    "requests": (ACTIONS, wording.REQUESTS),
    "causes": (causes_in_source(), wording.CAUSES),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_name_has_words_and_no_words_are_left_over(name: str) -> None:
    names, words = VOCABULARIES[name]
    known = {str(getattr(each, "value", each)) for each in names}
    assert {str(each) for each in words} == known
    for told in words.values():
        assert told
        assert not RAW_KEY.search(str(getattr(told, "sentence", told))), told


def test_every_outcome_has_words() -> None:
    assert {outcome.value for outcome in Outcome} <= set(wording.OUTCOMES)
