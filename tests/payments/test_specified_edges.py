"""The payment machine has every edge that was specified, and each one more is accounted for."""

from __future__ import annotations

import re

from config.processes import BASE_DIR
from payments.states import EDGES
from tests.payments.specified_edges import SPECIFIED_EDGES

RECORD = BASE_DIR / "docs" / "decisions" / "four-edges-were-added-to-the-payment-machine.md"
TABLE = {(edge.source.value, edge.event, edge.target.value) for edge in EDGES}


def test_every_specified_edge_is_in_the_table() -> None:
    assert len(set(SPECIFIED_EDGES)) == 101
    assert sorted(set(SPECIFIED_EDGES) - TABLE) == []


def test_every_further_edge_is_named_with_its_reason() -> None:
    told = re.findall(r"^\| `(\w+)` → `(\w+)` on `(\w+)` \| \S", RECORD.read_text(), re.MULTILINE)
    assert {(source, event, target) for source, target, event in told} == TABLE - set(
        SPECIFIED_EDGES
    )


def test_no_edge_is_in_the_table_twice_or_leads_two_ways() -> None:
    assert len({(edge.source, edge.event) for edge in EDGES}) == len(EDGES) == len(TABLE)
