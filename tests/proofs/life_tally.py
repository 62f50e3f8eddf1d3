"""What a run of the life proof did: counted while it happens, told at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from payments.models import ProviderOperation, Transition
from payments.states import EDGES

OPERATION_KINDS = tuple(kind.value for kind in ProviderOperation.Kind)


@dataclass
class Tally:
    """Counts of one run over all its merchants."""

    seed: int
    steps: int = 0
    accepted: int = 0
    payments: int = 0
    explained_by_cases: int = 0
    merchants: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    webhooks: Counter[str] = field(default_factory=Counter)
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    duration_seconds: float = 0.0

    def edges(self) -> Counter[tuple[str, str, str]]:
        """How often each edge was taken, from the transitions that the database holds."""
        taken: Counter[tuple[str, str, str]] = Counter()
        rows = Transition.objects.filter(payment__merchant__in=self.merchants)
        for row in rows.values_list("from_state", "event", "to_state").iterator():
            taken[row] += 1
        return taken

    def missing_edges(self, wanted: int) -> list[tuple[str, str]]:
        """(state, event) of edges that were taken fewer than `wanted` times."""
        taken = self.edges()
        return [
            (edge.source.value, edge.event)
            for edge in EDGES
            if taken[edge.source.value, edge.event, edge.target.value] < wanted
        ]

    def missing_faults(self, faults: tuple[str, ...]) -> list[tuple[str, str]]:
        """(fault, kind of operation) that never met."""
        return [
            (fault, kind)
            for fault in faults
            for kind in OPERATION_KINDS
            if not self.met[fault, kind]
        ]

    def show(self, faults: tuple[str, ...]) -> None:
        """Print seed and counts."""
        console = Console(width=150)
        share = self.accepted / max(1, self.steps)
        console.print(
            f"seed {self.seed}: {self.steps} steps over {self.payments} payments in "
            f"{self.duration_seconds:.0f} s, {share:.0%} accepted, "
            f"{self.explained_by_cases} payments left to a person"
        )
        console.print(f"refusals: {dict(self.refusals.most_common())}")
        console.print(f"webhooks: {dict(self.webhooks)}")
        taken = self.edges()
        table = Table(title="times each edge was taken")
        for heading in ("from", "event", "to", "times"):
            table.add_column(heading, justify="right" if heading == "times" else "left")
        for edge in EDGES:
            names = (edge.source.value, edge.event, edge.target.value)
            table.add_row(*names, str(taken[names]))
        console.print(table)
        table = Table(title="calls that met each fault")
        table.add_column("fault")
        for kind in OPERATION_KINDS:
            table.add_column(kind, justify="right")
        for fault in faults:
            table.add_row(fault, *[str(self.met[fault, kind]) for kind in OPERATION_KINDS])
        console.print(table)
