"""The ledger's tables, their guards, the posting functions and the rights (0001_*.sql)."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations, models

_PARTS = ("tables", "guards", "posting", "grants")
_SQL = "\n".join(
    Path(__file__).with_name(f"0001_{part}.sql").read_text(encoding="utf-8") for part in _PARTS
)


class Migration(migrations.Migration):
    initial = True

    operations = [
        # No way back: going back would destroy the books.
        migrations.RunSQL(_SQL),
        migrations.CreateModel(
            name="Account",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("code", models.TextField()),
                ("owner", models.TextField()),
                ("currency", models.TextField()),
                ("livemode", models.BooleanField()),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("asset", "Asset"),
                            ("liability", "Liability"),
                            ("equity", "Equity"),
                            ("income", "Income"),
                            ("expense", "Expense"),
                        ]
                    ),
                ),
                ("normal_side", models.TextField()),
                ("stripes", models.SmallIntegerField()),
                ("floor_minor", models.BigIntegerField(null=True)),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                ("metadata", models.JSONField()),
            ],
            options={
                "verbose_name": "account",
                "verbose_name_plural": "accounts",
                "db_table": "ledger_account",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Balance",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "account_id",
                        "stripe",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("stripe", models.SmallIntegerField()),
                ("posted_debit_minor", models.BigIntegerField()),
                ("posted_credit_minor", models.BigIntegerField()),
                ("pending_debit_minor", models.BigIntegerField()),
                ("pending_credit_minor", models.BigIntegerField()),
                ("released_debit_minor", models.BigIntegerField()),
                ("released_credit_minor", models.BigIntegerField()),
                ("line_count", models.BigIntegerField()),
                ("closed", models.BooleanField()),
            ],
            options={
                "verbose_name": "balance",
                "verbose_name_plural": "balances",
                "db_table": "ledger_balance",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="JournalEntry",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("idempotency_key", models.TextField(unique=True)),
                ("kind", models.TextField()),
                ("livemode", models.BooleanField()),
                ("line_count", models.SmallIntegerField()),
                ("source_type", models.TextField()),
                ("source_id", models.TextField()),
                ("description", models.TextField()),
                ("enforces_floors", models.BooleanField()),
                ("effective_at", models.DateTimeField()),
                ("recorded_at", models.DateTimeField()),
                ("xid", models.BigIntegerField()),
                ("metadata", models.JSONField()),
            ],
            options={
                "verbose_name": "journal entry",
                "verbose_name_plural": "journal entries",
                "db_table": "ledger_journal_entry",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Line",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "entry_id",
                        "line_number",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("line_number", models.SmallIntegerField()),
                ("currency", models.TextField()),
                ("pending", models.BooleanField()),
                ("debit_minor", models.BigIntegerField()),
                ("credit_minor", models.BigIntegerField()),
                ("description", models.TextField()),
            ],
            options={
                "verbose_name": "line",
                "verbose_name_plural": "lines",
                "db_table": "ledger_line",
                "managed": False,
            },
        ),
    ]
