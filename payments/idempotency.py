"""One client request happens once: the whole Idempotency-Key story.

Mental model: a key is a row, claimed in its own transaction before anything else is written, and
fenced by a random `lock_token` with a lease. What a request has done so far is its recovery point,
committed with the thing itself:

    started     claimed; nothing else exists. Whoever claims next starts from the beginning.
    submitting  the payment, the attempt and the PSP's idempotency key are committed, the call may
                be out. Whoever comes next re-drives the same operation with the same PSP key.
    finished    outcome and answer were committed in one transaction. Repeats get that answer.

A point exists only where a commit is; "payment created" belongs to `submitting` and "outcome
recorded" to `finished`, because each pair is one transaction and nothing can die in between.

A repeat meets one of five cases: another request (422), still running (409 with Retry-After),
finished (same status, same body), unfinished and free (taken over, resumed), or unfinished because
nobody knows the PSP's answer yet (resumed: the same PSP key is the look-up). Answers of 500 and
above are never stored. The rules follow the IETF draft for the Idempotency-Key header (in flight
409, other request 422) and Stripe's documented behaviour for stored answers.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import rfc8785
from django.db import connection, transaction
from django.db.models import Q

from payments import personal_data, rows
from payments.errors import ErrorCode, FlorinError
from payments.models import Attempt, IdempotencyKey, Merchant, Payment, ProviderOperation

# A request holds its key this long; longer than any provider deadline, so that a slow but living
# request is never overtaken, and short enough that a dead one is resumed within a minute.
LEASE_SECONDS = 60
# Finished keys answer repeats for seven days, which is longer than any PSP keeps its own keys
# (Stripe: at least 24 hours), so a repeat never reaches a PSP that has forgotten the first.
FINISHED_LIFETIME = timedelta(days=7)
# The completer looks at an unfinished key two minutes after it was claimed, so that a client that
# simply waits is not raced, and then once a minute.
COMPLETION_DELAY = timedelta(seconds=120)
COMPLETION_INTERVAL = timedelta(seconds=60)
COMPLETIONS_MAX = 3

# Where a request's personal values stand in its stored parameters, encrypted.
PERSONAL = "personal"
# What a row's actor begins with when a person of the staff asked, followed by the user's id.
STAFF_PREFIX = "user:"
# The parameter that holds why they asked; the words go with every audit event it causes.
STAFF_WORDS = "staff_words"

KEY_LENGTH_MIN = 16
KEY_LENGTH_MAX = 255


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the client is told: HTTP status and JSON body, without anything secret in it.

    `attempt` is the payment's latest, where the action has it at hand: the API takes the secrets
    from it that it adds to a living answer. `shown_once` are members that are added to this one
    answer. Neither is ever stored.
    """

    status: int
    body: dict[str, Any]
    payment_id: str = ""
    replayed: bool = False
    attempt: Attempt | None = None
    shown_once: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on one client request; every later write is fenced by `lock_token`."""

    row_id: int
    lock_token: str
    recovery_point: str
    operation: str
    parameters: dict[str, Any]
    merchant: Merchant
    livemode: bool
    request_id: str
    payment_id: str = ""
    provider_operation_id: str = ""

    def submitting(self, *, payment: Payment, operation: ProviderOperation) -> None:
        """Commit, with the caller's transaction, that the PSP call may now go out."""
        self._update(
            recovery_point=IdempotencyKey.RecoveryPoint.SUBMITTING,
            payment_id=payment.pk,
            provider_operation_id=operation.pk,
        )

    def calling(self) -> None:
        """As `submitting`, for a call that is no payment's: its own row names this key's row."""
        self._update(recovery_point=IdempotencyKey.RecoveryPoint.SUBMITTING)

    def personal(self) -> dict[str, Any]:
        """The personal values of the request in clear (see `claim`)."""
        sealed = self.parameters.get(PERSONAL, "")
        return personal_data.unseal(sealed, merchant_id=self.merchant.pk)

    def finish(self, answer: Answer, *, now: datetime) -> None:
        """Commit, with the caller's transaction, the answer that every repeat will get."""
        assert answer.status < 500, f"Bug! an answer {answer.status} must not be stored"
        self._update(
            recovery_point=IdempotencyKey.RecoveryPoint.FINISHED,
            response_status=answer.status,
            response_body=answer.body,
            payment_id=answer.payment_id or self.payment_id or None,
            locked_until=None,
            completion_due_at=None,
            expires_at=now + FINISHED_LIFETIME,
        )

    def release(self) -> None:
        """Give the key back unfinished, so that a repeat need not wait for the lease to run out."""
        IdempotencyKey.objects.filter(pk=self.row_id, lock_token=self.lock_token).exclude(
            recovery_point=IdempotencyKey.RecoveryPoint.FINISHED
        ).update(locked_until=None)

    def abandon(self) -> None:
        """Forget the key: the request was refused for the moment and nothing was written, so the
        completer must not carry it out later behind the client's back.
        """
        IdempotencyKey.objects.filter(
            pk=self.row_id,
            lock_token=self.lock_token,
            recovery_point=IdempotencyKey.RecoveryPoint.STARTED,
        ).delete()

    def _update(self, **fields: Any) -> None:
        held = rows.table(IdempotencyKey).change(fields, id=self.row_id, lock_token=self.lock_token)
        if rows.execute([held]) != [1]:
            raise LeaseLost(f"idempotency key {self.row_id} is held by somebody else now")


class LeaseLost(Exception):
    """Another worker took the key over; whatever this one was about to write is void."""


def validate_key(key: str | None) -> str:
    """The key as it is stored: printable ASCII, the quotes of the RFC 8941 form removed.

    Raises FlorinError(idempotency_key_missing or idempotency_key_invalid).
    """
    if key is None or key == "":
        raise FlorinError(ErrorCode.idempotency_key_missing, param="Idempotency-Key")
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    printable = key.isascii() and key.isprintable()
    if not printable or not KEY_LENGTH_MIN <= len(key) <= KEY_LENGTH_MAX:
        raise FlorinError(ErrorCode.idempotency_key_invalid, param="Idempotency-Key")
    return key


def fingerprint(*, method: str, path: str, body: Mapping[str, Any]) -> str:
    """What makes two requests the same: method, concrete path and canonical body (RFC 8785)."""
    canonical = rfc8785.dumps({"method": method, "path": path, "body": dict(body)})
    return hashlib.sha256(canonical).hexdigest()


def claim(
    *,
    merchant: Merchant,
    livemode: bool,
    key: str,
    operation: str,
    method: str,
    path: str,
    parameters: Mapping[str, Any],
    actor_id: str,
    request_id: str,
    now: datetime,
    personal: Mapping[str, Any] | None = None,
) -> Claim | Answer:
    """Claim `key` for this request, or return the stored answer of its finished twin.

    `personal` are parameters that are stored encrypted (names, addresses); they are part of what
    the request is recognised by. Commits by itself. Raises FlorinError: idempotency_key_reused for
    another request, idempotency_key_in_use while the first still runs.
    """
    print_ = fingerprint(method=method, path=path, body={**parameters, **(personal or {})})
    token = secrets.token_hex(16)
    if personal:
        sealed = personal_data.seal(personal, merchant_id=merchant.pk)
        parameters = {**parameters, PERSONAL: sealed}
    # One statement that commits itself: the common case, a new key, costs one round trip.
    row_id = _insert(
        merchant=merchant,
        livemode=livemode,
        key=key,
        operation=operation,
        method=method,
        path=path,
        print_=print_,
        parameters=dict(parameters),
        actor_id=actor_id,
        request_id=request_id,
        token=token,
        now=now,
    )
    if row_id is not None:
        return Claim(
            row_id=row_id,
            lock_token=token,
            recovery_point=IdempotencyKey.RecoveryPoint.STARTED,
            operation=operation,
            parameters=dict(parameters),
            merchant=merchant,
            livemode=livemode,
            request_id=request_id,
        )
    with transaction.atomic(durable=True):
        return _claim_existing(merchant, livemode, key, print_=print_, token=token, now=now)


def _claim_existing(
    merchant: Merchant, livemode: bool, key: str, *, print_: str, token: str, now: datetime
) -> Claim | Answer:
    row = (
        IdempotencyKey.objects.select_for_update(of=("self",))
        .select_related("merchant")
        .filter(merchant=merchant, livemode=livemode, key=key)
        .first()
    )
    in_use = FlorinError(
        ErrorCode.idempotency_key_in_use, param="Idempotency-Key", retry_after_seconds=1
    )
    if row is None:  # its holder has just abandoned it
        raise in_use
    if row.fingerprint != print_:
        raise FlorinError(ErrorCode.idempotency_key_reused, param="Idempotency-Key")
    if row.recovery_point == IdempotencyKey.RecoveryPoint.FINISHED:
        return stored_answer(row)
    if row.locked_until is not None and row.locked_until > now:
        raise in_use
    return _take_over(row, token=token, now=now)


def stored_answer(row: IdempotencyKey) -> Answer:
    """The answer of a finished key, as it was first given."""
    assert row.response_status is not None, "Bug! a finished key has a status"
    assert row.response_body is not None, "Bug! a finished key has a body"
    return Answer(
        status=row.response_status,
        body=row.response_body,
        payment_id=row.payment_id or "",
        replayed=True,
    )


def claim_unfinished(*, now: datetime, limit: int) -> list[Claim]:
    """Take over requests whose process died before it wrote anything, for the completer.

    A key at `submitting` is not here: its operation is re-driven by `resume_payment`, which
    finishes the key too. Counts the try before it is made, so a request that kills its worker
    is not tried for ever.
    """
    claims = []
    with transaction.atomic(durable=True):
        rows = (
            IdempotencyKey.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("merchant")
            .filter(
                Q(locked_until__isnull=True) | Q(locked_until__lt=now),
                recovery_point=IdempotencyKey.RecoveryPoint.STARTED,
                completion_due_at__lte=now,
                completion_count__lt=COMPLETIONS_MAX,
            )
            .order_by("completion_due_at")[:limit]
        )
        for row in rows:
            row.completion_count += 1
            row.completion_due_at = now + COMPLETION_INTERVAL
            claims.append(_take_over(row, token=secrets.token_hex(16), now=now))
    return claims


def finish_for_operation(operation: ProviderOperation, answer: Answer, *, now: datetime) -> None:
    """Finish the key that waits for `operation`, in the caller's transaction, whoever drove it.

    The operation's own lease is the fence here: only one driver records its outcome.
    """
    finished = rows.table(IdempotencyKey).change(
        _finished(answer, now=now),
        provider_operation_id=operation.pk,
        recovery_point=IdempotencyKey.RecoveryPoint.SUBMITTING,
    )
    rows.execute([finished])


def _finished(answer: Answer, *, now: datetime) -> dict[str, Any]:
    return {
        "recovery_point": IdempotencyKey.RecoveryPoint.FINISHED,
        "response_status": answer.status,
        "response_body": answer.body,
        "locked_until": None,
        "completion_due_at": None,
        "expires_at": now + FINISHED_LIFETIME,
    }


def finish_waiting(row_id: int, answer: Answer, *, now: datetime) -> None:
    """As `finish_for_operation`, for a key whose row is named by a call that is no payment's."""
    finished = rows.table(IdempotencyKey).change(
        _finished(answer, now=now),
        id=row_id,
        recovery_point=IdempotencyKey.RecoveryPoint.SUBMITTING,
    )
    rows.execute([finished])


def reap(*, now: datetime, limit: int = 1000) -> int:
    """Delete finished keys past their lifetime, a small batch at a time. Unfinished keys stay."""
    expired = IdempotencyKey.objects.filter(
        recovery_point=IdempotencyKey.RecoveryPoint.FINISHED, expires_at__lt=now
    ).order_by("expires_at")[:limit]
    deleted, _ = IdempotencyKey.objects.filter(
        pk__in=list(expired.values_list("pk", flat=True))
    ).delete()
    return deleted


def _take_over(row: IdempotencyKey, *, token: str, now: datetime) -> Claim:
    row.lock_token = token
    row.locked_until = now + timedelta(seconds=LEASE_SECONDS)
    row.save(update_fields=["lock_token", "locked_until", "completion_count", "completion_due_at"])
    return Claim(
        row_id=row.pk,
        lock_token=token,
        recovery_point=row.recovery_point,
        operation=row.operation,
        parameters=row.parameters,
        merchant=row.merchant,
        livemode=row.livemode,
        request_id=row.request_id,
        payment_id=row.payment_id or "",
        provider_operation_id=row.provider_operation_id or "",
    )


def _insert(
    *,
    merchant: Merchant,
    livemode: bool,
    key: str,
    operation: str,
    method: str,
    path: str,
    print_: str,
    parameters: dict[str, Any],
    actor_id: str,
    request_id: str,
    token: str,
    now: datetime,
) -> int | None:
    """Insert the key's row, or return None where it exists. One statement, no savepoint."""
    columns = [
        "merchant_id",
        "livemode",
        "key",
        "operation",
        "method",
        "path",
        "fingerprint",
        "parameters",
        "actor_id",
        "request_id",
        "recovery_point",
        "lock_token",
        "locked_until",
        "completion_count",
        "completion_due_at",
        "completion_error",
        "created_at",
    ]
    sql = (
        f"INSERT INTO payments_idempotencykey ({', '.join(columns)}) "  # noqa: S608
        f"VALUES ({', '.join(['%s'] * len(columns))}) "
        "ON CONFLICT (merchant_id, livemode, key) DO NOTHING RETURNING id"
    )
    values: list[Any] = [
        merchant.pk,
        livemode,
        key,
        operation,
        method,
        path,
        print_,
        rfc8785.dumps(parameters).decode(),
        actor_id,
        request_id,
        IdempotencyKey.RecoveryPoint.STARTED,
        token,
        now + timedelta(seconds=LEASE_SECONDS),
        0,
        now + COMPLETION_DELAY,
        "",
        now,
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    return None if row is None else row[0]
