"""Stripe as the conformance suite drives it: localstripe, as far as that goes."""

from __future__ import annotations

from typing import ClassVar

from payments.providers.base import PaymentSnapshot
from tests.payments.providers.driver import ASKS_PAYER, GOOD_CARD, SHORT_OF_MONEY
from tests.payments.providers.stripe_driver import StripeDriver

_CONFIRM_WHOLE = "localstripe takes no automatic_payment_methods, return_url or description"
_NO_KEYS = "localstripe has no idempotency keys"
_NO_FAULTS = "localstripe has no faults to arm"
_NO_SEARCH = "localstripe has no search"
_NO_REASON = "localstripe takes no cancellation_reason"
_NO_SETTLEMENT = "localstripe has no time in which money becomes available"
_NO_EVENTS = "localstripe has no list of past webhooks"
_ONE_CAPTURE = "localstripe knows one capture, and does not tell how much it took"
_NO_INCREMENT = "localstripe cannot raise what is held"
_NO_REFUND_REASON = "localstripe takes no reason for a refund"
_NO_BANK_DEBITS = "localstripe has no us_bank_account"
_NO_DISPUTES = "localstripe has no disputes"
_NO_SUCH_CARD = "localstripe has no card that does so"
_CONFIRM_ALONE = "localstripe confirms by secret key and without a payment method only"


class LocalstripeDriver(StripeDriver):
    """The Stripe provider against localstripe, another implementation of Stripe's API."""

    name = "stripe (localstripe)"
    methods: ClassVar = {
        GOOD_CARD: "pm_card_visa",
        SHORT_OF_MONEY: "4000000000000341",
        ASKS_PAYER: "4000000000003220",
    }
    lacks: ClassVar = {
        "creating_and_confirming_at_once_takes_the_money": _CONFIRM_WHOLE,
        "a_lost_card_is_declined_for_good": "localstripe declines without a decline_code",
        "after_a_decline_the_same_payment_can_succeed": _CONFIRM_ALONE,
        "a_failed_authentication_is_a_decline": _CONFIRM_WHOLE,
        "the_payer_confirms_with_the_client_secret": _CONFIRM_ALONE,
        "confirming_what_the_payer_confirmed_already_is_done_not_declined": _CONFIRM_ALONE,
        "a_bank_debit_is_pending_and_then_captured": _CONFIRM_WHOLE,
        "canceling_an_open_payment_ends_it": _NO_REASON,
        "canceling_a_held_payment_releases_the_money": _NO_REASON,
        "canceling_what_is_canceled_already_is_done": _NO_REASON,
        "an_operation_in_the_wrong_state_is_refused": "localstripe says only `Bad request`",
        "the_same_key_gives_the_same_object": _NO_KEYS,
        "a_key_with_another_request_is_unknown_never_declined": _NO_KEYS,
        "a_key_that_is_under_way_is_a_conflict": _NO_KEYS,
        "a_time_out_after_the_work_is_replayed_into_one_movement": _NO_FAULTS,
        "a_connection_lost_after_the_work_is_replayed_into_one_movement": _NO_FAULTS,
        "a_time_out_before_the_work_moves_nothing": _NO_FAULTS,
        "a_stored_500_is_learnt_by_fetching": _NO_FAULTS,
        "a_500_before_the_work_leaves_the_key_usable": _NO_FAULTS,
        "a_rate_limit_is_not_sent": _NO_FAULTS,
        "another_amount_in_the_answer_is_visible": _NO_FAULTS,
        "an_unknown_status_is_unrecognised_never_guessed": _NO_FAULTS,
        "a_payment_is_found_by_our_reference": _NO_SEARCH,
        "a_reference_nobody_knows_is_not_found": _NO_SEARCH,
        "fee_and_settlement_become_visible": _NO_SETTLEMENT,
        "every_event_of_a_payment_can_be_read": _NO_EVENTS,
        "events_lead_to_the_state_that_a_fetch_shows": _NO_EVENTS,
        "an_unreadable_event_is_named": _NO_EVENTS,
        "a_final_capture_of_a_part_releases_the_rest": _ONE_CAPTURE,
        "a_capture_that_is_not_final_keeps_the_rest_capturable": _ONE_CAPTURE,
        "canceling_what_was_captured_in_part_releases_the_rest": _ONE_CAPTURE,
        "more_than_is_held_cannot_be_captured": _ONE_CAPTURE,
        "a_capture_of_another_amount_is_visible": _NO_FAULTS,
        "a_second_capture_of_what_is_captured_already_takes_nothing": _ONE_CAPTURE,
        "parts_are_settled_one_by_one_and_then_altogether": _ONE_CAPTURE,
        "an_asynchronous_capture_is_pending_and_then_done": _NO_SUCH_CARD,
        "an_asynchronous_capture_that_is_refused_leaves_the_hold": _NO_SUCH_CARD,
        "a_refused_capture_says_that_the_hold_stands": _NO_SUCH_CARD,
        "a_refused_capture_says_that_the_hold_is_gone": _NO_SUCH_CARD,
        "a_capture_that_fails_late_is_visible": _NO_SUCH_CARD,
        "a_hold_whose_time_is_over_is_canceled_as_expired": _NO_SETTLEMENT,
        "what_was_captured_stands_when_the_rest_expires": _ONE_CAPTURE,
        "an_unsettled_capture_can_be_voided": _NO_REASON,
        "a_pending_capture_can_be_voided": _NO_SUCH_CARD,
        "a_held_amount_can_be_raised_and_captured": _NO_INCREMENT,
        "a_refused_increment_leaves_what_is_held": _NO_INCREMENT,
        "what_the_psp_itself_holds_is_visible": _NO_SETTLEMENT,
        "a_payment_under_review_waits_for_its_decision": _NO_SUCH_CARD,
        "a_held_payment_under_review_waits_for_its_decision": _NO_SUCH_CARD,
        "a_capture_that_timed_out_after_the_work_is_replayed_into_one_movement": _NO_FAULTS,
        "a_cancel_that_timed_out_after_the_work_is_replayed_into_one_release": _NO_FAULTS,
        "an_increment_that_timed_out_after_the_work_is_replayed_into_one_hold": _NO_INCREMENT,
        "a_chargeback_withdraws_the_money_and_leaves_the_payment_captured": _NO_DISPUTES,
        "an_inquiry_withdraws_nothing": _NO_DISPUTES,
        "a_dispute_may_be_about_a_part": _NO_DISPUTES,
        "a_payment_may_be_disputed_twice": _NO_DISPUTES,
        "an_unknown_dispute_status_is_unrecognised_never_guessed": _NO_DISPUTES,
        "a_disputed_payment_cannot_be_refunded": _NO_DISPUTES,
        "a_dispute_that_is_won_brings_the_money_back": _NO_DISPUTES,
        "a_dispute_that_is_lost_keeps_the_money": _NO_DISPUTES,
        "a_dispute_may_be_lost_in_part": _NO_DISPUTES,
        "a_dispute_that_the_payer_takes_back_brings_the_money_back": _NO_DISPUTES,
        "a_dispute_whose_time_is_over_is_lost": _NO_DISPUTES,
        "a_dispute_goes_forward_through_its_stages": _NO_DISPUTES,
        "an_inquiry_that_becomes_a_chargeback_withdraws_the_money": _NO_DISPUTES,
        "an_inquiry_that_is_over_is_closed": _NO_DISPUTES,
        "an_alert_that_is_refunded_in_full_is_prevented": _NO_DISPUTES,
        "evidence_is_handed_in_once": _NO_DISPUTES,
        "an_accepted_dispute_is_lost": _NO_DISPUTES,
        "a_dispute_that_is_over_takes_no_answer": _NO_DISPUTES,
        "evidence_after_its_time_is_refused": _NO_DISPUTES,
        "evidence_whose_answer_was_lost_is_replayed": _NO_DISPUTES,
        "an_acceptance_whose_answer_was_lost_is_replayed": _NO_DISPUTES,
        "every_dispute_event_brings_the_dispute": _NO_DISPUTES,
        "a_saved_card_pays_without_the_payer": _CONFIRM_WHOLE,
        "a_second_method_can_be_saved_for_a_customer": _CONFIRM_WHOLE,
        "a_card_that_wants_the_payer_is_declined_without_them": _CONFIRM_WHOLE,
        "a_saved_card_can_be_declined_when_it_is_charged": _NO_SUCH_CARD,
        "a_lost_card_cannot_be_saved": _NO_SUCH_CARD,
        "a_bank_account_is_debited_under_its_mandate": _NO_BANK_DEBITS,
        "a_mandate_that_was_taken_back_stops_debits": _NO_BANK_DEBITS,
        "a_saving_that_timed_out_after_the_work_is_replayed_into_one_method": _NO_FAULTS,
        "a_removal_whose_answer_was_lost_is_replayed": _NO_FAULTS,
        "a_full_refund_gives_everything_back": _NO_REFUND_REASON,
        "refunds_in_parts_add_up_and_are_all_told": _NO_REFUND_REASON,
        "more_than_is_left_cannot_be_refunded": _NO_REFUND_REASON,
        "a_refund_of_another_amount_is_visible": _NO_FAULTS,
        "an_unknown_refund_status_is_unrecognised_never_guessed": _NO_FAULTS,
        "a_payment_that_was_never_captured_cannot_be_refunded": _NO_REFUND_REASON,
        "an_asynchronous_refund_is_pending_and_then_done": _NO_SUCH_CARD,
        "an_asynchronous_refund_may_fail": _NO_SUCH_CARD,
        "a_refund_that_fails_after_it_succeeded_brings_the_money_back": _NO_REFUND_REASON,
        "a_refused_refund_is_declined_and_takes_nothing": _NO_SUCH_CARD,
        "a_refund_may_wait_for_the_payer": _NO_SUCH_CARD,
        "a_refund_made_in_the_psps_dashboard_is_seen_without_our_reference": _NO_REFUND_REASON,
        "a_refund_that_timed_out_after_the_work_is_replayed_into_one_movement": _NO_FAULTS,
        "a_refund_whose_answer_was_lost_is_found_by_fetching": _NO_FAULTS,
        "a_refund_that_timed_out_before_the_work_moves_nothing": _NO_FAULTS,
        "every_refund_event_brings_the_refund": _NO_EVENTS,
        "the_list_of_events_has_every_event_as_its_webhook_had_it": _NO_EVENTS,
        "the_list_of_events_begins_at_a_moment": _NO_EVENTS,
        "a_long_list_of_events_is_read_page_by_page_and_nothing_is_left_out": _NO_EVENTS,
        "a_list_of_events_that_cannot_be_had_is_not_an_empty_one": _NO_EVENTS,
        "a_bank_debit_that_the_bank_refuses_is_declined_later": _NO_BANK_DEBITS,
        "a_returned_bank_debit_says_what_was_taken_back_and_why": _NO_BANK_DEBITS,
        "a_dishonoured_return_brings_the_money_back": _NO_BANK_DEBITS,
        "a_debit_that_was_refunded_and_then_returned_is_a_double_loss": _NO_BANK_DEBITS,
    }

    def method(self, kind: str) -> str:
        """A test name, or a payment method made from a number."""
        name = self.methods[kind]
        if name.startswith("pm_"):
            return name
        form = {"type": "card", "card[number]": name, "card[cvc]": "123"}
        form.update({"card[exp_month]": "12", "card[exp_year]": "2030"})
        return str(self.call("POST", "/v1/payment_methods", form)["id"])

    def captured(self, reference: str) -> list[int]:
        """From the charges, through the PaymentIntent they belong to."""
        intents = self.call("GET", "/v1/payment_intents")["data"]
        mine = {i["id"] for i in intents if i["metadata"].get("florin_payment") == reference}
        charges = self.call("GET", "/v1/charges")["data"]
        return [
            charge["amount"]
            for charge in charges
            if charge["payment_intent"] in mine and charge["captured"] and charge["paid"]
        ]

    def confirm_as_payer(self, snapshot: PaymentSnapshot, method: str) -> None:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")

    def authenticate(self, snapshot: PaymentSnapshot, *, passed: bool) -> None:
        """Localstripe's own address for it."""
        form = {"client_secret": snapshot.client_secret, "success": str(passed).lower()}
        self.call("POST", f"/v1/payment_intents/{snapshot.provider_reference}/_authenticate", form)

    def break_next(self, fault: str) -> None:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")

    def let_the_bank_answer(self, snapshot: PaymentSnapshot) -> None:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")

    def settle(self) -> None:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")

    def events(self) -> list[bytes]:
        """Not there; see `lacks`."""
        raise AssertionError("Bug! localstripe cannot do this.")
