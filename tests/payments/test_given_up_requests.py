"""A request that survives none of its completions is told to staff, and mended by them."""

from __future__ import annotations

import pytest

from audit import timeline
from audit.log import Actor
from payments.actions import given_up_requests
from payments.actions.answer_request import complete_requests
from payments.idempotency import COMPLETIONS_MAX
from payments.models import GivenUpRequest, IdempotencyKey, Payment
from payments.notifications.events import notice_of
from tests.payments.shop import Shop, create_parameters, new_key
from webhooks.events import of_aggregates

DORA = Actor(type="user", id="7", display="dora")


def died(shop: Shop) -> str:
    """A request whose process died right after it had claimed its key."""
    key = new_key()
    shop.claim("payments.create", create_parameters(), key=key)
    return key


def damaged(shop: Shop) -> str:
    """One that nobody can carry out: what it asked for was lost on the way."""
    key = died(shop)
    IdempotencyKey.objects.filter(key=key).update(parameters={})
    return key


def mend(key: str) -> None:
    """Put back what was lost."""
    IdempotencyKey.objects.filter(key=key).update(parameters=create_parameters())


def row_of(shop: Shop, key: str) -> IdempotencyKey:
    return IdempotencyKey.objects.get(merchant=shop.merchant, key=key)


def complete_in_vain(shop: Shop, key: str) -> GivenUpRequest:
    """Let the completer try until it gives the request up."""
    for _ in range(COMPLETIONS_MAX + 1):
        assert not GivenUpRequest.objects.filter(key=key).exists()
        shop.ahead_by(minutes=3)
        complete_requests(clock=shop.now, limit=1000)
    return GivenUpRequest.objects.get(key=key)


def test_after_three_tries_in_vain_a_request_is_given_up_and_staff_are_told_once(
    shop: Shop,
) -> None:
    row = complete_in_vain(shop, damaged(shop))
    assert (row.completion_count, row.completion_error) == (3, "KeyError: 'currency'")
    shop.ahead_by(minutes=3)
    complete_requests(clock=shop.now, limit=1000)
    (event,) = of_aggregates([str(row.pk)])
    assert (event.type, event.livemode, event.owner) == ("request.given_up", False, "")
    notice = notice_of(event)
    assert notice is not None
    assert notice.kind == "dead_letter"
    assert notice.happened == "A merchant's request could not be carried out: payments.create."
    assert notice.path == f"/admin/payments/givenuprequest/{row.pk}/change/"
    assert ("Merchant", shop.merchant.name) in notice.facts
    assert audited(shop) == ["request.given_up"]


def test_a_request_that_killed_every_process_is_given_up_too(shop: Shop) -> None:
    key = died(shop)
    dead = IdempotencyKey.objects.filter(key=key)
    dead.update(completion_count=COMPLETIONS_MAX)
    shop.ahead_by(minutes=3)
    complete_requests(clock=shop.now, limit=1000)
    assert GivenUpRequest.objects.get(key=key).completion_error == "no process survived it"
    assert not Payment.objects.filter(merchant=shop.merchant).exists()


def test_a_person_lets_it_be_tried_again_once_the_cause_is_mended(
    shop: Shop,
) -> None:
    key = damaged(shop)
    row = complete_in_vain(shop, key)
    mend(key)
    given_up_requests.try_again(row.pk, actor=DORA, now=shop.now())
    complete_requests(clock=shop.now, limit=1000)
    assert row_of(shop, key).recovery_point == "finished"
    assert Payment.objects.get(merchant=shop.merchant).state == "captured"
    assert audited(shop) == ["request.given_up", "request.tried_again"]
    with pytest.raises(ValueError, match="does not wait any more"):
        given_up_requests.try_again(row.pk, actor=DORA, now=shop.now())


def test_a_person_forgets_it_with_words_and_the_merchants_repeat_begins_anew(
    shop: Shop,
) -> None:
    key = damaged(shop)
    row = complete_in_vain(shop, key)
    with pytest.raises(ValueError, match="Say why"):
        given_up_requests.forget(row.pk, reason=" ", actor=DORA, now=shop.now())
    given_up_requests.forget(row.pk, reason="the shop is closed", actor=DORA, now=shop.now())
    assert not IdempotencyKey.objects.filter(key=key).exists()
    assert audited(shop) == ["request.given_up", "request.forgotten"]
    assert shop.create(key=key).body["status"] == "captured"


def test_the_merchants_own_repeat_needs_no_person(shop: Shop) -> None:
    key = damaged(shop)
    complete_in_vain(shop, key)
    mend(key)
    assert shop.create(key=key).body["status"] == "captured"
    assert not GivenUpRequest.objects.filter(key=key).exists()


def audited(shop: Shop) -> list[str]:
    """What the merchant's audit trail has of its requests, oldest first."""
    records = timeline.timeline(stream_type="merchant", stream_id=shop.merchant.pk)
    ours = [record.event_type for record in records if record.event_type.startswith("request.")]
    return ours[::-1]
