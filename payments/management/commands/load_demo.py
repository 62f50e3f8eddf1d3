"""`manage.py load_demo`: a merchant, its keys, a sandbox account and an administrator to try with.

Running it again changes nothing that is there; what was lost (a deleted demo.json, a revoked key)
is made anew. With `--payments`, which needs the running sandbox, it makes payments in every stage
of their lives instead (payments.demo). The keys and the password stand in clear in one file of mode
600, because nobody else is there to be shown them once.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from audit.log import Actor, acting_as
from payments.actions.api_keys import issue_api_key
from payments.actions.create_merchant import create_merchant
from payments.actions.provider_accounts import create_provider_account
from payments.demo import SandboxRefused, play_scenes
from payments.errors import FlorinError
from payments.models import ApiKey, Merchant, ProviderAccount
from payments.providers.sandbox.service.accounts import publishable_key_for

DEMO_FILE = Path(settings.FLORIN_DATA_DIR) / "demo.json"
DEMO_MERCHANT_EMAIL = "shop@demo.florin.example"
ADMIN_USER = "admin"


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Makes what a first payment needs: a merchant with keys, a sandbox account, an admin."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--payments",
            action="store_true",
            help="make payments in every stage of their lives; needs the running sandbox",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["payments"]:
            self._make_payments()
            return
        with acting_as(Actor(type="system", id="load_demo")):
            known = _read_demo_file()
            known.update(_merchant_and_keys(known))
            known.update(_sandbox_account(known))
            known.update(_administrator(known))
            call_command("create_staff_groups")
        known["base_url"] = settings.FLORIN_BASE_URL
        known["stream_url"] = settings.FLORIN_STREAM_URL
        known["admin_url"] = f"{settings.FLORIN_BASE_URL}/admin/"
        write_demo_file(known)
        self.stdout.write(f"Demo data is ready; keys and logins: {DEMO_FILE}")

    def _make_payments(self) -> None:
        known = _read_demo_file()
        merchant = Merchant.objects.filter(email=DEMO_MERCHANT_EMAIL).first()
        if merchant is None or "sandbox_secret_key" not in known:
            raise CommandError("There is no demo data; run `manage.py load_demo` first.")
        try:
            with acting_as(Actor(type="system", id="load_demo")):
                made = play_scenes(merchant=merchant, sandbox_key=known["sandbox_secret_key"])
        except (SandboxRefused, FlorinError) as refusal:
            raise CommandError(f"The demo payments could not be made: {refusal}") from refusal
        self.stdout.write(f"Demo payments are ready; {made} were made now.")


def _merchant_and_keys(known: dict[str, str]) -> dict[str, str]:
    now = timezone.now()
    actor = Actor(type="system", id="load_demo")
    merchant = Merchant.objects.filter(email=DEMO_MERCHANT_EMAIL).first()
    if merchant is None:
        created = create_merchant(
            name="Demo Shop",
            email=DEMO_MERCHANT_EMAIL,
            fee_basis_points=150,
            fee_fixed_minor=20,
            actor=actor,
            now=now,
        )
        return {
            "merchant": created.merchant.pk,
            "secret_key": created.secret_key,
            "publishable_key": created.publishable_key,
        }
    keys = {"merchant": merchant.pk}
    for name, kind in (
        ("secret_key", ApiKey.Kind.SECRET),
        ("publishable_key", ApiKey.Kind.PUBLISHABLE),
    ):
        digest = ApiKey.digest(known.get(name, ""))
        if not ApiKey.objects.filter(hashed_key=digest, revoked_at__isnull=True).exists():
            _, keys[name] = issue_api_key(
                merchant=merchant, kind=kind, livemode=False, name="Demo", actor=actor, now=now
            )
    return keys


def _sandbox_account(known: dict[str, str]) -> dict[str, str]:
    """The platform's own sandbox account, with a webhook secret the sandbox is told later."""
    exists = ProviderAccount.objects.filter(
        provider="sandbox", merchant__isnull=True, livemode=False, active=True
    ).exists()
    if exists and "sandbox_secret_key" in known:
        return {}
    secret_key = f"sbx_sk_{secrets.token_hex(24)}"
    sandbox = {
        "sandbox_secret_key": secret_key,
        "sandbox_publishable_key": publishable_key_for(secret_key),
        "sandbox_webhook_secret": f"whsec_{_base64_secret()}",
    }
    account = create_provider_account(
        provider="sandbox",
        name="Sandbox",
        livemode=False,
        merchant=None,
        secret_key=sandbox["sandbox_secret_key"],
        publishable_key=sandbox["sandbox_publishable_key"],
        webhook_secrets=[sandbox["sandbox_webhook_secret"]],
        api_base="",
        actor=Actor(type="system", id="load_demo"),
        now=timezone.now(),
    )
    return {**sandbox, "provider_account": account.pk}


def _administrator(known: dict[str, str]) -> dict[str, str]:
    users = get_user_model().objects
    user = users.filter(username=ADMIN_USER).first()
    password = known.get("admin_password", "")
    if user is not None and password and user.check_password(password):
        return {}
    password = secrets.token_urlsafe(15)
    if user is None:
        users.create_superuser(username=ADMIN_USER, email="", password=password)
    else:
        user.set_password(password)
        user.save()
    return {"admin_user": ADMIN_USER, "admin_password": password}


def _base64_secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _read_demo_file() -> dict[str, str]:
    return json.loads(DEMO_FILE.read_text()) if DEMO_FILE.exists() else {}


def write_demo_file(content: dict[str, str]) -> None:
    """Replace the file in one step; it is never readable by others, not even for a moment."""
    DEMO_FILE.parent.mkdir(mode=0o700, exist_ok=True)
    fresh = DEMO_FILE.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2, sort_keys=True)
    fresh.replace(DEMO_FILE)
