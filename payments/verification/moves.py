"""Each payment went legal ways to its state, and each move was announced once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from django.db import connection

import webhooks.integrity
from payments.actions.announcements import announcement
from payments.states import EDGES, State
from payments.verification.findings import Offence, payments_within, ranges, snapshot


def check_transitions(now: datetime) -> Iterator[Offence | None]:
    """Each payment's versions are 1, 2, 3 ..., each edge is legal and starts where the last one
    ended, and the last one leads to the state held.
    """
    legal = {(edge.event, edge.source.value, edge.target.value) for edge in EDGES}
    legal.add(("create", "", State.CREATED.value))
    for after, until in ranges():
        with snapshot():
            moves = _moves(after, until)
            rows = payments_within(after, until).values_list("id", "state", "version")
            for payment_id, state, version in rows:
                yield from _judge_moves(payment_id, state, version, moves[payment_id], legal)


def _judge_moves(
    payment_id: str,
    state: str,
    version: int,
    moves: list[tuple[int, str, str, str]],
    legal: set[tuple[str, str, str]],
) -> Iterator[Offence | None]:
    def offence(kind: str, detail: str) -> Offence:
        return Offence(kind=kind, object=payment_id, detail=detail)

    numbers = [number for number, *_ in moves]
    if numbers != list(range(1, version + 1)):
        yield offence("transitions_gap", f"version {version}, transitions {numbers}")
    held = ""
    for number, event, source, target in moves:
        if (event, source, target) not in legal:
            yield offence("transition_illegal", f"v{number} {event}: {source} → {target}")
        if source != held:
            yield offence("transition_broken", f"v{number} starts at {source!r}, not at {held!r}")
        held = target
    if held != state:
        yield offence("state_without_transition", f"it is {state}, its transitions lead to {held}")
    yield None


def _moves(after: str, until: str | None) -> dict[str, list[tuple[int, str, str, str]]]:
    """By payment id: (version, event, from, to), by version."""
    moves = defaultdict(list)
    upper = "" if until is None else "AND payment_id <= %s"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT payment_id, version, event, from_state, to_state FROM payments_transition
             WHERE payment_id > %s {upper} ORDER BY payment_id, version
            """,  # noqa: S608
            [after, *([] if until is None else [until])],
        )
        for payment_id, *move in cursor.fetchall():
            moves[payment_id].append(tuple(move))
    return moves


def check_events(now: datetime) -> Iterator[Offence | None]:
    """Each transition of each payment was announced once, and no stream has a gap."""
    for violation in webhooks.integrity.stream_violations():
        yield Offence(kind=violation.kind, object=violation.object, detail=violation.detail)
    for after, until in ranges():
        with snapshot():
            announced: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
            for told in webhooks.integrity.announcements(
                aggregate_type="payment", after=after, until=until
            ):
                announced[told.aggregate_id].append((told.version, told.type))
            moves = _moves(after, until)
        for payment_id, made in moves.items():
            names = announced[payment_id]
            for version, event, source, target in made:
                name = "payment.initiated"
                if event != "create":
                    name = announcement(event, source, State(target))
                if names.count((version, name)) != 1:
                    yield Offence(
                        kind="transition_not_announced",
                        object=payment_id,
                        detail=f"v{version} {event}: {name} is there "
                        f"{names.count((version, name))} times",
                    )
            yield None
