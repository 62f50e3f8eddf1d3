"""The capability matrix of docs/providers.md, made by running the conformance suite.

    python -m tests.payments.providers.capability_matrix

runs every scenario for every provider and writes the table between the two marks. It refuses to
write a table with a failure in it. test_documentation.py holds the table to what the suite runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.payments.providers import (
    scenarios_capture,
    scenarios_dispute,
    scenarios_event_list,
    scenarios_fault,
    scenarios_method,
    scenarios_payment,
    scenarios_refund,
    scenarios_webhook,
)
from tests.payments.providers.conformance import SCENARIOS
from tests.payments.providers.drivers import DRIVERS

# Importing them has filled the registry; this is the order in which they are shown.
SCENARIO_MODULES = [
    module.__name__
    for module in (
        scenarios_payment,
        scenarios_capture,
        scenarios_refund,
        scenarios_dispute,
        scenarios_method,
        scenarios_fault,
        scenarios_webhook,
        scenarios_event_list,
    )
]
ORDERED = sorted(SCENARIOS, key=lambda name: SCENARIO_MODULES.index(SCENARIOS[name].__module__))

BASE_DIR = Path(__file__).resolve().parents[3]
DOCUMENT = BASE_DIR / "docs" / "providers.md"
BEGIN, END = "<!-- capability matrix: begin -->", "<!-- capability matrix: end -->"


class Results:
    """A pytest plugin that keeps how each test ended."""

    def __init__(self) -> None:
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each phase of each test."""
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid.partition("[")[2].rstrip("]"))


def render(passed: set[str]) -> str:
    """The table and its notes. `passed` holds "driver-scenario" of each that passed."""
    names = [kind.name for kind in DRIVERS]
    notes: list[str] = []
    lines = [f"| scenario | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for scenario in ORDERED:
        cells = []
        for kind in DRIVERS:
            if scenario in kind.lacks:
                reason = kind.lacks[scenario]
                if reason not in notes:
                    notes.append(reason)
                cells.append(f"– [{notes.index(reason) + 1}]")
            else:
                cells.append("yes" if f"{kind.name}-{scenario}" in passed else "**no**")
        lines.append(f"| {scenario.replace('_', ' ')} | {' | '.join(cells)} |")
    numbered = [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join([*lines, "", *numbered])


def expected() -> set[str]:
    """What has to pass: every scenario of every driver that does not lack it."""
    return {
        f"{kind.name}-{scenario}"
        for kind in DRIVERS
        for scenario in SCENARIOS
        if scenario not in kind.lacks
    }


def main() -> int:
    """Run the suite and write the table; 1 when a scenario failed."""
    results = Results()
    suite = Path(__file__).with_name("test_conformance.py")
    pytest.main(["-q", str(suite)], plugins=[results])
    missing = expected() - results.passed
    if missing:
        sys.stderr.write(f"Not written: {len(missing)} scenarios did not pass.\n")
        return 1
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{render(results.passed)}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
