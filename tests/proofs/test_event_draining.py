"""Twenty thousand effects by sweepers that are killed in the middle of them; prints its counts.

FLORIN_PROOF_SEED repeats a run's choices (when the kernel lets which process run is not in its
power).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.migrated_servers import migrated_servers
from tests.webhooks import killing

AGGREGATES = 700
EVENTS = 10  # of each aggregate, to two handlers, and as many provider events
KILLS = 60


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_twenty_thousand_effects_under_sixty_kills_are_complete_single_and_in_order(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("FLORIN_PROOF_SEED") or secrets.randbelow(10**6))
    with migrated_servers() as private:
        killing.make_effects_table(private)
        outcome = killing.drain_under_fire(
            private,
            tmp_path,
            aggregates=AGGREGATES,
            events=EVENTS,
            milliseconds=3,
            workers=4,
            kills=KILLS,
            seed=seed,
            seconds=1500,
        )
    print(  # noqa: T201  the proof's record
        f"\nseed {seed}: {outcome.effects} effects, {outcome.kills} sweepers killed, "
        f"{outcome.lost} lost, {outcome.doubled} doubled, {outcome.out_of_order} out of order, "
        f"{outcome.dead} dead, {outcome.interruptions} interruptions, "
        f"{outcome.died_alone} deaths alone, at most {outcome.died_alone_most} of one event, "
        f"{outcome.seconds:.0f} s"
    )
    assert outcome.effects == AGGREGATES * EVENTS * 3
    assert (outcome.lost, outcome.doubled, outcome.out_of_order, outcome.dead) == (0, 0, 0, 0)
    assert outcome.kills == KILLS
    assert outcome.interruptions > 0
