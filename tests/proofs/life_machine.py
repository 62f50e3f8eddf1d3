"""The hypothesis machine of the life proof: which step comes next, and with what.

Mental model: a rule is one kind of step; what it does to which payment follows from one number
that hypothesis draws, so a run is repeated by its seed. Steps mostly make sense where the payment
stands (`SENSIBLE`), and now and then they do not. Between them stories are told
(tests.proofs.life_stories). Every example is a world of its own and ends at rest, judged.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from payments.models import Dispute
from payments.states import State
from tests.proofs.liar import Liar
from tests.proofs.life_drain import come_to_rest
from tests.proofs.life_frame import FAULTS
from tests.proofs.life_stories import MEETINGS, MORE, STORIES, meet
from tests.proofs.life_tally import Tally
from tests.proofs.life_world import World

NUMBERS = st.integers(min_value=0, max_value=2**32 - 1)
TOKENS = (
    *["tok_visa"] * 6, "tok_3ds", "tok_bank", "tok_bank_refused", "tok_insufficient_funds",
    "tok_lost_card", "tok_review", "tok_async_capture", "tok_async_capture_refused",
    "tok_async_capture_hold_lost", "tok_capture_refused", "tok_capture_hold_lost",
    "tok_capture_fails_late", "tok_increment_refused", "tok_async_refund", "tok_refund_refused",
    "tok_async_refund_refused", "tok_refund_fails_late", "tok_refund_action", "tok_dispute",
    "tok_dispute_lost", "tok_dispute_lost_in_part", "tok_dispute_inquiry",
    "tok_dispute_escalating", "tok_dispute_twice", "tok_dispute_withdrawn", "tok_dispute_alert",
    "tok_bank_return", "tok_bank_return_late", "tok_bank_return_dishonoured",
    "tok_amount_mismatch", "tok_currency_mismatch", "tok_unknown_status",
)  # fmt: skip
EVIDENCE = ("winning_evidence", "losing_evidence", "partly_winning_evidence", "")
DISPUTE_RESULTS = ("won", "lost", "lost_in_part", "withdrawn", "escalated", "prevented", "expired")
WAYS = ("in order", "in order", "in order", "twice", "reversed", "shuffled", "lost")
LATER = (61.0, 600.0, 4_000.0, 10_000.0, 90_000.0)
PAYMENTS_PER_WORLD = 8

Act = Callable[[World, str, random.Random], None]


def _part(w: World, payment_id: str, chance: random.Random) -> int | None:
    amount = w.payment(payment_id).amount_minor
    return chance.choice([None, None, 1, amount // 3 or 1, amount // 2 or 1, amount])


def _fault(chance: random.Random) -> str:
    return chance.choice(FAULTS) if chance.random() < 0.3 else ""


def _confirm(w: World, p: str, c: random.Random) -> None:
    w.confirm(p, c.choice(TOKENS), fault=_fault(c))


def _capture(w: World, p: str, c: random.Random) -> None:
    w.capture(p, _part(w, p, c), final=c.random() < 0.5, fault=_fault(c))


def _cancel(w: World, p: str, c: random.Random) -> None:
    w.cancel(p, fault=_fault(c))


def _increment(w: World, p: str, c: random.Random) -> None:
    held = w.payment(p).amount_authorized_minor
    w.increment(p, held + c.choice([1, 100, held]), fault=_fault(c))


def _refund(w: World, p: str, c: random.Random) -> None:
    more = {"refund_platform_fee": c.random() < 0.5}
    w.refund(p, _part(w, p, c), fault=_fault(c), **more)


def _evidence(w: World, p: str, c: random.Random) -> None:
    w.answer_dispute(p, "submit_evidence", c.choice(EVIDENCE), fault=_fault(c))


def _accept(w: World, p: str, c: random.Random) -> None:
    w.answer_dispute(p, "accept", fault=_fault(c))


def _dispute(w: World, p: str, c: random.Random) -> None:
    amount = w.payment(p).amount_captured_minor
    stage = c.choice(["chargeback", "chargeback", "inquiry"])
    w.happens(p, "dispute", amount_minor=c.choice([amount, amount // 2 or 1, 1]), stage=stage)


def _dispute_goes_on(w: World, p: str, c: random.Random) -> None:
    count = Dispute.objects.filter(payment_id=p).count()
    w.dispute_happens(p, c.choice(DISPUTE_RESULTS), which=-1 if count < 2 else c.choice([0, -1]))


def _refund_goes_on(w: World, p: str, c: random.Random) -> None:
    w.refund_happens(p, c.choice(["succeed", "fail", "fail_late", "cancel"]))


def _poll(w: World, p: str, c: random.Random) -> None:
    w.poll(p, fault=c.choice(["", "", "outage", "wrong amount", "wrong status"]))


def _resume(w: World, p: str, c: random.Random) -> None:
    w.later(61.0)
    w.resume(p, fault=_fault(c))


def _decide(w: World, p: str, c: random.Random) -> None:
    choices = ["accept_provider", "accept_provider", "cancel", "release", "close"]
    w.decide(p, c.choice(choices), fault=_fault(c))


def _capture_there(w: World, p: str, c: random.Random) -> None:
    w.happens(p, "capture", amount_minor=c.choice([1, None]), final=c.random() < 0.5)


def _adjust(w: World, p: str, c: random.Random) -> None:
    w.happens(p, "adjust", amount_minor=c.choice([50, 2_000, 9_000]))


def _finish_capture(w: World, p: str, c: random.Random) -> None:
    w.happens(p, "finish_capture", result=c.choice(["succeed", "refuse", "lose_hold"]))


def _authenticate(w: World, p: str, c: random.Random) -> None:
    w.authenticate(p, c.choice(["succeed", "succeed", "fail"]))


def _pay_there(w: World, p: str, c: random.Random) -> None:
    w.pay_there(p, c.choice(TOKENS))


def _there(action: str) -> Act:
    return lambda w, p, c: w.happens(p, action)


_UPDATE: Act = lambda w, p, c: w.update(p)  # noqa: E731
_EXPIRE: Act = lambda w, p, c: w.expire(p)  # noqa: E731
_RETURNS: Act = lambda w, p, c: w.payer_returns(p)  # noqa: E731
_MONEY: tuple[Act, ...] = (
    _refund, _refund, _dispute, _there("settle"), _there("return"), _there("fail_capture"),
    _there("refund"), _refund_goes_on, _poll,
)  # fmt: skip
_OVER: tuple[Act, ...] = (_there("succeed_late"), _poll)
SENSIBLE: dict[str, tuple[Act, ...]] = {
    State.CREATED: (_UPDATE, _confirm, _confirm, _confirm, _cancel, _pay_there, _EXPIRE, _poll),
    State.REQUIRES_ACTION: (_authenticate, _authenticate, _RETURNS, _cancel, _EXPIRE, _poll),
    State.PROCESSING: (_poll, _resume, _authenticate),
    State.IN_REVIEW: (_decide, _decide, _there("approve"), _there("decline"), _poll),
    State.AUTHORIZED: (
        _capture, _capture, _capture, _cancel, _increment, _increment, _adjust, _capture_there,
        _there("expire"), _there("review"), _poll,
    ),
    State.CAPTURE_PENDING: (_finish_capture, _finish_capture, _cancel, _poll),
    State.PARTIALLY_CAPTURED: (_capture, _capture, _cancel, *_MONEY),
    State.CAPTURED: (_cancel, *_MONEY),
    State.SETTLED: _MONEY,
    State.DISPUTED: (
        _evidence, _evidence, _accept, _dispute_goes_on, _dispute_goes_on, _dispute,
        _there("settle"), _there("return"), _poll,
    ),
    State.REFUNDED: (_refund_goes_on, _dispute, _there("settle"), _there("return"), _poll),
    State.REVERSED: (_there("undo_return"), _dispute_goes_on, _there("settle"), _poll),
    State.CANCELED: _OVER,
    State.FAILED: _OVER,
}  # fmt: skip
ANYTHING: tuple[Act, ...] = tuple(dict.fromkeys(act for acts in SENSIBLE.values() for act in acts))


class LifeMachine(RuleBasedStateMachine):
    """Operations, webhooks and faults in any order; who runs it sets `liar` and `tally`."""

    liar: Liar
    tally: Tally

    @initialize(number=NUMBERS)
    def open_world(self, number: int) -> None:
        """A merchant of its own for each example."""
        self.world = World(self.liar, self.tally, random.Random(number))

    @precondition(lambda self: len(self.world.payments) < PAYMENTS_PER_WORLD)
    @rule(number=NUMBERS)
    def create(self, number: int) -> None:
        """A new payment."""
        chance = random.Random(number)
        confirm = chance.random() < 0.8
        self.world.create(
            amount_minor=chance.choice([1_00, 31_00, 4_200, 42_00, 89_999, 90_001]),
            currency=chance.choice(["EUR", "EUR", "USD", "JPY"]),
            capture_method=chance.choice(["automatic", "manual"]),
            confirm=confirm,
            payment_method=chance.choice(TOKENS) if confirm else "",
            fault=_fault(chance),
        )

    @precondition(lambda self: self.world.payments)
    @rule(number=NUMBERS)
    def act(self, number: int) -> None:
        """Something that makes sense where a payment stands."""
        self._act(number)

    @precondition(lambda self: self.world.payments)
    @rule(number=NUMBERS)
    def act_again(self, number: int) -> None:
        """The same; hypothesis picks rules evenly, and this one is to be picked most."""
        self._act(number)

    @precondition(lambda self: self.world.payments)
    @rule(number=NUMBERS)
    def act_once_more(self, number: int) -> None:
        """The same."""
        self._act(number)

    @precondition(lambda self: self.world.payments)
    @rule(number=NUMBERS)
    def do_anything(self, number: int) -> None:
        """Something that need not make sense; at other times an open call is driven on."""
        chance = random.Random(number)
        payment = chance.choice(self.world.payments)
        if chance.random() < 0.6:
            chance.choice(ANYTHING)(self.world, payment, chance)
        else:
            self.world.settle_operation(payment)

    @precondition(lambda self: self.world.payments)
    @rule(number=NUMBERS)
    def news(self, number: int) -> None:
        """Webhooks come, some of them late, twice, in disorder or never."""
        chance = random.Random(number)
        about = chance.choice([*self.world.payments, ""])
        how = chance.choice(
            ["in order", "in order", "in order", "twice", "reversed", "shuffled", "lost"]
        )
        self.world.news(about, how, count=chance.choice([0, 0, 1, 2]))

    @rule(number=NUMBERS)
    def later(self, number: int) -> None:
        """Time passes."""
        self.world.later(random.Random(number).choice(LATER))

    @rule(number=NUMBERS)
    def tell(self, number: int) -> None:
        """A story of one edge, or a fault that meets an operation."""
        chance = random.Random(number)
        if chance.random() < 0.6:
            chance.choice([*STORIES.values(), *MORE])(self.world)
        else:
            meet(self.world, chance.choice(FAULTS), chance.choice(list(MEETINGS)))

    def _act(self, number: int) -> None:
        chance = random.Random(number)
        payment = chance.choice(self.world.payments)
        state = self.world.payment(payment).state
        chance.choice(SENSIBLE[state])(self.world, payment, chance)
        if chance.random() < 0.5:
            self.world.news(payment, chance.choice(WAYS))

    def teardown(self) -> None:
        """Everything comes to rest and is judged."""
        if hasattr(self, "world"):
            come_to_rest(self.world)
