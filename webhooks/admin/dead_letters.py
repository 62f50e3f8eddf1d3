"""What waits for a person: the one list of the pipeline with verbs, replay and discard."""

from __future__ import annotations

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from webhooks import dead_letters
from webhooks.admin.reading import ReadingRoom, now, page, staff
from webhooks.models import DeadLetter, EventDelivery, InboxEvent, MerchantDelivery


class ReasonForm(ActionForm):
    """The choice of a verb, and words for the one that needs them."""

    reason = forms.CharField(
        required=False,
        max_length=500,
        label="",
        widget=UnfoldAdminTextInputWidget(
            {"placeholder": "Reason (to discard)", "aria-label": "Reason (to discard)"}
        ),
    )


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadingRoom):
    """What waits for a person. Replaying and discarding need the right to change dead letters."""

    list_display = ("what", "kind", "died_at", "attempts", "holds", "reason")
    list_filter = ("kind",)
    search_fields = ("row_id__exact", "event_id__exact", "what", "reason")
    search_help_text = "An id, or words of the reason"
    ordering = ("-died_at",)
    fields = (
        ("what", "kind"),
        ("row", "event_id"),
        ("died_at", "attempts", "holds"),
        "reason",
        "error",
    )
    readonly_fields = ("row",)
    actions = ("replay_selected", "discard_selected")
    action_form = ReasonForm

    @display(description="row")
    def row(self, letter: DeadLetter) -> SafeString:
        """A link to the row itself."""
        model = _MODEL_OF_KIND[letter.kind]
        return page(model, letter.row_id)

    def has_mend_permission(self, request: HttpRequest) -> bool:
        """Ordinary staff permissions decide, although nothing is edited here."""
        user = request.user
        return bool(user.is_active and user.has_perm("webhooks.change_deadletter"))

    @action(description="Replay selected", permissions=["mend"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Let the selected dead letters run again."""
        ids = list(queryset.values_list("id", flat=True))
        count = dead_letters.replay(ids, actor=staff(request), now=now())
        self.message_user(request, f"{count} queued again.", messages.SUCCESS)

    @action(description="Discard with reason", permissions=["mend"])
    def discard_selected(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        """Give the selected dead letters up, with the words that were typed."""
        ids = list(queryset.values_list("id", flat=True))
        reason = request.POST.get("reason", "").strip()
        if not reason:
            self.message_user(request, "Write the reason next to the action.", messages.ERROR)
            return
        count = dead_letters.discard(ids, reason=reason, actor=staff(request), now=now())
        self.message_user(request, f"{count} discarded.", messages.SUCCESS)


_MODEL_OF_KIND: dict[str, type[Model]] = {
    "inbox": InboxEvent,
    "handler": EventDelivery,
    "merchant": MerchantDelivery,
}
