"""Who on the staff gets what, and what was told: rules with their verbs, messages with theirs.

Mental model: read-only pages and one verb per button, as everywhere here. The address of a Slack
webhook goes in and never comes out. A message that is dead is sent again or given up with words.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action, display

from payments.admin.access import may, require, staff_actor
from payments.admin.forms import OnceForm, ReasonForm
from payments.admin.notification_forms import RuleForm
from payments.admin.presentation import admin_link, badge, identifier, mode_badge, moment_text
from payments.admin.read_only import HistoryAdmin, ReadOnlyAdmin
from payments.admin.verbs import Done, Verb, hides_credentials, verb_page
from payments.models import Notification, NotificationChannel, NotificationRule
from payments.notifications import email, kinds, rules, sending, writing

ADD_RULE = "payments.add_notificationrule"
CHANGE_RULE = "payments.change_notificationrule"
VIEW_RULE = "payments.view_notificationrule"
MEND = "payments.change_notification"
_STATUS = {
    "pending": ("Waits", "wait"),
    "retrying": ("Tried again soon", "warn"),
    "sent": ("Sent", "good"),
    "dead": ("Dead", "bad"),
    "discarded": ("Given up", "calm"),
}


def hints() -> list[str]:
    """What keeps staff from being told, in sentences for the landing page; empty when nothing."""
    active = NotificationRule.objects.filter(active=True)
    found = []
    if not active.exists():
        found.append("Nobody is told when something goes wrong: no rule is in force.")
    elif active.filter(channel=NotificationChannel.EMAIL).exists() and not email.is_configured():
        found.append(f"Mail to staff cannot be sent: {email.NOT_CONFIGURED}.")
    dead = Notification.objects.filter(status=Notification.Status.DEAD)[:100].count()
    if dead:
        number = "100 or more" if dead == 100 else str(dead)
        found.append(f"Not delivered, and waiting for a person: {number} notifications.")
    return found


@admin.register(NotificationRule)
class NotificationRuleAdmin(HistoryAdmin):
    """Who gets what."""

    list_display = ("name", "channel", "destination_shown", "kinds_shown", "mode", "active_shown")
    list_filter = ("channel", "active")
    ordering = ("-pk",)
    sortable_by = ()
    actions_detail = ("send_test", "change_rule", "switch")
    fieldsets = (
        (
            "Rule",
            {
                "fields": (
                    ("name", "channel", "active_shown"),
                    ("destination_shown", "mode", "created_shown"),
                    "asked_shown",
                    "id_shown",
                )
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, ADD_RULE)

    def has_verb_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, CHANGE_RULE)

    @method_decorator(hides_credentials)
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        require(request, ADD_RULE)

        def create(form: OnceForm) -> Done:
            assert isinstance(form, RuleForm)
            rule = rules.create_rule(
                channel=form.cleaned_data["channel"],
                wanted=form.wanted(),
                actor=staff_actor(request),
                now=timezone.now(),
            )
            return Done(
                message="The rule is in force. Send a test to see it arrive.", url=_of(rule)
            )

        return verb_page(
            request,
            self,
            verb=Verb(title="Tell somebody", button="Put in force", intro=_mail_hint()),
            make_form=RuleForm,
            act=create,
            back_url=reverse("admin:payments_notificationrule_changelist"),
        )

    @action(
        description="Send a test", url_path="send-test", icon="outgoing_mail", permissions=["verb"]
    )
    def send_test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        rule = _rule_to_change(request, object_id)

        def send(form: OnceForm) -> Done:
            written = writing.send_test(rule, actor=staff_actor(request), now=timezone.now())
            where = (
                reverse("admin:payments_notification_change", args=[written[0].pk])
                if len(written) == 1
                else reverse("admin:payments_notification_changelist")
            )
            return Done(
                message="The test is on its way; reload to see what became of it.", url=where
            )

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Send a test by “{rule.name}”",
                button="Send",
                intro=_mail_hint(),
                facts=(("To", rule.shown_destination),),
            ),
            make_form=OnceForm,
            act=send,
            back_url=_of(rule),
        )

    @action(description="Change", url_path="change-rule", icon="edit", permissions=["verb"])
    @method_decorator(hides_credentials)
    def change_rule(self, request: HttpRequest, object_id: str) -> HttpResponse:
        rule = _rule_to_change(request, object_id)

        def change(form: OnceForm) -> Done:
            assert isinstance(form, RuleForm)
            rules.change_rule(
                rule=rule, wanted=form.wanted(), actor=staff_actor(request), now=timezone.now()
            )
            return Done(message="The rule is changed.", url=_of(rule))

        return verb_page(
            request,
            self,
            verb=Verb(title=f"Change “{rule.name}”", button="Change"),
            make_form=lambda *data: RuleForm(*data, rule=rule),
            act=change,
            back_url=_of(rule),
        )

    @action(
        description="Switch on or off",
        url_path="switch",
        icon="power_settings_new",
        permissions=["verb"],
    )
    def switch(self, request: HttpRequest, object_id: str) -> HttpResponse:
        rule = _rule_to_change(request, object_id)
        turning_on = not rule.active

        def switch(form: OnceForm) -> Done:
            rules.set_rule_active(
                rule=rule, active=turning_on, actor=staff_actor(request), now=timezone.now()
            )
            return Done(message=f"The rule is {'on' if turning_on else 'off'}.", url=_of(rule))

        word = "on" if turning_on else "off"
        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Switch “{rule.name}” {word}",
                button=f"Switch {word}",
                intro="" if turning_on else "What was written for it before is still sent.",
                danger=not turning_on,
            ),
            make_form=OnceForm,
            act=switch,
            back_url=_of(rule),
        )

    @display(description="reaches")
    def destination_shown(self, rule: NotificationRule) -> str:
        return rule.shown_destination

    @display(description="kinds")
    def kinds_shown(self, rule: NotificationRule) -> str:
        return "All" if len(rule.kinds) == len(kinds.KINDS) else str(len(rule.kinds))

    @display(description="asks for")
    def asked_shown(self, rule: NotificationRule) -> SafeString:
        titles = [(kinds.KINDS[name].title,) for name in rule.kinds if name in kinds.KINDS]
        return format_html_join("", "<div>{}</div>", titles)

    @display(description="in force")
    def active_shown(self, rule: NotificationRule) -> SafeString:
        return badge("On", "good") if rule.active else badge("Off", "calm")

    @display(description="made (UTC)")
    def created_shown(self, rule: NotificationRule) -> str:
        return moment_text(rule.created_at)

    @display(description="id")
    def id_shown(self, rule: NotificationRule) -> SafeString | str:
        return identifier(rule.pk)


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """What was told, to whom, and how far it got."""

    list_display = (
        "title",
        "status_shown",
        "recipient_shown",
        "attempts",
        "error",
        "created_shown",
        "mode_shown",
    )
    list_select_related = ("rule",)
    list_filter = ("status", "channel", "kind")
    search_fields = ("id__exact", "subject__exact", "recipient__exact")
    search_help_text = "The whole id of a notification or of what it is about, or an address"
    ordering = ("-pk",)
    sortable_by = ()
    actions_detail = ("send_again", "give_up")
    fieldsets = (
        (
            "Notification",
            {
                "fields": (
                    ("title", "status_shown", "mode_shown"),
                    ("recipient_shown", "channel", "rule_shown"),
                    ("happened_shown", "subject"),
                    ("attempts", "error", "reason"),
                    ("created_shown", "due_shown", "finished_shown"),
                    "id_shown",
                )
            },
        ),
    )

    def has_mend_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request, MEND)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        allowed: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        dead = Notification.objects.filter(pk=object_id, status=Notification.Status.DEAD).exists()
        return allowed if dead else []

    @action(description="Send again", url_path="send-again", icon="replay", permissions=["mend"])
    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = _dead_or_404(request, object_id)

        def send(form: OnceForm) -> Done:
            count = sending.retry([row.pk], actor=staff_actor(request), now=timezone.now())
            return Done(message=f"{count} is sent again, under the same number.", url=_page(row))

        return verb_page(
            request,
            self,
            verb=Verb(title=f"Send again: {row.title}", button="Send again", facts=_facts(row)),
            make_form=OnceForm,
            act=send,
            back_url=_page(row),
        )

    @action(description="Give up", url_path="give-up", icon="block", permissions=["mend"])
    def give_up(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = _dead_or_404(request, object_id)

        def give_up(form: OnceForm) -> Done:
            words = form.cleaned_data["reason"]
            now = timezone.now()
            count = sending.discard([row.pk], reason=words, actor=staff_actor(request), now=now)
            return Done(message=f"{count} given up.", url=_page(row))

        return verb_page(
            request,
            self,
            verb=Verb(
                title=f"Give up: {row.title}", button="Give up", danger=True, facts=_facts(row)
            ),
            make_form=ReasonForm,
            act=give_up,
            back_url=_page(row),
        )

    @display(description="status")
    def status_shown(self, row: Notification) -> SafeString:
        return badge(*_STATUS[row.status])

    @display(description="to")
    def recipient_shown(self, row: Notification) -> str:
        return row.recipient if row.channel == "email" else row.rule.shown_destination

    @display(description="mode")
    def mode_shown(self, row: Notification) -> SafeString | str:
        return mode_badge(row.mode == "live") if row.mode else "–"

    @display(description="rule")
    def rule_shown(self, row: Notification) -> SafeString | str:
        return admin_link("notificationrule", row.rule_id, row.rule.name)

    @display(description="what it says")
    def happened_shown(self, row: Notification) -> str:
        return f"{row.content['happened']} {row.content.get('more', '')}".strip()

    @display(description="written (UTC)")
    def created_shown(self, row: Notification) -> str:
        return moment_text(row.created_at)

    @display(description="tried next (UTC)")
    def due_shown(self, row: Notification) -> str:
        return moment_text(row.due_at)

    @display(description="ended (UTC)")
    def finished_shown(self, row: Notification) -> str:
        return moment_text(row.finished_at)

    @display(description="id")
    def id_shown(self, row: Notification) -> SafeString | str:
        return identifier(row.pk)


def _rule_to_change(request: HttpRequest, rule_id: str) -> NotificationRule:
    require(request, CHANGE_RULE)
    rule = NotificationRule.objects.filter(pk=rule_id).first()
    if rule is None:
        raise Http404(f"There is no rule {rule_id!r}.")
    return rule


def _dead_or_404(request: HttpRequest, row_id: str) -> Notification:
    require(request, MEND)
    dead = Notification.objects.select_related("rule").filter(pk=row_id, status="dead").first()
    if dead is None:
        raise Http404(f"There is no dead notification {row_id!r}.")
    return dead


def _of(rule: NotificationRule) -> str:
    return reverse("admin:payments_notificationrule_change", args=[rule.pk])


def _page(row: Notification) -> str:
    return reverse("admin:payments_notification_change", args=[row.pk])


def _facts(row: Notification) -> tuple[tuple[str, str], ...]:
    return (("To", row.rule.shown_destination), ("Last error", row.error))


def _mail_hint() -> str:
    if email.is_configured():
        return ""
    return f"Mail cannot be sent yet: {email.NOT_CONFIGURED}. Slack can."
