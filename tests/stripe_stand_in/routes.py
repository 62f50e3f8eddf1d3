"""What each address does: reads, lists and verbs, with the parameters Stripe takes there.

A parameter that the SDK's types do not know is refused, as Stripe refuses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from stripe import params as types

from tests.stripe_stand_in import customers, disputes, holds, intents, refunds
from tests.stripe_stand_in.vault import Json, Refused, Vault, invalid

# Address part -> (kind, by what it can be listed; None: not listed here).
COLLECTIONS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "balance_transactions": ("balance_transaction", ("source", "payout", "type")),
    "charges": ("charge", ("payment_intent", "customer")),
    "customers": ("customer", None),
    "disputes": ("dispute", ("payment_intent", "charge")),
    "events": ("event", None),
    "files": ("file", None),
    "mandates": ("mandate", None),
    "payment_intents": ("payment_intent", None),
    "payment_methods": ("payment_method", None),
    "payouts": ("payout", ("status",)),
    "refunds": ("refund", ("payment_intent", "charge")),
    "reviews": ("review", ()),
    "setup_intents": ("setup_intent", None),
}
_PAGING = frozenset({"limit", "starting_after", "expand"})

# What a payer's browser may do with the publishable key, and the parameters only it sends.
BROWSER = ("confirm", "payment_methods")

Verb = Callable[[Vault, str, Json], Json]


def _on_intent(verb: Callable[[Vault, Json, Json], Json]) -> Verb:
    def run(vault: Vault, name: str, params: Json) -> Json:
        intent = vault.find("payment_intent", name, "intent")
        secret = params.pop("client_secret", None)
        if secret is not None and secret != intent["client_secret"]:
            raise invalid("payment_intent_invalid_parameter", "Bad secret.", "client_secret")
        return verb(vault, intent, params)

    return run


def _upload(vault: Vault, _: str, params: Json) -> Json:
    """POST /v1/files, multipart."""
    content, filename = params.get("file", b""), params.get("_filename", "")
    if not isinstance(content, bytes) or not content:
        raise invalid("parameter_missing", "Missing required param: file.", "file")
    kind = filename.rpartition(".")[2].lower()
    if kind not in ("pdf", "png", "jpg", "jpeg"):
        raise invalid("invalid_file_type", "This file type is not supported.", "file")
    return vault.add(
        "file",
        expires_at=None,
        filename=filename,
        links={"object": "list", "data": [], "has_more": False},
        purpose=params.get("purpose"),
        size=len(content),
        title=None,
        type=kind,
        url=None,
        sha256=hashlib.sha256(content).hexdigest(),
    )


# (collection, verb) -> what it does and the SDK's type of its parameters. "" is POST to all.
VERBS: dict[tuple[str, str], tuple[Verb, Any]] = {
    ("payment_intents", ""): (
        lambda vault, _, params: intents.create(vault, params),
        types.PaymentIntentCreateParams,
    ),
    ("payment_intents", "confirm"): (
        _on_intent(intents.confirm),
        types.PaymentIntentConfirmParams,
    ),
    ("payment_intents", "capture"): (
        _on_intent(holds.capture),
        types.PaymentIntentCaptureParams,
    ),
    ("payment_intents", "cancel"): (_on_intent(holds.cancel), types.PaymentIntentCancelParams),
    ("payment_intents", "increment_authorization"): (
        _on_intent(holds.increment_authorization),
        types.PaymentIntentIncrementAuthorizationParams,
    ),
    ("refunds", ""): (
        lambda vault, _, params: refunds.create(vault, params),
        types.RefundCreateParams,
    ),
    ("disputes", "update"): (
        lambda vault, name, params: disputes.update(
            vault, vault.find("dispute", name, "dispute"), params
        ),
        types.DisputeUpdateParams,
    ),
    ("disputes", "close"): (
        lambda vault, name, _: disputes.close(vault, vault.find("dispute", name, "dispute")),
        types.DisputeCloseParams,
    ),
    ("files", ""): (_upload, types.FileCreateParams),
    ("customers", ""): (
        lambda vault, _, params: customers.create_customer(vault, params),
        types.CustomerCreateParams,
    ),
    ("payment_methods", ""): (
        lambda vault, _, params: customers.from_browser(vault, params),
        types.PaymentMethodCreateParams,
    ),
    ("payment_methods", "attach"): (customers.attach, types.PaymentMethodAttachParams),
    ("payment_methods", "detach"): (
        lambda vault, name, _: customers.detach(vault, name),
        types.PaymentMethodDetachParams,
    ),
    ("setup_intents", ""): (
        lambda vault, _, params: customers.create_setup(vault, params),
        types.SetupIntentCreateParams,
    ),
}


@cache
def _known(kind: Any) -> frozenset[str]:
    return frozenset(kind.__annotations__)


def change(vault: Vault, path: str, params: Json) -> Json:
    """Carry out a POST. Raises Refused."""
    _, collection, name, verb = (*path.strip("/").split("/"), "", "")[:4]
    if collection == "disputes" and name and not verb:
        verb = "update"
    if (collection, verb) not in VERBS:
        raise Refused(404, "invalid_request_error", "", f"Unrecognized request URL (POST: {path}).")
    run, kind = VERBS[collection, verb]
    known = _known(kind) | {"client_secret"}
    for given in params:
        if given not in known and not given.startswith("_"):
            raise invalid("parameter_unknown", f"Received unknown parameter: {given}", given)
    params = dict(params)
    expand = params.pop("expand", [])
    return vault.show(run(vault, name, params), expand)


def read(vault: Vault, path: str, params: Json) -> Json:
    """Answer a GET. Raises Refused."""
    _, collection, name = (*path.strip("/").split("/"), "", "")[:3]
    if collection not in COLLECTIONS:
        raise Refused(404, "invalid_request_error", "", f"Unrecognized request URL (GET: {path}).")
    kind, filters = COLLECTIONS[collection]
    if collection == "payment_intents" and name == "search":
        return _search(vault, params)
    if name:
        param = "intent" if kind == "payment_intent" else kind
        return vault.show(vault.find(kind, name, param), params.get("expand", []))
    if collection == "events":
        return vault.page(_events(vault, params), params, path)
    if filters is None:
        raise Refused(404, "invalid_request_error", "", f"Unrecognized request URL (GET: {path}).")
    return vault.page(_matching(vault, kind, filters, params), params, path)


def _matching(
    vault: Vault, kind: str, filters: tuple[str, ...], params: Mapping[str, str]
) -> list[Json]:
    unknown = set(params) - set(filters) - _PAGING
    if unknown:
        name = min(unknown)
        raise invalid("parameter_unknown", f"Received unknown parameter: {name}", name)
    found = vault.all(kind)
    for name in filters:
        if name not in params:
            continue
        if name == "payout":
            if not vault.find("payout", params["payout"], "payout")["automatic"]:
                words = (
                    "Balance transaction history can only be filtered on automatic payouts,"
                    " not manual."
                )
                raise invalid("", words, "payout")
            found = [one for one in found if vault.paid_out.get(one["id"]) == params["payout"]]
        else:
            found = [one for one in found if one[name] == params[name]]
    return found


def _events(vault: Vault, params: Json) -> list[Json]:
    """The account's events, narrowed by `created` and `type` as Stripe does. Raises Refused."""
    unknown = set(params) - {"created", "type"} - _PAGING
    if unknown:
        name = min(unknown)
        raise invalid("parameter_unknown", f"Received unknown parameter: {name}", name)
    created = {name: int(value) for name, value in params.get("created", {}).items()}
    if set(created) - {"gte", "lte"}:
        raise invalid("parameter_unknown", "Use created[gte] and created[lte].", "created")
    return [
        event
        for event in vault.events
        if created.get("gte", 0) <= event["created"] <= created.get("lte", event["created"])
        and params.get("type", event["type"]) == event["type"]
    ]


def _search(vault: Vault, params: Json) -> Json:
    wanted = params.get("query", "").split(":'", 1)[-1].rstrip("'")
    found = [
        vault.show(intent)
        for intent in vault.all("payment_intent")
        if intent["metadata"].get("florin_payment") == wanted
    ]
    return {"object": "search_result", "data": found, "has_more": False}
