"""Refunds of one merchant's payments at the same moment wait for each other, never crosswise."""

from __future__ import annotations

import threading

from django.db import connection

from payments.models import Payment
from tests.payments.shop import Shop

REFUND = {"amount_minor": 1000, "reason": "", "metadata": {}, "refund_platform_fee": False}


def test_many_refunds_that_hear_of_their_settlement_all_succeed(shop: Shop) -> None:
    payments = [shop.created().pk for _ in range(24)]
    # The PSP has settled them, and the refund's own answer is the first to say so: that change
    # books the refund and the settlement, which touch the accounts that new refunds reserve from.
    shop.settle()
    failures: list[BaseException] = []

    def refund(mine: list[str]) -> None:
        try:
            for payment in mine:
                shop.ask("refunds.create", {"payment": payment, **REFUND})
        except BaseException as failure:  # noqa: BLE001 - told to the test's own thread
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=refund, args=(payments[place::8],)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = Payment.objects.filter(pk__in=payments)
    assert {(row.state, row.amount_refunded_minor) for row in found} == {("settled", 1000)}
