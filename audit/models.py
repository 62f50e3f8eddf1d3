"""Reading side of the audit tables; the tables themselves are made by a migration in plain SQL.

The models are unmanaged and only for reading: writing goes through audit.log, because the
application may fill some columns only and Django's inserts name all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from audit.canonical import EventFields


class AuditEvent(models.Model):
    """One recorded event. See audit/migrations/0001_audit_log.sql for what each column is."""

    # The key of the table is (id, recorded_at), because a partitioned table needs its partition
    # key in it; the id alone is unique as well, being drawn from one sequence.
    id = models.BigIntegerField(primary_key=True)
    recorded_at = models.DateTimeField()
    xid = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    event_type = models.TextField()
    actor_type = models.TextField()
    actor_id = models.TextField()
    actor_display = models.TextField()
    stream_type = models.TextField()
    stream_id = models.TextField()
    trace_id = models.TextField()
    request_id = models.TextField()
    reason = models.TextField()
    redacted = models.BooleanField()
    reference_list = models.TextField()
    body = models.TextField()
    leaf_hash = models.BinaryField()

    class Meta:
        managed = False
        db_table = "audit_event"
        verbose_name = "audit event"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.event_type} #{self.pk}"

    def fields(self) -> EventFields:
        """What the hash of this event covers."""
        from audit.canonical import EventFields

        names = EventFields.__slots__
        return EventFields(**{name: getattr(self, name) for name in names})
