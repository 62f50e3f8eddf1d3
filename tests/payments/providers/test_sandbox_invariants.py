"""Whatever is asked of the sandbox PSP in whatever order, its documents, its movements, its events
and its settlements say the same.

The steps come from a seed that is in the test's id. The service is called without HTTP between.
"""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from payments.providers.sandbox.service.application import Sandbox
from payments.providers.sandbox.service.disputes import RESULTS
from payments.providers.sandbox.service.instruments import BY_TOKEN
from payments.providers.sandbox.service.staging import PAYMENT_ACTIONS

STEPS = 1_000
TOKENS = [row.name for row in BY_TOKEN.values() if not row.fault and not row.answer]
VERBS = ("capture", "increment", "cancel", "refunds", "confirm")
SIGNS = {
    "capture": 1,
    "void": -1,
    "capture_failure": -1,
    "refund": -1,
    "refund_failure": 1,
    "dispute": -1,
    "dispute_reversal": 1,
    "dispute_fee": -1,
    "return": -1,
    "return_reversal": 1,
}


class Caller:
    """One account of a sandbox in this process."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.sandbox = Sandbox(folder)
        self.dice = random.Random(seed)
        self.statuses: Counter[int] = Counter()
        self.payments = 0

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; its decoded answer. No answer may be a 500."""
        path, _, query = path.partition("?")
        raw = json.dumps(body or {}).encode()
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "wsgi.url_scheme": "http",
            "HTTP_HOST": "sandbox",
            "HTTP_AUTHORIZATION": "Bearer sbx_sk_invariants",
            "wsgi.input": io.BytesIO(raw),
        }
        response = self.sandbox.respond(environ)
        assert response.status < 500, (path, body, response)
        self.statuses[response.status] += 1
        return dict(json.loads(response.payload()))

    def step(self) -> None:
        """Do one thing to one payment, or let time pass."""
        dice = self.dice
        if not self.payments or dice.random() < 0.15:
            self.payments += 1
            order = {"amount_minor": dice.randint(1, 5_000), "reference": f"pay_{self.payments}"}
            order |= {"currency": dice.choice(("EUR", "JPY")), "token": dice.choice(TOKENS)}
            order |= {"confirm": True, "capture": dice.choice(("automatic", "manual"))}
            self.call("POST", "/v1/payments", order)
        elif dice.random() < 0.2:
            seconds = dice.choice((1, 3, 60, 86_400, 8 * 86_400, 50 * 86_400))
            self.call("POST", "/v1/control/clock", {"advance_seconds": seconds})
        else:
            self._touch(self.document(dice.randint(max(1, self.payments - 8), self.payments)))

    def document(self, number: int) -> dict[str, Any]:
        """A payment as it stands."""
        (found,) = self.call("GET", f"/v1/payments?reference=pay_{number}")["data"]
        return dict(found)

    def _touch(self, payment: dict[str, Any]) -> None:
        dice = self.dice
        amount = {"amount_minor": dice.randint(1, 6_000)} if dice.random() < 0.7 else {}
        parts = [*payment["refunds"], *payment["disputes"]]
        if parts and dice.random() < 0.5:
            part = dice.choice(parts)
            results = ("succeed", "fail", "fail_late", "cancel")
            if part["object"] == "dispute" and dice.random() < 0.5:
                verb, body = dice.choice(
                    (("evidence", {"texts": {"product_description": "A hat."}}), ("accept", {}))
                )
                self.call("POST", f"/v1/disputes/{part['id']}/{verb}", body)
                return
            choices = results if part["object"] == "refund" else RESULTS
            path = f"/v1/control/{part['object']}s/{part['id']}"
            self.call("POST", path, {"result": dice.choice(choices)})
        elif dice.random() < 0.6:
            wish: dict[str, Any] = (
                {**amount, "final": dice.random() < 0.5} if dice.random() < 0.8 else {}
            )
            self.call("POST", f"/v1/payments/{payment['id']}/{dice.choice(VERBS)}", wish)
        else:
            action = dice.choice(list(PAYMENT_ACTIONS))
            self.call("POST", f"/v1/control/payments/{payment['id']}/{action}", amount)


def _check_payment(caller: Caller, payment: dict[str, Any]) -> int:
    """The document against movements and events; what our balance has of it."""
    path = f"/v1/movements?payment={payment['id']}"
    moved: Counter[str] = Counter()
    for movement in caller.call("GET", path)["data"]:
        moved[movement["kind"]] += movement["amount_minor"]
    standing = moved["capture"] - moved["void"] - moved["capture_failure"]
    assert payment["amount_captured_minor"] == standing
    assert payment["amount_capturable_minor"] == (
        moved["hold"] - moved["release"] - moved["capture"]
    )
    assert payment["amount_refunded_minor"] == moved["refund"] - moved["refund_failure"]
    assert payment["amount_returned_minor"] == moved["return"] - moved["return_reversal"]
    withdrawn = sum(one["funds_withdrawn_minor"] for one in payment["disputes"])
    assert withdrawn == moved["dispute"] - moved["dispute_reversal"]
    assert 0 <= payment["amount_settled_minor"] <= payment["amount_captured_minor"]
    assert payment["settled"] is False or payment["amount_captured_minor"] > 0
    events = caller.call("GET", f"/v1/events?payment={payment['id']}")["data"]
    versions = [event["data"]["payment"]["version"] for event in events]
    assert versions == list(range(1, payment["version"] + 1))
    assert events[-1]["data"]["payment"] == payment
    return sum(SIGNS.get(kind, 0) * amount for kind, amount in moved.items())


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_the_sandbox_says_agrees(seed: int, tmp_path: Path) -> None:
    caller = Caller(tmp_path, seed)
    for _ in range(STEPS):
        caller.step()
    caller.call("POST", "/v1/control/clock", {"advance_seconds": 100 * 86_400})
    balances: Counter[str] = Counter()
    charged: Counter[str] = Counter()
    for number in range(1, caller.payments + 1):
        payment = caller.document(number)
        balances[payment["currency"]] += _check_payment(caller, payment)
        fees = [one for one in payment["captures"] if one["settled"]]
        charged[payment["currency"]] += sum(one["fee_minor"] for one in fees)
    paid_out: Counter[str] = Counter()
    closing: dict[str, int] = {}
    for settlement in reversed(caller.call("GET", "/v1/settlements")["data"]):
        assert settlement["opening_balance_minor"] == closing.get(settlement["currency"], 0)
        closing[settlement["currency"]] = settlement["closing_balance_minor"]
        paid_out[settlement["currency"]] += settlement["payout_minor"]
    for currency, closed in closing.items():
        assert closed + paid_out[currency] == balances[currency] - charged[currency]
    assert caller.statuses[200] > STEPS
    assert caller.statuses.keys() <= {200, 400, 402, 409}
