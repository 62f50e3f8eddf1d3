"""What a person has to look at: one row per thing that no rule may decide.

Mental model: a case is opened by the change that met the contradiction, in its transaction, and is
closed by a decision that a person takes with the PSP's truth before them. A payment in review has
an open case; so has one whose books cannot take in what the PSP says, in whatever state it is.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from typeid import TypeID

from payments.models.payment import Payment


def new_case_id() -> str:
    """A new case's id."""
    return str(TypeID(prefix="case"))


class ReviewCase(models.Model):
    """Something about one payment that a person decides. Documented in docs/review.md."""

    class Kind(models.TextChoices):
        SCREENING = "screening", "held by our own rule"
        FRAUD_HOLD = "fraud_hold", "held by the provider's fraud desk"
        INTEGRITY_MISMATCH = "integrity_mismatch", "the provider's money is not ours"
        OUTCOME_UNKNOWN = "outcome_unknown", "the provider could not say what happened"
        LATE_MONEY = "late_money", "money on a payment that was over"
        CAPTURE_FAILED_LATE = "capture_failed_late", "captured money did not hold"
        RETURNED_IN_PART = "returned_in_part", "a captured part was taken back"
        DOUBLE_LOSS = "double_loss", "given back more than was captured"
        CONTRADICTION = "contradiction", "the provider contradicts our books"
        STATUS_UNKNOWN = "status_unknown", "the provider uses a word we do not know"

    id = models.CharField(primary_key=True, max_length=40, default=new_case_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="cases")
    kind = models.CharField(max_length=24, choices=Kind.choices)
    words = models.CharField(max_length=500)
    opened_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=500, blank=True)
    resolved_by = models.CharField(max_length=80, blank=True)

    class Meta:
        permissions = [("resolve_review", "Can decide a review case")]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=[
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
                    ]
                ),
                name="case_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(resolved_at__isnull=True) | ~Q(resolution=""),
                name="case_resolved_with_words",
            ),
            models.UniqueConstraint(
                fields=["payment", "kind"],
                condition=Q(resolved_at__isnull=True),
                name="case_one_open_per_kind",
            ),
        ]
        indexes = [
            models.Index(
                fields=["opened_at"], condition=Q(resolved_at__isnull=True), name="case_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind} of {self.payment_id}"
