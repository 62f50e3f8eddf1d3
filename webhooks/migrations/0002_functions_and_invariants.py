"""The statements of the request path as functions, the invariants as triggers and grants."""

from __future__ import annotations

from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


def _statements(name: str) -> str:
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0001_initial")]

    operations = [
        migrations.RunSQL(
            _statements("functions"),
            "DROP FUNCTION webhooks_emit; DROP FUNCTION webhooks_receive;"
            "DROP SEQUENCE webhooks_inbox_arrival;",
        ),
        migrations.RunSQL(
            _statements("invariants"),
            "DROP TRIGGER event_delivery_in_order ON webhooks_event_delivery;"
            "DROP TRIGGER event_stream_moves_by_one ON webhooks_event_stream;"
            "DROP TRIGGER event_delivery_keeps_its_outcome ON webhooks_event_delivery;"
            "DROP TRIGGER inbox_event_keeps_its_outcome ON webhooks_inbox_event;"
            "DROP FUNCTION webhooks_check_handler_order; DROP FUNCTION webhooks_refuse_head_jump;"
            "DROP FUNCTION webhooks_refuse_reopening;",
        ),
        migrations.RunSQL(_statements("storage"), migrations.RunSQL.noop),
    ]
