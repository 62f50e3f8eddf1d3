"""What a test card or bank account of the sandbox PSP can do, and the words for each refusal.

An `Instrument` is one row of `payments...service.instruments`: every field that is set is one way
in which a payment made with it differs from a payment that simply succeeds. Nothing is random, so
the same token always leads to the same story, told by the account's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_SECONDS = 86_400.0

# How a capture, and how a refund, goes. "" is at once and well. The account's knobs
# `capture_behaviour` and `refund_behaviour` say so for every token.
CAPTURE_BEHAVIOURS = (
    "asynchronous",  # capture_pending, then done
    "asynchronous_refused",  # capture_pending, then refused; the hold stands
    "asynchronous_hold_lost",  # capture_pending, then refused; the hold is gone
    "refused",  # refused at once; the hold stands
    "hold_lost",  # refused at once; the hold is gone
    "fails_late",  # done, and some time later taken back
)
REFUND_BEHAVIOURS = (
    "asynchronous",  # pending, then done
    "asynchronous_refused",  # pending, then failed
    "refused",  # refused at once
    "fails_late",  # done, and some time later it comes back
    "requires_action",  # the payer has to say where the money goes
)


@dataclass(frozen=True, kw_only=True)
class Decline:
    """Why the issuer says no. `advice` is what a sensible merchant does next."""

    code: str
    message: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class DisputeScript:
    """How a payer disputes a payment by themselves, some time after it was captured.

    verdict: what the bank decides once evidence is in: "won", "lost" or "lost_in_part".
    then: what happens next without anybody's doing: "escalate" (stage by stage to arbitration),
    "withdraw" (the payer takes it back), "again" (a second dispute once the first is won).
    alert: an early warning; a full refund in time prevents the dispute.
    """

    stage: str = "chargeback"
    reason: str = "fraudulent"
    verdict: str = "won"
    then: str = ""
    alert: bool = False


@dataclass(frozen=True, kw_only=True)
class BankReturn:
    """The payer's bank takes a debit back. `since`: "success" or "settlement"; `undone_after_days`:
    the return is dishonoured, so the money comes again (0: never).
    """

    code: str
    after_days: int
    since: str = "success"
    undone_after_days: int = 0


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One test card or bank account. `name` is its token, `number` what a payer types.

    decline: refused with this reason, at confirmation (or at the end, when it is asynchronous).
    authentication: the payer has to pass a 3-D Secure step first.
    asynchronous: the answer is "processing", the result comes later (bank debit).
    review: the PSP's fraud desk looks at it before any money is held.
    capture, refund: one of CAPTURE_BEHAVIOURS, REFUND_BEHAVIOURS.
    increment: "refused" when the held amount cannot be raised.
    dispute, bank_return: what the payer, or the payer's bank, does afterwards.
    saves_well: it can be saved although it is declined when it is charged.
    fault: what happens to the first request that uses it (`payments...service.faults`).
    answer: how the PSP's answer is wrong on purpose: "amount", "currency" or "status".
    """

    name: str
    number: str
    words: str
    kind: str = "card"
    brand: str = "visa"
    decline: Decline | None = None
    authentication: bool = False
    asynchronous: bool = False
    review: bool = False
    capture: str = ""
    refund: str = ""
    increment: str = ""
    dispute: DisputeScript | None = None
    bank_return: BankReturn | None = None
    saves_well: bool = False
    fault: str = ""
    answer: str = ""

    @property
    def last4(self) -> str:
        """The part of the number that may be shown."""
        return self.number[-4:]


DECLINES = {
    decline.code: decline
    for decline in (
        Decline(
            code="insufficient_funds",
            message="The account does not have enough money.",
            advice="try_again_later",
        ),
        Decline(code="lost_card", message="The card was reported lost.", advice="do_not_try_again"),
        Decline(code="expired_card", message="The card has expired.", advice="confirm_card_data"),
        Decline(
            code="do_not_honor",
            message="The issuer refused without a reason.",
            advice="try_again_later",
        ),
        Decline(
            code="incorrect_cvc",
            message="The security code is wrong.",
            advice="confirm_card_data",
        ),
        Decline(
            code="processing_error",
            message="The issuer could not process the card.",
            advice="try_again_later",
        ),
        Decline(
            code="fraudulent",
            message="The payment looks fraudulent.",
            advice="do_not_try_again",
        ),
        Decline(
            code="authentication_failed",
            message="The payer did not pass authentication.",
            advice="try_again_later",
        ),
        Decline(
            code="bank_account_refused",
            message="The bank refused the debit.",
            advice="do_not_try_again",
        ),
        Decline(
            code="authentication_required",
            message="The issuer wants the payer to confirm, and the payer is not there.",
            advice="confirm_card_data",
        ),
        Decline(
            code="mandate_inactive",
            message="There is no mandate in force for this bank account.",
            advice="do_not_try_again",
        ),
        Decline(
            code="increment_refused",
            message="The issuer does not raise the held amount.",
            advice="do_not_try_again",
        ),
        Decline(
            code="capture_refused",
            message="The issuer refused the capture; the money is still held.",
            advice="try_again_later",
        ),
        Decline(
            code="hold_lost",
            message="The money is no longer held, so it cannot be captured.",
            advice="do_not_try_again",
        ),
        Decline(
            code="capture_failed",
            message="The capture did not hold; the money was taken back.",
            advice="do_not_try_again",
        ),
        Decline(
            code="refund_refused",
            message="The payer's bank does not take the refund.",
            advice="try_again_later",
        ),
        Decline(
            code="refund_returned",
            message="The payer's bank sent the refund back.",
            advice="confirm_card_data",
        ),
        Decline(
            code="refund_canceled",
            message="The refund was canceled before it was paid out.",
            advice="try_again_later",
        ),
    )
}
