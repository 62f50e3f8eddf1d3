"""Restricted keys, their rotation, and several provider accounts with one default."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("payments", "0005_whole_life")]

    operations = [
        migrations.CreateModel(
            name="ApiKeyUse",
            fields=[
                (
                    "key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="use",
                        serialize=False,
                        to="payments.apikey",
                    ),
                ),
                ("last_used_at", models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="apikey",
            name="api_key_kind_known",
        ),
        migrations.RemoveConstraint(
            model_name="provideraccount",
            name="provider_account_one_active_per_owner_and_mode",
        ),
        migrations.AddField(
            model_name="apikey",
            name="expires_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="rotated_from",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="successor",
                to="payments.apikey",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=40), blank=True, default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="historicalapikey",
            name="expires_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="historicalapikey",
            name="rotated_from",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="payments.apikey",
            ),
        ),
        migrations.AddField(
            model_name="historicalapikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=40), blank=True, default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="historicalprovideraccount",
            name="is_default",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="provideraccount",
            name="is_default",
            field=models.BooleanField(default=False),
        ),
        # Until now the one active account of an owner and mode took all its payments.
        migrations.RunSQL(
            sql="UPDATE payments_provideraccount SET is_default = true WHERE active",
            reverse_sql=migrations.RunSQL.noop,
        ),
        migrations.AlterField(
            model_name="apikey",
            name="kind",
            field=models.CharField(
                choices=[
                    ("secret", "Secret"),
                    ("restricted", "Restricted"),
                    ("publishable", "Publishable"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="historicalapikey",
            name="kind",
            field=models.CharField(
                choices=[
                    ("secret", "Secret"),
                    ("restricted", "Restricted"),
                    ("publishable", "Publishable"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["secret", "restricted", "publishable"])),
                name="api_key_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "scopes__contained_by",
                        [
                            "payments:read",
                            "payments:write",
                            "refunds:read",
                            "refunds:write",
                            "disputes:read",
                            "disputes:write",
                            "customers:read",
                            "customers:write",
                            "payment_methods:read",
                            "payment_methods:write",
                            "events:read",
                            "webhook_endpoints:read",
                            "webhook_endpoints:write",
                            "balance:read",
                            "provider_accounts:read",
                        ],
                    )
                ),
                name="api_key_scopes_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "restricted"), ("scopes__len__gt", 0)),
                    models.Q(models.Q(("kind", "restricted"), _negated=True), ("scopes__len", 0)),
                    _connector="OR",
                ),
                name="api_key_scopes_of_restricted_keys",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("expires_at__isnull", True),
                    ("expires_at__gte", models.F("created_at")),
                    _connector="OR",
                ),
                name="api_key_expires_after_it_was_issued",
            ),
        ),
        migrations.AddConstraint(
            model_name="provideraccount",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_default", True)),
                fields=("merchant", "livemode"),
                name="provider_account_one_default_per_owner_and_mode",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="provideraccount",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_default", False), ("active", True), _connector="OR"),
                name="provider_account_default_is_active",
            ),
        ),
    ]
