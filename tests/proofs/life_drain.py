"""Bring a world to rest, as time, pollers and people would, and judge what is left of it.

People decide at last only: a review ends with the provider's truth, else by canceling there, else
it stays and the case that explains it is told.
"""

from __future__ import annotations

from payments.models import Payment, ProviderOperation
from payments.states import State
from tests.proofs.life_judge import judge_end
from tests.proofs.life_world import World

HOUR = 3600.0
# Until results, failures, decisions, forgotten keys and returns have come.
PASSING = (61.0, 600.0, 2 * HOUR, 12 * HOUR, 49 * HOUR, 49 * HOUR, 8 * 24 * HOUR, 60 * 24 * HOUR)
AFTER_DECISIONS = (61.0, 4 * HOUR, 49 * HOUR)


def come_to_rest(world: World) -> None:
    """No more faults, every webhook arrives, every poll is made, every review is decided."""
    world.set(
        outage=False, capture_behaviour=None, refund_behaviour=None, fail_reads=0, hang_reads=0
    )
    for seconds in PASSING:
        world.news()
        _work(world)
        world.later(seconds)
    for payment_id in world.payments:
        _decide(world, payment_id)
    for seconds in AFTER_DECISIONS:
        world.later(seconds)
        world.news()
        _work(world)
    for payment_id in world.payments:
        world.poll(payment_id)
        _decide(world, payment_id)
        world.poll(payment_id)
    for payment_id in world.payments:
        world.tally.payments += 1
        world.tally.explained_by_cases += judge_end(world, payment_id)


def _work(world: World) -> None:
    """What is due is done: calls of unknown outcome, polls."""
    now = world.shop.now()
    ours = Payment.objects.filter(merchant=world.shop.merchant)
    due = ProviderOperation.objects.filter(payment__in=ours, finished_at=None, next_try_at__lte=now)
    for payment_id in list(due.values_list("payment_id", flat=True)):
        world.resume(payment_id)
    for payment_id in list(
        ours.filter(poll_due_at__lte=now)
        .exclude(pk__in=due.values("payment_id"))
        .values_list("pk", flat=True)
    ):
        world.poll(payment_id)


def _decide(world: World, payment_id: str) -> None:
    for decision in ("accept_provider", "release", "cancel", "accept_provider"):
        if world.payment(payment_id).state != State.IN_REVIEW:
            return
        world.decide(payment_id, decision)
        world.settle_operation(payment_id)
        world.news(payment_id)
