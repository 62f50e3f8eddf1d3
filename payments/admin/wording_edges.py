"""Why a payment moved, one sentence per event of its machine, for people who answer for money.

Mental model: payments.states names the edges for engineers; here each event is told once, as the
headline of a moment in the story. Where one event means different things in different states, the
state it leads to, which is told beside it, makes the difference.
"""

from __future__ import annotations

EDGES: dict[str, str] = {
    # Before anything is held.
    "attach_payment_method": "The merchant changed the payment before it was sent",
    "confirm": "The merchant confirmed the payment; it goes to the provider",
    "client_confirmed": "The payer confirmed the payment at the provider",
    "client_completed": "The payer came back from the step they had to take",
    "psp_processing": "The payer did their step; the provider works on it",
    "psp_action_required": "The payer has to do something first",
    "cancel": "The payment was canceled before any money was taken",
    "expire": "Nobody paid in time, so the payment was given up",
    "psp_canceled": "The provider canceled the payment",
    # What the provider made of a try.
    "psp_authorized": "The provider holds the money",
    "psp_authorized_auto_capture": "The provider accepted it and takes the money by itself, later",
    "psp_captured": "The provider took all of the money",
    "psp_declined_retryable": "This try was refused; another way to pay may work",
    "psp_declined_final": "The payment was refused for good",
    # What people have to look at.
    "screening_hold": "Held by the merchant's own limit before the provider was asked",
    "psp_fraud_hold": "The provider's fraud desk holds the payment",
    "integrity_mismatch": "The provider's amount or currency is not ours",
    "outcome_unknown_exhausted": "The provider could not say in time what happened",
    "late_money": "Money came in for a payment that was over",
    # What people decided.
    "approve_resume": "A person released the payment; it goes to the provider now",
    "resolve_authorized": "Decided by what the provider says: the money is held",
    "resolve_capture_pending": "Decided by what the provider says: the money is being taken",
    "resolve_captured": "Decided by what the provider says: the money was taken",
    "resolve_partially_captured": "Decided by what the provider says: a part was taken",
    "resolve_settled": "Decided by what the provider says: the money was released to us",
    "resolve_refunded": "Decided by what the provider says: all was given back",
    "resolve_reversed": "Decided by what the provider says: the money was taken back",
    "resolve_failed": "Decided by what the provider says: refused, or it knows nothing of it",
    "reject": "Given up in review; nothing is held at the provider",
    # Taking the money.
    "capture_requested": "Taking the held money was asked for",
    "psp_partially_captured": "The provider took a part of the money; the rest stays held",
    "increment_or_extend": "The held amount was raised or the hold prolonged",
    "psp_auth_adjusted": "The provider changed the held amount",
    "void": "The hold was released",
    "auth_expired": "The hold ran out",
    "capture_failed_retryable": "Taking the money was refused; it is still held",
    "capture_failed_partial": "Taking more was refused; what was taken before stays",
    "capture_failed_final": "Taking the money was refused, and it is no longer held",
    "release_remainder": "What was not taken is released to the payer",
    "post_capture_void": "The money was given up again before it was released to us",
    "psp_settled": "The provider released money to us",
    "capture_failed_late": "Money that was told as taken did not hold after all",
    # Giving it back.
    "refunded_in_full": "All of the money was given back",
    "refund_failed_after_success": "A refund came back; the money is the merchant's again",
    "refund_failed_after_success_settled": "A refund came back; the money is the merchant's again",
    "returned": "The payer's bank took the debit back",
    "reversal_undone": "What was taken back came again",
    "reversal_undone_unsettled": "What was taken back came again; it is not released yet",
    # Disputes.
    "dispute_opened": "The payer contests the payment at their bank",
    "second_dispute_opened": "The payer contests the payment once more",
    "one_dispute_closed": "One dispute is over; another is still open",
    "dispute_closed_for_us": "The dispute was won or withdrawn",
    "dispute_closed_for_us_settled": "The dispute was won or withdrawn",
    "dispute_closed_for_us_partial": "The dispute was won; the rest can still be taken",
    "dispute_closed_for_us_refunded": "The dispute was won, but all had been given back before",
    "dispute_lost_in_full": "The dispute was lost; nothing is left",
    "dispute_lost_in_part": "The dispute was lost for a part of the money",
    "dispute_lost_in_part_unsettled": "The dispute was lost for a part of the money",
    "dispute_lost_in_part_partial": "The dispute was lost; the rest can still be taken",
    # News that came late.
    "late_success": "The payment succeeded after it had been told as refused",
    "late_authorized": "The money is held after the payment had been told as refused",
}
