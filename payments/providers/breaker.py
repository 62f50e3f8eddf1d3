"""Stop asking a PSP that does not answer: a circuit breaker per account and class of operation.

Mental model: a breaker is closed (calls go out and are counted), open (no call goes out until
`open_seconds` have passed) or half-open (a few calls, the permits, find out; all of them well
closes it, one of them ill opens it again). It counts calls of the last minute that a healthy PSP
would not have ended so: time-outs, lost connections, 5xx, 429, and answers that took too long. A
decline or any other 4xx is an answer of a healthy PSP; our own bulkhead says nothing about it.

The decision is one Lua script in Redis (breaker.lua), so all processes see one breaker and a
half-open one lets N calls through, not N per process. While Redis is away each process has a
breaker of its own (`LocalBreaker`) under the same rules. Nothing here raises or waits.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import redis

from payments.providers.base import Outcome, Result
from payments.quick_redis import QuickRedis, Script

SLOTS = 12
RETRY_WHILE_PROBED_SECONDS = 1.0
INDEX_KEY = "florin:breakers"
# A closed breaker without a call for this long is not shown any more.
SHOWN_SECONDS = 3600.0

_SCRIPT = Script(Path(__file__).with_name("breaker.lua"))
_FAILURES = frozenset(
    {"provider_unreachable", "provider_answer_lost", "provider_rate_limited", "provider_error"}
)
# Refusals of our own: the PSP had no part in them.
_OURS = frozenset({"provider_busy", "provider_unavailable"})

Change = Literal["opened", "closed"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a breaker opens and how it closes again."""

    window_seconds: float = 60.0
    minimum_calls: int = 20
    failure_ratio: float = 0.5
    slow_ratio: float = 0.5
    slow_call_seconds: float = 10.0
    open_seconds: float = 15.0
    permits: int = 3
    # A permit whose holder died is given out again after this long; longer than any call.
    permit_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Admission:
    """May this call go out? If not, asking again makes sense after `retry_after_seconds`."""

    name: str
    admitted: bool
    generation: int
    token: str
    retry_after_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a call says about its PSP; `counted` False: nothing."""

    counted: bool = True
    failed: bool = False
    slow: bool = False


NOTHING = Verdict(counted=False)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Calls in one part of the window that ended at `ends_at` (seconds since 1970)."""

    ends_at: float
    calls: int
    failures: int
    slow: int


@dataclass(frozen=True, kw_only=True)
class BreakerState:
    """A breaker as it stands. `calls`, `failures` and `slow` are those of the window, for a breaker
    that is not closed those that opened it; times are seconds since 1970, 0 for never.
    """

    name: str
    state: str  # "closed" | "open" | "half_open"
    since: float = 0.0
    probe_at: float = 0.0
    calls: int = 0
    failures: int = 0
    slow: int = 0
    slots: tuple[Slot, ...] = ()

    @property
    def failure_ratio(self) -> float:
        return self.failures / self.calls if self.calls else 0.0


def judge(result: Result, *, seconds: float, rules: Rules) -> Verdict:
    """What the way a call ended says about its PSP. Raises nothing."""
    code = result.error.code if result.error is not None else ""
    if code in _OURS:
        return NOTHING
    status = result.exchange.http_status
    unanswered = result.outcome in (Outcome.UNKNOWN, Outcome.NOT_SENT)
    ill = code in _FAILURES or (status is not None and (status >= 500 or status == 429))
    return Verdict(failed=unanswered and ill, slow=seconds >= rules.slow_call_seconds)


class Breaker:
    """The breakers of all names, shared through Redis, with a fallback in this process.

    `clock` gives seconds since 1970; the machines of an installation agree on it to the second.
    """

    def __init__(
        self, *, shared: QuickRedis, rules: Rules, clock: Callable[[], float] = time.time
    ) -> None:
        self.rules = rules
        self._shared = shared
        self._clock = clock
        self._local = LocalBreaker(rules=rules, clock=clock)

    def admit(self, name: str) -> Admission:
        """Whether a call may go out now. Whoever is admitted tells the end by `record`."""
        token = secrets.token_hex(8)
        answer = self._run("admit", name, token)
        if answer is None:
            return self._local.admit(name)
        admitted, generation, retry_after_ms = answer
        return Admission(
            name=name,
            admitted=bool(admitted),
            generation=generation,
            token=token,
            retry_after_seconds=retry_after_ms / 1000,
        )

    def record(self, admission: Admission, verdict: Verdict) -> Change | None:
        """Count how an admitted call ended. Returns a change of the breaker to exactly one caller;
        while Redis is away, to one caller in each process.
        """
        if admission.token.startswith(LOCAL):
            return self._local.record(admission, verdict)
        flags = [int(flag) for flag in (verdict.counted, verdict.failed, verdict.slow)]
        answer = self._run("record", admission.name, admission.token, admission.generation, *flags)
        if answer is None:
            return self._local.record(admission, verdict)
        change: Change | None = answer[0] or None
        return change

    def states(self) -> list[BreakerState] | None:
        """Every breaker that had a call lately or is not closed; None while Redis is away."""
        now = self._clock()

        def read(client: redis.Redis) -> list[BreakerState]:
            client.zremrangebyscore(INDEX_KEY, "-inf", (now - SHOWN_SECONDS) * 1000)
            names: Any = client.zrange(INDEX_KEY, 0, -1)
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.hgetall(_key(name))
            return [
                _read_state(name, kept, rules=self.rules, now=now)
                for name, kept in zip(names, pipeline.execute(), strict=True)
            ]

        return self._shared.ask(read)

    def state(self, name: str) -> BreakerState | None:
        """One breaker as Redis has it; None while Redis is away."""

        def read(client: redis.Redis) -> BreakerState:
            kept: Any = client.hgetall(_key(name))
            return _read_state(name, kept, rules=self.rules, now=self._clock())

        return self._shared.ask(read)

    def _run(self, verb: str, name: str, *arguments: Any) -> list[Any] | None:
        key, rules = _key(name), self.rules
        return self._shared.run(
            _SCRIPT,
            [key, f"{key}:permits", INDEX_KEY],
            [
                verb,
                name,
                round(self._clock() * 1000),
                round(rules.window_seconds * 1000),
                SLOTS,
                rules.minimum_calls,
                rules.failure_ratio,
                rules.slow_ratio,
                round(rules.open_seconds * 1000),
                rules.permits,
                round(rules.permit_seconds * 1000),
                *arguments,
            ],
        )


LOCAL = "local-"


@dataclass
class _Kept:
    """What LocalBreaker knows of one name."""

    state: str = "closed"
    generation: int = 0
    probe_at_ms: int = 0
    successes: int = 0
    permits: dict[str, int] = field(default_factory=dict)
    slots: dict[int, list[int]] = field(default_factory=dict)  # number -> calls, failures, slow

    def become(self, state: str, *, probe_at_ms: int = 0) -> None:
        self.state = state
        self.generation += 1
        self.probe_at_ms = probe_at_ms or self.probe_at_ms
        self.successes = 0
        self.permits.clear()
        if state == "closed":
            self.slots.clear()


class LocalBreaker:
    """The rules of breaker.lua for one process, in milliseconds as there. Thread-safe."""

    def __init__(self, *, rules: Rules, clock: Callable[[], float] = time.time) -> None:
        self.rules = rules
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def admit(self, name: str) -> Admission:
        """See `Breaker.admit`."""
        token = LOCAL + secrets.token_hex(8)
        now_ms = round(self._clock() * 1000)
        with self._lock:
            kept = self._kept.setdefault(name, _Kept())
            wait_ms = self._wait_ms(kept, token, now_ms)
            return Admission(
                name=name,
                admitted=wait_ms == 0,
                generation=kept.generation,
                token=token,
                retry_after_seconds=wait_ms / 1000,
            )

    def record(self, admission: Admission, verdict: Verdict) -> Change | None:
        """See `Breaker.record`. An admission by Redis, which is away now, counts while closed."""
        now_ms = round(self._clock() * 1000)
        with self._lock:
            kept = self._kept.setdefault(admission.name, _Kept())
            if admission.token.startswith(LOCAL):
                current = admission.generation == kept.generation
            else:
                current = kept.state == "closed"
            if not current or kept.state == "open":
                return None
            if kept.state == "half_open":
                return self._probed(kept, admission.token, verdict, now_ms)
            return self._counted(kept, verdict, now_ms) if verdict.counted else None

    def _wait_ms(self, kept: _Kept, token: str, now_ms: int) -> int:
        """0 when a call may go out, which for a half-open breaker takes a permit."""
        if kept.state == "closed":
            return 0
        if kept.state == "open":
            if now_ms < kept.probe_at_ms:
                return kept.probe_at_ms - now_ms
            kept.become("half_open")
        kept.permits = {held: until for held, until in kept.permits.items() if until > now_ms}
        if len(kept.permits) + kept.successes < self.rules.permits:
            kept.permits[token] = now_ms + round(self.rules.permit_seconds * 1000)
            return 0
        return round(RETRY_WHILE_PROBED_SECONDS * 1000)

    def _probed(self, kept: _Kept, token: str, verdict: Verdict, now_ms: int) -> Change | None:
        if kept.permits.pop(token, None) is None or not verdict.counted:
            return None
        if verdict.failed or verdict.slow:
            self._open(kept, now_ms)
            return None
        kept.successes += 1
        if kept.successes < self.rules.permits:
            return None
        kept.become("closed")
        return "closed"

    def _counted(self, kept: _Kept, verdict: Verdict, now_ms: int) -> Change | None:
        rules = self.rules
        number = now_ms * SLOTS // round(rules.window_seconds * 1000)
        slot = kept.slots.setdefault(number, [0, 0, 0])
        for index, counts in enumerate((True, verdict.failed, verdict.slow)):
            slot[index] += counts
        for old in [known for known in kept.slots if known <= number - SLOTS]:
            del kept.slots[old]
        calls, failures, slow = (sum(column) for column in zip(*kept.slots.values(), strict=True))
        ill = failures / calls >= rules.failure_ratio or slow / calls >= rules.slow_ratio
        if calls < rules.minimum_calls or not ill:
            return None
        self._open(kept, now_ms)
        return "opened"

    def _open(self, kept: _Kept, now_ms: int) -> None:
        kept.become("open", probe_at_ms=now_ms + round(self.rules.open_seconds * 1000))


def _key(name: str) -> str:
    return f"florin:breaker:{name}"


def _read_state(name: str, kept: Mapping[str, str], *, rules: Rules, now: float) -> BreakerState:
    state = kept.get("state", "closed")
    slots = tuple(sorted(_slots(kept, rules=rules, now=now), key=lambda slot: slot.ends_at))
    if state == "closed":
        calls = sum(slot.calls for slot in slots)
        failures = sum(slot.failures for slot in slots)
        slow = sum(slot.slow for slot in slots)
    else:
        calls, failures, slow = (int(kept.get(n, 0)) for n in ("calls", "failures", "slows"))
    return BreakerState(
        name=name,
        state=state,
        since=int(kept.get("since", 0)) / 1000,
        probe_at=int(kept.get("probe_at", 0)) / 1000 if state != "closed" else 0.0,
        calls=calls,
        failures=failures,
        slow=slow,
        slots=slots,
    )


def _slots(kept: Mapping[str, str], *, rules: Rules, now: float) -> Iterator[Slot]:
    """The slots of the window that ends now; a breaker that opened keeps those it opened by."""
    window_ms = round(rules.window_seconds * 1000)
    of_closed = kept.get("state", "closed") == "closed"
    oldest = round(now * 1000) * SLOTS // window_ms - SLOTS
    for name, value in kept.items():
        if not name.startswith("slot"):
            continue
        number, calls, failures, slow = (int(part) for part in value.split(":"))
        if number > oldest or not of_closed:
            ends_at = (number + 1) * window_ms / SLOTS / 1000
            yield Slot(ends_at=ends_at, calls=calls, failures=failures, slow=slow)
