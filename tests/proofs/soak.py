"""Provider events over HTTP to a whole Florin of which everything is killed at random.

Mental model: feeders play the provider (each event again until it is answered 2xx, the news of one
object in order), the judge counts from outside: rows that the effects left, requests that the
merchant's server got. Every provider event is one effect in order, one domain event with one
effect in order, and one delivery: three events that could be lost or doubled.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import redis
import urllib3

from config import processes
from tests.proofs.pipeline_world import signed
from tests.proofs.stand import Restartable, Stand, running_stand
from tests.proofs.steady_load import strange_event
from tests.webhooks import killing
from tests.webhooks.receiver import Receiver, receiving

EVENTS_PER_OBJECT = 10
_FEEDERS = 8
# Faults are spread over the events, not over time, so that a slow machine gets on between them.
EVENTS_PER_FAULT = 50
FAULTS_MAX = 60
_SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.proofs.settings_for_soak",
    # A delivery whose sender was killed is sent again after its lease of a minute.
    "FLORIN_WEBHOOK_CONCURRENCY_PER_ENDPOINT": "32",
    "LOG_LEVEL": "ERROR",
}
_UNDELIVERED = (
    "SELECT count(*) FROM webhooks_merchant_delivery WHERE status IN ('pending', 'retrying')"
)


@dataclass
class Outcome:
    """What a run did and found; everything after `faults` should be nought."""

    seed: int
    provider_events: int
    seconds: float = 0.0
    requests: int = 0
    received: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    dead: int = 0
    not_delivered: int = 0
    changed_bodies: int = 0

    @property
    def events(self) -> int:
        """Provider events, domain events and deliveries."""
        return 3 * self.provider_events

    def words(self) -> str:
        """The proof's record."""
        faults = ", ".join(f"{count} x {name}" for name, count in sorted(self.faults.items()))
        return (
            f"\nseed {self.seed}: {self.events} events ({self.provider_events} provider events in "
            f"{self.requests} requests, as many domain events, as many deliveries in "
            f"{self.received} requests to the merchant) in {self.seconds:.0f} s; {faults}; "
            f"{self.lost} lost, {self.doubled} doubled, {self.out_of_order} out of order, "
            f"{self.dead} dead, {self.not_delivered} not delivered, "
            f"{self.changed_bodies} delivered under one id with different bodies"
        )


@dataclass
class Feeder:
    """Tells the news about some objects, each object's in order, until all was taken."""

    stand: Stand
    objects: list[str]
    requests: int = 0
    taken: int = 0

    def __post_init__(self) -> None:
        self._http = urllib3.PoolManager(maxsize=1, retries=False, timeout=10.0)
        self.thread = threading.Thread(target=self._feed, daemon=True)

    def _feed(self) -> None:
        path = f"/webhooks/sandbox/{self.stand.shop['endpoint_token']}"
        for number in range(1, EVENTS_PER_OBJECT + 1):
            for reference in self.objects:
                event = strange_event(reference, version=number)
                while not self._is_taken(event, path):
                    time.sleep(0.2)
                self.taken += 1

    def _is_taken(self, event: dict[str, Any], path: str) -> bool:
        webhook = signed(event, path=path, secret=self.stand.shop["webhook_secret"])
        self.requests += 1
        try:
            answer = self._http.request(
                "POST",
                self.stand.base_url + path,
                body=webhook.body,
                headers={**webhook.headers, "Content-Type": "application/json"},
            )
        except urllib3.exceptions.HTTPError:
            return False
        return 200 <= answer.status < 300


def soak(folder: Path, *, seed: int, provider_events: int, deadline_seconds: float) -> Outcome:
    """Feed, kill, wait until everything is done, and count."""
    outcome = Outcome(seed=seed, provider_events=provider_events)
    chance = random.Random(seed)
    objects = [f"sbp_{seed}_{n}" for n in range(provider_events // EVENTS_PER_OBJECT)]
    began = time.monotonic()
    with _running(folder) as (stand, second_sweeper, receiver):
        feeders = [Feeder(stand, objects[number::_FEEDERS]) for number in range(_FEEDERS)]
        for feeder in feeders:
            feeder.thread.start()
        faults = _faults(stand, second_sweeper, chance)
        wanted = min(FAULTS_MAX, provider_events // EVENTS_PER_FAULT)
        while any(feeder.thread.is_alive() for feeder in feeders) or _open(stand):
            assert time.monotonic() - began < deadline_seconds, f"not done in time: {outcome}"
            time.sleep(0.05)
            taken = sum(feeder.taken for feeder in feeders)
            made = outcome.faults.total()
            if made < wanted and taken > (made + 0.5) * provider_events / wanted:
                name = chance.choice(list(faults))
                faults[name]()
                outcome.faults[name] += 1
        outcome.seconds = time.monotonic() - began
        outcome.requests = sum(feeder.requests for feeder in feeders)
        _judge(stand, receiver, objects, outcome)
    return outcome


@contextmanager
def _running(folder: Path) -> Iterator[tuple[Stand, Restartable, Receiver]]:
    with running_stand(folder, web_workers=1, settings=_SETTINGS, with_background=False) as stand:
        killing.make_effects_table(stand.servers)
        second_sweeper = Restartable(
            processes.sweeper(),
            log_path=folder / "sweeper-2.log",
            environment=stand.environment,
        )
        with receiving(stand.receiver_port) as receiver:
            stand.send_events_to(receiver.url)
            for process in (stand.worker, stand.sweeper, second_sweeper):
                process.start()
            try:
                yield stand, second_sweeper, receiver
            finally:
                second_sweeper.stop()


def _faults(
    stand: Stand, second_sweeper: Restartable, chance: random.Random
) -> dict[str, Callable[[], None]]:
    def killed(process: Restartable) -> Callable[[], None]:
        def kill() -> None:
            process.kill()
            process.start()

        return kill

    def flush_or_kill_redis() -> None:
        if chance.random() < 0.5:
            with redis.Redis.from_url(stand.servers.servers.redis_url) as client:
                client.flushall()
        else:
            stand.servers.redis.kill()
            stand.servers.redis.start()

    def restart_or_crash_postgres() -> None:
        if chance.random() < 0.5:
            stand.servers.postgres.restart()
        else:
            stand.servers.postgres.kill()
            stand.servers.postgres.start()

    return {
        "web killed": killed(stand.web),
        "worker killed": killed(stand.worker),
        "first sweeper killed": killed(stand.sweeper),
        "second sweeper killed": killed(second_sweeper),
        "Redis flushed or killed": flush_or_kill_redis,
        "PostgreSQL restarted or crashed": restart_or_crash_postgres,
    }


def _open(stand: Stand) -> int:
    with psycopg.connect(stand.servers.servers.database_owner_url, autocommit=True) as owner:
        rows = [owner.execute(query).fetchone() for query in (killing.OPEN, _UNDELIVERED)]
    return sum(int(row[0]) for row in rows if row)


def _judge(stand: Stand, receiver: Receiver, objects: list[str], outcome: Outcome) -> None:
    with psycopg.connect(stand.servers.servers.database_owner_url) as owner:
        effects = owner.execute("SELECT handler, aggregate, seq FROM test_effect ORDER BY id")
        seen: dict[tuple[str, str], list[int]] = defaultdict(list)
        for handler, aggregate, seq in effects:
            seen[handler, aggregate].append(seq)
        row = owner.execute("SELECT count(*) FROM webhooks_dead_letter").fetchone()
        outcome.dead = int(row[0]) if row else -1
    for key in [(handler, one) for handler in ("inbox", "blocking") for one in objects]:
        counted = Counter(seen.pop(key, []))
        in_order = list(counted.elements())
        outcome.lost += sum(1 for n in range(1, EVENTS_PER_OBJECT + 1) if not counted[n])
        outcome.doubled += sum(count - 1 for count in counted.values())
        outcome.out_of_order += sum(1 for one, after in pairwise(in_order) if after < one)
    assert not seen, f"effects that nobody asked for: {list(seen)[:5]}"
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for request in list(receiver.requests):
        bodies[request.headers["webhook-id"]].add(request.body)
    told = Counter(
        (told_of["id"], told_of["number"])
        for different in bodies.values()
        for told_of in (json.loads(next(iter(different)))["data"]["object"],)
    )
    asked = [(one, n) for one in objects for n in range(1, EVENTS_PER_OBJECT + 1)]
    outcome.received = len(receiver.requests)
    outcome.not_delivered = sum(1 for one in asked if not told[one])
    outcome.doubled += sum(count - 1 for count in told.values())
    outcome.changed_bodies = sum(1 for different in bodies.values() if len(different) > 1)
