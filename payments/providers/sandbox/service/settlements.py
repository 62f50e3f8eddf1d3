"""The sandbox PSP's balance, settlement batches and payouts.

Every change of our balance is an item: a charge when its money becomes available, its fee, and
each refund, dispute and return at the moment it happens; amounts are signed, as they change the
balance. Items gather until the batch is closed (`settlement_batch_seconds` after the first one);
one settlement per currency then holds them, and what the balance has then is paid out:

    items ──close──► settlement (opening + net - payout = closing) ──► payout: in_transit ──► paid
                                                                          (── late ──► failed)

A payout that fails brings its money back as an item of the next batch. The knobs `settlement_...`
plant what is wrong in a report: the payments themselves stay right, only their items do not.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from payments.providers.sandbox.service.desk import Desk, moment, new_id, schedule

COLUMNS = (
    "id",
    "settlement",
    "kind",
    "payment",
    "reference",
    "part",
    "part_reference",
    "amount_minor",
    "currency",
    "occurred_at",
)


def add(
    desk: Desk,
    payment: Mapping[str, Any],
    kind: str,
    amount_minor: int,
    part: Mapping[str, Any] | None = None,
    *,
    currency: str = "",
) -> None:
    """One item: the balance changes by `amount_minor` (negative: it goes down)."""
    if amount_minor == 0:
        return
    waiting = desk.books.row(
        "SELECT 1 FROM settlement_items WHERE account = ? AND settlement = '' LIMIT 1",
        desk.account.id,
    )
    _insert(
        desk,
        "",
        kind,
        amount_minor,
        currency or payment["currency"],
        payment=payment["id"],
        reference=payment["reference"],
        part=part["id"] if part else "",
        part_reference=part["reference"] if part else "",
    )
    if waiting is None:
        schedule(desk, None, "close_settlement", desk.account.get("settlement_batch_seconds"))


def add_charge(desk: Desk, payment: Mapping[str, Any], capture: Mapping[str, Any]) -> None:
    """The items of a capture that has become available, and what is planted around them."""
    taken = {name: desk.accounts.take(desk.account, f"settlement_{name}") for name in _PLANTED}
    amount, currency = capture["amount_minor"], payment["currency"]
    if taken["wrong_amount"]:
        amount += 1
    if taken["wrong_currency"]:
        currency = "USD" if currency != "USD" else "EUR"
    if not taken["missing_item"]:
        add(desk, payment, "charge", amount, capture, currency=currency)
    if taken["duplicated_item"]:
        add(desk, payment, "charge", amount, capture, currency=currency)
    if taken["extra_item"]:
        nobody = {"id": new_id("sbp"), "reference": "", "currency": currency}
        add(desk, nobody, "charge", amount)
    add(desk, payment, "fee", -(capture["fee_minor"] + bool(taken["wrong_fee"])), capture)


_PLANTED = (
    "missing_item",
    "extra_item",
    "wrong_amount",
    "wrong_currency",
    "duplicated_item",
    "wrong_fee",
)


def close(desk: Desk) -> None:
    """Put the gathered items into one settlement per currency, and pay out what there is."""
    rows = desk.books.rows(
        "SELECT currency, sum(amount_minor) AS net, count(*) AS items FROM settlement_items"
        " WHERE account = ? AND settlement = '' GROUP BY currency ORDER BY currency",
        desk.account.id,
    )
    for row in rows:
        _close_currency(desk, row["currency"], row["net"], row["items"])


def pay(desk: Desk, payout_id: str) -> None:
    """A payout has arrived at the bank."""
    payout = _payout(desk, payout_id)
    if payout["status"] == "in_transit":
        payout["status"] = "paid"
        payout["paid_at"] = moment(desk.account.now())
        desk.books.save_document(desk.account.id, payout)
        if desk.accounts.take(desk.account, "payout_fails_late"):
            after = desk.account.get("late_failure_after_seconds")
            schedule(desk, None, "payout_fails", after, payout_id)


def fail(desk: Desk, payout_id: str) -> dict[str, Any]:
    """The bank sends a payout back, also when it had been paid; the money is ours to pay again."""
    payout = _payout(desk, payout_id)
    if payout["status"] != "failed":
        payout["status"] = "failed"
        payout["failure"] = {"code": "account_closed", "message": "The bank account is closed."}
        desk.books.save_document(desk.account.id, payout)
        about = {"id": "", "reference": "", "currency": payout["currency"]}
        part = {"id": payout_id, "reference": ""}
        add(desk, about, "payout_failure", payout["amount_minor"], part)
    return payout


def items(desk: Desk, settlement: str, *, after: int, limit: int) -> list[dict[str, Any]]:
    """The items of a settlement in order, `seq` with each."""
    rows = desk.books.rows(
        "SELECT * FROM settlement_items WHERE account = ? AND settlement = ? AND seq > ?"
        " ORDER BY seq LIMIT ?",
        desk.account.id,
        settlement,
        after,
        limit,
    )
    found = [{name: row[name] for name in (*COLUMNS, "seq")} for row in rows]
    for item in found:
        item["occurred_at"] = moment(item["occurred_at"])
    return found


def report(found: list[dict[str, Any]]) -> bytes:
    """The same items as a file: CSV with one line of column names."""
    page = io.StringIO()
    writer = csv.DictWriter(page, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return page.getvalue().encode()


def _payout(desk: Desk, payout_id: str) -> dict[str, Any]:
    payout = desk.books.load_document(desk.account.id, "payout", payout_id)
    if payout is None:
        raise LookupError(f"Bug! There is no payout {payout_id}.")
    return payout


def _close_currency(desk: Desk, currency: str, net_minor: int, count: int) -> None:
    account, settlement_id, now = desk.account, new_id("sbs"), desk.account.now()
    last = desk.books.documents(account.id, "settlement", found_by=currency, limit=1)
    opening = last[0]["closing_balance_minor"] if last else 0
    desk.books.run(
        "UPDATE settlement_items SET settlement = ?"
        " WHERE account = ? AND settlement = '' AND currency = ?",
        settlement_id,
        account.id,
        currency,
    )
    paid_out = max(0, opening + net_minor)
    payout_id = None
    if paid_out:
        payout_id = new_id("sbo")
        payout = {
            "object": "payout",
            "id": payout_id,
            "settlement": settlement_id,
            "amount_minor": paid_out,
            "currency": currency,
            "status": "in_transit",
            "failure": None,
            "created_at": moment(now),
            "paid_at": None,
        }
        desk.books.save_document(account.id, payout)
        _insert(desk, settlement_id, "payout", -paid_out, currency, part=payout_id)
        schedule(desk, None, "payout_is_paid", account.get("payout_after_seconds"), payout_id)
    desk.books.save_document(
        account.id,
        {
            "object": "settlement",
            "id": settlement_id,
            "currency": currency,
            "opening_balance_minor": opening,
            "net_minor": net_minor,
            "payout_minor": paid_out,
            "closing_balance_minor": opening + net_minor - paid_out,
            "payout": payout_id,
            "item_count": count + bool(payout_id),
            "closed_at": moment(now),
        },
        found_by=currency,
    )


def _insert(
    desk: Desk,
    settlement: str,
    kind: str,
    amount_minor: int,
    currency: str,
    *,
    payment: str = "",
    reference: str = "",
    part: str = "",
    part_reference: str = "",
) -> None:
    desk.books.run(
        "INSERT INTO settlement_items (id, account, settlement, kind, payment, reference, part,"
        " part_reference, amount_minor, currency, occurred_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        new_id("sbi"),
        desk.account.id,
        settlement,
        kind,
        payment,
        reference,
        part,
        part_reference,
        amount_minor,
        currency,
        desk.account.now(),
    )
