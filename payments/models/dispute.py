"""A payer's bank objects to a payment: an inquiry, a chargeback and what follows it.

Mental model: the PSP decides; a `Dispute` keeps what it last said. The stage only moves forward,
and within a stage the status may be opened again. What the PSP has withdrawn is ours again when the
case is won. Evidence is collected here and handed in once, with its files.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin
from typeid import TypeID

from audit import encryption
from payments.machines import DISPUTE_EDGES, DisputeState, guarded_by
from payments.models.merchant import ProviderAccount
from payments.models.payment import Payment
from payments.providers.objects import DisputeStage


def new_dispute_id() -> str:
    """A new dispute's id."""
    return str(TypeID(prefix="dp"))


def new_evidence_file_id() -> str:
    """A new evidence file's id."""
    return str(TypeID(prefix="file"))


@guarded_by(DISPUTE_EDGES)
class Dispute(FSMModelMixin, models.Model):
    """One case at the payer's bank. Amounts in minor units of the payment's currency.

    `withdrawn_minor` is what the PSP holds for it while it is open, `lost_minor` what the payer got
    for good.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_dispute_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="disputes")
    provider_account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT)
    provider_reference = models.CharField(max_length=120)
    provider_version = models.PositiveIntegerField(default=0)
    stage = models.CharField(
        max_length=24, choices=[(stage.value, stage.value) for stage in DisputeStage]
    )
    state = FSMField(
        default=DisputeState.NEEDS_RESPONSE.value,
        protected=True,
        max_length=24,
        choices=[(state.value, state.value) for state in DisputeState],
    )
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=80, blank=True)
    withdrawn_minor = models.BigIntegerField(default=0)
    lost_minor = models.BigIntegerField(default=0)
    fee_minor = models.BigIntegerField(default=0)
    evidence = models.JSONField(default=dict, blank=True)
    evidence_due_at = models.DateTimeField(null=True, blank=True)
    submitted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [
            ("answer_dispute", "Can hand in evidence for a dispute"),
            ("accept_dispute", "Can accept a dispute"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0)
                & Q(withdrawn_minor__gte=0)
                & Q(lost_minor__gte=0)
                & Q(fee_minor__gte=0),
                name="dispute_amounts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in DisputeState]),
                name="dispute_state_known",
            ),
            models.CheckConstraint(
                condition=Q(stage__in=[stage.value for stage in DisputeStage]),
                name="dispute_stage_known",
            ),
            models.UniqueConstraint(
                fields=["provider_reference", "provider_account"],
                name="dispute_provider_reference_once",
            ),
        ]
        indexes = [
            models.Index(fields=["payment", "-id"], name="dispute_of_payment"),
            models.Index(
                fields=["evidence_due_at"],
                condition=Q(state="needs_response"),
                name="dispute_evidence_due",
            ),
            models.Index(
                fields=["id"],
                condition=Q(state__in=["needs_response", "submitted", "under_review"]),
                name="dispute_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.stage} of {self.payment_id} {self.state}"


class EvidenceFile(models.Model):
    """A file collected for a dispute's answer; encrypted, since it shows a payer's affairs."""

    id = models.CharField(
        primary_key=True, max_length=40, default=new_evidence_file_id, editable=False
    )
    dispute = models.ForeignKey(Dispute, on_delete=models.PROTECT, related_name="files")
    kind = models.CharField(max_length=40)
    filename = models.CharField(max_length=200)
    content_type = models.CharField(max_length=40)
    size_bytes = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    content_encrypted = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dispute", "kind"], name="evidence_file_one_per_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind} of {self.dispute_id}"

    @property
    def encryption_context(self) -> str:
        """What binds the ciphertext to this row (additional authenticated data)."""
        return f"payments.evidencefile.content:{self.id}"

    def keep_content(self, content: bytes) -> None:
        """Encrypt and keep the file; the caller saves."""
        self.content_encrypted = encryption.encrypt(content, context=self.encryption_context)

    def reveal_content(self) -> bytes:
        """The file in clear, to be handed in."""
        return encryption.decrypt(bytes(self.content_encrypted), context=self.encryption_context)
