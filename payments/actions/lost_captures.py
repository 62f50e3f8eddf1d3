"""Captures that were told as done and that the PSP no longer counts.

Mental model: a PSP tells one sum that stands captured. What is missing from ours is made up of
whole captures, so that each that did not hold is known by name; a sum that no captures make is told
to a person.
"""

from __future__ import annotations

from payments.actions.change import ContradictoryNews
from payments.amounts import amount_words
from payments.models import Capture, Payment
from payments.providers.base import PaymentSnapshot


def lost_minor(payment: Payment, snapshot: PaymentSnapshot) -> int:
    """How much of the captures that we hold for done the PSP no longer counts."""
    return max(0, standing_minor(payment) - snapshot.amount_captured_minor)


def standing_minor(payment: Payment) -> int:
    """How much of what was captured did hold, as far as we know."""
    return sum(payment.captures.filter(state="succeeded").values_list("amount_minor", flat=True))


def captures_lost(payment: Payment, lost: int) -> list[Capture]:
    """The captures that make up what was lost, the latest of those that may. Raises
    ContradictoryNews when no captures do.
    """
    # sum -> the fewest, latest captures that make it: as many sums as `lost` has units at most,
    # where trying every combination would take years for a few dozen captures.
    ways: dict[int, list[Capture]] = {0: []}
    for capture in payment.captures.filter(state="succeeded").order_by("-number"):
        for total, some in list(ways.items()):
            reached = total + capture.amount_minor
            known = ways.get(reached)
            if reached <= lost and (known is None or len(some) + 1 < len(known)):
                ways[reached] = [*some, capture]
    if lost and lost in ways:
        return ways[lost]
    raise ContradictoryNews(
        f"{amount_words(lost, payment.currency)} did not hold, which are no captures of ours"
    )
