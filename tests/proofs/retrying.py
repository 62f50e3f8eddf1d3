"""A merchant's client that resends everything, in parallel, and hangs up whenever it likes.

Mental model: each request is a volley: up to five copies with one Idempotency-Key, sent at the same
time on connections of their own. A copy may stop in the middle of the request, or hang up before
the answer. Volleys go on until an answer is final; every final answer to one key has to be the
same. The judge is the provider's record: exactly the movements the payment's story asks for.
"""

from __future__ import annotations

import contextlib
import json
import random
import secrets
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import urllib3

COPIES_MAX = 5
AMOUNT_MINOR = 4_200
# Answers to a key that say "not yet" or "not now"; anything below 500 beside them is final.
NOT_FINAL = frozenset({202, 409, 425, 429})
_PAUSE_SECONDS = (0.02, 0.4)

Step = tuple[str, dict[str, Any]]
_HOLD, _WHOLE = ("hold", AMOUNT_MINOR), ("capture", AMOUNT_MINOR)


@dataclass(frozen=True)
class Story:
    """What is asked for, request by request ("" is the create), and what must have moved."""

    create: dict[str, Any]
    steps: tuple[Step, ...]
    moved: tuple[tuple[str, int], ...]


_HELD = {"capture_method": "manual", "confirm": True, "payment_method": "tok_visa"}
_TAKEN = {"capture_method": "automatic", "confirm": True, "payment_method": "tok_visa"}
STORIES = (
    Story(_HELD, (("capture", {}),), (_HOLD, _WHOLE)),
    Story(
        _HELD,
        (
            ("capture", {"amount_minor": 1_000, "final_capture": False}),
            ("capture", {"amount_minor": 3_200}),
            ("refunds", {"amount_minor": 500}),
        ),
        (_HOLD, ("capture", 1_000), ("capture", 3_200), ("refund", 500)),
    ),
    Story(
        _TAKEN,
        (("refunds", {"amount_minor": 300}), ("refunds", {"amount_minor": 400})),
        (_HOLD, _WHOLE, ("refund", 300), ("refund", 400)),
    ),
    Story(_HELD, (("cancel", {}),), (_HOLD, ("release", AMOUNT_MINOR))),
    Story(
        {"capture_method": "automatic"},
        (("confirm", {"payment_method": "tok_visa"}), ("refunds", {})),
        (_HOLD, _WHOLE, ("refund", AMOUNT_MINOR)),
    ),
)


@dataclass
class RetryingClient:
    """`count` payments, `concurrency` of them at once; `run` gives the violations it saw."""

    base_url: str
    secret_key: str
    seed: int
    deadline_seconds: float
    asked: dict[str, Story] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        address = urlsplit(self.base_url)
        self._address = (str(address.hostname), int(address.port or 80))
        self._http = urllib3.PoolManager(maxsize=64, retries=False, timeout=30.0)
        self._lock = threading.Lock()
        self._until = time.monotonic() + self.deadline_seconds

    def run(self, *, payments: int, concurrency: int) -> None:
        """Take all payments; what is wrong stands in `violations`."""
        with (
            ThreadPoolExecutor(concurrency * 4) as copies,
            ThreadPoolExecutor(concurrency) as workers,
        ):
            self._copies = copies
            list(workers.map(self._take, range(payments)))

    def _take(self, number: int) -> None:
        chance = random.Random(f"{self.seed}:{number}")
        story = STORIES[number % len(STORIES)]
        try:
            body = {"amount_minor": AMOUNT_MINOR, "currency": "EUR", **story.create}
            payment_id = self._volleys("/v1/payments", body, chance)["id"]
            with self._lock:
                self.asked[payment_id] = story
            for path, parameters in story.steps:
                self._volleys(f"/v1/payments/{payment_id}/{path}", parameters, chance)
        except Unanswered as failure:
            with self._lock:
                self.violations.append(f"payment {number}: {failure}")

    def _volleys(self, path: str, body: Mapping[str, Any], chance: random.Random) -> Any:
        """Send until there is a final answer, then once more: every final answer is the same."""
        key = f"retry-{secrets.token_hex(12)}"
        finals: list[tuple[int, Any]] = []
        again = True
        while not finals or again:
            again = not finals
            if time.monotonic() > self._until:
                raise Unanswered(f"{path} has no final answer: {finals}")
            behaviours = chance.choices(
                ("complete", "half sent", "hung up"), (6, 2, 2), k=chance.randint(1, COPIES_MAX)
            )
            sent = [self._copies.submit(self._send, how, path, body, key) for how in behaviours]
            finals += [answer for one in sent if (answer := one.result()) is not None]
            if not finals:
                time.sleep(chance.uniform(*_PAUSE_SECONDS))
        status, answer = finals[0]
        ids = {one["id"] if "id" in one else json.dumps(one) for _, one in finals}
        if len(ids) > 1 or len({code for code, _ in finals}) > 1:
            raise Unanswered(f"{path} was answered differently: {finals}")
        if status not in (200, 201):
            raise Unanswered(f"{path} was refused: {status} {answer}")
        return answer

    def _send(self, how: str, path: str, body: Mapping[str, Any], key: str) -> Any:
        with self._lock:
            self.counts[how] += 1
        content = json.dumps(body).encode()
        headers = {
            "Authorization": f"Bearer {self.secret_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        if how != "complete":
            self._hang_up(how, path, content, headers)
            return None
        try:
            response = self._http.request(
                "POST", self.base_url + path, body=content, headers=headers
            )
            answer = response.json()
        except (urllib3.exceptions.HTTPError, ValueError):
            return None
        with self._lock:
            self.counts[f"answered {response.status}"] += 1
        if response.status in NOT_FINAL or response.status >= 500:
            return None
        return response.status, answer

    def _hang_up(self, how: str, path: str, content: bytes, headers: Mapping[str, str]) -> None:
        lines = [f"POST {path} HTTP/1.1", f"Host: {self._address[0]}:{self._address[1]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(content)}", "", ""]
        whole = "\r\n".join(lines).encode() + content
        if how == "half sent":
            whole = whole[: len(whole) - 1 - len(content) // 2]
        with (
            contextlib.suppress(OSError),
            socket.create_connection(self._address, timeout=10) as connection,
        ):
            connection.sendall(whole)

    def judge(self, movements: Iterable[Mapping[str, Any]]) -> list[str]:
        """What the provider's record says against it: anything but what each story asks for."""
        moved: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for one in movements:
            moved[one["reference"]].append((one["kind"], one["amount_minor"]))
        wrong = [
            f"the provider moved {moved[other]} for {other}, which nobody got an answer for"
            for other in moved.keys() - self.asked.keys()
        ]
        for payment_id, story in self.asked.items():
            if tuple(moved[payment_id]) != story.moved:
                wrong.append(f"{payment_id}: moved {moved[payment_id]}, asked {story.moved}")
        return [*self.violations, *wrong]


class Unanswered(Exception):
    """A request that ended otherwise than it should."""
