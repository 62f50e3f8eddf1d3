"""Twenty thousand events through a Florin of which everything keeps being killed.

FLORIN_PROOF_EVENTS says how many (21,000), FLORIN_PROOF_SECONDS for how long at most (1,500),
FLORIN_PROOF_SEED repeats a run's choices.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.proofs.soak import soak


@pytest.mark.prove
@pytest.mark.timeout(3000)
def test_twenty_thousand_events_survive_the_death_of_everything(tmp_path: Path) -> None:
    events = int(os.environ.get("FLORIN_PROOF_EVENTS") or 21_000)
    outcome = soak(
        tmp_path,
        seed=int(os.environ.get("FLORIN_PROOF_SEED") or secrets.randbelow(10**6)),
        provider_events=events // 3,
        deadline_seconds=float(os.environ.get("FLORIN_PROOF_SECONDS") or 1500),
    )
    print(outcome.words())  # noqa: T201  the proof's record
    found = (outcome.lost, outcome.doubled, outcome.out_of_order, outcome.dead)
    assert (*found, outcome.not_delivered, outcome.changed_bodies) == (0, 0, 0, 0, 0, 0)
