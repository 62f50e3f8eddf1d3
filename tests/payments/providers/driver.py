"""The world behind each provider, as the conformance suite needs it.

A `Driver` is one PSP account together with its payer, its clock and its books. The suite says
what it wants ("a card that is declined for good"); the driver knows the PSP's words for it.
`lacks` names what this PSP or its stand-in cannot show, with the reason: those scenarios are not
run for it, and the capability matrix in docs/providers.md says so.

What a scenario may ask for beyond the straight path (everything from `expire` on) is defined here
for every driver; one that has no such thing keeps the inherited method, which says so, and names
the scenarios in `lacks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, NoReturn

from payments.providers import provider_for
from payments.providers.base import Credentials, PaymentSnapshot, Provider
from payments.providers.objects import DisputeSnapshot, MethodSnapshot, RefundSnapshot

GOOD_CARD = "good card"
SHORT_OF_MONEY = "card without enough money"
LOST_CARD = "lost card"
ASKS_PAYER = "card with 3-D Secure"
BANK_DEBIT = "bank debit"
BANK_DEBIT_REFUSED = "bank debit that the bank refuses"
SLOW_CAPTURE = "card whose captures are pending first"
REFUSES_CAPTURE = "card whose captures are refused while the hold stands"
LOSES_HOLD = "card whose captures are refused because the hold is gone"
REFUSES_INCREMENT = "card whose held amount cannot be raised"
SLOW_REFUND = "card whose refunds are pending first"
REFUSES_REFUND = "card whose refunds are refused"
REFUND_ASKS_PAYER = "card whose refunds wait for the payer"
RISKY_CARD = "card that the fraud desk looks at"
SAVED_BUT_DECLINED = "card that can be saved and is declined when it is charged"


class Driver(ABC):
    """One fresh PSP account; see the module docstring."""

    name: ClassVar[str]
    provider_code: ClassVar[str]
    methods: ClassVar[Mapping[str, str]]
    lacks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def provider(self) -> Provider:
        """The provider under test."""
        return provider_for(self.provider_code)

    def method(self, kind: str) -> str:
        """The PSP's token of a kind of payment method."""
        return self.methods[kind]

    @abstractmethod
    def credentials(self) -> Credentials:
        """The account's way in."""

    @abstractmethod
    def captured(self, reference: str) -> list[int]:
        """The PSP's own record: the amount of each capture under our payment id."""

    @abstractmethod
    def confirm_as_payer(self, snapshot: PaymentSnapshot, method: str) -> None:
        """The payer's browser confirms with the client secret."""

    @abstractmethod
    def authenticate(self, snapshot: PaymentSnapshot, *, passed: bool) -> None:
        """The payer passes or fails the 3-D Secure step."""

    @abstractmethod
    def break_next(self, fault: str) -> None:
        """Arm a fault for the next request: hang_before_commit, hang_after_commit,
        drop_after_commit, fail_before_commit, fail_after_commit, rate_limit; or for the next
        payment: amount_mismatch, unknown_status; capture: capture_wrong_amount; refund:
        refund_wrong_amount, refund_unknown_status; dispute: dispute_unknown_status; or for the
        next list of events: fail_event_lists, hang_event_lists.
        """

    @abstractmethod
    def let_the_bank_answer(self, snapshot: PaymentSnapshot) -> None:
        """A bank debit that was processing succeeds."""

    @abstractmethod
    def settle(self) -> None:
        """Time passes until captured money is available."""

    @abstractmethod
    def events(self) -> list[bytes]:
        """The webhook bodies the PSP has made so far, in order."""

    @abstractmethod
    def sign(self, raw: bytes, secret: str, at: datetime) -> dict[str, str]:
        """The headers with which the PSP would send `raw`, lower-case names."""

    @abstractmethod
    def new_webhook_secret(self) -> str:
        """A secret of the form this PSP gives out."""

    # --- beyond the straight path -----------------------------------------------------------

    def refunded(self, reference: str) -> list[int]:
        """The PSP's own record: the amount of each refund that was paid out under our payment
        id, also of one that came back later.
        """
        self._has_no("record of refunds")

    def balance(self, reference: str) -> int:
        """The PSP's own record: what our balance has of this payment, fees left out: captures
        less everything that was voided, refunded, disputed or returned, and that came again.
        """
        self._has_no("balance")

    def expire(self, snapshot: PaymentSnapshot) -> None:
        """The time of what is held is over."""
        self._has_no("expiry")

    def change_hold(self, snapshot: PaymentSnapshot, amount_minor: int) -> None:
        """The PSP by itself holds more or less."""
        self._has_no("adjustment")

    def finish_capture(self, snapshot: PaymentSnapshot, *, succeeded: bool) -> None:
        """A pending capture has its result; when it is refused the hold stands."""
        self._has_no("asynchronous capture")

    def fail_capture_late(self, snapshot: PaymentSnapshot) -> None:
        """A capture that was told as done is taken back."""
        self._has_no("late capture failure")

    def finish_refund(self, refund: RefundSnapshot, result: str) -> None:
        """A refund becomes "succeeded", "failed" (also after it had succeeded) or "canceled"."""
        self._has_no("refund results")

    def refund_in_dashboard(self, snapshot: PaymentSnapshot, amount_minor: int) -> None:
        """A person refunds in the PSP's dashboard."""
        self._has_no("dashboard")

    def open_dispute(
        self, snapshot: PaymentSnapshot, *, stage: str = "chargeback", amount_minor: int = 0
    ) -> None:
        """The payer's bank opens a dispute, "inquiry" or "chargeback"; amount 0: all of it."""
        self._has_no("disputes")

    def decide_dispute(self, dispute: DisputeSnapshot, result: str, *, lost_minor: int = 0) -> None:
        """A dispute is "won", "lost", "lost_in_part" (`lost_minor`), "withdrawn", "escalated",
        "prevented", or its time for evidence is over ("expired").
        """
        self._has_no("dispute decisions")

    def return_debit(self, snapshot: PaymentSnapshot, code: str) -> None:
        """The payer's bank takes a bank debit back."""
        self._has_no("returns")

    def undo_return(self, snapshot: PaymentSnapshot) -> None:
        """The return is dishonoured: the money comes again."""
        self._has_no("dishonoured returns")

    def decide_review(self, snapshot: PaymentSnapshot, *, approved: bool) -> None:
        """The fraud desk decides."""
        self._has_no("fraud review")

    def revoke_mandate(self, method: MethodSnapshot) -> None:
        """The payer takes the mandate of a saved bank account back."""
        self._has_no("mandates")

    def _has_no(self, thing: str) -> NoReturn:
        raise AssertionError(f"Bug! {self.name} has no {thing}.")
