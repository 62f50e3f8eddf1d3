"""A merchant of its own for each test, with a sandbox account of its own and a clock to move.

`Shop` speaks the public surface: it claims idempotency keys and has them answered as the API does,
brings the sandbox's events to the inbox as a webhook would, and asks the sandbox's own record what
money really moved.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import urllib3
from django.conf import settings
from django.db import transaction

from audit.log import Actor, acting_as
from ledger.accounts import AccountKey
from ledger.balances import balance
from payments import idempotency
from payments.actions.answer_request import answer_request
from payments.actions.apply_provider_event import apply_provider_event
from payments.actions.change import Cause
from payments.actions.create_merchant import create_merchant
from payments.actions.provider_accounts import create_provider_account
from payments.actions.provider_endpoints import secrets_of
from payments.actions.resume_payment import lease_operation, poll_payment, resume_operation
from payments.idempotency import Answer, Claim
from payments.models import (
    Dispute,
    Merchant,
    Payment,
    ProviderAccount,
    ProviderEndpoint,
    ProviderOperation,
)
from payments.providers.sandbox.service.accounts import publishable_key_for
from webhooks import inbox

FEE_BASIS_POINTS = 150
FEE_FIXED_MINOR = 20


@dataclass
class Shop:
    """One merchant in test mode and everything a test wants of it."""

    merchant: Merchant
    secret_key: str
    publishable_key: str
    account: ProviderAccount
    sandbox_key: str
    ahead: timedelta = timedelta()
    _seen: int = 0
    _http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def acting(self) -> AbstractContextManager[Any]:
        """Work as a job of ours does."""
        return acting_as(Actor(type="job", id="test"))

    def now(self) -> datetime:
        """The time the actions are given: the wall clock plus what the test moved it ahead."""
        return datetime.now(UTC) + self.ahead

    def second_account(self, *, livemode: bool = False) -> ProviderAccount:
        """Another account of the merchant at the sandbox, with the same keys there."""
        return create_provider_account(
            provider="sandbox",
            name="The same account once more",
            livemode=livemode,
            merchant=self.merchant,
            secret_key=self.sandbox_key,
            publishable_key="",
            webhook_secrets=[],
            api_base="",
            actor=Actor(type="system", id="test"),
            now=self.now(),
        )

    # --- what the merchant's server asks -------------------------------------------------------

    def ask(
        self, operation: str, parameters: Mapping[str, Any], *, key: str | None = None
    ) -> Answer:
        """Claim a key and have the request answered, as the API does. Raises FlorinError."""
        with acting_as(Actor(type="api_key", id="key_test"), request_id="req_test"):
            claimed = self.claim(operation, parameters, key=key)
            if isinstance(claimed, Answer):
                return claimed
            return answer_request(claim=claimed, clock=self.now)

    def claim(
        self, operation: str, parameters: Mapping[str, Any], *, key: str | None = None
    ) -> Claim | Answer:
        """Claim a key without doing anything yet."""
        return idempotency.claim(
            merchant=self.merchant,
            livemode=False,
            key=key or new_key(),
            operation=operation,
            method="POST",
            path=f"/v1/{operation}",
            parameters=parameters,
            actor_id="key_test",
            request_id="req_test",
            now=self.now(),
        )

    def create(self, *, key: str | None = None, **parameters: Any) -> Answer:
        """Create a payment of 4200 EUR; confirmed with a good card unless told otherwise."""
        return self.ask("payments.create", create_parameters(**parameters), key=key)

    def created(self, **parameters: Any) -> Payment:
        """As `create`, and the payment's row."""
        return self.payment(self.create(**parameters).payment_id)

    def confirm(self, payment_id: str, token: str = "tok_visa", **more: Any) -> Answer:
        """Confirm with a payment method."""
        parameters = {"payment": payment_id, "payment_method": token, "return_url": ""}
        return self.ask("payments.confirm", parameters, **more)

    def capture(
        self,
        payment_id: str,
        amount_minor: int | None = None,
        *,
        final: bool = True,
        **more: Any,
    ) -> Answer:
        """Capture all that is held, or a part of it."""
        parameters = {"payment": payment_id, "amount_minor": amount_minor, "final_capture": final}
        return self.ask("payments.capture", parameters, **more)

    def increment(self, payment_id: str, amount_minor: int, **more: Any) -> Answer:
        """Raise the hold to a new total."""
        parameters = {"payment": payment_id, "amount_minor": amount_minor}
        return self.ask("payments.increment_authorization", parameters, **more)

    def refund(
        self,
        payment_id: str,
        amount_minor: int | None = None,
        *,
        refund_platform_fee: bool = False,
        **more: Any,
    ) -> Answer:
        """Give all that is left back, or a part of it."""
        parameters: dict[str, Any] = {
            "payment": payment_id,
            "amount_minor": amount_minor,
            "reason": "",
            "metadata": {},
            "refund_platform_fee": refund_platform_fee,
        }
        return self.ask("refunds.create", parameters, **more)

    def submit_evidence(self, dispute_id: str, **texts: str) -> Answer:
        """Answer a dispute with words."""
        parameters = {"dispute": dispute_id, "evidence": texts or {"uncategorized_text": "Sent."}}
        return self.ask("disputes.submit_evidence", parameters)

    def accept_dispute(self, dispute_id: str, **more: Any) -> Answer:
        """Give a dispute up."""
        return self.ask("disputes.accept", {"dispute": dispute_id}, **more)

    def cancel(self, payment_id: str, reason: str = "", **more: Any) -> Answer:
        """Cancel."""
        return self.ask("payments.cancel", {"payment": payment_id, "reason": reason}, **more)

    @property
    def endpoint(self) -> ProviderEndpoint:
        """The one its account was opened with, as the row stands."""
        return self.account.endpoints.earliest("pk")

    @property
    def webhook_secret(self) -> str:
        """What the sandbox signs with there."""
        return secrets_of(self.endpoint)[0].secret

    def change_account(self, **changes: Any) -> None:
        """Change the shop's provider account, as staff do."""
        for name, value in changes.items():
            setattr(self.account, name, value)
        with acting_as(Actor(type="system", id="test")), transaction.atomic():
            self.account.save()

    # --- what goes on without anybody asking ---------------------------------------------------

    def deliver_events(self, *, payment: str = "") -> None:
        """Bring the sandbox's new events to the inbox, as its webhooks would, and drain it."""
        events = self.sandbox("GET", f"/v1/events?after={self._seen}&payment={payment}")["data"]
        for event in events:
            self._seen = max(self._seen, event["seq"])
            self.receive(event)
        self.drain()

    def receive(self, event: Mapping[str, Any]) -> inbox.Received:
        """Store one event in the inbox."""
        document = {name: value for name, value in event.items() if name != "seq"}
        return inbox.receive(
            provider="sandbox",
            account_id=self.account.pk,
            event_id=event["id"],
            event_type=event["type"],
            subject=event["data"]["payment"]["id"],
            raw=json.dumps(document).encode(),
            headers={},
            received_at=self.now(),
        )

    def drain(self) -> None:
        """Apply what is due in the inbox."""
        inbox.drain(apply=apply_provider_event, now=self.now())

    def resume(self, payment_id: str) -> Answer:
        """Drive the payment's open operation on, as the poller does when it is due."""
        operation = ProviderOperation.objects.get(payment_id=payment_id, finished_at=None)
        with acting_as(Actor(type="job", id="test")):
            leased = lease_operation(operation.pk, now=self.now())
            assert leased is not None
            return resume_operation(leased, cause=Cause(type="poll"), clock=self.now)

    def poll(self, payment_id: str) -> Payment:
        """Ask the sandbox how the payment stands."""
        with acting_as(Actor(type="job", id="test")):
            poll_payment(payment_id, clock=self.now)
        return self.payment(payment_id)

    # --- what there is ---------------------------------------------------------------------------

    def payment(self, payment_id: str) -> Payment:
        """The payment's row as it stands."""
        return Payment.objects.get(pk=payment_id, merchant=self.merchant)

    def provider_reference(self, payment_id: str) -> str:
        """The sandbox's id of the payment's current attempt."""
        attempt = self.payment(payment_id).attempts.order_by("-number")[0]
        return attempt.provider_reference

    def edges(self, payment_id: str) -> list[str]:
        """The events the payment took, in order."""
        transitions = self.payment(payment_id).transitions.order_by("version")
        return [transition.event for transition in transitions]

    def balance(self, code: str, currency: str = "EUR") -> int:
        """An account of this merchant or its provider account, in its normal direction."""
        kinds = {
            "psp:clearing": ("asset", self.account.pk),
            "psp:disputed_funds": ("asset", self.account.pk),
            "psp:refunds_in_transit": ("liability", self.account.pk),
            "merchant:receivable": ("asset", self.merchant.pk),
        }
        kind, owner = kinds.get(code, ("liability", self.merchant.pk))
        key = AccountKey(code=code, kind=kind, currency=currency, livemode=False, owner=owner)
        return balance(key).balance_minor

    def movements(self, payment_id: str) -> list[dict[str, Any]]:
        """What the sandbox says really happened to money for this payment."""
        found: list[dict[str, Any]] = self.sandbox("GET", f"/v1/movements?reference={payment_id}")[
            "data"
        ]
        return found

    def settings(self, **knobs: Any) -> None:
        """Turn the sandbox's knobs for this account."""
        self.sandbox("POST", "/v1/control/settings", knobs)

    def sandbox_url(self) -> str:
        """Where the sandbox answers."""
        return str(settings.FLORIN_SANDBOX_URL)

    def sandbox_publishable_key(self) -> str:
        """What a payer's browser shows the sandbox."""
        return publishable_key_for(self.sandbox_key)

    def settle(self) -> None:
        """Let the sandbox settle what it captured."""
        self.advance_sandbox(60)

    def stage(self, payment_id: str, action: str, **body: Any) -> None:
        """Play the payer's bank, the PSP's fraud desk or a person in its dashboard."""
        reference = self.provider_reference(payment_id)
        self.sandbox("POST", f"/v1/control/payments/{reference}/{action}", body)

    def stage_dispute(self, dispute_id: str, result: str, **body: Any) -> None:
        """Let the payer's bank go on with a dispute."""
        reference = Dispute.objects.get(pk=dispute_id).provider_reference
        self.sandbox("POST", f"/v1/control/disputes/{reference}", {"result": result, **body})

    def later(self, payment_id: str = "", **duration: float) -> None:
        """Move both clocks ahead; what the sandbox does meanwhile is told and taken in."""
        self.ahead_by(**duration)
        self.advance_sandbox(timedelta(**duration).total_seconds())
        self.deliver_events()

    def advance_sandbox(self, seconds: float) -> None:
        """Move the sandbox account's clock; what falls due happens at once."""
        self.sandbox("POST", "/v1/control/clock", {"advance_seconds": seconds})

    def authenticate(self, payment_id: str, result: str) -> None:
        """Answer the 3-D Secure question as the payer: "succeed" or "fail"."""
        attempt = self.payment(payment_id).attempts.order_by("-number")[0]
        response = self._http.request(
            "POST",
            f"{self.sandbox_url()}/v1/payments/{attempt.provider_reference}/authentication",
            fields={"result": result, "client_secret": attempt.reveal_client_secret()},
            encode_multipart=False,
            redirect=False,
        )
        assert response.status < 400, response.data

    def ahead_by(self, **duration: float) -> None:
        """Move the test's clock ahead."""
        self.ahead += timedelta(**duration)

    def sandbox(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ask the sandbox directly with the account's secret key."""
        response = self._http.request(
            method,
            settings.FLORIN_SANDBOX_URL + path,
            json=body,
            headers={"Authorization": f"Bearer {self.sandbox_key}"},
        )
        assert response.status < 300, (response.status, response.data)
        answer: dict[str, Any] = response.json()
        return answer


def create_parameters(**changes: Any) -> dict[str, Any]:
    """What a validated create request holds."""
    parameters = {
        "amount_minor": 4200,
        "currency": "EUR",
        "capture_method": "automatic",
        "confirm": True,
        "payment_method": "tok_visa",
        "return_url": "",
        "description": "",
        "merchant_reference": "",
        "metadata": {},
    }
    assert set(changes) <= set(parameters), changes
    return parameters | changes


def new_key() -> str:
    """An idempotency key that nobody used."""
    return f"test-{secrets.token_hex(16)}"


def open_shop() -> Shop:
    """A merchant with a fee of 1.5 % + 20, its keys and a sandbox account nobody else uses."""
    actor = Actor(type="system", id="test")
    now = datetime.now(UTC)
    created = create_merchant(
        name="Alice's shop",
        email=f"alice-{secrets.token_hex(4)}@shop.example",
        fee_basis_points=FEE_BASIS_POINTS,
        fee_fixed_minor=FEE_FIXED_MINOR,
        actor=actor,
        now=now,
    )
    sandbox_key = f"sbx_sk_{secrets.token_hex(16)}"
    account = create_provider_account(
        provider="sandbox",
        name="Sandbox",
        livemode=False,
        merchant=created.merchant,
        secret_key=sandbox_key,
        publishable_key="sbx_pk_unused",
        webhook_secrets=["whsec_" + secrets.token_hex(16)],
        api_base="",
        actor=actor,
        now=now,
    )
    return Shop(
        merchant=created.merchant,
        secret_key=created.secret_key,
        publishable_key=created.publishable_key,
        account=account,
        sandbox_key=sandbox_key,
    )
