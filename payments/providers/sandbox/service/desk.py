"""Where a change at the sandbox PSP is worked on, and what every change does there.

A change runs inside one transaction of the books. It edits the payment's document, writes a
movement for each piece of money that moved, and ends in `changed`, which raises the version, saves
the document and leaves exactly one event that carries all of it: its captures, refunds and
disputes too, each with a version of its own. So the order in which events are read never matters,
the highest version is the truth. Whoever refuses without effect raises `Refusal`; a no that has an
effect to keep (a refund that is on record as failed) returns `Declined`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from payments.providers.sandbox.service.accounts import Account, Accounts
from payments.providers.sandbox.service.behaviour import DECLINES, Instrument
from payments.providers.sandbox.service.books import Books
from payments.providers.sandbox.service.delivery import Deliveries
from payments.providers.sandbox.service.instruments import BY_TOKEN
from payments.providers.sandbox.service.wire import Refusal

_PREFIXES = {"capture": "sbk", "refund": "sbr", "dispute": "sbd"}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The books, the account, the outgoing events, our address."""

    books: Books
    accounts: Accounts
    account: Account
    deliveries: Deliveries
    base_url: str = ""


@dataclass(frozen=True)
class Declined:
    """A definitive no that left its mark; `part` is the refused capture or refund."""

    code: str
    payment: Mapping[str, Any]
    part: Mapping[str, Any] | None = None


def new_id(prefix: str) -> str:
    """A fresh id; its first part rises with time, which keeps the index small."""
    return f"{prefix}_{time.time_ns() // 1_000_000:011x}{secrets.token_hex(7)}"


def moment(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def reason_of(code: str) -> dict[str, str]:
    """A row of DECLINES as it stands in a document."""
    decline = DECLINES[code]
    return {"code": code, "message": decline.message, "advice": decline.advice}


def instrument_of(payment: Mapping[str, Any]) -> Instrument:
    """The card or account that the payment was last tried with."""
    return BY_TOKEN[payment["instrument"]]


def new_part(
    desk: Desk, payment: dict[str, Any], kind: str, *, reference: str, **content: Any
) -> dict[str, Any]:
    """Add a capture, refund or dispute to the document; `changed` makes it version 1."""
    part: dict[str, Any] = {
        "object": kind,
        "id": new_id(_PREFIXES[kind]),
        "version": 0,
        "payment": payment["id"],
        "reference": reference,
        "currency": payment["currency"],
        "created_at": moment(desk.account.now()),
        **content,
    }
    payment[f"{kind}s"].append(part)
    if kind != "capture" or reference:  # a capture is looked for by the merchant's id only
        desk.books.add_part(desk.account.id, payment["id"], part)
    return part


def part_of(payment: Mapping[str, Any], kind: str, part_id: str) -> dict[str, Any]:
    """The capture, refund or dispute with this id. Raises LookupError when it is not there."""
    for part in payment[f"{kind}s"]:
        if part["id"] == part_id:
            found: dict[str, Any] = part
            return found
    raise LookupError(f"Bug! {payment['id']} has no {kind} {part_id}.")


def require(payment: Mapping[str, Any], statuses: frozenset[str], verb: str) -> None:
    """Raises Refusal 409, with the payment, when it is in another status than these."""
    if payment["status"] not in statuses:
        message = f"A payment that is {payment['status']} cannot be {verb}."
        raise conflict(payment, message)


def conflict(
    payment: Mapping[str, Any], message: str, *, code: str = "unexpected_status", **extra: Any
) -> Refusal:
    """The 409 that shows the object as it stands."""
    return Refusal(409, "invalid_state", code, message, payment=dict(payment), **extra)


def move(
    desk: Desk,
    payment: Mapping[str, Any],
    kind: str,
    amount_minor: int,
    part: Mapping[str, Any] | None = None,
) -> None:
    """Write down that money moved; nothing is written for an amount of 0."""
    if amount_minor == 0:
        return
    desk.books.run(
        "INSERT INTO movements (id, account, payment, reference, part, part_reference, kind,"
        " amount_minor, currency, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        new_id("sbm"),
        desk.account.id,
        payment["id"],
        payment["reference"],
        part["id"] if part else "",
        part["reference"] if part else "",
        kind,
        amount_minor,
        payment["currency"],
        desk.account.now(),
    )


def schedule(
    desk: Desk, payment: Mapping[str, Any] | None, kind: str, after_seconds: float, part: str = ""
) -> None:
    """Have `kind` happen later, by the account's clock; without a payment, to the account."""
    due_at = desk.account.now() + after_seconds
    desk.books.run(
        "INSERT INTO jobs (account, payment, part, kind, due_at) VALUES (?, ?, ?, ?, ?)",
        desk.account.id,
        payment["id"] if payment else "",
        part,
        kind,
        due_at,
    )
    desk.account.next_due_at = min(desk.account.next_due_at, due_at)


def changed(
    desk: Desk, payment: dict[str, Any], event_type: str, *, part: dict[str, Any] | None = None
) -> None:
    """One change: versions rise, the document is saved, one event says so."""
    payment["version"] += 1
    data: dict[str, Any] = {"payment": payment}
    if part is not None:
        part["version"] += 1
        data[part["object"]] = part
    desk.books.save_payment(desk.account.id, payment)
    desk.deliveries.emit(
        desk.account,
        {
            "object": "event",
            "id": new_id("sbe"),
            "type": event_type,
            "created_at": moment(desk.account.now()),
            "account": desk.account.id,
            "livemode": False,
            "data": data,
        },
    )
