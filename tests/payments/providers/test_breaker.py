"""A breaker opens when a PSP is ill, never because it says no, and is one for all processes."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from django.conf import settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config.redis_server import RedisServer
from config.server_process import temporary_home
from payments.providers.base import Exchange, Outcome, Result
from payments.providers.breaker import (
    NOTHING,
    Admission,
    Breaker,
    LocalBreaker,
    Rules,
    Verdict,
    judge,
)
from payments.providers.refusals import STANDARD, refusal
from payments.quick_redis import QuickRedis
from tests.payments.providers import breaker_contender

RULES = Rules()
WELL, ILL, SLOW = Verdict(), Verdict(failed=True), Verdict(slow=True)


class Clock:
    """Seconds since 1970 that only a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds

    def go(self, seconds: float) -> None:
        self.seconds += seconds


class Psp:
    """One breaker of its own, asked the way a caller does."""

    def __init__(self, breaker: Breaker | LocalBreaker, clock: Clock) -> None:
        self.breaker = breaker
        self.clock = clock
        self.name = f"pacc_{secrets.token_hex(6)}:create"

    def admit(self) -> Admission:
        return self.breaker.admit(self.name)

    def call(self, verdict: Verdict, times: int = 1) -> list[str | None]:
        """The changes that so many calls were told of, for those that were admitted."""
        admitted = [self.admit() for _ in range(times)]
        return [self.breaker.record(a, verdict) for a in admitted if a.admitted]

    def open(self) -> None:
        assert "opened" in self.call(ILL, RULES.minimum_calls)


def shared_breaker(clock: Callable[[], float], *, url: str = "", rules: Rules = RULES) -> Breaker:
    redis_of = QuickRedis(url or settings.REDIS_URL, timeout_seconds=5)
    return Breaker(shared=redis_of, rules=rules, clock=clock)


@pytest.fixture(params=["in Redis", "in one process"])
def psp(request: pytest.FixtureRequest) -> Psp:
    clock = Clock()
    if request.param == "in Redis":
        return Psp(shared_breaker(clock), clock)
    return Psp(LocalBreaker(rules=RULES, clock=clock), clock)


def test_it_stays_closed_below_the_least_number_of_calls(psp: Psp) -> None:
    assert psp.call(ILL, RULES.minimum_calls - 1) == [None] * (RULES.minimum_calls - 1)
    assert psp.admit().admitted


def test_it_opens_when_half_of_the_calls_failed_and_tells_one_caller(psp: Psp) -> None:
    psp.call(WELL, 10)
    changes = psp.call(ILL, 10)
    assert changes == [None] * 9 + ["opened"]
    refused = psp.admit()
    assert not refused.admitted
    assert refused.retry_after_seconds == RULES.open_seconds


def test_it_stays_closed_while_less_than_half_of_the_calls_fail(psp: Psp) -> None:
    psp.call(WELL, 200)
    assert psp.call(ILL, 199) == [None] * 199


def test_calls_that_are_too_slow_open_it_too(psp: Psp) -> None:
    assert psp.call(SLOW, RULES.minimum_calls)[-1] == "opened"


def test_calls_that_say_nothing_about_the_provider_are_not_counted(psp: Psp) -> None:
    assert psp.call(NOTHING, 100) == [None] * 100
    assert psp.call(ILL, RULES.minimum_calls - 1)[-1] is None


def test_what_is_older_than_the_window_is_forgotten(psp: Psp) -> None:
    psp.call(ILL, RULES.minimum_calls - 1)
    psp.clock.go(RULES.window_seconds)
    assert psp.call(ILL, 1) == [None]
    psp.clock.go(RULES.window_seconds / 2)
    assert psp.call(ILL, RULES.minimum_calls - 1)[-1] == "opened"


def test_a_half_open_breaker_lets_as_many_through_as_it_has_permits(psp: Psp) -> None:
    psp.open()
    psp.clock.go(RULES.open_seconds)
    admitted = [psp.admit().admitted for _ in range(8)]
    assert admitted == [True] * RULES.permits + [False] * (8 - RULES.permits)


def test_it_closes_when_every_permit_came_back_well(psp: Psp) -> None:
    psp.open()
    psp.clock.go(RULES.open_seconds)
    assert psp.call(WELL, RULES.permits) == [None] * (RULES.permits - 1) + ["closed"]
    assert all(psp.admit().admitted for _ in range(20))
    assert psp.call(ILL, RULES.minimum_calls - 1)[-1] is None, "the old window counted again"


@pytest.mark.parametrize("sign", [ILL, SLOW])
def test_one_bad_sign_opens_a_half_open_breaker_again_without_news(psp: Psp, sign: Verdict) -> None:
    psp.open()
    psp.clock.go(RULES.open_seconds)
    first, second = psp.admit(), psp.admit()
    assert psp.breaker.record(first, sign) is None
    assert psp.admit().retry_after_seconds == RULES.open_seconds
    assert psp.breaker.record(second, WELL) is None
    assert not psp.admit().admitted


def test_a_permit_that_learnt_nothing_or_was_never_returned_is_given_again(psp: Psp) -> None:
    psp.open()
    psp.clock.go(RULES.open_seconds)
    held = [psp.admit() for _ in range(RULES.permits)]
    psp.breaker.record(held[0], NOTHING)
    assert psp.admit().admitted
    assert not psp.admit().admitted
    psp.clock.go(RULES.permit_seconds)
    assert [psp.admit().admitted for _ in range(RULES.permits)] == [True] * RULES.permits
    assert psp.breaker.record(held[1], WELL) is None, "an expired permit decided"


def test_calls_made_before_it_opened_decide_nothing_afterwards(psp: Psp) -> None:
    slow_ones = [psp.admit() for _ in range(50)]
    psp.open()
    psp.clock.go(RULES.open_seconds)
    assert [psp.breaker.record(late, ILL) for late in slow_ones[:25]] == [None] * 25
    assert psp.call(WELL, RULES.permits)[-1] == "closed"
    assert [psp.breaker.record(late, ILL) for late in slow_ones[25:]] == [None] * 25
    assert psp.admit().admitted


def test_classes_and_accounts_have_breakers_of_their_own(psp: Psp) -> None:
    psp.open()
    assert psp.breaker.admit(psp.name.replace(":create", ":query")).admitted
    assert psp.breaker.admit(f"pacc_{secrets.token_hex(6)}:create").admitted


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.just(0.0)),
        st.tuples(st.sampled_from(["well", "ill", "slow", "nothing"]), st.integers(0, 40)),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 4.9, 5.0, 15.0, 30.0, 61.0])),
    ),
    max_size=120,
)


@hypothesis_settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_a_process_alone_decides_exactly_as_redis_does(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    rules = Rules(minimum_calls=3, permits=2, permit_seconds=20)
    name = f"pacc_{secrets.token_hex(8)}:create"
    sides = (shared_breaker(clock, rules=rules), LocalBreaker(rules=rules, clock=clock))
    held: list[tuple[Admission, Admission]] = []
    verdicts = {"well": WELL, "ill": ILL, "slow": SLOW, "nothing": NOTHING}
    for step, value in steps:
        if step == "wait":
            clock.go(value)
        elif step == "admit":
            shared, local = (side.admit(name) for side in sides)
            assert shared.admitted == local.admitted
            assert shared.retry_after_seconds == local.retry_after_seconds
            if shared.admitted:
                held.append((shared, local))
        elif held:
            pair = held.pop(int(value) % len(held))
            told_shared = sides[0].record(pair[0], verdicts[step])
            assert told_shared == sides[1].record(pair[1], verdicts[step])


# --- what counts ---------------------------------------------------------------------------------


def ended(
    outcome: Outcome, *, code: str = "", http_status: int | None = 200, seconds: float = 0.1
) -> Verdict:
    exchange = Exchange(
        operation="create", method="POST", url="", request={}, http_status=http_status, response={}
    )
    error = refusal(code, "words") if code else None
    return judge(
        Result(outcome=outcome, exchange=exchange, error=error), seconds=seconds, rules=RULES
    )


ANSWERS = st.sampled_from([Outcome.OK, Outcome.PENDING, Outcome.ACTION, Outcome.DECLINED])
UNCLEAR = st.sampled_from([Outcome.UNKNOWN, Outcome.NOT_SENT])
OURS = {"provider_busy", "provider_unavailable"}
ILLNESSES = {
    "provider_unreachable",
    "provider_answer_lost",
    "provider_rate_limited",
    "provider_error",
}


@given(
    outcome=ANSWERS,
    code=st.sampled_from(sorted(set(STANDARD) - OURS)),
    status=st.integers(200, 599),
)
def test_an_answer_of_the_provider_never_counts_as_a_failure(
    outcome: Outcome, code: str, status: int
) -> None:
    assert ended(outcome, code=code, http_status=status) == WELL


@given(
    outcome=UNCLEAR,
    code=st.sampled_from(sorted(set(STANDARD) - OURS - ILLNESSES)),
    status=st.one_of(st.integers(200, 428), st.integers(430, 499)),
)
def test_other_refusals_of_the_request_never_count_as_a_failure(
    outcome: Outcome, code: str, status: int
) -> None:
    assert ended(outcome, code=code, http_status=status) == WELL


@pytest.mark.parametrize(
    ("outcome", "code", "status"),
    [
        (Outcome.UNKNOWN, "provider_answer_lost", None),
        (Outcome.UNKNOWN, "provider_error", 500),
        (Outcome.UNKNOWN, "provider_answer_unreadable", 502),
        (Outcome.NOT_SENT, "provider_unreachable", None),
        (Outcome.NOT_SENT, "provider_rate_limited", 429),
    ],
)
def test_time_outs_lost_connections_5xx_and_429_count(
    outcome: Outcome, code: str, status: int | None
) -> None:
    assert ended(outcome, code=code, http_status=status) == ILL


def test_our_own_refusals_say_nothing() -> None:
    for code in OURS:
        assert not ended(Outcome.NOT_SENT, code=code, http_status=None, seconds=99).counted


def test_a_good_answer_after_too_long_counts_as_slow() -> None:
    assert ended(Outcome.OK, seconds=RULES.slow_call_seconds) == SLOW


# --- between processes, and without Redis --------------------------------------------------------


def contend(
    url: str, what: str, clock: Clock, *, processes: int = 2, threads: int = 4
) -> list[str]:
    """What the threads of several processes were told, all starting at about the same time."""
    command = [sys.executable, "-m", breaker_contender.__name__, url, what, str(threads)]
    started = [
        subprocess.Popen([*command, str(clock())], stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    return [line for process in started for line in process.communicate(timeout=60)[0].split()]


@pytest.fixture
def private_redis() -> Iterator[RedisServer]:
    """A Redis that the test may kill and start again."""
    home = temporary_home("florin-redis-")
    server = RedisServer(home=home, log_path=home / "redis.log")
    server.start()
    yield server
    server.kill()
    shutil.rmtree(home)


def test_two_processes_with_eight_contenders_share_the_permits_and_the_news(
    private_redis: RedisServer,
) -> None:
    url, clock = private_redis.url(), Clock()
    told = contend(url, "fail", clock)
    assert sorted(told) == ["-"] * 7 + ["opened"]
    clock.go(RULES.open_seconds)
    admitted = contend(url, "admit", clock)
    assert sorted(admitted) == ["0"] * 5 + ["1"] * breaker_contender.RULES.permits


def test_when_redis_dies_each_process_goes_on_under_the_same_rules(
    private_redis: RedisServer,
) -> None:
    clock = Clock()
    psp = Psp(shared_breaker(clock, url=private_redis.url()), clock)
    under_way = [psp.admit() for _ in range(5)]
    private_redis.kill()
    changes: list[str | None] = [psp.breaker.record(each, ILL) for each in under_way]
    changes += psp.call(ILL, RULES.minimum_calls - 5)
    assert changes == [None] * (RULES.minimum_calls - 1) + ["opened"]
    refused = psp.admit()
    assert not refused.admitted, "without Redis it was closed"
    clock.go(RULES.open_seconds)
    assert [psp.admit().admitted for _ in range(8)].count(True) == RULES.permits


def test_a_redis_that_hangs_costs_one_short_time_out() -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as black_hole:
        address = f"redis://127.0.0.1:{black_hole.getsockname()[1]}/0"
        hanging = QuickRedis(address, timeout_seconds=0.2, pause_seconds=600)
        psp = Psp(Breaker(shared=hanging, rules=RULES, clock=clock), clock)
        psp.open()
        assert not psp.admit().admitted
        # It was asked once, and given up after the time-out; nobody asked it again.
        black_hole.accept()[0].close()
        black_hole.setblocking(False)
        with pytest.raises(BlockingIOError):
            black_hole.accept()


def test_redis_is_asked_again_after_the_pause(
    private_redis: RedisServer,
) -> None:
    clock = Clock()
    shared = QuickRedis(private_redis.url(), timeout_seconds=1, pause_seconds=0.2)
    psp = Psp(Breaker(shared=shared, rules=RULES, clock=clock), clock)
    private_redis.kill()
    psp.open()
    private_redis.start()
    deadline = time.monotonic() + 20
    while not psp.admit().admitted:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert shared.ask(lambda client: client.ping())


# --- what is shown -------------------------------------------------------------------------------


def test_states_tell_the_window_and_what_opened_a_breaker() -> None:
    clock = Clock()
    clock.go(secrets.randbelow(10_000_000))
    breaker = shared_breaker(clock)
    healthy, ill = Psp(breaker, clock), Psp(breaker, clock)
    healthy.call(WELL, 3)
    ill.call(WELL, 5)
    clock.go(10)
    ill.call(ILL, 15)
    found = {state.name: state for state in breaker.states() or []}
    assert (found[healthy.name].state, found[healthy.name].calls) == ("closed", 3)
    opened = found[ill.name]
    assert (opened.state, opened.calls, opened.failures) == ("open", 20, 15)
    assert opened.failure_ratio == 0.75
    assert opened.since == clock.seconds
    assert opened.probe_at == clock.seconds + RULES.open_seconds
    assert [slot.calls for slot in opened.slots] == [5, 15]


def test_only_breakers_that_rest_are_forgotten() -> None:
    clock = Clock()
    breaker = shared_breaker(clock)
    healthy, ill = Psp(breaker, clock), Psp(breaker, clock)
    healthy.call(WELL, 3)
    ill.open()
    clock.go(7200)
    names = {state.name for state in breaker.states() or []}
    assert ill.name in names
    assert healthy.name not in names


def test_a_script_redis_has_forgotten_is_sent_again() -> None:
    clock = Clock()
    psp = Psp(shared_breaker(clock), clock)
    psp.call(WELL)
    redis.Redis.from_url(settings.REDIS_URL).script_flush()
    psp.open()
    assert not psp.admit().admitted
