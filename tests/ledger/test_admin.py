"""Staff read the books in the back office, and can do nothing else there."""

from __future__ import annotations

import re
import secrets

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from ledger.accounts import open_account
from ledger.posting import Line
from tests.ledger.conftest import Books

ACCOUNTS = "admin:ledger_account_changelist"
ENTRIES = "admin:ledger_journalentry_changelist"


@pytest.fixture
def staff() -> Client:
    """A superuser: what even they cannot do, nobody can."""
    user = get_user_model().objects.create_superuser(f"staff_{secrets.token_hex(6)}")
    client = Client()
    client.force_login(user)
    return client


def _text(client: Client, url: str, **query: str) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    without_tags = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(without_tags.split())


def test_accounts_are_found_by_owner_and_shown_with_their_balance(
    staff: Client, books: Books
) -> None:
    books.fund(123_456)
    books.move(books.wallet, books.clearing, 1_000, pending=True)
    text = _text(staff, reverse(ACCOUNTS), q=books.owner)
    assert "merchant:available" in text
    assert "1,234.56 EUR" in text
    assert "10.00 EUR" in text


def test_a_search_for_nothing_known_finds_nothing(staff: Client, books: Books) -> None:
    books.fund(777_777)
    assert "7,777.77 EUR" not in _text(staff, reverse(ACCOUNTS), q="nobody")
    assert "7,777.77 EUR" not in _text(staff, reverse(ENTRIES), q="nothing")


def test_an_accounts_page_shows_totals_and_latest_lines(staff: Client, books: Books) -> None:
    books.fund(500)
    books.move(books.wallet, books.clearing, 200)
    page = reverse("admin:ledger_account_change", args=[open_account(books.wallet)])
    text = _text(staff, page)
    assert "3.00 EUR" in text
    assert "5.00 EUR" in text
    assert "2.00 EUR" in text


def test_an_account_without_floor_or_lines_is_shown_too(staff: Client, books: Books) -> None:
    page = reverse("admin:ledger_account_change", args=[open_account(books.pending)])
    assert "No lines yet." in _text(staff, page)


@pytest.mark.parametrize("by", ["source", "key", "number"])
def test_entries_are_found_by_source_key_and_number(staff: Client, books: Books, by: str) -> None:
    entry = books.move(books.clearing, books.pending, 98_765, source_id=f"{books.owner}:source")
    term = {
        "source": f"{books.owner}:source",
        "key": f"{books.owner}:1",
        "number": str(entry.id),
    }[by]
    assert "987.65 EUR" in _text(staff, reverse(ENTRIES), q=term)


def test_an_entrys_page_shows_debits_credits_and_their_zero_sum(
    staff: Client, books: Books
) -> None:
    entry = books.post(
        Line(books.clearing, 1_000, description="Gross"),
        Line(books.pending, credit_minor=950),
        Line(books.account("fee", "income"), credit_minor=50),
        kind="payment.captured",
    )
    text = _text(staff, reverse("admin:ledger_journalentry_change", args=[entry.id]))
    assert "payment.captured" in text
    for amount in ("10.00 EUR", "9.50 EUR", "0.50 EUR"):
        assert amount in text
    assert "Gross" in text
    assert "Debits minus credits: 0.00 EUR – balanced" in text


def test_a_reversed_entry_and_its_reversal_lead_to_each_other(staff: Client, books: Books) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    reversal = books.move(books.pending, books.clearing, 70, reverses=entry.id)
    for shown, other in ((entry, reversal), (reversal, entry)):
        page = reverse("admin:ledger_journalentry_change", args=[shown.id])
        assert f"Journal entry {other.id}" in _text(staff, page)


@pytest.mark.parametrize("model", ["account", "journalentry"])
def test_nobody_adds_changes_or_deletes_here(staff: Client, books: Books, model: str) -> None:
    entry = books.move(books.clearing, books.pending, 70)
    number = entry.id if model == "journalentry" else open_account(books.pending)
    assert staff.get(reverse(f"admin:ledger_{model}_add")).status_code == 403
    change = reverse(f"admin:ledger_{model}_change", args=[number])
    assert staff.post(change, {"description": "other"}).status_code == 403
    assert staff.post(reverse(f"admin:ledger_{model}_delete", args=[number])).status_code == 403


def test_whoever_may_not_view_the_books_does_not_see_them(books: Books) -> None:
    user = get_user_model().objects.create_user(f"clerk_{secrets.token_hex(6)}", is_staff=True)
    client = Client()
    client.force_login(user)
    assert client.get(reverse(ENTRIES)).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_journalentry"))
    assert client.get(reverse(ENTRIES)).status_code == 200
