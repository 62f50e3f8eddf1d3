"""`verify` names money that went elsewhere, and payments that nobody asks about."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from ledger.accounts import AccountKey
from ledger.posting import Line, Posting, post
from payments.actions.change import Cause, Change
from payments.actions.resolve_review import close_case
from payments.models import Payment
from payments.verification import verify
from tests.payments.shop import Shop


def kinds(shop: Shop, payment: Payment) -> set[str]:
    """What verify says of this payment."""
    report = verify(now=shop.now())
    told = [offence for finding in report.findings for offence in finding.offences]
    return {offence.kind for offence in told if offence.object == payment.pk}


def account(code: str, owner: str) -> AccountKey:
    return AccountKey(code=code, kind="liability", currency="EUR", livemode=False, owner=owner)


def test_a_sound_payment_is_not_named(shop: Shop) -> None:
    assert kinds(shop, shop.created()) == set()


def test_money_moved_to_another_merchant_in_the_payments_name_is_named(shop: Shop) -> None:
    payment = shop.created()
    lines = [
        Line(account("merchant:pending", shop.merchant.pk), debit_minor=1000),
        Line(account("merchant:available", "mer_somebodyelse"), credit_minor=1000),
    ]
    rogue = Posting(
        idempotency_key=f"{payment.pk}:rogue",
        kind="payment.adjusted",
        lines=lines,
        effective_at=shop.now(),
        source_type="payment",
        source_id=payment.pk,
        livemode=False,
        enforce_floors=False,
    )
    with shop.acting(), transaction.atomic():
        post(**{name: getattr(rogue, name) for name in rogue.__slots__})
    assert kinds(shop, payment) == {"books_differ"}


def test_a_payment_that_waits_and_is_asked_about_by_nobody_is_named(shop: Shop) -> None:
    payment = shop.created(payment_method="tok_bank")
    assert kinds(shop, payment) == set()
    shop.ahead += timedelta(days=1)
    assert kinds(shop, payment) == {"payment_forgotten"}


def test_what_contradicted_our_books_is_named_until_a_person_settled_it(shop: Shop) -> None:
    payment = shop.created()
    with shop.acting(), transaction.atomic():
        change = Change(payment, cause=Cause(type="test"), now=shop.now())
        change.contradict("The provider's fee was 1, now 2.")
        change.write()
    assert kinds(shop, payment) == {"payment_contradicted"}
    with shop.acting():
        close_case(payment.cases.get().pk, words="The provider took it back.", clock=shop.now)
    assert kinds(shop, payment) == set()
