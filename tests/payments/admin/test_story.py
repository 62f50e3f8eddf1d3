"""The story of a payment: found from any id, complete, readable, without secrets, audited."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rich.console import Console

from audit import timeline as audit_timeline
from payments.admin import search, story
from payments.models import Attempt, ProviderOperation
from payments.story import story_of
from tests.payments.admin.conftest import Life, Staff
from tests.payments.admin.test_disputes_and_cases import disputed
from tests.payments.shop import Shop, open_shop
from webhooks import story as webhook_story

ALL_RIGHTS = story.Rights(ledger=True, webhooks=True, audit=True)


def story_url(payment_id: str) -> str:
    return reverse("admin:payments_payment_story", args=[payment_id])


def test_a_story_tells_every_kind_of_thing_that_happened(life: Life) -> None:
    told = story.tell(life.payment, rights=ALL_RIGHTS)
    kinds = {entry.kind for entry in told.entries}
    assert {
        "request",
        "transition",
        "provider_call",
        "inbound",
        "ledger",
        "event",
        "delivery",
    } <= kinds
    moves = [entry.move for entry in told.entries if entry.move]
    assert moves == [
        ("", "created"),
        ("created", "processing"),
        ("processing", "captured"),
        ("captured", "settled"),
    ]
    assert [entry.at for entry in told.entries] == sorted(entry.at for entry in told.entries)


def test_every_journal_entry_of_a_story_sums_to_zero(life: Life) -> None:
    books = [e.books for e in story.tell(life.payment, rights=ALL_RIGHTS).entries if e.books]
    assert len(books) == 3  # captured, the provider's fee, settled
    assert all(each.balanced and each.debit_sum == each.credit_sum for each in books)


def test_the_page_says_it_in_plain_words(life: Life, staff: Callable[[str], Staff]) -> None:
    page = staff("Compliance").client.get(story_url(life.payment.pk))
    text = page.content.decode()
    assert page.status_code == 200
    for words in (
        "1,234.56\u00a0EUR",
        "The payment was made",
        "Sandbox was asked to make the payment",
        "The merchant asked us to create a payment",
        "Sandbox sent news",
        "Webhook to the merchant",
        "the entry sums to zero",
        "In balance",
        life.reference,
    ):
        assert words in text, words


def test_opening_a_story_is_audited_and_told_in_it(
    life: Life, staff: Callable[[str], Staff]
) -> None:
    person = staff("Compliance")
    person.client.get(story_url(life.payment.pk))
    page = person.client.get(story_url(life.payment.pk)).content.decode()
    assert f"{person.user.username} looked at this payment" in page
    records = audit_timeline.timeline(stream_type="payment", stream_id=life.payment.pk)
    views = [record for record in records if record.event_type == "record.viewed"]
    assert {view.actor_id for view in views} == {str(person.user.pk)}


def test_finance_reads_the_books_but_not_who_looked(
    life: Life, staff: Callable[[str], Staff]
) -> None:
    page = staff("Finance").client.get(story_url(life.payment.pk)).content.decode()
    assert "the entry sums to zero" in page
    assert "Not shown, because your groups may not see it" in page
    assert "looked at this payment" not in page
    assert "Sandbox sent news" not in page


@pytest.mark.parametrize("group", ["", "Live keys"])
def test_who_may_not_see_payments_sees_no_story(
    life: Life, staff: Callable[[str], Staff], group: str
) -> None:
    assert staff(group).client.get(story_url(life.payment.pk)).status_code == 403


def test_any_id_leads_to_the_payment(life: Life, staff: Callable[[str], Staff]) -> None:
    payment = life.payment
    events = webhook_story.events_of_aggregate("payment", payment.pk, limit=50)
    inbound = webhook_story.inbound_of(payment.pk, limit=50)
    attempt = Attempt.objects.get(payment=payment)
    ids = {
        "payment": payment.pk,
        "attempt": attempt.pk,
        "provider call": ProviderOperation.objects.filter(payment=payment)[0].pk,
        "provider's payment": life.provider_reference,
        "provider's charge": attempt.charge_reference,
        "merchant's reference": life.reference,
        "request": life.request_id,
        "domain event": events[0].id,
        "merchant delivery": events[0].deliveries[0].id,
        "stored webhook": inbound[0].id,
        "provider's event": inbound[0].event_id,
    }
    client = staff("Compliance").client
    for kind, value in ids.items():
        assert search.find(value).payment_ids == [payment.pk], f"{kind} {value}"
        answer = client.get(reverse("admin:payments_payment_find"), {"q": f"  {value} "})
        assert answer.status_code == 302, kind
        assert answer["Location"].startswith(story_url(payment.pk)), kind


def test_the_beginning_of_a_payment_id_is_enough(life: Life) -> None:
    assert life.payment.pk in search.find(life.payment.pk[:20]).payment_ids
    assert search.find("pay_").is_empty  # too short to mean anything


def test_a_merchants_email_leads_to_its_payments(life: Life, staff: Callable[[str], Staff]) -> None:
    findings = search.find(life.shop.merchant.email.upper())
    assert life.shop.merchant.pk in findings.merchant_ids
    page = staff("Compliance").client.get(
        reverse("admin:payments_payment_find"), {"q": life.shop.merchant.pk}
    )
    assert life.payment.pk in page.content.decode()


def test_two_payments_with_one_reference_are_shown_to_choose_from(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    other = open_shop()
    reference = f"same-{shop.merchant.pk[-8:]}"
    ids = {each.create(merchant_reference=reference).payment_id for each in (shop, other)}
    page = staff("Compliance").client.get(reverse("admin:payments_payment_find"), {"q": reference})
    assert page.status_code == 200
    assert all(payment_id in page.content.decode() for payment_id in ids)


@pytest.mark.parametrize(
    "term", ["pi_nowhere", "nobody@nowhere.example", "evt_x", "%", "' OR 1=1 --", "ü" * 300, "\x00"]
)
def test_what_is_unknown_says_what_was_searched(staff: Callable[[str], Staff], term: str) -> None:
    page = staff("Compliance").client.get(reverse("admin:payments_payment_find"), {"q": term})
    assert page.status_code == 200
    assert "Nothing is known by" in page.content.decode()
    assert "It was looked up as" in page.content.decode()


def test_an_unknown_payment_is_404(staff: Callable[[str], Staff]) -> None:
    assert staff("Compliance").client.get(story_url("pay_none")).status_code == 404


def test_a_story_takes_few_queries_however_long_it_is(
    life: Life, staff: Callable[[str], Staff]
) -> None:
    client = staff("Compliance").client
    client.get(story_url(life.payment.pk))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        client.get(story_url(life.payment.pk))
    assert len(queries) <= 40, "\n".join(query["sql"][:160] for query in queries)


def test_a_refused_request_is_told_with_its_words(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_insufficient_funds")
    told = story.tell(payment, rights=ALL_RIGHTS)
    refused = [entry for entry in told.entries if entry.kind == "request"]
    assert any("402" in entry.text for entry in refused)
    call = next(entry for entry in told.entries if entry.kind == "provider_call")
    assert call.badge == ("Declined", "bad")


def test_a_page_of_a_long_story_is_bounded(life: Life, staff: Callable[[str], Staff]) -> None:
    page = staff("Compliance").client.get(story_url(life.payment.pk) + "?show=money&page=99")
    kinds = re.findall(r'data-kind="(\w+)"', page.content.decode())
    assert kinds == ["ledger", "ledger", "ledger"]


def test_the_terminal_tells_refunds_disputes_and_cases_in_words(shop: Shop) -> None:
    dispute = disputed(shop)
    console = Console(width=220, record=True, file=io.StringIO())
    for table in story_of(dispute.payment_id):
        console.print(table)
    told = console.export_text()
    for words in (
        "The payer contests the payment at their bank",
        "News from the provider",
        "Needs an answer",
        "Chargeback",
        "Taken",
    ):
        assert words in told, words


def test_a_dispute_is_told_in_the_story_with_what_it_costs(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    dispute = disputed(shop)
    told = story.tell(shop.payment(dispute.payment_id), rights=ALL_RIGHTS)
    part = next(entry for entry in told.entries if entry.kind == "part")
    assert part.title.replace("\u00a0", " ") == "A dispute was opened: 42.00 EUR"
    assert "Chargeback, needs an answer" in part.text
    assert ("Fee", "15.00\u00a0EUR") in part.facts
    page = staff("Compliance").client.get(story_url(dispute.payment_id) + "?show=parts")
    assert "A dispute was opened" in page.content.decode()
