"""Captures, refunds, disputes and review cases."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0004_protect_history")]

    operations: list[object] = []
