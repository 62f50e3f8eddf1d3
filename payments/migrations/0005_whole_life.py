"""Captures, refunds, disputes and review cases, and what the database refuses about them."""

from __future__ import annotations

from pathlib import Path

import django.db.models.deletion
import django.db.models.expressions
import django_fsm
from django.db import migrations, models

import payments.models.capture
import payments.models.dispute
import payments.models.refund
import payments.models.review


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0004_protect_history"),
    ]

    operations = [
        migrations.CreateModel(
            name="Capture",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.capture.new_capture_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("amount_minor", models.BigIntegerField()),
                ("final", models.BooleanField(default=True)),
                (
                    "state",
                    django_fsm.FSMField(
                        choices=[
                            ("requested", "requested"),
                            ("pending", "pending"),
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("failed_late", "failed_late"),
                            ("voided", "voided"),
                        ],
                        default="requested",
                        max_length=16,
                        protected=True,
                    ),
                ),
                ("platform_fee_minor", models.BigIntegerField(default=0)),
                ("error", models.JSONField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.dispute.new_dispute_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("provider_reference", models.CharField(max_length=120)),
                ("provider_version", models.PositiveIntegerField(default=0)),
                (
                    "stage",
                    models.CharField(
                        choices=[
                            ("inquiry", "inquiry"),
                            ("chargeback", "chargeback"),
                            ("pre_arbitration", "pre_arbitration"),
                            ("arbitration", "arbitration"),
                        ],
                        max_length=24,
                    ),
                ),
                (
                    "state",
                    django_fsm.FSMField(
                        choices=[
                            ("needs_response", "needs_response"),
                            ("submitted", "submitted"),
                            ("under_review", "under_review"),
                            ("won", "won"),
                            ("lost", "lost"),
                            ("accepted", "accepted"),
                            ("expired", "expired"),
                            ("withdrawn", "withdrawn"),
                            ("closed", "closed"),
                            ("prevented", "prevented"),
                        ],
                        default="needs_response",
                        max_length=24,
                        protected=True,
                    ),
                ),
                ("amount_minor", models.BigIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("reason", models.CharField(blank=True, max_length=80)),
                ("withdrawn_minor", models.BigIntegerField(default=0)),
                ("lost_minor", models.BigIntegerField(default=0)),
                ("fee_minor", models.BigIntegerField(default=0)),
                ("evidence", models.JSONField(blank=True, default=dict)),
                ("evidence_due_at", models.DateTimeField(blank=True, null=True)),
                ("submitted_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
            ],
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name="EvidenceFile",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.dispute.new_evidence_file_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("kind", models.CharField(max_length=40)),
                ("filename", models.CharField(max_length=200)),
                ("content_type", models.CharField(max_length=40)),
                ("size_bytes", models.PositiveIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("content_encrypted", models.BinaryField()),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Refund",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.refund.new_refund_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("amount_minor", models.BigIntegerField()),
                ("currency", models.CharField(max_length=3)),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("duplicate", "Duplicate"),
                            ("fraudulent", "Fraudulent"),
                            ("requested_by_customer", "Requested By Customer"),
                        ],
                        max_length=24,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[("api", "Api"), ("back_office", "Back Office"), ("psp", "Psp")],
                        max_length=16,
                    ),
                ),
                ("metadata", models.JSONField(blank=True, default=dict)),
                (
                    "state",
                    django_fsm.FSMField(
                        choices=[
                            ("requested", "requested"),
                            ("requires_action", "requires_action"),
                            ("pending", "pending"),
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("canceled", "canceled"),
                        ],
                        default="requested",
                        max_length=24,
                        protected=True,
                    ),
                ),
                ("provider_reference", models.CharField(blank=True, max_length=120)),
                ("provider_version", models.PositiveIntegerField(default=0)),
                ("error", models.JSONField(blank=True, null=True)),
                ("platform_fee_returned_minor", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("succeeded_at", models.DateTimeField(blank=True, null=True)),
                ("failed_at", models.DateTimeField(blank=True, null=True)),
            ],
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name="ReviewCase",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=payments.models.review.new_case_id,
                        editable=False,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("screening", "held by our own rule"),
                            ("fraud_hold", "held by the provider's fraud desk"),
                            ("integrity_mismatch", "the provider's money is not ours"),
                            ("outcome_unknown", "the provider could not say what happened"),
                            ("late_money", "money on a payment that was over"),
                            ("capture_failed_late", "captured money did not hold"),
                            ("returned_in_part", "a captured part was taken back"),
                            ("double_loss", "given back more than was captured"),
                            ("contradiction", "the provider contradicts our books"),
                            ("status_unknown", "the provider uses a word we do not know"),
                        ],
                        max_length=24,
                    ),
                ),
                ("words", models.CharField(max_length=500)),
                ("opened_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("resolution", models.CharField(blank=True, max_length=500)),
                ("resolved_by", models.CharField(blank=True, max_length=80)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="payment",
            name="payment_amounts_not_negative",
        ),
        migrations.RemoveConstraint(
            model_name="payment",
            name="payment_given_back_at_most_captured",
        ),
        migrations.RemoveConstraint(
            model_name="payment",
            name="payment_captured_has_money",
        ),
        migrations.AddField(
            model_name="historicalmerchant",
            name="review_above_minor",
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="merchant",
            name="review_above_minor",
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="payment",
            name="capture_before",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="payment",
            name="dispute_fee_minor",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="payment",
            name="double_loss_minor",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="payment",
            name="expires_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="provideroperation",
            name="kind",
            field=models.CharField(
                choices=[
                    ("create", "Create"),
                    ("confirm", "Confirm"),
                    ("capture", "Capture"),
                    ("cancel", "Cancel"),
                    ("increment", "Increment"),
                    ("refund", "Refund"),
                    ("submit_evidence", "Submit Evidence"),
                    ("accept_dispute", "Accept Dispute"),
                ],
                max_length=16,
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_authorized_minor__gte", 0),
                    ("amount_capturable_minor__gte", 0),
                    ("amount_captured_minor__gte", 0),
                    ("amount_refund_pending_minor__gte", 0),
                    ("amount_refunded_minor__gte", 0),
                    ("amount_disputed_minor__gte", 0),
                    ("amount_reversed_minor__gte", 0),
                    ("amount_settled_minor__gte", 0),
                    ("platform_fee_minor__gte", 0),
                    ("dispute_fee_minor__gte", 0),
                    ("double_loss_minor__gte", 0),
                ),
                name="payment_amounts_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "amount_captured_minor__gte",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                django.db.models.expressions.CombinedExpression(
                                    django.db.models.expressions.CombinedExpression(
                                        models.F("amount_refunded_minor"),
                                        "+",
                                        models.F("amount_refund_pending_minor"),
                                    ),
                                    "+",
                                    models.F("amount_disputed_minor"),
                                ),
                                "+",
                                models.F("amount_reversed_minor"),
                            ),
                            "-",
                            models.F("double_loss_minor"),
                        ),
                    )
                ),
                name="payment_given_back_at_most_captured",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("double_loss_minor", 0),
                    (
                        "amount_captured_minor",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                django.db.models.expressions.CombinedExpression(
                                    django.db.models.expressions.CombinedExpression(
                                        models.F("amount_refunded_minor"),
                                        "+",
                                        models.F("amount_refund_pending_minor"),
                                    ),
                                    "+",
                                    models.F("amount_disputed_minor"),
                                ),
                                "+",
                                models.F("amount_reversed_minor"),
                            ),
                            "-",
                            models.F("double_loss_minor"),
                        ),
                    ),
                    _connector="OR",
                ),
                name="payment_double_loss_is_exact",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_settled_minor__lte", models.F("amount_captured_minor"))
                ),
                name="payment_settled_at_most_captured",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "canceled"), _negated=True),
                    ("amount_captured_minor", 0),
                    _connector="OR",
                ),
                name="payment_canceled_has_no_money",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("state__in", ["created", "requires_action", "processing", "failed"]),
                        _negated=True,
                    ),
                    ("amount_captured_minor", 0),
                    _connector="OR",
                ),
                name="payment_not_captured_has_no_money",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "refunded"), _negated=True),
                    (
                        "amount_captured_minor__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("amount_refunded_minor"),
                            "+",
                            models.F("amount_reversed_minor"),
                        ),
                    ),
                    _connector="OR",
                ),
                name="payment_refunded_gave_all_back",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("state__in", ["captured", "settled", "partially_captured", "disputed"]),
                        _negated=True,
                    ),
                    ("amount_captured_minor__gt", 0),
                    _connector="OR",
                ),
                name="payment_captured_has_money",
            ),
        ),
        migrations.AddField(
            model_name="capture",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="captures",
                to="payments.payment",
            ),
        ),
        migrations.AddField(
            model_name="provideroperation",
            name="capture",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="payments.capture",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="disputes",
                to="payments.payment",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="provider_account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, to="payments.provideraccount"
            ),
        ),
        migrations.AddField(
            model_name="provideroperation",
            name="dispute",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="payments.dispute",
            ),
        ),
        migrations.AddField(
            model_name="evidencefile",
            name="dispute",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="files",
                to="payments.dispute",
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="refunds",
                to="payments.payment",
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="provider_account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, to="payments.provideraccount"
            ),
        ),
        migrations.AddField(
            model_name="provideroperation",
            name="refund",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to="payments.refund",
            ),
        ),
        migrations.AddField(
            model_name="reviewcase",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="cases",
                to="payments.payment",
            ),
        ),
        migrations.AddConstraint(
            model_name="capture",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0)), name="capture_amount_above_0"
            ),
        ),
        migrations.AddConstraint(
            model_name="capture",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        ["requested", "pending", "succeeded", "failed", "failed_late", "voided"],
                    )
                ),
                name="capture_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="capture",
            constraint=models.UniqueConstraint(
                fields=("payment", "number"), name="capture_number_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="capture",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["requested", "pending"])),
                fields=("payment",),
                name="capture_one_open_per_payment",
            ),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(fields=["payment", "-id"], name="dispute_of_payment"),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(
                condition=models.Q(("state", "needs_response")),
                fields=["evidence_due_at"],
                name="dispute_evidence_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_minor__gt", 0),
                    ("withdrawn_minor__gte", 0),
                    ("lost_minor__gte", 0),
                    ("fee_minor__gte", 0),
                ),
                name="dispute_amounts_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "needs_response",
                            "submitted",
                            "under_review",
                            "won",
                            "lost",
                            "accepted",
                            "expired",
                            "withdrawn",
                            "closed",
                            "prevented",
                        ],
                    )
                ),
                name="dispute_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("stage__in", ["inquiry", "chargeback", "pre_arbitration", "arbitration"])
                ),
                name="dispute_stage_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.UniqueConstraint(
                fields=("provider_reference", "provider_account"),
                name="dispute_provider_reference_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="evidencefile",
            constraint=models.UniqueConstraint(
                fields=("dispute", "kind"), name="evidence_file_one_per_kind"
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(fields=["payment", "-id"], name="refund_of_payment"),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_minor__gt", 0)), name="refund_amount_above_0"
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "requested",
                            "requires_action",
                            "pending",
                            "succeeded",
                            "failed",
                            "canceled",
                        ],
                    )
                ),
                name="refund_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ["api", "back_office", "psp"])),
                name="refund_source_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("platform_fee_returned_minor__gte", 0),
                    ("platform_fee_returned_minor__lte", models.F("amount_minor")),
                ),
                name="refund_fee_within_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(
                condition=models.Q(("provider_reference", ""), _negated=True),
                fields=("provider_reference", "provider_account"),
                name="refund_provider_reference_once",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewcase",
            index=models.Index(
                condition=models.Q(("resolved_at__isnull", True)),
                fields=["opened_at"],
                name="case_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewcase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "screening",
                            "fraud_hold",
                            "integrity_mismatch",
                            "outcome_unknown",
                            "late_money",
                            "capture_failed_late",
                            "returned_in_part",
                            "double_loss",
                            "contradiction",
                            "status_unknown",
                        ],
                    )
                ),
                name="case_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewcase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("resolved_at__isnull", True),
                    models.Q(("resolution", ""), _negated=True),
                    _connector="OR",
                ),
                name="case_resolved_with_words",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewcase",
            constraint=models.UniqueConstraint(
                condition=models.Q(("resolved_at__isnull", True)),
                fields=("payment", "kind"),
                name="case_one_open_per_kind",
            ),
        ),
        migrations.AddField(
            model_name="provideraccount",
            name="owned_by_merchant",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="historicalprovideraccount",
            name="owned_by_merchant",
            field=models.BooleanField(default=False),
        ),
        migrations.AddConstraint(
            model_name="provideraccount",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("owned_by_merchant", False), ("merchant__isnull", False), _connector="OR"
                ),
                name="provider_account_owner_is_its_merchant",
            ),
        ),
        migrations.RunSQL(
            (Path(__file__).parent / "0005_whole_life.sql").read_text(),
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
