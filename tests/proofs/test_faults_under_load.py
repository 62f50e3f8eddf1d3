"""Nothing is lost and nothing doubled when everything dies in the middle of payments.

Both runs take minutes, so they belong to `make prove`; kill points and killed sweepers are in the
suite. FLORIN_PROOF_SEED repeats a run's amounts and choices (what threads and processes do
meanwhile is not in its power).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.proofs.faults import prove_nothing_is_lost


def _seed() -> int:
    return int(os.environ.get("FLORIN_PROOF_SEED") or secrets.randbelow(10**6))


# A web process that is killed leaves its key leased for a minute, and the same payment may be hit
# three times in a row.
@pytest.mark.prove
@pytest.mark.timeout(330)
def test_forty_payments_survive_killed_processes_a_flushed_redis_and_a_restarted_database(
    tmp_path: Path,
) -> None:
    outcome = prove_nothing_is_lost(
        tmp_path,
        seed=_seed(),
        payments=40,
        concurrency=20,
        hits_wanted=2,
        deadline_seconds=270,
    )
    outcome.show()
    assert outcome.violations == []
    assert len(outcome.faults) == 4, f"some faults were never made: {dict(outcome.faults)}"


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_two_hundred_payments_survive_each_fault_hitting_ten_payments_in_each_phase(
    tmp_path: Path,
) -> None:
    outcome = prove_nothing_is_lost(
        tmp_path,
        seed=_seed(),
        payments=200,
        concurrency=40,
        hits_wanted=10,
        deadline_seconds=900,
    )
    outcome.show()
    assert outcome.violations == []
    for fault in outcome.faults:
        assert not outcome.lacking(fault, 10), f"{fault} missed {outcome.lacking(fault, 10)}"
    assert len(outcome.faults) == 4, f"some faults were never made: {dict(outcome.faults)}"
