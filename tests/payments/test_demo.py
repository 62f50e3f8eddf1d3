"""The demo's payments stand where their names say, and are made once."""

from __future__ import annotations

from audit.log import Actor, acting_as
from payments.demo import SCENES, play_scenes
from payments.models import Dispute, Payment
from tests.payments.shop import Shop


def test_the_demo_shows_every_stage_and_is_made_once(shop: Shop) -> None:
    with acting_as(Actor(type="system", id="load_demo")):
        assert play_scenes(merchant=shop.merchant, sandbox_key=shop.sandbox_key) == len(SCENES)
        assert play_scenes(merchant=shop.merchant, sandbox_key=shop.sandbox_key) == 0
    payments = {
        row.merchant_reference: row for row in Payment.objects.filter(merchant=shop.merchant)
    }
    assert {name: payment.state for name, payment in payments.items()} == {
        "demo-refunded-in-part": "captured",
        "demo-refunded": "refunded",
        "demo-captured-in-part": "partially_captured",
        "demo-dispute-open": "disputed",
        "demo-dispute-won": "captured",
        "demo-dispute-lost": "reversed",
    }
    assert payments["demo-refunded-in-part"].amount_refunded_minor == 2500
    disputes = Dispute.objects.filter(payment__merchant=shop.merchant)
    states = disputes.values_list("payment__merchant_reference", "state")
    assert dict(states) == {
        "demo-dispute-open": "needs_response",
        "demo-dispute-won": "won",
        "demo-dispute-lost": "accepted",
    }
