"""The machines as pictures and tables, drawn from payments.states and payments.machines.

docs/states.md holds the output between markers; `manage.py draw_states --write` renews it and a
test fails when the page and the machines differ.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from payments.machines import (
    CAPTURE_EDGES,
    DISPUTE_EDGES,
    REFUND_EDGES,
    CaptureState,
    DisputeState,
    Machine,
    RefundState,
)
from payments.states import EDGES, State

MEANINGS: dict[State, str] = {
    State.CREATED: "The payment exists; a payment method may be given, a payer may confirm.",
    State.REQUIRES_ACTION: "The payer must do something first, for example 3-D Secure.",
    State.PROCESSING: "Sent to the provider; the result is pending, or not known yet.",
    State.IN_REVIEW: "A person must decide: amounts differ, money came late, nobody could say.",
    State.AUTHORIZED: "The money is held and can be captured.",
    State.CAPTURE_PENDING: "The capture was asked for and is not confirmed.",
    State.PARTIALLY_CAPTURED: "Some is captured, the rest still can be.",
    State.CAPTURED: "The money is taken; the provider has not settled it yet.",
    State.SETTLED: "The provider counts the money as ours; the merchant may have it.",
    State.DISPUTED: "A dispute is open.",
    State.REFUNDED: "All of it was given back.",
    State.REVERSED: "The money was taken back from us.",
    State.CANCELED: "Given up before money was taken.",
    State.FAILED: "Refused for good.",
}


class SmallMachine(NamedTuple):
    """A machine beside the payment's: its table and what its states mean."""

    edges: Machine
    first: str
    meanings: Mapping[enum.StrEnum, str]


SMALL_MACHINES: dict[str, SmallMachine] = {
    "captures": SmallMachine(
        CAPTURE_EDGES,
        "requested",
        {
            CaptureState.REQUESTED: "Committed here; the provider is being asked.",
            CaptureState.PENDING: "The provider takes the money, later.",
            CaptureState.SUCCEEDED: "The money is taken.",
            CaptureState.FAILED: "Refused; nothing was taken.",
            CaptureState.FAILED_LATE: "Told as done, and it did not hold: the amount is reversed.",
            CaptureState.VOIDED: "Taken back by us before it was settled.",
        },
    ),
    "refunds": SmallMachine(
        REFUND_EDGES,
        "requested",
        {
            RefundState.REQUESTED: "The amount is reserved; the provider is being asked.",
            RefundState.REQUIRES_ACTION: "The payer has to say where the money goes.",
            RefundState.PENDING: "On its way.",
            RefundState.SUCCEEDED: "Given back. The payer's bank may still send it back.",
            RefundState.FAILED: "It did not arrive; the amount is free again.",
            RefundState.CANCELED: "Given up at the provider; the amount is free again.",
        },
    ),
    "disputes": SmallMachine(
        DISPUTE_EDGES,
        "needs_response",
        {
            DisputeState.NEEDS_RESPONSE: "Evidence may be handed in until it is due.",
            DisputeState.SUBMITTED: "Evidence was handed in.",
            DisputeState.UNDER_REVIEW: "The bank decides.",
            DisputeState.WON: "Decided for us.",
            DisputeState.LOST: "Decided against us, in full or in part.",
            DisputeState.ACCEPTED: "Given up by us.",
            DisputeState.EXPIRED: "Lost, because no evidence came in time.",
            DisputeState.WITHDRAWN: "Taken back by the payer's bank.",
            DisputeState.CLOSED: "An inquiry that ended without a chargeback.",
            DisputeState.PREVENTED: "An early warning that was refunded in time.",
        },
    ),
}


def mermaid() -> str:
    """The machine as a Mermaid state diagram, one arrow per pair of states."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for edge in EDGES:
        arrows.setdefault((edge.source, edge.target), []).append(edge.event)
    lines = ["stateDiagram-v2", "    direction LR", "    [*] --> created"]
    lines += [
        f"    {source.value} --> {target.value}: {', '.join(events)}"
        for (source, target), events in arrows.items()
    ]
    return "\n".join(lines)


def tables() -> str:
    """Every state with its meaning, then every edge."""
    lines = ["| state | meaning |", "| --- | --- |"]
    lines += [f"| `{state.value}` | {MEANINGS[state]} |" for state in State]
    lines += ["", "| from | event | to | what happened |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{edge.source.value}` | `{edge.event}` | `{edge.target.value}` | {edge.meaning} |"
        for edge in EDGES
    ]
    return "\n".join(lines)


def small_machine(name: str) -> str:
    """One of SMALL_MACHINES as a diagram and a table of its states."""
    machine = SMALL_MACHINES[name]
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR", f"    [*] --> {machine.first}"]
    for source, edges in machine.edges.items():
        arrows: dict[str, list[str]] = {}
        for event, target in edges.items():
            arrows.setdefault(target, []).append(event)
        lines += [
            f"    {source} --> {target}: {', '.join(events)}" for target, events in arrows.items()
        ]
    lines += ["```", "", "| state | meaning |", "| --- | --- |"]
    lines += [f"| `{state.value}` | {words} |" for state, words in machine.meanings.items()]
    return "\n".join(lines)


def sections() -> dict[str, str]:
    """What stands between the markers of docs/states.md, by the markers' name."""
    return {
        "states": f"```mermaid\n{mermaid()}\n```\n\n{tables()}",
        **{name: small_machine(name) for name in SMALL_MACHINES},
    }


def section(name: str) -> str:
    """One section with its markers around it."""
    begin, end = markers(name)
    return f"{begin}\n\n{sections()[name]}\n\n{end}"


def markers(name: str) -> tuple[str, str]:
    """What a section begins and ends with."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
