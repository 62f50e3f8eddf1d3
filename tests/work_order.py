"""In which order the suite's tests are run by several processes, and which go together.

A file's tests are run by one process, as they share what its fixtures start; files that need the
same server or browser form one group. Groups that start processes and wait for them come first,
the longest at the head: what begins last has to be short, or one process is left alone with it.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Each line is one group, in the order in which the groups are handed out.
FIRST: tuple[tuple[str, ...], ...] = (
    ("config/test_run_florin.py",),
    ("webhooks/test_celery.py", "webhooks/test_processes.py"),
    (
        "payments/admin/test_in_a_browser.py",
        "payments/admin/test_money_in_a_browser.py",
        "payments/admin/test_queues_in_a_browser.py",
        "payments/admin/test_merchant_endpoints_in_a_browser.py",
        "payments/admin/test_keys_in_a_browser.py",
        "payments/admin/test_notifications.py",
        "payments/api/test_reference.py",
        "payments/api/test_stream_in_a_browser.py",
        "payments/api/test_stream.py",
        "config/test_web_process.py",
        "payments/api/test_fuzzing.py",
        "proofs/test_retrying_client.py",
    ),
    ("proofs/test_pipeline_points.py",),
)
_PLACES = {f"tests/{file}": place for place, files in enumerate(FIRST) for file in files}


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the groups that are named here before everything else."""
    items.sort(key=lambda item: _PLACES.get(_file(item.nodeid), len(FIRST)))


class _ByGroup(LoadScopeScheduling):
    """Hands out groups, and files that are in none, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = _file(nodeid)
        return str(_PLACES.get(file, file))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How pytest-xdist hands the tests of a parallel run out: by file, as `--dist loadfile`, but
    with files together and in an order.
    """
    config.option.loadscopereorder = False
    return _ByGroup(config, log)
