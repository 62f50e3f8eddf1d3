"""A fault at any point between a provider's news and a merchant, or staff, changes no end.

Every named point meets a SIGKILL of its process, a Redis that forgets everything and a PostgreSQL
that crashes. The run is then finished as sweepers would, and its end compared, as data, with that
of a run to which nothing happened. The suite takes a part of the cases, `make prove` all.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

import dj_database_url
import pytest
from django.conf import settings
from django.db import connections
from rich.console import Console
from rich.table import Table

from config.embedded import PrivateServers
from payments.verification import verify
from tests.migrated_servers import migrated_servers
from tests.payments.notifications.servers import certificate_of_loopback, mail_server, tls_of
from tests.processes import RunningProcess
from tests.proofs.fork_server import FORK_SERVER
from tests.proofs.pipeline_points import FAULTS, POINTS, Servers, Task, Webhook, run
from tests.proofs.pipeline_world import Outside, World
from tests.webhooks import killing
from tests.webhooks.receiver import receiving
from webhooks import lanes

pytestmark = pytest.mark.timeout(1200)  # of which most is for servers on a busy machine

# Steps whose stories differ from that of news which comes by webhook, or late: their ends do too.
OWN_STORIES = ("questions", "polling", "back-fill")
# One of each step for each fault; deaths where most can go wrong.
IN_THE_SUITE = {
    *(("SIGKILL", point) for point in POINTS if point.startswith(("stored", "committed"))),
    *(("SIGKILL", point) for point in POINTS if point.endswith("before commit")),
    *(("SIGKILL", point) for point in ("inbox: applied", "delivery: answered, not recorded")),
    *(("SIGKILL", point) for point in POINTS if point.endswith(("cursor not moved", ": claimed"))),
    *(("Redis flushed", point) for point in ("answered, nobody woken", "handlers: fanned out")),
    *(("PostgreSQL crashed", point) for point in ("inbox: before commit", "delivery: claimed")),
}
CASES = [
    (fault, point)
    if (fault, point) in IN_THE_SUITE
    else pytest.param(fault, point, marks=pytest.mark.prove)
    for fault in FAULTS
    for point in POINTS
]


class Stage:
    """Private servers that this test process and its children work on."""

    def __init__(self, private: PrivateServers, outside: Outside) -> None:
        self.private = private
        self.outside = outside
        parsed: dict[str, Any] = dict(dj_database_url.parse(private.servers.database_url))
        names = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
        self.servers = Servers(
            {name: parsed[name] for name in names},
            redis_url=private.servers.redis_url,
            settings=outside.settings(),
            ca_file=outside.ca_file,
        )
        self.tally: Counter[tuple[str, str]] = Counter()
        self._ends: dict[str, dict[str, Any]] = {}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """This process works on them meanwhile."""
        kept = {alias: dict(connections[alias].settings_dict) for alias in connections}
        redis_url = settings.REDIS_URL
        changed = {name: getattr(settings, name) for name in self.servers.settings}
        self.servers.use()
        try:
            yield
        finally:
            Servers({}, redis_url=redis_url, settings=changed).use()
            for alias, before in kept.items():
                connections[alias].settings_dict.update(before)

    def crash_postgres(self) -> None:
        """A power cut, and the recovery from it."""
        lanes.close_side_connection()
        connections.close_all()
        self.private.postgres.kill()
        self.private.postgres.start()

    def strike(self, point: str, fault: str, servers: Servers, task: Task) -> int:
        """Carry the step out in a process that meets the fault; the answered status, 0 for none."""
        here, there = FORK_SERVER.Pipe()
        process = FORK_SERVER.Process(target=run, args=(point, fault, servers, task, there))
        process.start()
        there.close()
        status = 0
        while True:
            try:
                told = here.recv()
            except EOFError:
                break
            if isinstance(told, int):
                status = told
            else:
                self.crash_postgres()
                here.send("go on")
        process.join(60)
        expected = -signal.SIGKILL if fault == "SIGKILL" else 0
        assert process.exitcode == expected, f"{point}: it ended with {process.exitcode}"
        self.tally[point, fault] += 1
        return status

    def undisturbed(self, step: str) -> dict[str, Any]:
        """The end of a run to which nothing happens, of the same story."""
        story = step if step in OWN_STORIES else ""
        if story not in self._ends:
            self._ends[story] = end = end_of(self, story, lambda world, webhook: 0)
            assert end["payment"][0] == "settled", end
        return self._ends[story]

    def show(self) -> None:
        """Print how often each point met each fault."""
        table = Table(title="Points of the event pipeline that met each fault, all with one end")
        table.add_column("point")
        for fault in FAULTS:
            table.add_column(fault, justify="right")
        for point in POINTS:
            table.add_row(point, *(str(self.tally[point, fault] or "") for fault in FAULTS))
        Console(width=110).print(table)


@pytest.fixture(scope="module")
def stage(
    sandbox_psp: RunningProcess, receiver_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Servers that may be crashed; in the end the whole database is verified."""
    certificate = certificate_of_loopback(tmp_path_factory.mktemp("slack"))
    with (
        migrated_servers() as private,
        receiving(receiver_port) as merchant,
        receiving(0, tls=tls_of(certificate)) as slack,
        mail_server() as mail,
    ):
        killing.make_effects_table(private)
        stage = Stage(private, Outside(merchant, mail, slack, str(certificate)))
        with stage.in_use():
            yield stage
            report = verify(now=datetime.now(UTC))
            stage.show()
            offences = [finding for finding in report.findings if finding.offences]
            assert offences == []


def end_of(stage: Stage, step: str, fault: Callable[[World, Webhook], int]) -> dict[str, Any]:
    """Lead a world up to the step, let the fault happen there, finish; how it ended."""
    world = World(stage.outside, stage.servers)
    news = world.news()

    def meet() -> int:
        return fault(world, news[0])

    if step == "sweep":
        world.lose_webhooks()
    elif step == "polling":
        world.hear_nothing()
    else:
        for number, webhook in enumerate(news):
            world.bring(webhook, meet if step == "intake" and number == 0 else None)
    if step in ("handlers", "delivery", "dead letters"):
        world.drain_inbox()
    if step in ("delivery", "dead letters"):
        world.drain_handlers()
    if step == "dead letters":
        world.let_deliveries_die()
    if step == "questions":
        world.hear_of_a_second_object()
    with world.a_late_handler() if step == "back-fill" else nullcontext():
        if step != "intake":
            meet()
        world.finish()
        return world.end()


@pytest.mark.parametrize(("fault", "point"), CASES)
def test_a_fault_on_the_way_of_an_event_changes_no_end(
    stage: Stage, fault: str, point: str
) -> None:
    step = POINTS[point].step

    def meet(world: World, webhook: Webhook) -> int:
        return stage.strike(point, fault, world.servers, world.task(webhook))

    assert end_of(stage, step, meet) == stage.undisturbed(step)
