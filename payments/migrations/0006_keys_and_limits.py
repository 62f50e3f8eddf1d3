"""Restricted keys, their rotation, and limits."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0005_whole_life")]

    operations: list[object] = []
