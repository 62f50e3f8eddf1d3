"""What did this event do, is one click: the page of a provider event says it, or why nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.urls import reverse

from audit.models import AuditEvent
from ledger.balances import entries_for_source
from payments.models import Transition
from tests.payments.admin.conftest import Life, Staff
from tests.payments.api.test_provider_webhooks_over_http import Sender
from tests.payments.shop import Shop
from webhooks.models import DomainEvent, InboxEvent, MerchantDelivery


def page_of(event: InboxEvent, person: Staff) -> str:
    answer = person.client.get(reverse("admin:webhooks_inboxevent_change", args=[event.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def settling(life: Life) -> InboxEvent:
    """The provider event that settled the payment."""
    moved = Transition.objects.get(payment=life.payment, to_state="settled")
    return InboxEvent.objects.get(pk=moved.cause_id)


def test_the_page_shows_everything_the_event_caused_with_links(
    life: Life, staff: Callable[[str], Staff]
) -> None:
    event = settling(life)
    page = page_of(event, staff("superuser"))
    assert "What this event did" in page
    assert reverse("admin:payments_payment_story", args=[life.payment.pk]) in page
    announced = DomainEvent.objects.filter(causation_id=event.pk)
    sent = MerchantDelivery.objects.filter(event__in=announced)
    booked = entries_for_source("payment", life.payment.pk, metadata={"cause_id": event.pk})
    recorded = AuditEvent.objects.filter(event_type="provider.event", stream_id=life.payment.pk)
    named = [each for each in recorded if event.pk in each.body]
    assert announced.count() > 0
    assert sent.count() > 0
    assert booked
    assert named
    for name, rows in (
        ("webhooks_domainevent", announced),
        ("webhooks_merchantdelivery", sent),
        ("audit_auditevent", named),
    ):
        for row in rows:
            assert reverse(f"admin:{name}_change", args=[row.pk]) in page
    for entry in booked:
        assert reverse("admin:ledger_journalentry_change", args=[entry.id]) in page
    assert AuditEvent.objects.filter(
        event_type="record.viewed", stream_id=life.payment.pk, body__contains=event.pk
    ).exists()


def test_what_another_event_caused_is_not_shown(life: Life, staff: Callable[[str], Staff]) -> None:
    event = settling(life)
    page = page_of(event, staff("superuser"))
    for other in DomainEvent.objects.filter(aggregate_id=life.payment.pk):
        shown = reverse("admin:webhooks_domainevent_change", args=[other.pk]) in page
        assert shown == (other.causation_id == event.pk)


def test_the_story_of_the_payment_leads_back_to_the_event(
    life: Life, staff: Callable[[str], Staff]
) -> None:
    story = staff("Operations").client.get(
        reverse("admin:payments_payment_story", args=[life.payment.pk])
    )
    event_page = reverse("admin:webhooks_inboxevent_change", args=[settling(life).pk])
    assert event_page in story.content.decode()


def test_what_a_group_may_not_see_is_left_out_and_said(
    life: Life, staff: Callable[[str], Staff]
) -> None:
    event = settling(life)
    page = page_of(event, staff("Operations"))
    assert "Not shown, because your groups may not see it: ledger entries, the audit trail" in page
    assert "/admin/ledger/journalentry/" not in page.partition("florin-facts")[2]
    assert (
        staff("Finance")
        .client.get(reverse("admin:webhooks_inboxevent_change", args=[event.pk]))
        .status_code
        == 403
    )


def test_the_endpoint_it_came_in_by_and_its_repetitions_are_named(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    sender = Sender(shop)
    raw = json.dumps(sender.event(shop.created().pk)).encode()
    signed = sender.headers(raw)
    assert sender.post(raw, {**signed, "florin-endpoint": "pend_forged"}).status_code == 200
    shop.drain()
    assert sender.post(raw, sender.headers(raw)).status_code == 200
    first, again = InboxEvent.objects.filter(account_id=shop.account.pk).order_by("arrival")
    assert first.headers["florin-endpoint"] == shop.endpoint.pk
    page = page_of(first, staff("superuser"))
    assert reverse("admin:payments_providerendpoint_change", args=[shop.endpoint.pk]) in page
    assert reverse("admin:webhooks_inboxevent_change", args=[again.pk]) in page
    assert "pend_forged" not in page
    page = page_of(again, staff("superuser"))
    assert "stands with the delivery that had its effect" in page
    assert reverse("admin:webhooks_inboxevent_change", args=[first.pk]) in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "spi_unknown", "reference": ""}, "It was not about anything of ours."),
        ({"id": "spi_unknown", "reference": "pay_unknown"}, "It waits for news that has to come"),
    ],
    ids=["ignored", "deferred"],
)
def test_an_event_without_effect_says_why(
    shop: Shop, staff: Callable[[str], Staff], change: dict[str, str], words: str
) -> None:
    event = Sender(shop).event(shop.created().pk)
    payment = event["data"]["payment"]
    event["id"] = f"{event['id']}x"
    payment |= change
    stored = shop.receive(event)
    shop.drain()
    page = page_of(InboxEvent.objects.get(pk=stored.id), staff("superuser"))
    assert words in page
    assert "It moved nothing, booked nothing and announced nothing." in page
    assert "Why:" in page


def test_an_event_that_has_not_been_looked_at_says_so(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    stored = shop.receive(Sender(shop).event(shop.created().pk))
    page = page_of(InboxEvent.objects.get(pk=stored.id), staff("superuser"))
    assert "It is stored and waits for its turn." in page
    shop.drain()
    page = page_of(InboxEvent.objects.get(pk=stored.id), staff("superuser"))
    assert "It told us nothing new." in page
