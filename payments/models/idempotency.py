"""What a client asked under one Idempotency-Key, how far it got, and what it was answered.

Mental model: the row is claimed before anything is done and fenced by `lock_token`; it remembers
the request (so that the completer can finish what a dead process left) and the answer (so that a
repeat gets the same one). Rules: payments.idempotency.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from payments.models.attempt import ProviderOperation
from payments.models.merchant import Merchant
from payments.models.payment import Payment


class IdempotencyKey(models.Model):
    """One client request that must happen once."""

    class RecoveryPoint(models.TextChoices):
        STARTED = "started"  # claimed; nothing else is written
        SUBMITTING = "submitting"  # payment, attempt and PSP key are committed; call may be out
        FINISHED = "finished"  # outcome and answer are committed together

    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="+")
    livemode = models.BooleanField()
    key = models.CharField(max_length=255)
    operation = models.CharField(max_length=40)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    parameters = models.JSONField(default=dict)
    actor_id = models.CharField(max_length=80)
    request_id = models.CharField(max_length=40, blank=True)
    recovery_point = models.CharField(
        max_length=16, choices=RecoveryPoint.choices, default=RecoveryPoint.STARTED
    )
    lock_token = models.CharField(max_length=40, blank=True)
    locked_until = models.DateTimeField(null=True)
    payment = models.ForeignKey(Payment, on_delete=models.SET_NULL, null=True, related_name="+")
    provider_operation = models.ForeignKey(
        ProviderOperation, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    response_status = models.PositiveSmallIntegerField(null=True)
    response_body = models.JSONField(null=True)
    completion_count = models.PositiveIntegerField(default=0)
    completion_due_at = models.DateTimeField(null=True)
    completion_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "livemode", "key"], name="idempotency_key_once"
            ),
            models.CheckConstraint(
                condition=~Q(recovery_point="finished")
                | Q(response_status__isnull=False, expires_at__isnull=False),
                name="idempotency_finished_has_answer",
            ),
            models.CheckConstraint(
                condition=Q(response_status__isnull=True) | Q(response_status__lt=500),
                name="idempotency_never_stores_5xx",
            ),
        ]
        indexes = [
            models.Index(
                fields=["completion_due_at"],
                condition=~Q(recovery_point="finished"),
                name="idempotency_unfinished",
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(recovery_point="finished"),
                name="idempotency_expiring",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.recovery_point}"


class _GivenUp(models.Manager["GivenUpRequest"]):
    def get_queryset(self) -> models.QuerySet[GivenUpRequest]:
        point = IdempotencyKey.RecoveryPoint.STARTED
        waiting = super().get_queryset()
        return waiting.filter(recovery_point=point, completion_due_at__isnull=True)


class GivenUpRequest(IdempotencyKey):
    """A request that the completer tried to the end: a person has to look. Nothing of it was done
    (payments.actions.given_up_requests).
    """

    objects: ClassVar[_GivenUp] = _GivenUp()

    class Meta:
        proxy = True
        verbose_name = "given-up request"

    def __str__(self) -> str:
        return f"{self.operation} of {self.merchant_id}"
