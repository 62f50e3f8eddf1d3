"""Customers, saved payment methods and mandates, and what the database refuses about them."""

from __future__ import annotations

from pathlib import Path

import django.db.models.deletion
import django_fsm
from django.db import migrations, models

import payments.models.customer


class Migration(migrations.Migration):
    dependencies = [("payments", "0006_keys_and_limits")]

    operations = [
        migrations.CreateModel(
            name="CustomerReference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("provider_reference", models.CharField(max_length=120)),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Mandate",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.customer.new_mandate_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("active", "Active"),
                            ("inactive", "Inactive"),
                            ("revoked", "Revoked"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("provider_reference", models.CharField(blank=True, max_length=120)),
                ("acceptance_encrypted", models.BinaryField(null=True)),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="MethodOperation",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.customer.new_method_operation_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("save", "Save"), ("remove", "Remove")], max_length=16
                    ),
                ),
                ("request_encrypted", models.BinaryField(null=True)),
                ("provider_idempotency_key", models.CharField(max_length=120, unique=True)),
                ("key_expires_at", models.DateTimeField()),
                ("claim_id", models.BigIntegerField(db_index=True, null=True)),
                ("outcome", models.CharField(blank=True, max_length=16)),
                ("error", models.JSONField(blank=True, null=True)),
                ("try_count", models.PositiveIntegerField(default=0)),
                ("unsent_count", models.PositiveIntegerField(default=0)),
                ("next_try_at", models.DateTimeField()),
                ("lease_token", models.CharField(blank=True, max_length=40)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="PaymentMethod",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.customer.new_payment_method_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "state",
                    django_fsm.FSMField(
                        choices=[
                            ("pending", "pending"),
                            ("active", "active"),
                            ("failed", "failed"),
                            ("removed", "removed"),
                        ],
                        default="pending",
                        max_length=16,
                        protected=True,
                    ),
                ),
                ("provider_reference", models.CharField(blank=True, max_length=120)),
                ("customer_reference", models.CharField(blank=True, max_length=120)),
                ("kind", models.CharField(blank=True, max_length=40)),
                ("brand", models.CharField(blank=True, max_length=40)),
                ("last4", models.CharField(blank=True, max_length=4)),
                ("expiry_month", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("expiry_year", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("fingerprint", models.CharField(blank=True, max_length=120)),
                ("error", models.JSONField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("saved_at", models.DateTimeField(blank=True, null=True)),
                ("failed_at", models.DateTimeField(blank=True, null=True)),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
            ],
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name="Customer",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.customer.new_customer_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("livemode", models.BooleanField()),
                ("email_encrypted", models.BinaryField(null=True)),
                ("email_index", models.CharField(blank=True, max_length=64)),
                ("name_encrypted", models.BinaryField(null=True)),
                ("name_index", models.CharField(blank=True, max_length=64)),
                ("merchant_reference", models.CharField(blank=True, max_length=200)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "merchant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="customers",
                        to="payments.merchant",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="payment",
            name="customer",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payments",
                to="payments.customer",
            ),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("customer__isnull", False)),
                fields=["customer", "-id"],
                name="payment_of_customer",
            ),
        ),
        migrations.AddField(
            model_name="customerreference",
            name="customer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="references",
                to="payments.customer",
            ),
        ),
        migrations.AddField(
            model_name="customerreference",
            name="provider_account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, to="payments.provideraccount"
            ),
        ),
        migrations.AddField(
            model_name="paymentmethod",
            name="customer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="methods",
                to="payments.customer",
            ),
        ),
        migrations.AddField(
            model_name="paymentmethod",
            name="provider_account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, to="payments.provideraccount"
            ),
        ),
        migrations.AddField(
            model_name="methodoperation",
            name="method",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="operations",
                to="payments.paymentmethod",
            ),
        ),
        migrations.AddField(
            model_name="mandate",
            name="method",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="mandate",
                to="payments.paymentmethod",
            ),
        ),
        migrations.AddIndex(
            model_name="customer",
            index=models.Index(fields=["merchant", "livemode", "-id"], name="customer_of_merchant"),
        ),
        migrations.AddIndex(
            model_name="customer",
            index=models.Index(
                condition=models.Q(("email_index", ""), _negated=True),
                fields=["email_index"],
                name="customer_by_email",
            ),
        ),
        migrations.AddIndex(
            model_name="customer",
            index=models.Index(
                condition=models.Q(("name_index", ""), _negated=True),
                fields=["name_index"],
                name="customer_by_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.UniqueConstraint(
                condition=models.Q(("merchant_reference", ""), _negated=True),
                fields=("merchant_reference", "merchant", "livemode"),
                name="customer_merchant_reference_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("deleted_at__isnull", True),
                    models.Q(
                        ("email_encrypted__isnull", True),
                        ("email_index", ""),
                        ("merchant_reference", ""),
                        ("metadata", {}),
                        ("name_encrypted__isnull", True),
                        ("name_index", ""),
                    ),
                    _connector="OR",
                ),
                name="customer_deleted_is_erased",
            ),
        ),
        migrations.AddConstraint(
            model_name="customerreference",
            constraint=models.UniqueConstraint(
                fields=("customer", "provider_account"), name="customer_reference_once"
            ),
        ),
        migrations.AddIndex(
            model_name="paymentmethod",
            index=models.Index(fields=["customer", "-id"], name="payment_method_of_customer"),
        ),
        migrations.AddConstraint(
            model_name="paymentmethod",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["pending", "active", "failed", "removed"])),
                name="payment_method_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentmethod",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["active", "removed"]), _negated=True),
                    models.Q(
                        models.Q(("provider_reference", ""), _negated=True),
                        models.Q(("customer_reference", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="payment_method_saved_has_reference",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentmethod",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "active")),
                fields=("provider_reference", "provider_account"),
                name="payment_method_active_once",
            ),
        ),
        migrations.AddIndex(
            model_name="methodoperation",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", True)),
                fields=["next_try_at"],
                name="method_operation_try_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="methodoperation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("finished_at__isnull", True)),
                fields=("method",),
                name="method_operation_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="methodoperation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("finished_at__isnull", True),
                    models.Q(
                        models.Q(("outcome__in", ["", "unknown"]), _negated=True),
                        ("request_encrypted__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="method_operation_finished_has_outcome",
            ),
        ),
        migrations.AddConstraint(
            model_name="mandate",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["pending", "active", "inactive", "revoked"])),
                name="mandate_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="mandate",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("revoked_at__isnull", False), ("status", "revoked")),
                    models.Q(
                        models.Q(("status", "revoked"), _negated=True), ("revoked_at__isnull", True)
                    ),
                    _connector="OR",
                ),
                name="mandate_revoked_has_time",
            ),
        ),
        migrations.AddField(
            model_name="attempt",
            name="off_session",
            field=models.BooleanField(default=False),
        ),
        migrations.RunSQL(
            (Path(__file__).parent / "0007_customers.sql").read_text(),
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
