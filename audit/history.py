"""Changes of configuration, which django-simple-history keeps, as events of the audit log.

Configuration (merchants, endpoints, rules) has history tables of its own; one `config.changed`
event per history row puts the same change into the log that is hashed and sealed. Secrets must be
left out of the history itself (`excluded_fields`); the scanner of the log is only the last net.
"""

from __future__ import annotations

from typing import Any

from simple_history.signals import post_create_historical_record

from audit.log import append

_WHAT_HAPPENED = {"+": "created", "~": "changed", "-": "deleted"}


def connect() -> None:
    """Append an event for every history row from now on; connecting twice is harmless."""
    post_create_historical_record.connect(_recorded, dispatch_uid="audit.history.recorded")


def record_change(instance: Any, row: Any) -> int:
    """Append the `config.changed` event of one history row and return its number.

    The body holds what happened and, for a change, each field's value before and after. Raises
    what audit.log.append raises: the caller saves inside a transaction, with a known actor.
    """
    model = instance._meta.label_lower
    return append(
        event_type="config.changed",
        stream_type=instance._meta.model_name,
        stream_id=str(instance.pk),
        body={
            "model": model,
            "history_id": str(row.history_id),
            "what": _WHAT_HAPPENED[row.history_type],
            "reason": row.history_change_reason or "",
            "changes": _changes(row),
        },
        occurred_at=row.history_date,
    )


def _changes(row: Any) -> dict[str, dict[str, str]]:
    """Field name -> text before and after; empty for what has no row before it."""
    before = row.prev_record if row.history_type == "~" else None
    if before is None:
        return {}
    return {
        change.field: {"before": str(change.old), "after": str(change.new)}
        for change in row.diff_against(before, foreign_keys_are_objs=False).changes
    }


def _recorded(sender: object, instance: Any, history_instance: Any, **kwargs: object) -> None:
    record_change(instance, history_instance)
