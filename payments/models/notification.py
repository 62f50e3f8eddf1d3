"""Who on the staff is told of what, and every message that was written to them.

Mental model: a `NotificationRule` is configuration: one channel, who is reached by it, which kinds,
which mode. A `Notification` is one message to one recipient, written in the transaction of what it
tells of and sent later under its own id, which never changes. A `NotificationWindow` remembers
what was told lately, so that the same thing is not told again within the hour but counted. A
`StandingCondition` is something that is so (a queue is late), not something that happened: it is
told when it begins.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords
from typeid import TypeID

from audit import encryption


def new_rule_id() -> str:
    """A new rule's id."""
    return str(TypeID(prefix="ntr"))


def new_notification_id() -> str:
    """A new notification's id, under which it is sent however often it has to be sent."""
    return str(TypeID(prefix="ntf"))


class NotificationChannel(models.TextChoices):
    """How a person is reached."""

    EMAIL = "email", "E-mail"
    SLACK = "slack", "Slack"


class NotificationRule(models.Model):
    """One channel with its recipients and what they asked for.

    E-mail rules hold `addresses`. Slack rules hold the address of an incoming webhook, which is a
    secret: encrypted, bound to the row, and shown as `shown_destination` only. `mode` says which
    news is wanted; news about the installation itself has no mode and reaches every rule.
    """

    class Mode(models.TextChoices):
        BOTH = "both", "Live and test"
        LIVE = "live", "Live only"
        TEST = "test", "Test only"

    id = models.CharField(primary_key=True, max_length=40, default=new_rule_id, editable=False)
    name = models.CharField(max_length=100)
    channel = models.CharField(max_length=8, choices=NotificationChannel.choices)
    addresses = ArrayField(models.CharField(max_length=254), default=list, blank=True)
    webhook_url_encrypted = models.BinaryField(null=True)
    shown_destination = models.CharField(max_length=500)
    kinds = ArrayField(models.CharField(max_length=40))
    mode = models.CharField(max_length=8, choices=Mode.choices, default=Mode.BOTH)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    history = HistoricalRecords(excluded_fields=["webhook_url_encrypted"])

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    channel="email", addresses__len__gt=0, webhook_url_encrypted__isnull=True
                )
                | Q(channel="slack", addresses__len=0, webhook_url_encrypted__isnull=False),
                name="notification_rule_reaches_somebody",
            ),
            models.CheckConstraint(
                condition=Q(kinds__len__gt=0), name="notification_rule_asks_for_something"
            ),
            models.CheckConstraint(
                condition=Q(mode__in=["both", "live", "test"]), name="notification_rule_mode_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.channel})"

    @property
    def encryption_context(self) -> str:
        """What binds the ciphertext to this row (additional authenticated data)."""
        return f"payments.notificationrule.webhook_url:{self.id}"

    def set_webhook_url(self, url: str) -> None:
        """Encrypt and keep the address of the incoming webhook; the caller saves."""
        self.webhook_url_encrypted = encryption.encrypt(url, context=self.encryption_context)

    def reveal_webhook_url(self) -> str:
        """The address in clear, for one request."""
        token = bytes(self.webhook_url_encrypted or b"")
        return encryption.decrypt(token, context=self.encryption_context).decode()


class Notification(models.Model):
    """One message to one recipient, and how far it got.

    `recipient` is an address, or the id of the rule whose Slack webhook is meant. `subject` names
    what it is about; it is empty for a digest of many. `content` is what is told, fixed when it was
    written. Claiming a row commits a lease and a new `fence` before anything is sent; what came of
    it is only taken from the holder of that fence.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        RETRYING = "retrying"
        SENT = "sent"
        DEAD = "dead"
        DISCARDED = "discarded"

    id = models.CharField(
        primary_key=True, max_length=40, default=new_notification_id, editable=False
    )
    rule = models.ForeignKey(
        NotificationRule, on_delete=models.PROTECT, related_name="notifications"
    )
    channel = models.CharField(max_length=8, choices=NotificationChannel.choices)
    recipient = models.CharField(max_length=254)
    kind = models.CharField(max_length=40)
    mode = models.CharField(max_length=4, blank=True)
    subject = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=200)
    content = models.JSONField()
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    due_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    interruptions = models.PositiveIntegerField(default=0)
    backoff_seconds = models.FloatField(default=0)
    fence = models.PositiveBigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status__in=["pending", "retrying"],
                    due_at__isnull=False,
                    finished_at__isnull=True,
                )
                | Q(
                    status__in=["sent", "dead", "discarded"],
                    due_at__isnull=True,
                    lease_until__isnull=True,
                    finished_at__isnull=False,
                ),
                name="notification_is_due_or_finished",
            ),
            models.CheckConstraint(
                condition=~Q(status="discarded") | ~Q(reason=""),
                name="notification_discarded_with_words",
            ),
            models.CheckConstraint(
                condition=Q(mode__in=["live", "test", ""]), name="notification_mode_known"
            ),
        ]
        indexes = [
            models.Index(
                fields=["channel", "due_at"],
                condition=Q(status__in=["pending", "retrying"]),
                name="notification_open",
            ),
            models.Index(
                fields=["finished_at"],
                condition=Q(status__in=["sent", "discarded"]),
                name="notification_ended",
            ),
            models.Index(
                fields=["finished_at"], condition=Q(status="dead"), name="notification_dead"
            ),
            models.Index(fields=["subject", "kind"], name="notification_about"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind} to {self.recipient} {self.status}"


class NotificationWindow(models.Model):
    """What a recipient was told lately, and what was only counted since.

    With a `subject`: this very thing was told at `opened_at`; until `until` it is counted in
    `untold`. Without: `told` messages of this kind went out since `opened_at`; what is beyond the
    limit is counted. `due_at` says when the counted ones are told in one message, `latest` what the
    last of them was.
    """

    recipient = models.CharField(max_length=254)
    kind = models.CharField(max_length=40)
    mode = models.CharField(max_length=4, blank=True)
    subject = models.CharField(max_length=200, blank=True)
    rule = models.ForeignKey(NotificationRule, on_delete=models.PROTECT, related_name="+")
    opened_at = models.DateTimeField()
    until = models.DateTimeField()
    told = models.PositiveIntegerField(default=0)
    untold = models.PositiveIntegerField(default=0)
    latest = models.JSONField(null=True)
    due_at = models.DateTimeField(null=True)
    quiet_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["recipient", "kind", "mode", "subject"], name="notification_window_once"
            ),
            models.CheckConstraint(
                condition=Q(untold=0, due_at__isnull=True)
                | Q(untold__gt=0, due_at__isnull=False, latest__isnull=False),
                name="notification_window_tells_what_it_counted",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="notification_window_due"),
            models.Index(fields=["until"], name="notification_window_until"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} to {self.recipient}: {self.untold} untold"


class StandingCondition(models.Model):
    """Something that is so, since when, and when it was told; the row goes when it is over."""

    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=200)
    since = models.DateTimeField()
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "subject"], name="standing_condition_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} since {self.since:%Y-%m-%d %H:%M}"
