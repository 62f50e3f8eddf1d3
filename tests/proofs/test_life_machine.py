"""A payment's whole life: operations, webhooks and faults in any order, judged after every step.

The suite's run is small and its seed fixed. `make prove` takes thousands of steps, then tells the
stories of edges that were taken fewer than five times and lets every fault meet every operation.
FLORIN_PROOF_SEED repeats a run; FLORIN_PROOF_SECONDS bounds its random part.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from payments.models import ReviewCase
from payments.verification import verify
from tests.databases import TestDatabases
from tests.payments.own_database import own_database
from tests.processes import RunningProcess
from tests.proofs.liar import Liar, lying
from tests.proofs.life_drain import come_to_rest
from tests.proofs.life_frame import FAULTS, TIMEOUT_SECONDS, provider_url
from tests.proofs.life_machine import LifeMachine
from tests.proofs.life_stories import MORE, STORIES, meet
from tests.proofs.life_tally import Tally
from tests.proofs.life_world import World

TIMES_PER_EDGE = 5
STORIES_PER_WORLD = 12


@pytest.fixture
def liar(databases: TestDatabases, sandbox_psp: RunningProcess) -> Iterator[Liar]:
    """A liar before the sandbox, on a database of this proof's own, with short patience."""
    with (
        own_database(databases),
        lying(provider_url()) as before_the_sandbox,
        override_settings(
            FLORIN_SANDBOX_URL=before_the_sandbox.url,
            FLORIN_PROVIDER_TIMEOUT_SECONDS=TIMEOUT_SECONDS,
            # Breakers have tests of their own; here no call is spared its fault.
            FLORIN_BREAKER_MINIMUM_CALLS=10**6,
        ),
    ):
        yield before_the_sandbox


def run_machine(liar: Liar, tally: Tally, *, examples: int, steps: int, number: int) -> None:
    """Let hypothesis choose the steps; a finding is raised with the steps that led to it."""

    class Machine(LifeMachine):
        pass

    Machine.liar, Machine.tally = liar, tally
    seed(number)(Machine)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@contextmanager
def counted(number: int) -> Iterator[Tally]:
    """A tally that is shown at the end, whatever the end is."""
    tally, began = Tally(seed=number), time.monotonic()
    try:
        yield tally
    finally:
        tally.duration_seconds = time.monotonic() - began
        tally.show(FAULTS)


def check_verified() -> None:
    """`verify` holds for everything the run left, but for what a person has been told of."""
    told = set(
        ReviewCase.objects.filter(resolved_at=None).values_list("payment_id", flat=True).distinct()
    )
    offences = [
        (offence.kind, offence.object, offence.detail)
        for finding in verify(now=datetime.now(UTC)).findings
        for offence in finding.offences
        if not (offence.kind == "payment_contradicted" and offence.object in told)
    ]
    assert offences == []


@pytest.mark.timeout(120)
def test_a_short_life_keeps_every_promise(liar: Liar) -> None:
    with counted(17) as tally:
        run_machine(liar, tally, examples=3, steps=20, number=tally.seed)
        world = World(liar, tally, random.Random(tally.seed))
        for tell in MORE:
            tell(world)
        come_to_rest(world)
    check_verified()
    assert tally.steps > 50
    assert tally.accepted * 2 >= tally.steps


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_a_long_life_takes_every_edge_and_meets_every_fault(liar: Liar) -> None:
    number = int(os.environ.get("FLORIN_PROOF_SEED") or secrets.randbelow(10**6))
    longest = float(os.environ.get("FLORIN_PROOF_SECONDS") or 600)
    with counted(number) as tally:
        began = time.monotonic()
        while time.monotonic() - began < longest and tally.steps < 6_000:
            run_machine(liar, tally, examples=5, steps=60, number=number + len(tally.merchants))
        tell_what_is_missing(liar, tally, random.Random(number))
    check_verified()
    assert tally.accepted * 2 >= tally.steps
    assert tally.missing_edges(TIMES_PER_EDGE) == []
    assert tally.missing_faults(FAULTS) == []


def tell_what_is_missing(liar: Liar, tally: Tally, chance: random.Random) -> None:
    """Stories of the edges taken too seldom and faults that met no such call, world by world."""
    for _ in range(2 * TIMES_PER_EDGE):
        edges = tally.missing_edges(TIMES_PER_EDGE)
        meetings = tally.missing_faults(FAULTS)
        if not edges and not meetings:
            return
        tasks = [("tell", *edge) for edge in edges] + [("meet", *pair) for pair in meetings]
        for start in range(0, len(tasks), STORIES_PER_WORLD):
            world = World(liar, tally, chance)
            for what, first, second in tasks[start : start + STORIES_PER_WORLD]:
                if what == "tell":
                    STORIES[first, second](world)
                else:
                    meet(world, first, second)
            come_to_rest(world)
