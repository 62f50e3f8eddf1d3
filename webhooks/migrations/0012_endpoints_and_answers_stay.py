"""Endpoints, answers and fences cannot be taken back (sql/endpoints_and_answers_stay.sql)."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql" / "endpoints_and_answers_stay.sql"


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0011_endpoint_permissions")]

    operations = [
        migrations.RunSQL(
            _SQL.read_text(encoding="utf-8"),
            "DROP TRIGGER endpoint_keeps_its_owner ON webhooks_endpoint;"
            "DROP TRIGGER merchant_delivery_keeps_its_fence ON webhooks_merchant_delivery;"
            "DROP TRIGGER delivery_attempt_ends_once ON webhooks_delivery_attempt;"
            "DROP FUNCTION webhooks_refuse_rewriting;"
            "GRANT DELETE ON webhooks_endpoint, webhooks_endpoint_health TO florin_app;",
        ),
    ]
