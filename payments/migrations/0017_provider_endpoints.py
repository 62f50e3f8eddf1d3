"""Several webhook endpoints per provider account; the address of before becomes the first."""

from __future__ import annotations

import json
from typing import Any

import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import payments.models.merchant
import payments.models.provider_endpoint
from audit import encryption

SQL = """
CREATE FUNCTION payments_keep_endpoint_retired() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    RAISE EXCEPTION 'provider endpoint % keeps its account and its address, and stays retired',
        OLD.id USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER provider_endpoint_stays_retired BEFORE UPDATE ON payments_providerendpoint
    FOR EACH ROW WHEN (
        NEW.token <> OLD.token OR NEW.account_id <> OLD.account_id
        OR OLD.retires_at IS NOT NULL
           AND (NEW.retires_at IS NULL OR NEW.retires_at > OLD.retires_at)
    ) EXECUTE FUNCTION payments_keep_endpoint_retired();
ALTER TABLE payments_providerendpoint ENABLE ALWAYS TRIGGER provider_endpoint_stays_retired;
REVOKE DELETE, TRUNCATE ON payments_providerendpoint FROM florin_app;
"""


def move_addresses(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Each account's address and webhook secrets become its first endpoint; they stay good."""
    database = schema_editor.connection.alias
    endpoints = apps.get_model("payments", "ProviderEndpoint").objects.using(database)
    for account in apps.get_model("payments", "ProviderAccount").objects.using(database):
        of_account = f"payments.provideraccount.secrets:{account.pk}"
        stored = json.loads(
            encryption.decrypt(bytes(account.secrets_encrypted), context=of_account)
        )
        moved = {
            "current": stored["webhook_secrets"],
            "former": stored.get("former_webhook_secrets", []),
        }
        pk = payments.models.provider_endpoint.new_provider_endpoint_id()
        endpoints.create(
            id=pk,
            account=account,
            name="First",
            token=account.endpoint_token,
            created_at=account.created_at,
            secrets_encrypted=encryption.encrypt(
                json.dumps(moved), context=f"payments.providerendpoint.secrets:{pk}"
            ),
        )
        account.secrets_encrypted = encryption.encrypt(
            json.dumps({"secret_key": stored["secret_key"]}), context=of_account
        )
        account.save(update_fields=["secrets_encrypted"])
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else the table could not be altered now


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0016_notifications"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ProviderEndpoint",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.provider_endpoint.new_provider_endpoint_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "token",
                    models.CharField(
                        default=payments.models.merchant.new_endpoint_token,
                        max_length=64,
                        unique=True,
                    ),
                ),
                ("secrets_encrypted", models.BinaryField()),
                ("created_at", models.DateTimeField()),
                ("retires_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="HistoricalProviderEndpoint",
            fields=[
                (
                    "id",
                    models.CharField(
                        db_index=True,
                        default=payments.models.provider_endpoint.new_provider_endpoint_id,
                        editable=False,
                        max_length=40,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("created_at", models.DateTimeField()),
                ("retires_at", models.DateTimeField(blank=True, null=True)),
                ("history_id", models.AutoField(primary_key=True, serialize=False)),
                ("history_date", models.DateTimeField(db_index=True)),
                ("history_change_reason", models.CharField(max_length=100, null=True)),
                (
                    "history_type",
                    models.CharField(
                        choices=[("+", "Created"), ("~", "Changed"), ("-", "Deleted")], max_length=1
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="payments.provideraccount",
                    ),
                ),
                (
                    "history_user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "historical provider endpoint",
                "verbose_name_plural": "historical provider endpoints",
                "ordering": ("-history_date", "-history_id"),
                "get_latest_by": ("history_date", "history_id"),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name="ProviderEndpointUse",
            fields=[
                (
                    "endpoint",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="use",
                        serialize=False,
                        to="payments.providerendpoint",
                    ),
                ),
                ("last_event_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="providerendpoint",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="endpoints",
                to="payments.provideraccount",
            ),
        ),
        migrations.AddConstraint(
            model_name="providerendpoint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("retires_at__isnull", True),
                    ("retires_at__gte", models.F("created_at")),
                    _connector="OR",
                ),
                name="provider_endpoint_retires_after_it_was_added",
            ),
        ),
        migrations.RunPython(move_addresses),
        migrations.RemoveField(
            model_name="provideraccount",
            name="endpoint_token",
        ),
        migrations.RunSQL(SQL),
    ]
