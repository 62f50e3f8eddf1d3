"""One account's objects in memory, its events, and how an object is found and shown.

Every verb of the other modules changes a `Vault`, lets it emit the events that follow, and raises
`Refused` with Stripe's error object. Objects hold ids of one another; `show` expands them.
"""

from __future__ import annotations

import copy
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.stripe_stand_in.payment_methods import Method

Json = dict[str, Any]

# The object an id leads to, by the id's beginning.
STORES = {
    "pi": "payment_intent",
    "ch": "charge",
    "txn": "balance_transaction",
    "re": "refund",
    "dp": "dispute",
    "file": "file",
    "cus": "customer",
    "pm": "payment_method",
    "mandate": "mandate",
    "seti": "setup_intent",
    "prv": "review",
    "po": "payout",
}
_EVENT_VERSION = "2026-10-28.endive"
REFUNDS_ON_A_CHARGE = 10


class Refused(Exception):
    """A no: HTTP status and Stripe's error object."""

    def __init__(self, status: int, kind: str, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.error: Json = {"type": kind, "message": message, **more}
        if code:
            self.error["code"] = code


class Vault:
    """One account's objects, by kind and id, in the order in which they were made."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Json]] = {kind: {} for kind in STORES.values()}
        self.events: list[Json] = []
        self.card_features = {"multicapture", "incremental_authorization"}
        self.behaviours: dict[str, Method] = {}  # by payment method
        self.detached: set[str] = set()  # payment methods that may not be used again
        self.quirks: Counter[str] = Counter()  # wrong doings to come, e.g. refund_wrong_amount
        self.pending_captures: dict[str, tuple[int, bool]] = {}  # amount and finality, by intent
        self.paid_out: dict[str, str] = {}  # balance transaction -> payout

    def quirk(self, name: str) -> bool:
        """Whether to do this wrong once more; counted down."""
        armed = self.quirks[name] > 0
        self.quirks[name] -= armed
        return armed

    def add(self, prefix: str, **members: Any) -> Json:
        """A new object, with what all objects have."""
        made = {
            "id": f"{prefix}_{secrets.token_hex(12)}",
            "object": STORES[prefix],
            "created": int(time.time()),
            "livemode": False,
            **members,
        }
        self.objects[STORES[prefix]][made["id"]] = made
        return made

    def all(self, kind: str) -> list[Json]:
        """Every object of a kind, oldest first."""
        return list(self.objects[kind].values())

    def get(self, object_id: str) -> Json:
        """An object that has to be there, by id."""
        return self.objects[STORES[object_id.split("_")[0]]][object_id]

    def find(self, kind: str, object_id: str, param: str) -> Json:
        """An object that somebody named. Raises Refused."""
        if object_id not in self.objects[kind]:
            words = f"No such {kind}: '{object_id}'"
            raise Refused(404, "invalid_request_error", "resource_missing", words, param=param)
        return self.objects[kind][object_id]

    def emit(self, event_type: str, subject: Json) -> None:
        """Keep an event with the object as it stands."""
        self.events.append(
            {
                "id": f"evt_{secrets.token_hex(12)}",
                "object": "event",
                "api_version": _EVENT_VERSION,
                "created": int(time.time()),
                "data": {"object": self.show(subject)},
                "livemode": False,
                "pending_webhooks": 1,
                "request": {"id": None, "idempotency_key": None},
                "type": event_type,
            }
        )

    def show(self, subject: Json, expand: Sequence[str] = ()) -> Json:
        """An object as it goes over the wire, with the named members expanded. Raises Refused."""
        shown = copy.deepcopy(subject)
        if shown["object"] == "dispute":
            # Their balance transactions are always whole.
            found = [self.get(one) for one in shown["balance_transactions"]]
            shown["balance_transactions"] = copy.deepcopy(found)
        for path in expand:
            if path.count(".") > 3:
                raise invalid("", "You cannot expand more than 4 levels of a property.", "expand")
            self._expand(shown, path.split("."))
        return shown

    def _expand(self, shown: Json, path: Sequence[str]) -> None:
        name, rest = path[0], path[1:]
        if shown.get("object") == "charge" and name == "refunds" and name not in shown:
            shown[name] = self._refunds_of(shown["id"])
        if name not in shown:
            words = f"This property cannot be expanded ({name})."
            raise invalid("", words, "expand")
        value = shown[name]
        if isinstance(value, str) and value.split("_")[0] in STORES:
            shown[name] = value = self.show(self.get(value))
        if not rest:
            return
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                self._expand(one, rest)

    def _refunds_of(self, charge_id: str) -> Json:
        mine = [refund for refund in self.all("refund") if refund["charge"] == charge_id]
        newest = mine[::-1]
        return {
            "object": "list",
            "data": copy.deepcopy(newest[:REFUNDS_ON_A_CHARGE]),
            "has_more": len(newest) > REFUNDS_ON_A_CHARGE,
            "url": f"/v1/charges/{charge_id}/refunds",
        }

    def page(self, found: Sequence[Json], params: Json, url: str) -> Json:
        """One page of a list, newest first, as `limit` and `starting_after` ask. Raises Refused."""
        newest = list(found)[::-1]
        limit = int(params.get("limit", 10))
        if not 1 <= limit <= 100:
            raise invalid("", "This value must be between 1 and 100.", "limit")
        after = params.get("starting_after")
        if after is not None:
            ids = [one["id"] for one in newest]
            if after not in ids:
                raise invalid("resource_missing", f"No such object: '{after}'", "starting_after")
            newest = newest[ids.index(after) + 1 :]
        answer: Json = {
            "object": "list",
            "data": [self.show(one) for one in newest[:limit]],
            "has_more": len(newest) > limit,
            "url": url,
        }
        for path in params.get("expand", []):
            self._expand(answer, path.split("."))
        return answer


def invalid(code: str, message: str, param: str, **more: Any) -> Refused:
    """A request that cannot be carried out."""
    return Refused(400, "invalid_request_error", code, message, param=param, **more)


def whole(params: Json, name: str) -> int:
    """A whole number that has to be there. Raises Refused."""
    try:
        return int(params[name])
    except (KeyError, ValueError):
        raise invalid("parameter_missing", f"Missing required param: {name}.", name) from None


def unexpected_state(vault: Vault, intent: Json, verb: str) -> Refused:
    """The PaymentIntent is not where the verb begins."""
    words = f"This PaymentIntent could not be {verb} because it has a status of {intent['status']}."
    shown = vault.show(intent)
    return invalid("payment_intent_unexpected_state", words, "", payment_intent=shown)
