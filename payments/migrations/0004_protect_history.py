"""What merchants, keys and provider accounts were is evidence: rows are added and stay."""

from __future__ import annotations

from django.db import migrations

from audit.operations import ProtectHistory


class Migration(migrations.Migration):
    dependencies = [("payments", "0003_books_agree"), ("audit", "0001_initial")]

    operations = [
        ProtectHistory("payments_historicalmerchant"),
        ProtectHistory("payments_historicalapikey"),
        ProtectHistory("payments_historicalprovideraccount"),
    ]
