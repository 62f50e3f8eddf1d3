"""Every provider fulfils the contract, against a PSP that runs as a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.payments.providers.capability_matrix import ORDERED
from tests.payments.providers.conformance import SCENARIOS
from tests.payments.providers.driver import Driver
from tests.payments.providers.drivers import DRIVERS

_CASES = [
    pytest.param(kind, name, id=f"{kind.name}-{name}")
    for kind in DRIVERS
    for name in ORDERED
    if name not in kind.lacks
]


@pytest.mark.parametrize(("kind", "name"), _CASES)
def test_the_provider_conforms(
    kind: type[Driver], name: str, new_driver: Callable[[type[Driver]], Driver]
) -> None:
    SCENARIOS[name](new_driver(kind))


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_what_a_psp_lacks_are_scenarios_that_exist(kind: type[Driver]) -> None:
    assert set(kind.lacks) <= set(ORDERED)
