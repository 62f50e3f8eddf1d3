"""A test's own account at the sandbox PSP: its knobs, its clock, its payer, its books.

The books are the witness: what the sandbox says was moved is what was moved.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3

from payments.providers.base import Credentials
from payments.providers.sandbox.service.accounts import publishable_key_for

_http = urllib3.PoolManager(maxsize=16, retries=False)


def _new_secret_key() -> str:
    return f"sbx_sk_{secrets.token_hex(12)}"


@dataclass(frozen=True)
class SandboxAccount:
    """One account, opened by its first use; `url` is the address of the running sandbox."""

    url: str
    secret_key: str = field(default_factory=_new_secret_key)

    @property
    def publishable_key(self) -> str:
        """What the payer's browser has."""
        return publishable_key_for(self.secret_key)

    def credentials(self) -> Credentials:
        """The account as a provider call wants it."""
        return Credentials(
            secret_key=self.secret_key,
            publishable_key=self.publishable_key,
            api_base=self.url,
        )

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        as_payer: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """One request to the sandbox: status and decoded answer."""
        key = self.publishable_key if as_payer else self.secret_key
        answer = _http.request(
            method,
            self.url + path,
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {key}", **(headers or {})},
            timeout=60.0,
        )
        return answer.status, json.loads(answer.data or b"{}")

    def set(self, **knobs: Any) -> None:
        """Turn knobs of the account (`payments.providers.sandbox.service.accounts.KNOBS`)."""
        status, answer = self.call("POST", "/v1/control/settings", knobs)
        assert status == 200, answer

    def advance(self, seconds: float) -> None:
        """Move the account's clock forward; what falls due has happened when this returns."""
        status, answer = self.call("POST", "/v1/control/clock", {"advance_seconds": seconds})
        assert status == 200, answer

    def add_webhook(self, url: str, *, events: list[str] | None = None) -> str:
        """Register a webhook address; returns its secret."""
        body = {"url": url, "events": events or ["*"]}
        status, answer = self.call("POST", "/v1/webhook_endpoints", body)
        assert status == 200, answer
        return str(answer["secret"])

    def stage(self, payment: str, action: str, **body: Any) -> dict[str, Any]:
        """Play the payer's bank, the fraud desk or the PSP's dashboard to one of its payments
        (`payments.providers.sandbox.service.staging.PAYMENT_ACTIONS`).
        """
        return self._staged(f"payments/{payment}/{action}", body)

    def stage_refund(self, refund: str, result: str) -> dict[str, Any]:
        """End a refund: "succeed", "fail", "fail_late" or "cancel"."""
        return self._staged(f"refunds/{refund}", {"result": result})

    def stage_dispute(self, dispute: str, result: str, **more: Any) -> dict[str, Any]:
        """Move a dispute on: "won", "lost", "lost_in_part" (`lost_minor`), "withdrawn",
        "escalated", "prevented" or "expired".
        """
        return self._staged(f"disputes/{dispute}", {"result": result, **more})

    def stage_mandate(self, method: str, mandate_status: str) -> dict[str, Any]:
        """The payer gives ("active") or takes back ("inactive") their mandate."""
        return self._staged(f"methods/{method}", {"mandate_status": mandate_status})

    def fail_payout(self, payout: str) -> dict[str, Any]:
        """The bank sends a payout back."""
        return self._staged(f"payouts/{payout}/fail", {})

    def _staged(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        status, answer = self.call("POST", f"/v1/control/{path}", body)
        assert status == 200, answer
        return answer

    def movements(self, *, reference: str = "", kind: str = "capture") -> list[dict[str, Any]]:
        """Money movements of the account in order, or those under one of our ids (of a payment,
        with all that belongs to it; of a capture or refund); of one kind, or of all ("").
        """
        status, answer = self.call("GET", f"/v1/movements?reference={reference}")
        assert status == 200, answer
        return [movement for movement in answer["data"] if kind in ("", movement["kind"])]

    def settlements(self) -> list[dict[str, Any]]:
        """Closed settlements, the newest first, each with its `items`."""
        found = list(self.call("GET", "/v1/settlements")[1]["data"])
        for one in found:
            one["items"] = self.call("GET", f"/v1/settlements/{one['id']}/items")[1]["data"]
        return found

    def payouts(self) -> list[dict[str, Any]]:
        """Payouts, the newest first."""
        return list(self.call("GET", "/v1/payouts")[1]["data"])

    def payments(self, reference: str) -> list[dict[str, Any]]:
        """Every payment the sandbox has under one of our ids."""
        return list(self.call("GET", f"/v1/payments?reference={reference}")[1]["data"])

    def events(self, *, payment: str = "") -> list[dict[str, Any]]:
        """Events in the order they happened."""
        return list(self.call("GET", f"/v1/events?payment={payment}")[1]["data"])

    def confirm_as_payer(
        self, payment: str, client_secret: str, token: str
    ) -> tuple[int, dict[str, Any]]:
        """What the payer's browser does with the sandbox's client secret."""
        body = {"client_secret": client_secret, "token": token}
        return self.call("POST", f"/v1/payments/{payment}/confirm", body, as_payer=True)

    def authenticate(
        self, payment: str, client_secret: str, *, passed: bool
    ) -> tuple[int, dict[str, Any]]:
        """What the payer does at the 3-D Secure page."""
        body = {"client_secret": client_secret, "result": "succeed" if passed else "fail"}
        return self.call("POST", f"/v1/payments/{payment}/authentication", body, as_payer=True)
