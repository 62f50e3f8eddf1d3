"""What staff do to a payment: refund, capture, cancel, ask. Once each, by name, or not at all."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from audit import timeline as audit_timeline
from payments import idempotency
from payments.actions.answer_request import complete_requests
from payments.idempotency import STAFF_PREFIX
from payments.models import IdempotencyKey, Payment, Refund, Transition
from tests.payments.admin.conftest import Staff
from tests.payments.admin.test_verbs import send, ticket_of
from tests.payments.shop import Shop

NAMES = ("refund", "capture", "cancel", "ask_provider")


def url_of(payment: Payment, name: str) -> str:
    return reverse(f"admin:payments_payment_{name}", args=[payment.pk])


def page_of(payment: Payment) -> str:
    return reverse("admin:payments_payment_change", args=[payment.pk])


def text_of(answer: Any) -> str:
    words = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", words.replace("\u00a0", " ").replace("&#x27;", "'"))


def refund_fields(**changes: Any) -> dict[str, Any]:
    fields = {
        "amount": "42.00",
        "refund_reason": "requested_by_customer",
        "reason": "The parcel never came.",
    }
    return fields | changes


def told(payment: Payment) -> list[audit_timeline.AuditRecord]:
    records = audit_timeline.timeline(stream_type="payment", stream_id=payment.pk, limit=200)
    return list(records)


def test_finance_refunds_a_part_and_the_money_really_moves(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment, person = shop.created(), staff("Finance")
    answer = send(person, url_of(payment, "refund"), **refund_fields(amount="12.34"))
    assert answer.status_code == 302
    refund = Refund.objects.get(payment=payment)
    assert (refund.amount_minor, refund.state, refund.source) == (1234, "succeeded", "back_office")
    assert shop.payment(payment.pk).amount_refunded_minor == 1234
    moved = [m for m in shop.movements(payment.pk) if m["kind"] == "refund"]
    assert [m["amount_minor"] for m in moved] == [1234]
    page = text_of(person.client.get(page_of(payment)))
    assert "12.34 EUR go back to the payer" in page


def test_who_did_it_and_why_stays_with_everything_that_follows(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment, person = shop.created(), staff("Finance")
    send(person, url_of(payment, "refund"), **refund_fields())
    caused = [r for r in told(payment) if r.event_type in ("refund.created", "refund.succeeded")]
    assert {(r.actor_type, r.actor_id, r.reason) for r in caused} == {
        ("user", str(person.user.pk), "The parcel never came.")
    }
    moved = Transition.objects.get(payment=payment, event="refunded_in_full")
    assert (moved.actor_type, moved.actor_id) == ("user", str(person.user.pk))
    story = text_of(person.client.get(reverse("admin:payments_payment_story", args=[payment.pk])))
    assert "Staff asked us to give money back" in story
    assert "The parcel never came." in story
    assert person.user.username in story


def test_a_form_that_is_sent_twice_refunds_once(shop: Shop, staff: Callable[[str], Staff]) -> None:
    payment, person = shop.created(), staff("Operations")
    ticket = ticket_of(person.client.get(url_of(payment, "refund")))
    fields = refund_fields(amount="10.00", ticket=ticket)
    for _ in range(3):
        assert person.client.post(url_of(payment, "refund"), fields).status_code == 302
    assert Refund.objects.filter(payment=payment).count() == 1
    page = text_of(person.client.get(page_of(payment)))
    assert "it counts once" in page


def test_the_same_form_with_other_words_is_not_another_refund(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment, person = shop.created(), staff("Operations")
    ticket = ticket_of(person.client.get(url_of(payment, "refund")))
    for amount in ("10.00", "11.00"):
        fields = refund_fields(amount=amount, ticket=ticket)
        person.client.post(url_of(payment, "refund"), fields)
    assert [r.amount_minor for r in Refund.objects.filter(payment=payment)] == [1000]


@pytest.mark.parametrize("ticket", ["", "x", "../../etc/passwd!"])
def test_a_form_without_its_ticket_does_nothing(
    shop: Shop, staff: Callable[[str], Staff], ticket: str
) -> None:
    payment = shop.created()
    answer = staff("Finance").client.post(url_of(payment, "refund"), refund_fields(ticket=ticket))
    assert "This form was not complete" in text_of(answer)
    assert not Refund.objects.filter(payment=payment).exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("42.01", "You wrote 42.01 EUR. It can be anything up to 42.00 EUR."),
        ("0", "It can be anything up to 42.00 EUR"),
        ("12,34", "no commas"),
        ("12.345", "is not a whole number of minor units"),
        ("-5", "Write digits"),
        ("1e3", "Write digits"),
        ("NaN", "Write digits"),
        ("", "This field is required"),
    ],
)
def test_an_amount_that_cannot_be_is_refused_in_words_and_nothing_typed_is_lost(
    shop: Shop, staff: Callable[[str], Staff], typed: str, words: str
) -> None:
    payment = shop.created()
    answer = send(staff("Finance"), url_of(payment, "refund"), **refund_fields(amount=typed))
    assert answer.status_code == 200
    assert words in text_of(answer)
    assert "The parcel never came." in answer.content.decode()
    assert not Refund.objects.filter(payment=payment).exists()


def test_yen_have_no_decimals(shop: Shop, staff: Callable[[str], Staff]) -> None:
    payment = shop.created(currency="JPY", amount_minor=8000)
    person = staff("Finance")
    page = text_of(person.client.get(url_of(payment, "refund")))
    assert "Up to 8,000 JPY, which is 8000 minor units" in page
    send(person, url_of(payment, "refund"), **refund_fields(amount="500"))
    assert [r.amount_minor for r in Refund.objects.filter(payment=payment)] == [500]


def test_a_refusal_of_the_provider_is_told_in_its_words_and_frees_the_amount(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment = shop.created(payment_method="tok_refund_refused")
    answer = send(staff("Finance"), url_of(payment, "refund"), **refund_fields())
    assert answer.status_code == 200
    refund = Refund.objects.get(payment=payment)
    assert refund.state == "failed"
    assert refund.error is not None
    assert refund.error["message"] in text_of(answer)
    assert shop.payment(payment.pk).amount_refund_pending_minor == 0


def test_an_answer_that_never_came_is_told_as_such(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment, person = shop.created(), staff("Finance")
    shop.settings(fail_after_commit=1)
    first = send(person, url_of(payment, "refund"), **refund_fields(amount="20.00"))
    assert first.status_code == 302
    page = text_of(person.client.get(page_of(payment)))
    assert "The provider has not answered yet" in page
    answer = send(person, url_of(payment, "refund"), **refund_fields(amount="1.00"))
    assert answer.status_code in (200, 302)
    assert Refund.objects.filter(payment=payment).count() == 1


def test_a_captured_part_and_the_rest_released(shop: Shop, staff: Callable[[str], Staff]) -> None:
    payment, person = shop.created(capture_method="manual"), staff("Operations")
    send(person, url_of(payment, "capture"), amount="30.00", reason="Sent in part.")
    payment = shop.payment(payment.pk)
    assert (payment.state, payment.amount_captured_minor) == ("partially_captured", 3000)
    send(
        person,
        url_of(payment, "cancel"),
        cancel_reason="requested_by_customer",
        reason="The rest is sold out.",
    )
    payment = shop.payment(payment.pk)
    assert (payment.state, payment.amount_capturable_minor) == ("captured", 0)
    assert payment.captures.count() == 1


def test_a_final_capture_takes_a_part_and_ends_it(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment = shop.created(capture_method="manual")
    send(
        staff("Finance"),
        url_of(payment, "capture"),
        amount="30.00",
        final="on",
        reason="That is all.",
    )
    payment = shop.payment(payment.pk)
    assert (payment.state, payment.amount_captured_minor) == ("captured", 3000)


def test_a_held_payment_is_canceled(shop: Shop, staff: Callable[[str], Staff]) -> None:
    payment = shop.created(capture_method="manual")
    send(staff("Finance"), url_of(payment, "cancel"), cancel_reason="fraudulent", reason="Stolen.")
    assert shop.payment(payment.pk).state == "canceled"


def test_asking_the_provider_takes_in_what_it_says(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment, person = shop.created(), staff("Operations")
    shop.settle()
    assert send(person, url_of(payment, "ask_provider")).status_code == 302
    assert shop.payment(payment.pk).state == "settled"
    moved = Transition.objects.get(payment=payment, event="psp_settled")
    assert (moved.cause_type, moved.actor_id) == ("poll", str(person.user.pk))
    assert "News: Settled" in text_of(person.client.get(page_of(payment)))


@pytest.mark.parametrize("role", ["", "Compliance", "Live keys"])
@pytest.mark.parametrize("name", NAMES)
def test_who_may_not_is_refused_on_the_address_itself(
    shop: Shop, staff: Callable[[str], Staff], role: str, name: str
) -> None:
    payment = shop.created(capture_method="manual" if name == "capture" else "automatic")
    before = Payment.objects.values().get(pk=payment.pk)
    client = staff(role).client
    ticket = secrets.token_urlsafe(12)
    assert client.get(url_of(payment, name)).status_code == 403
    fields = refund_fields(ticket=ticket, cancel_reason="duplicate", final="on")
    assert client.post(url_of(payment, name), fields).status_code == 403
    assert Payment.objects.values().get(pk=payment.pk) == before


def test_compliance_sees_no_button_and_finance_those_that_fit(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment = shop.created()
    page = staff("Compliance").client.get(page_of(payment)).content.decode()
    assert not any(url_of(payment, name) in page for name in NAMES)
    page = staff("Finance").client.get(page_of(payment)).content.decode()
    shown = {name for name in NAMES if url_of(payment, name) in page}
    assert shown == {"refund", "cancel", "ask_provider"}


def test_a_verb_that_the_state_leaves_nothing_for_says_so(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment, person = shop.created(payment_method="tok_insufficient_funds"), staff("Finance")
    for name in ("refund", "capture"):
        answer = person.client.get(url_of(payment, name))
        assert answer["Location"] == page_of(payment)
    assert "Nothing of this payment can be refunded now" in text_of(
        person.client.get(page_of(payment))
    )
    assert (
        person.client.get(reverse("admin:payments_payment_refund", args=["pay_none"])).status_code
        == 404
    )


def test_what_a_dead_process_left_is_finished_as_the_person_who_asked(
    shop: Shop, staff: Callable[[str], Staff]
) -> None:
    payment, person = shop.created(), staff("Finance")
    idempotency.claim(
        merchant=shop.merchant,
        livemode=False,
        key=f"staff:{secrets.token_urlsafe(12)}",
        operation="refunds.create",
        method="POST",
        path=f"/admin/refunds.create/{payment.pk}",
        parameters={
            "payment": payment.pk,
            "amount_minor": 700,
            "reason": "duplicate",
            "metadata": {},
            "refund_platform_fee": False,
            "source": "back_office",
            "staff_words": "Paid twice.",
        },
        actor_id=f"{STAFF_PREFIX}{person.user.pk}",
        request_id="req_test",
        now=shop.now(),
    )
    shop.ahead_by(minutes=10)
    complete_requests(clock=shop.now, limit=100)
    created = next(r for r in told(payment) if r.event_type == "refund.created")
    assert (created.actor_type, created.actor_id) == ("user", str(person.user.pk))
    assert (created.actor_display, created.reason) == (person.user.username, "Paid twice.")
    row = IdempotencyKey.objects.get(merchant=shop.merchant, operation="refunds.create")
    assert row.response_status == 201
