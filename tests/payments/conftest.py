"""Fixtures of the payments tests: a shop of one's own at the running sandbox provider."""

from __future__ import annotations

import pytest

from tests.payments.shop import Shop, open_shop
from tests.processes import RunningProcess


@pytest.fixture
def shop(sandbox_psp: RunningProcess) -> Shop:
    """A merchant in test mode, with keys, fees and a sandbox account nobody else uses."""
    return open_shop()


@pytest.fixture
def another_shop(sandbox_psp: RunningProcess) -> Shop:
    """A second tenant, who must never see the first one's rows."""
    return open_shop()
