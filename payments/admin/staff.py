"""Staff accounts and groups, in the back office's own look; only superusers may change them.

Mental model: a person belongs to groups and holds no permission of their own (payments.admin.access
says what a group may). Who was given or lost a group is written to the audit trail with the change.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from audit import log
from payments.admin.access import staff_actor
from payments.admin.read_only import LookOnly

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class StaffAdmin(DjangoUserAdmin, ModelAdmin):
    """People who may sign in. They are made inactive, never deleted: the audit names them."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "is_active", "is_superuser")
    list_filter = ("is_active", "is_superuser", "groups")
    show_full_result_count = False
    actions = None
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_related(
        self, request: HttpRequest, form: ModelForm[User], formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        person = form.instance
        log.append(
            event_type="staff.changed" if change else "staff.added",
            stream_type="user",
            stream_id=str(person.pk),
            body={
                "user_name": person.get_username(),
                "changed": [name for name in form.changed_data if "password" not in name],
                "groups": sorted(person.groups.values_list("name", flat=True)),
                "active": person.is_active,
                "staff": person.is_staff,
                "superuser": person.is_superuser,
            },
            actor=staff_actor(request),
            occurred_at=timezone.now(),
        )

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        """Django's page for a new password, which is told to the audit trail too."""
        with transaction.atomic():
            response = super().user_change_password(request, id, form_url)
            if isinstance(response, HttpResponseRedirect):
                log.append(
                    event_type="staff.password_changed",
                    stream_type="user",
                    stream_id=id,
                    body={},
                    actor=staff_actor(request),
                    occurred_at=timezone.now(),
                )
        return response


@admin.register(Group)
class StaffGroupAdmin(LookOnly, DjangoGroupAdmin, ModelAdmin):
    """What each group may do; written by `manage.py create_staff_groups` alone."""

    actions = None
