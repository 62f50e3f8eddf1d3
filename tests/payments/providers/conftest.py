"""The PSPs that the provider tests talk to, as processes, one of each per test process."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.payments.providers.driver import Driver
from tests.payments.providers.drivers import (
    LocalstripeDriver,
    StripeStandInDriver,
)
from tests.payments.providers.sandbox_driver import SandboxDriver
from tests.processes import RunningProcess, running


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _python_server(
    tmp_path_factory: pytest.TempPathFactory, module: str, *arguments: str
) -> Iterator[RunningProcess]:
    port = _free_port()
    folder = tmp_path_factory.mktemp(module.rpartition(".")[2])
    command = [sys.executable, "-m", module, "--port", str(port), *arguments]
    url = f"http://127.0.0.1:{port}"
    with running(command, log_path=folder / "server.log", url=url) as child:
        yield child


@pytest.fixture(scope="session")
def stripe_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProcess]:
    """Our own stand-in of Stripe's wire format."""
    yield from _python_server(tmp_path_factory, "tests.stripe_stand_in")


@pytest.fixture(scope="session")
def localstripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProcess]:
    """localstripe, a stranger's stand-in; it is only ever run, never imported."""
    yield from _python_server(tmp_path_factory, "localstripe", "--from-scratch")


@pytest.fixture
def new_driver(request: pytest.FixtureRequest) -> Callable[[type[Driver]], Driver]:
    """Make a fresh account at the PSP of a driver, starting that PSP when it is the first."""
    fixtures = {
        SandboxDriver: "sandbox_psp",
        StripeStandInDriver: "stripe_stand_in",
        LocalstripeDriver: "localstripe",
    }

    def make(kind: type[Driver]) -> Driver:
        psp: RunningProcess = request.getfixturevalue(fixtures[kind])
        return kind(psp.url)

    return make
