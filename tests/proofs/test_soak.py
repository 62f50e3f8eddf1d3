"""Twenty thousand events through a Florin of which everything keeps being killed.

FLORIN_PROOF_EVENTS says how many at least (20,000), FLORIN_PROOF_SECONDS for how long at most
(2,400), FLORIN_PROOF_SEED repeats a run's choices.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.proofs.soak import EVENTS_PER_PAYMENT, soak


@pytest.mark.prove
@pytest.mark.timeout(3000)
def test_twenty_thousand_events_survive_the_death_of_everything(tmp_path: Path) -> None:
    events = int(os.environ.get("FLORIN_PROOF_EVENTS") or 20_000)
    outcome = soak(
        tmp_path,
        seed=int(os.environ.get("FLORIN_PROOF_SEED") or secrets.randbelow(10**6)),
        payments=-(-events // EVENTS_PER_PAYMENT),
        deadline_seconds=float(os.environ.get("FLORIN_PROOF_SECONDS") or 2400),
        say=print,
    )
    print(outcome.words())  # noqa: T201  the proof's record
    assert outcome.violations == []
    assert outcome.counts.events >= events
