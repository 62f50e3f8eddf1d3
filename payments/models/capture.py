"""One taking of held money. A payment has one, or several where its PSP can.

Mental model: captures are numbered; the PSP's cumulative sum confirms them in that order. What the
platform earns is told per capture, so that the fee of a capture that does not hold is known.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, FSMModelMixin
from typeid import TypeID

from payments.machines import CAPTURE_EDGES, CaptureState, guarded_by
from payments.models.payment import Payment


def new_capture_id() -> str:
    """A new capture's id."""
    return str(TypeID(prefix="cap"))


@guarded_by(CAPTURE_EDGES)
class Capture(FSMModelMixin, models.Model):
    """Money taken, or asked for, out of an authorization. Amounts in minor units."""

    id = models.CharField(primary_key=True, max_length=40, default=new_capture_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="captures")
    number = models.PositiveIntegerField()
    amount_minor = models.BigIntegerField()
    final = models.BooleanField(default=True)
    state = FSMField(
        default=CaptureState.REQUESTED.value,
        protected=True,
        max_length=16,
        choices=[(state.value, state.value) for state in CaptureState],
    )
    platform_fee_minor = models.BigIntegerField(default=0)
    error = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="capture_amount_above_0"),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in CaptureState]),
                name="capture_state_known",
            ),
            models.UniqueConstraint(fields=["payment", "number"], name="capture_number_once"),
            models.UniqueConstraint(
                fields=["payment"],
                condition=Q(state__in=["requested", "pending"]),
                name="capture_one_open_per_payment",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} #{self.number} of {self.payment_id} {self.state}"
