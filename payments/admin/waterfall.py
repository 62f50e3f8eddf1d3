"""Where a payment's money went, as a picture: from what was asked for to what is left.

Mental model: one row per amount. What came in (asked for, held, taken) begins at the left edge;
what went out of the taken money hangs on the right end of what was left before it, so that the
last row, what is left, is what the eye expects. More out than in is drawn as nothing left and told
in words.
"""

from __future__ import annotations

from dataclasses import dataclass

from payments.admin.presentation import money_text
from payments.models import Payment

WIDTH = 1000


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One row: its words, its amount as text, and its rectangle in thousandths of the width."""

    label: str
    amount: str
    x: int
    width: int
    css_class: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """The rows, and what was given back beyond what was taken ("" for nothing)."""

    bars: tuple[Bar, ...]
    double_loss: str


def of(payment: Payment) -> Waterfall:
    """The picture of one payment."""
    scale = max(payment.amount_minor, payment.amount_authorized_minor, 1)
    rows: list[tuple[str, int, int, str, str]] = [
        ("Asked for", 0, payment.amount_minor, "florin-fall-calm", "What the merchant asked for"),
        (
            "Held",
            0,
            payment.amount_authorized_minor,
            "florin-fall-calm",
            "What the payer's side agreed to",
        ),
        (
            "Taken",
            0,
            payment.amount_captured_minor,
            "florin-fall-good",
            "What the provider took from the payer",
        ),
    ]
    left = payment.amount_captured_minor
    for label, amount_minor, css_class, words in _outgoing(payment):
        if not amount_minor:
            continue
        rows.append((label, max(0, left - amount_minor), amount_minor, css_class, words))
        left -= amount_minor
    if payment.amount_captured_minor:
        rows.append(
            ("Left", 0, max(0, left), "florin-fall-net", "What the merchant keeps, before fees")
        )
    return Waterfall(
        bars=tuple(_bar(payment, scale, *row) for row in rows),
        double_loss=money_text(payment.double_loss_minor, payment.currency)
        if payment.double_loss_minor
        else "",
    )


def _outgoing(payment: Payment) -> tuple[tuple[str, int, str, str], ...]:
    return (
        ("Refunded", payment.amount_refunded_minor, "florin-fall-calm", "Given back to the payer"),
        (
            "Refund under way",
            payment.amount_refund_pending_minor,
            "florin-fall-wait",
            "Set aside for the payer; not there yet",
        ),
        (
            "Disputed",
            payment.amount_disputed_minor,
            "florin-fall-warn",
            "Withheld by the provider until the dispute is decided",
        ),
        (
            "Taken back",
            payment.amount_reversed_minor,
            "florin-fall-bad",
            "Lost for good: disputes lost, debits returned, captures that did not hold",
        ),
    )


def _bar(
    payment: Payment,
    scale: int,
    label: str,
    start_minor: int,
    amount_minor: int,
    css_class: str,
    words: str,
) -> Bar:
    start, end = (min(scale, minor) for minor in (start_minor, start_minor + amount_minor))
    x, width = WIDTH * start // scale, WIDTH * (end - start) // scale
    shown = money_text(amount_minor, payment.currency)
    return Bar(
        label=label,
        amount=shown,
        x=min(x, WIDTH - 4),
        width=max(4, width) if amount_minor else 0,
        css_class=css_class,
        words=f"{label}: {shown}. {words}.",
    )
