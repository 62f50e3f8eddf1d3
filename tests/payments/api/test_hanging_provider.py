"""Over HTTP, with the real web process: one merchant's hanging PSP costs another nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from config import processes
from tests.databases import free_ports
from tests.payments.api.conftest import payment_body
from tests.payments.ill_provider import recover, state_of
from tests.payments.shop import Shop, new_key
from tests.processes import RunningProcess, running

# Whoever has to wait for one that hangs waits this long; whoever does not is done long before, on
# the slowest machine.
TIMEOUT_SECONDS = 8.0


@pytest.fixture
def impatient_web(
    sandbox_psp: RunningProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a web process that gives a provider TIMEOUT_SECONDS."""
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("impatient_web")
    environment = {
        **os.environ,
        "FLORIN_DATABASE_POOL_SIZE": str(processes.WEB_THREADS_PER_WORKER),
        "FLORIN_PROVIDER_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "FLORIN_BREAKER_MINIMUM_CALLS": "8",
        "FLORIN_BREAKER_OPEN_SECONDS": "60",
    }
    (folder / "static").mkdir()
    command = processes.web(port=port, workers=1, static_folder=folder / "static")
    url = f"http://127.0.0.1:{port}"
    with running(
        command,
        log_path=folder / "web.log",
        environment=environment,
        url=url,
        ready_path="/healthz",
    ) as child:
        yield child.url


def create(http: urllib3.PoolManager, url: str, shop: Shop) -> tuple[float, int]:
    """Seconds and status of one POST /v1/payments."""
    started = time.monotonic()
    answer = http.request(
        "POST",
        f"{url}/v1/payments",
        json=payment_body(),
        headers={"Authorization": f"Bearer {shop.secret_key}", "Idempotency-Key": new_key()},
    )
    return time.monotonic() - started, answer.status


def test_one_merchants_hanging_provider_leaves_the_others_fast(
    impatient_web: str, shop: Shop, another_shop: Shop
) -> None:
    http = urllib3.PoolManager(maxsize=32, retries=False, timeout=60.0)
    assert create(http, impatient_web, another_shop)[1] == 201
    shop.settings(hang_before_commit=1000, hang_seconds=TIMEOUT_SECONDS + 0.5)
    with ThreadPoolExecutor(max_workers=20) as pool:
        hanging = [pool.submit(create, http, impatient_web, shop) for _ in range(20)]
        beside = [create(http, impatient_web, another_shop) for _ in range(20)]
        assert [status for _, status in beside] == [201] * 20
        assert max(seconds for seconds, _ in beside) < TIMEOUT_SECONDS / 2
        ended = [future.result() for future in hanging]
    assert {status for _, status in ended} == {202}
    # Nobody waited for others, and then for its own.
    assert max(seconds for seconds, _ in ended) < 2 * TIMEOUT_SECONDS
    assert state_of(shop).state == "open"
    afterwards = [create(http, impatient_web, shop) for _ in range(5)]
    assert {status for _, status in afterwards} == {202}
    assert max(seconds for seconds, _ in afterwards) < TIMEOUT_SECONDS / 2
    recover(shop)
