"""Customers, saved payment methods and mandates."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("payments", "0006_keys_and_limits")]

    operations: list[object] = []
