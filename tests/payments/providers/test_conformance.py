"""Every provider fulfils the contract, against a PSP that runs as a process of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from tests.payments.providers.capability_matrix import ORDERED
from tests.payments.providers.conformance import SCENARIOS
from tests.payments.providers.driver import Driver
from tests.payments.providers.drivers import DRIVERS

_CASES = [
    pytest.param(kind, name, id=f"{kind.name}-{name}")
    for kind in DRIVERS
    for name in ORDERED
    if name not in kind.lacks
]


@pytest.mark.parametrize(("kind", "name"), _CASES)
def test_the_provider_conforms(
    kind: type[Driver], name: str, new_driver: Callable[[type[Driver]], Driver]
) -> None:
    SCENARIOS[name](new_driver(kind))


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_what_a_psp_lacks_are_scenarios_that_exist(kind: type[Driver]) -> None:
    assert set(kind.lacks) <= set(ORDERED)


# What a provider says it can do, and the scenario that shows it.
PROOFS = {
    "partial_capture": "a_final_capture_of_a_part_releases_the_rest",
    "multiple_captures": "a_capture_that_is_not_final_keeps_the_rest_capturable",
    "void_after_capture": "an_unsettled_capture_can_be_voided",
    "incremental_authorization": "a_held_amount_can_be_raised_and_captured",
    "asynchronous_capture": "an_asynchronous_capture_is_pending_and_then_done",
    "refunds": "a_full_refund_gives_everything_back",
    "partial_refund": "refunds_in_parts_add_up_and_are_all_told",
    "asynchronous_refund": "an_asynchronous_refund_is_pending_and_then_done",
    "disputes": "a_chargeback_withdraws_the_money_and_leaves_the_payment_captured",
    "dispute_evidence": "evidence_is_handed_in_once",
    "dispute_acceptance": "an_accepted_dispute_is_lost",
    "saved_methods": "a_saved_card_shows_what_may_be_shown",
    "off_session": "a_saved_card_pays_without_the_payer",
    "bank_debits": "a_bank_debit_is_pending_and_then_captured",
    "fraud_review": "a_held_payment_under_review_waits_for_its_decision",
    "event_list": "the_list_of_events_has_every_event_as_its_webhook_had_it",
    "payer_confirmation": "the_payer_confirms_with_the_client_secret",
}
# localstripe knows too little of Stripe to speak for the provider.
SPEAKING = [kind for kind in DRIVERS if kind.name != "stripe (localstripe)"]


@pytest.mark.parametrize("kind", SPEAKING, ids=lambda kind: kind.name)
def test_a_provider_can_what_it_says_and_says_what_it_can(
    kind: type[Driver], new_driver: Callable[[type[Driver]], Driver]
) -> None:
    says = new_driver(kind).provider.capabilities
    flags = {field.name for field in dataclasses.fields(says) if field.type == "bool"}
    assert flags == set(PROOFS)
    wrong = [name for name in flags if getattr(says, name) is (PROOFS[name] in kind.lacks)]
    assert wrong == []
