"""The client that retries everything never moves money twice.

Each request goes out up to five times at once and again, with random disconnects, over real HTTP.
`make prove` does so with 2,000 payments on a complete Florin (FLORIN_PROOF_PAYMENTS changes that).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from rich.console import Console

from tests.payments.shop import open_shop
from tests.processes import RunningProcess
from tests.proofs.retrying import RetryingClient
from tests.proofs.stand import running_stand


def show(client: RetryingClient) -> None:
    """Print seed and counts."""
    Console(width=150).print(
        f"seed {client.seed}: {len(client.asked)} payments, {dict(client.counts)}"
    )


@pytest.mark.timeout(120)
def test_forty_payments_of_a_client_that_retries_everything_move_money_once(
    web: RunningProcess,
) -> None:
    shop = open_shop()
    client = RetryingClient(
        base_url=web.url, secret_key=shop.secret_key, seed=40, deadline_seconds=90
    )
    client.run(payments=40, concurrency=4)
    movements = [one for payment_id in client.asked for one in shop.movements(payment_id)]
    show(client)
    assert client.judge(movements) == []
    assert len(client.asked) == 40


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_two_thousand_payments_of_a_client_that_retries_everything_move_money_once(
    tmp_path: Path,
) -> None:
    count = int(os.environ.get("FLORIN_PROOF_PAYMENTS") or 2_000)
    with running_stand(tmp_path) as stand:
        client = RetryingClient(
            base_url=stand.base_url,
            secret_key=stand.shop["secret_key"],
            seed=int(os.environ.get("FLORIN_PROOF_SEED") or secrets.randbelow(10**6)),
            deadline_seconds=3_000,
        )
        client.run(payments=count, concurrency=8)
        show(client)
        assert client.judge(stand.movements()) == []
        assert len(client.asked) == count
