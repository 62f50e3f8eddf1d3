"""The ledger's tables as Django reads them; they are made and guarded by migrations/*.sql.

Mental model: four nouns. An `Account` is where value can stand; a `JournalEntry` is one economic
fact with its source; its `Line`s debit and credit accounts; a `Balance` is the running total of an
account's lines. The models are unmanaged and for reading only: the application has no right to
write the tables, rows come into being by ledger.posting and never change.
"""

from __future__ import annotations

from django.db import models


class Account(models.Model):
    """Where value can stand: one per owner, code, currency and mode."""

    id = models.BigIntegerField(primary_key=True)
    code = models.TextField()
    owner = models.TextField()
    currency = models.TextField()
    livemode = models.BooleanField()
    kind = models.TextField(
        choices=[
            (kind, kind.capitalize())
            for kind in ("asset", "liability", "equity", "income", "expense")
        ]
    )
    normal_side = models.TextField()
    stripes = models.SmallIntegerField()
    floor_minor = models.BigIntegerField(null=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    metadata = models.JSONField()

    class Meta:
        managed = False
        db_table = "ledger_account"
        verbose_name = "account"
        verbose_name_plural = "accounts"

    def __str__(self) -> str:
        owner = f" of {self.owner}" if self.owner else ""
        return f"{self.code}{owner}, {self.currency}"


class JournalEntry(models.Model):
    """The header of one economic fact."""

    id = models.BigIntegerField(primary_key=True)
    idempotency_key = models.TextField(unique=True)
    kind = models.TextField()
    livemode = models.BooleanField()
    line_count = models.SmallIntegerField()
    source_type = models.TextField()
    source_id = models.TextField()
    description = models.TextField()
    enforces_floors = models.BooleanField()
    effective_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    xid = models.BigIntegerField()
    reverses = models.OneToOneField(
        "self",
        on_delete=models.DO_NOTHING,
        null=True,
        db_column="reverses",
        related_name="reversed_by",
    )
    resolves = models.OneToOneField(
        "self",
        on_delete=models.DO_NOTHING,
        null=True,
        db_column="resolves",
        related_name="resolved_by",
    )
    metadata = models.JSONField()

    class Meta:
        managed = False
        db_table = "ledger_journal_entry"
        verbose_name = "journal entry"
        verbose_name_plural = "journal entries"

    def __str__(self) -> str:
        return f"Journal entry {self.id}: {self.kind}"


class Line(models.Model):
    """One debit or one credit of an account."""

    pk = models.CompositePrimaryKey("entry_id", "line_number")
    entry = models.ForeignKey(JournalEntry, on_delete=models.DO_NOTHING, related_name="lines")
    line_number = models.SmallIntegerField()
    account = models.ForeignKey(Account, on_delete=models.DO_NOTHING, related_name="lines")
    currency = models.TextField()
    pending = models.BooleanField()
    debit_minor = models.BigIntegerField()
    credit_minor = models.BigIntegerField()
    description = models.TextField()

    class Meta:
        managed = False
        db_table = "ledger_line"
        verbose_name = "line"
        verbose_name_plural = "lines"

    def __str__(self) -> str:
        side, amount = (
            ("debit", self.debit_minor) if self.debit_minor else ("credit", self.credit_minor)
        )
        return f"Line {self.line_number} of entry {self.entry_id}: {side} {amount} {self.currency}"


class Balance(models.Model):
    """The totals of an account's lines, gross by side and layer; several rows where striped."""

    pk = models.CompositePrimaryKey("account_id", "stripe")
    account = models.ForeignKey(Account, on_delete=models.DO_NOTHING, related_name="balances")
    stripe = models.SmallIntegerField()
    posted_debit_minor = models.BigIntegerField()
    posted_credit_minor = models.BigIntegerField()
    pending_debit_minor = models.BigIntegerField()
    pending_credit_minor = models.BigIntegerField()
    released_debit_minor = models.BigIntegerField()
    released_credit_minor = models.BigIntegerField()
    line_count = models.BigIntegerField()
    closed = models.BooleanField()

    class Meta:
        managed = False
        db_table = "ledger_balance"
        verbose_name = "balance"
        verbose_name_plural = "balances"

    def __str__(self) -> str:
        return f"Balance of account {self.account_id}, stripe {self.stripe}"
