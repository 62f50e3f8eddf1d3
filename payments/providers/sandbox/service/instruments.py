"""The sandbox PSP's test cards and bank accounts: one row says how each one behaves, always.

The behaviour hangs on the token alone, so a test is deterministic without any switch. Numbers
exist for the payer's side only: `POST /v1/tokens` turns a number into its token, and nothing else
in the service accepts a number. The table is printed in docs/sandbox.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Decline:
    """Why the issuer says no. `advice` is what a sensible merchant does next."""

    code: str
    message: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One test card or bank account. `name` is its token, `number` what a payer types.

    decline: refused with this reason, at confirmation (or at the end, when it is asynchronous).
    authentication: the payer has to pass a 3-D Secure step first.
    asynchronous: the answer is "processing", the result comes later (bank debit).
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
    )
}

_ROWS = (
    Instrument(name="tok_visa", number="4242424242424242", words="succeeds"),
    Instrument(
        name="tok_mastercard", number="5555555555554444", words="succeeds", brand="mastercard"
    ),
    Instrument(name="tok_amex", number="378282246310005", words="succeeds", brand="amex"),
    Instrument(
        name="tok_insufficient_funds",
        number="4000000000009995",
        words="declined, another try may succeed",
        decline=DECLINES["insufficient_funds"],
    ),
    Instrument(
        name="tok_lost_card",
        number="4000000000009987",
        words="declined for good",
        decline=DECLINES["lost_card"],
    ),
    Instrument(
        name="tok_expired_card",
        number="4000000000000069",
        words="declined, the card data are old",
        decline=DECLINES["expired_card"],
    ),
    Instrument(
        name="tok_do_not_honor",
        number="4000000000000002",
        words="declined without a reason",
        decline=DECLINES["do_not_honor"],
    ),
    Instrument(
        name="tok_incorrect_cvc",
        number="4000000000000127",
        words="declined, wrong security code",
        decline=DECLINES["incorrect_cvc"],
    ),
    Instrument(
        name="tok_processing_error",
        number="4000000000000119",
        words="declined, the issuer had a problem",
        decline=DECLINES["processing_error"],
    ),
    Instrument(
        name="tok_fraudulent",
        number="4100000000000019",
        words="declined for good, looks fraudulent",
        decline=DECLINES["fraudulent"],
    ),
    Instrument(
        name="tok_3ds",
        number="4000000000003220",
        words="asks for 3-D Secure; the step succeeds or fails as you choose there",
        authentication=True,
    ),
    Instrument(
        name="tok_3ds_insufficient_funds",
        number="4000008400001629",
        words="asks for 3-D Secure, then declines",
        authentication=True,
        decline=DECLINES["insufficient_funds"],
    ),
    Instrument(
        name="tok_bank",
        number="000123456789",
        words="bank debit: processing, captured after a while",
        kind="bank_debit",
        brand="",
        asynchronous=True,
    ),
    Instrument(
        name="tok_bank_refused",
        number="000111111116",
        words="bank debit: processing, declined after a while",
        kind="bank_debit",
        brand="",
        asynchronous=True,
        decline=DECLINES["bank_account_refused"],
    ),
    Instrument(
        name="tok_slow",
        number="4000000000010001",
        words="succeeds after `slow_seconds`",
        fault="slow",
    ),
    Instrument(
        name="tok_timeout_before_commit",
        number="4000000000010019",
        words="the first request hangs without effect; the same key succeeds",
        fault="hang_before_commit",
    ),
    Instrument(
        name="tok_timeout_after_commit",
        number="4000000000010027",
        words="succeeds, but the first answer hangs; the same key answers",
        fault="hang_after_commit",
    ),
    Instrument(
        name="tok_500_before_commit",
        number="4000000000010035",
        words="the first request answers 500 without effect; the same key succeeds",
        fault="fail_before_commit",
    ),
    Instrument(
        name="tok_500_after_commit",
        number="4000000000010043",
        words="succeeds, but the first answer is 500; the same key answers",
        fault="fail_after_commit",
    ),
    Instrument(
        name="tok_drop_before_commit",
        number="4000000000010050",
        words="the first connection is dropped without effect; the same key succeeds",
        fault="drop_before_commit",
    ),
    Instrument(
        name="tok_drop_after_commit",
        number="4000000000010068",
        words="succeeds, but the first connection is dropped; the same key answers",
        fault="drop_after_commit",
    ),
    Instrument(
        name="tok_amount_mismatch",
        number="4000000000010076",
        words="takes one minor unit more than was asked for, and says so",
        answer="amount",
    ),
    Instrument(
        name="tok_currency_mismatch",
        number="4000000000010084",
        words="takes another currency than was asked for, and says so",
        answer="currency",
    ),
    Instrument(
        name="tok_unknown_status",
        number="4000000000010092",
        words="ends in a status that is in no documentation",
        answer="status",
    ),
)

BY_TOKEN = {row.name: row for row in _ROWS}
BY_NUMBER = {row.number: row for row in _ROWS}
