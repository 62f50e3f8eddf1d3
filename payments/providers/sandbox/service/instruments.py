"""The sandbox PSP's test cards and bank accounts: one row says how each one behaves, always.

The behaviour hangs on the token alone, so a test is deterministic without any switch. Numbers
exist for the payer's side only: `POST /v1/tokens` turns a number into its token, and nothing else
in the service accepts a number. The table is printed in docs/sandbox.md.
"""

from __future__ import annotations

from payments.providers.sandbox.service.behaviour import (
    DECLINES,
    BankReturn,
    DisputeScript,
    Instrument,
)

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
    Instrument(
        name="tok_async_capture",
        number="4000000000020000",
        words="captures are pending first, then done",
        capture="asynchronous",
    ),
    Instrument(
        name="tok_async_capture_refused",
        number="4000000000020018",
        words="captures are pending first, then refused; the money stays held",
        capture="asynchronous_refused",
    ),
    Instrument(
        name="tok_async_capture_hold_lost",
        number="4000000000020026",
        words="captures are pending first, then refused; the money is no longer held",
        capture="asynchronous_hold_lost",
    ),
    Instrument(
        name="tok_capture_refused",
        number="4000000000020034",
        words="captures are refused, the money stays held; declined when it is charged at once",
        capture="refused",
    ),
    Instrument(
        name="tok_capture_hold_lost",
        number="4000000000020042",
        words="captures are refused, the money is no longer held; declined when charged at once",
        capture="hold_lost",
    ),
    Instrument(
        name="tok_capture_fails_late",
        number="4000000000020059",
        words="captured, and after `late_failure_after_seconds` the capture fails",
        capture="fails_late",
    ),
    Instrument(
        name="tok_increment_refused",
        number="4000000000020067",
        words="succeeds; a held amount cannot be raised",
        increment="refused",
    ),
    Instrument(
        name="tok_review",
        number="4000000000020075",
        words="held by the fraud desk until it approves or declines (control)",
        review=True,
    ),
    Instrument(
        name="tok_async_refund",
        number="4000000000030009",
        words="refunds are pending first, then done",
        refund="asynchronous",
    ),
    Instrument(
        name="tok_refund_refused",
        number="4000000000030017",
        words="refunds are refused",
        refund="refused",
    ),
    Instrument(
        name="tok_async_refund_refused",
        number="4000000000030025",
        words="refunds are pending first, then failed",
        refund="asynchronous_refused",
    ),
    Instrument(
        name="tok_refund_fails_late",
        number="4000000000030033",
        words="refunds succeed, and after `late_failure_after_seconds` they come back",
        refund="fails_late",
    ),
    Instrument(
        name="tok_refund_action",
        number="4000000000030041",
        words="refunds wait for the payer to say where the money goes (control)",
        refund="requires_action",
    ),
    Instrument(
        name="tok_dispute",
        number="4000000000040008",
        words="disputed after `dispute_after_seconds`; evidence wins",
        dispute=DisputeScript(),
    ),
    Instrument(
        name="tok_dispute_lost",
        number="4000000000040016",
        words="disputed; lost whatever the evidence",
        dispute=DisputeScript(reason="product_not_received", verdict="lost"),
    ),
    Instrument(
        name="tok_dispute_lost_in_part",
        number="4000000000040024",
        words="disputed; evidence wins half of it back",
        dispute=DisputeScript(reason="product_unacceptable", verdict="lost_in_part"),
    ),
    Instrument(
        name="tok_dispute_inquiry",
        number="4000000000040032",
        words="an inquiry, which takes no money; closed once evidence is in or its time is up",
        dispute=DisputeScript(stage="inquiry", reason="unrecognized"),
    ),
    Instrument(
        name="tok_dispute_escalating",
        number="4000000000040040",
        words="inquiry, chargeback, pre-arbitration, arbitration, a step every"
        " `dispute_step_after_seconds`; evidence wins",
        dispute=DisputeScript(stage="inquiry", then="escalate"),
    ),
    Instrument(
        name="tok_dispute_twice",
        number="4000000000040057",
        words="disputed; once that is won, disputed again",
        dispute=DisputeScript(then="again"),
    ),
    Instrument(
        name="tok_dispute_withdrawn",
        number="4000000000040065",
        words="disputed; withdrawn by the payer after `dispute_step_after_seconds`",
        dispute=DisputeScript(then="withdraw"),
    ),
    Instrument(
        name="tok_dispute_alert",
        number="4000000000040073",
        words="an early warning; prevented by a full refund in time, else disputed",
        dispute=DisputeScript(stage="inquiry", alert=True),
    ),
    Instrument(
        name="tok_saved_declined",
        number="4000000000050007",
        words="can be saved; declined when it is charged",
        decline=DECLINES["insufficient_funds"],
        saves_well=True,
    ),
    Instrument(
        name="tok_bank_return",
        number="000222222227",
        words="bank debit: captured, returned with R01 two days later",
        kind="bank_debit",
        brand="",
        asynchronous=True,
        bank_return=BankReturn(code="R01", after_days=2),
    ),
    Instrument(
        name="tok_bank_return_late",
        number="000333333335",
        words="bank debit: captured, returned with R10 45 days after it was settled",
        kind="bank_debit",
        brand="",
        asynchronous=True,
        bank_return=BankReturn(code="R10", after_days=45, since="settlement"),
    ),
    Instrument(
        name="tok_bank_return_dishonoured",
        number="000444444443",
        words="bank debit: returned with R01 two days later, and the return undone three days on",
        kind="bank_debit",
        brand="",
        asynchronous=True,
        bank_return=BankReturn(code="R01", after_days=2, undone_after_days=3),
    ),
)

BY_TOKEN = {row.name: row for row in _ROWS}
BY_NUMBER = {row.number: row for row in _ROWS}
