"""Everything that `post` is told arrives in the books, and every text has its longest length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from ledger.balances import entry
from ledger.posting import FloorBreached, InvalidPosting, Line, PostedEntry, post_many
from tests.ledger.conftest import NOON, Books

Post = Callable[..., PostedEntry]


def arguments(books: Books, *lines: Line, **more: Any) -> dict[str, Any]:
    """Arguments of `post` for an entry of its own."""
    name = f"{books.owner}:argument:{books.posted}"
    books.posted += 1
    facts: dict[str, Any] = {
        "idempotency_key": name,
        "kind": "test.told",
        "lines": lines
        or [Line(books.clearing, debit_minor=5), Line(books.pending, credit_minor=5)],
        "effective_at": NOON,
        "source_type": "argument",
        "source_id": name,
        "livemode": False,
    }
    return facts | more


def stored(entry_id: int) -> tuple[Any, ...]:
    """(metadata, enforces_floors) as the header has them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT metadata::text, enforces_floors FROM ledger_journal_entry WHERE id = %s",
            [entry_id],
        )
        return tuple(cursor.fetchone())


def test_words_and_metadata_are_kept(books: Books, posted: Post) -> None:
    told = arguments(books, description="A fact", metadata={"order": "7"})
    made = posted(**told)
    found = entry(made.id)
    assert found is not None
    assert (found.kind, found.description, found.effective_at) == ("test.told", "A fact", NOON)
    assert (found.source_type, found.source_id) == ("argument", told["source_id"])
    assert found.livemode is False
    assert (found.reverses, found.resolves) == (None, None)
    assert stored(made.id) == ('{"order": "7"}', True)


def test_an_entry_without_words_has_none(books: Books, posted: Post) -> None:
    made = posted(**arguments(books))
    assert stored(made.id) == ("{}", True)


def test_a_request_is_refused_at_the_floor_and_a_fact_is_not(books: Books, posted: Post) -> None:
    overdraft = [Line(books.wallet, debit_minor=5), Line(books.clearing, credit_minor=5)]
    with pytest.raises(FloorBreached):
        posted(**arguments(books, *overdraft))
    with pytest.raises(FloorBreached):
        posted(**arguments(books, *overdraft, enforce_floors=True))
    made = posted(**arguments(books, *overdraft, enforce_floors=False))
    assert stored(made.id) == ("{}", False)


def test_a_reversal_is_linked_to_what_it_reverses(books: Books, posted: Post) -> None:
    first = posted(**arguments(books))
    mirrored = [Line(books.pending, debit_minor=5), Line(books.clearing, credit_minor=5)]
    found = entry(posted(**arguments(books, *mirrored, reverses=first.id)).id)
    assert found is not None
    assert (found.reverses, found.resolves) == (first.id, None)


def test_a_resolution_is_linked_to_its_hold(books: Books, posted: Post) -> None:
    books.fund(5)
    hold = books.move(books.wallet, books.clearing, 5, pending=True)
    voided = [
        Line(books.clearing, debit_minor=5, pending=True),
        Line(books.wallet, credit_minor=5, pending=True),
    ]
    found = entry(posted(**arguments(books, *voided, resolves=hold.id)).id)
    assert found is not None
    assert (found.reverses, found.resolves) == (None, hold.id)
    assert all(line.pending for line in found.lines)


def test_a_lines_words_are_kept_and_lines_are_posted_money_by_default(
    books: Books, posted: Post
) -> None:
    lines = [
        Line(books.clearing, debit_minor=5, description="gross"),
        Line(books.pending, credit_minor=5),
    ]
    found = entry(posted(**arguments(books, *lines)).id)
    assert found is not None
    assert [line.description for line in found.lines] == ["gross", ""]
    assert [line.pending for line in found.lines] == [False, False]
    assert [(line.debit_minor, line.credit_minor) for line in found.lines] == [(5, 0), (0, 5)]


@pytest.mark.parametrize(
    ("name", "longest"),
    [("idempotency_key", 200), ("kind", 80), ("source_type", 80), ("source_id", 200)],
)
def test_a_text_has_from_one_to_so_many_characters(
    books: Books, posted: Post, name: str, longest: int
) -> None:
    for length in (1, longest):
        text = (books.owner + "x" * 200)[:length] if length > 1 else books.owner[-1]
        told = arguments(books, **{name: text})
        if name == "idempotency_key" and length == 1:
            continue  # one character is some other test's key sooner or later
        assert posted(**told).created
    for text in ("", "x" * (longest + 1)):
        with pytest.raises(InvalidPosting, match=f"{name} .* use 1 to {longest} characters"):
            posted(**arguments(books, **{name: text}))


def test_the_same_told_twice_is_the_first_entry(books: Books, posted: Post) -> None:
    told = arguments(books)
    first, second = posted(**told), posted(**told)
    assert (first.created, second.created) == (True, False)
    assert second.id == first.id


def test_nothing_to_post_posts_nothing() -> None:
    with transaction.atomic():
        assert post_many([]) == []
