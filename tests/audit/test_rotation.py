"""Re-encryption with a new key: in batches, resumable, recorded, stopped by what is unreadable."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import models

from audit import encryption, log, rotation
from audit.timeline import timeline
from tests.audit.conftest import ACTOR, fresh_id

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()
NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Vault(models.Model):
    """A table with a secret, of these tests only."""

    id = models.CharField(primary_key=True, max_length=40)
    token = models.BinaryField(null=True)

    class Meta:
        app_label = "audit"
        db_table = "test_vault"
        managed = False

    def __str__(self) -> str:
        return self.id


VAULTS: Any = Vault._default_manager


@pytest.fixture
def column(
    owner_connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> Iterator[encryption.EncryptedColumn]:
    """An empty vault, the only registered column."""
    owner_connection.execute("DROP TABLE IF EXISTS test_vault")
    owner_connection.execute("CREATE TABLE test_vault (id text PRIMARY KEY, token bytea)")
    owner_connection.execute("GRANT SELECT, INSERT, UPDATE ON test_vault TO florin_app")
    monkeypatch.setattr(encryption, "_COLUMNS", {})
    yield encryption.register("audit.Vault", "token", name="secret")
    owner_connection.execute("DROP TABLE test_vault")


@pytest.fixture
def keys(settings: object) -> Callable[..., None]:
    def use(*entries: str) -> None:
        settings.FLORIN_ENCRYPTION_KEYS = list(entries)  # type: ignore[attr-defined]

    use(OLD)
    return use


def fill(column: encryption.EncryptedColumn, count: int) -> dict[str, bytes]:
    """`count` rows with secrets, one without; row id -> secret."""
    secrets = {fresh_id("vault"): f"secret {number}".encode() for number in range(count)}
    for key, clear in secrets.items():
        VAULTS.create(id=key, token=encryption.encrypt(clear, context=column.context(key)))
    VAULTS.create(id=fresh_id("vault"), token=None)
    return secrets


def readable(column: encryption.EncryptedColumn) -> dict[str, bytes]:
    return {
        row.id: encryption.decrypt(bytes(row.token), context=column.context(row.id))
        for row in VAULTS.exclude(token=None)
    }


def test_everything_is_readable_with_the_new_key_alone(
    column: encryption.EncryptedColumn, keys: Callable[..., None]
) -> None:
    secrets = fill(column, 7)
    keys(NEW, OLD)
    told: list[tuple[int, int]] = []
    with log.acting_as(ACTOR):
        results = rotation.rotate(
            now=NOW,
            batch_rows=3,
            report=lambda progress: told.append((progress.rotated, progress.remaining)),
        )
    assert [(result.rotated, result.remaining) for result in results] == [(7, 0)]
    assert told == [(3, 4), (6, 1), (7, 0)]
    keys(NEW)
    assert readable(column) == secrets
    record = timeline(stream_type="encryption_key", stream_id="new", limit=1)[0]
    assert (record.event_type, record.body) == ("encryption.rotated", {"audit.Vault.token": 7})


def test_an_interrupted_rotation_goes_on_where_it_stopped(
    column: encryption.EncryptedColumn, keys: Callable[..., None]
) -> None:
    secrets = fill(column, 5)
    keys(NEW, OLD)

    def interrupt(progress: rotation.RotatedColumn) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), log.acting_as(ACTOR):
        rotation.rotate(now=NOW, batch_rows=2, report=interrupt)
    done = {row.id: bytes(row.token) for row in VAULTS.exclude(token=None)}
    with log.acting_as(ACTOR):
        (result,) = rotation.rotate(now=NOW, batch_rows=2)
    assert (result.rotated, result.remaining) == (3, 0)
    untouched = [row.id for row in VAULTS.exclude(token=None) if bytes(row.token) == done[row.id]]
    assert len(untouched) == 2
    keys(NEW)
    assert readable(column) == secrets


def test_a_secret_that_changes_meanwhile_is_not_overwritten(
    column: encryption.EncryptedColumn, keys: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = fill(column, 1)
    keys(NEW, OLD)
    fresh = encryption.encrypt("changed meanwhile", context=column.context(key))
    decrypt = encryption.decrypt

    def change_then_decrypt(token: bytes, *, context: str) -> bytes:
        VAULTS.filter(id=key).update(token=fresh)
        return decrypt(token, context=context)

    monkeypatch.setattr(rotation, "decrypt", change_then_decrypt)
    with log.acting_as(ACTOR):
        (result,) = rotation.rotate(now=NOW)
    assert (result.rotated, result.remaining) == (0, 0)
    assert readable(column) == {key: b"changed meanwhile"}


def test_the_command_tells_its_progress(
    column: encryption.EncryptedColumn, keys: Callable[..., None]
) -> None:
    fill(column, 2)
    keys(NEW, OLD)
    output = StringIO()
    call_command("rotate_encryption", stdout=output)
    assert "audit.Vault.token: 2 rotated, 0 remaining" in output.getvalue()
    assert "Everything is encrypted with the key 'new'." in output.getvalue()
    call_command("rotate_encryption", stdout=output)
    assert "audit.Vault.token: 0 rotated, 0 remaining" in output.getvalue()


def test_a_secret_that_no_key_reads_stops_the_command_with_words(
    column: encryption.EncryptedColumn, keys: Callable[..., None]
) -> None:
    secrets = fill(column, 1)
    keys(NEW)
    with pytest.raises(CommandError, match="'old' is not in FLORIN_ENCRYPTION_KEYS"):
        call_command("rotate_encryption", stdout=StringIO())
    keys(OLD)
    assert readable(column) == secrets


def test_a_rotation_that_nobody_asked_for_is_refused(
    column: encryption.EncryptedColumn, keys: Callable[..., None]
) -> None:
    with pytest.raises(log.MissingActor):
        rotation.rotate(now=NOW)


def test_every_binary_column_is_rotated_or_known_to_hold_no_secret() -> None:
    without_secrets = {
        ("audit.AuditEvent", "leaf_hash"),
        ("audit.Vault", "token"),
        ("webhooks.InboxEvent", "raw"),
    }
    all_columns = {
        (model._meta.label, field.name)
        for model in apps.get_models()
        for field in model._meta.fields
        if isinstance(field, models.BinaryField)
    }
    registered = {(one.model_label, one.column) for one in encryption.registered_columns()}
    assert all_columns == registered | without_secrets
