"""At least nine of ten mutants of each money module die."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.proofs.mutants import REQUIRED_SHARE, TARGETS, prove


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("path", TARGETS)
def test_the_tests_notice_what_is_wrong(path: str) -> None:
    assert prove(path, Console(width=110)) >= REQUIRED_SHARE
