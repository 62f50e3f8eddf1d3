"""An account of the sandbox PSP: two keys, a set of knobs, a clock.

Any well-formed secret key opens an account of its own, so tests and merchants never see each
other. The publishable key follows from the secret key and not the other way round. Its knobs are
in `payments...service.knobs`. An account's clock is the wall clock plus an offset that only moves
forward.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from dataclasses import dataclass, field
from typing import Any

from payments.providers.sandbox.service.books import Books
from payments.providers.sandbox.service.knobs import KNOBS, checked
from payments.providers.sandbox.service.wire import Refusal

SECRET_KEY_PATTERN = re.compile(r"^sbx_sk_[A-Za-z0-9_]{4,120}$")


@dataclass
class Account:
    """One account as the process holds it; `Accounts` writes its settings through.

    next_due_at: not later than the account's first job, so that the clock need not ask the books.
    """

    id: str
    publishable_key: str
    settings: dict[str, Any] = field(default_factory=dict)
    next_due_at: float = math.inf

    def get(self, knob: str) -> Any:
        """The knob's value, or its default."""
        return self.settings.get(knob, KNOBS[knob].default)

    @property
    def clock_offset_seconds(self) -> float:
        """How far the account's clock is ahead of the wall clock."""
        return float(self.settings.get("clock_offset_seconds", 0.0))

    def now(self) -> float:
        """The account's time, in seconds since 1970."""
        return time.time() + self.clock_offset_seconds


def digest_of(secret_key: str) -> str:
    """What is kept of a secret key."""
    return hashlib.sha256(secret_key.encode()).hexdigest()


def publishable_key_for(secret_key: str) -> str:
    """The publishable key that belongs to a secret key."""
    return f"sbx_pk_{hashlib.sha256(b'publishable:' + secret_key.encode()).hexdigest()[:24]}"


class Accounts:
    """All accounts that were seen, cached in the process and kept in the books."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._by_secret: dict[str, Account] = {}
        self._by_publishable: dict[str, Account] = {}
        self._by_id: dict[str, Account] = {}
        for row in books.rows("SELECT * FROM accounts"):
            account = Account(row["id"], row["publishable_key"], json.loads(row["settings"]))
            self._remember(row["secret_key_digest"], account)

    def _remember(self, secret_key_digest: str, account: Account) -> None:
        self._by_secret[secret_key_digest] = account
        self._by_publishable[account.publishable_key] = account
        self._by_id[account.id] = account

    def all(self) -> list[Account]:
        """Every account, for the clock."""
        return list(self._by_id.values())

    def by_id(self, account_id: str) -> Account:
        """The account of a row in the books."""
        return self._by_id[account_id]

    def with_secret_key(self, secret_key: str) -> Account:
        """The account of a secret key, opened when it is new. Raises Refusal 401."""
        if not SECRET_KEY_PATTERN.match(secret_key):
            message = "Use a secret key: `Authorization: Bearer sbx_sk_...` (letters and digits)."
            raise Refusal(401, "authentication", "secret_key_required", message)
        digest = digest_of(secret_key)
        account = self._by_secret.get(digest)
        if account is None:
            with self._books.transaction():
                account = self._by_secret.get(digest)
                if account is None:
                    account = Account(f"sba_{digest[:20]}", publishable_key_for(secret_key))
                    self._books.run(
                        "INSERT INTO accounts VALUES (?, ?, ?, ?)",
                        account.id,
                        digest,
                        account.publishable_key,
                        "{}",
                    )
                    self._remember(digest, account)
        return account

    def with_publishable_key(self, publishable_key: str) -> Account:
        """The account of a publishable key. Raises Refusal 401 when nobody has it."""
        account = self._by_publishable.get(publishable_key)
        if account is None:
            message = "No account has this publishable key."
            raise Refusal(401, "authentication", "publishable_key_unknown", message)
        return account

    def change(self, account: Account, changes: dict[str, Any]) -> None:
        """Set knobs (None: back to the default) and keep them. Raises Refusal 400."""
        turned = {name: checked(name, value) for name, value in changes.items()}
        with self._books.transaction():
            settings = {**account.settings, **turned}
            self._write(account, {k: v for k, v in settings.items() if v is not None})

    def move_clock(self, account: Account, advance_seconds: float) -> None:
        """Put the account's clock forward."""
        with self._books.transaction():
            offset = account.clock_offset_seconds + advance_seconds
            self._write(account, {**account.settings, "clock_offset_seconds": offset})

    def take(self, account: Account, knob: str) -> int:
        """Count one down: the value before (0: nothing to take). Inside or outside a
        transaction.
        """
        value = int(account.get(knob))
        if value > 0:
            with self._books.lock:
                value = int(account.get(knob))
                if value > 0:
                    self._write(account, {**account.settings, knob: value - 1})
        return value

    def _write(self, account: Account, settings: dict[str, Any]) -> None:
        self._books.run(
            "UPDATE accounts SET settings = ? WHERE id = ?", json.dumps(settings), account.id
        )
        account.settings = settings
