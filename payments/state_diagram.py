"""The payment machine as a picture and a table, drawn from payments.states.EDGES.

docs/states.md holds the output between two markers; `manage.py draw_states --write` renews it and
a test fails when the page and the machine differ.
"""

from __future__ import annotations

from payments.states import EDGES, State

BEGIN = "<!-- states: begin -->"
END = "<!-- states: end -->"

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
    entered = {edge.target for edge in EDGES} | {State.CREATED}
    lines = ["| state | meaning | entered |", "| --- | --- | --- |"]
    for state in State:
        when = "yes" if state in entered else "by operations still to come"
        lines.append(f"| `{state.value}` | {MEANINGS[state]} | {when} |")
    lines += ["", "| from | event | to | what happened |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{edge.source.value}` | `{edge.event}` | `{edge.target.value}` | {edge.meaning} |"
        for edge in EDGES
    ]
    return "\n".join(lines)


def section() -> str:
    """What stands between the markers of docs/states.md."""
    return f"{BEGIN}\n\n```mermaid\n{mermaid()}\n```\n\n{tables()}\n\n{END}"
