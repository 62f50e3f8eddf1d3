"""`manage.py sample_payment`: take one payment as a merchant would, and print what happened.

It does what the README's first payment does, over HTTP only: tells the sandbox where its webhooks
go, registers an endpoint of the merchant's own, creates a payment, waits until it is settled and
until the merchant's signed webhook says so. Then it prints the story and judges it: exit code 0
only if every step was as it should be.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from rich.console import Console

from payments.actions.provider_endpoints import address_of
from payments.management.commands.load_demo import DEMO_FILE, write_demo_file
from payments.models import ProviderAccount
from payments.story import Judgement, judge_settled_payment, story_of
from webhooks.signing import InvalidSignature, verify

STEP_DEADLINE_SECONDS = 60
POLL_SECONDS = 0.1
RECEIVER_PATH = "/florin-webhooks"
CONFIRMED_EVENT = "payment.settled"


class Receiver:
    """The merchant's own webhook endpoint: verifies each signature and keeps what came."""

    def __init__(self, address: str, secret: Callable[[], str]) -> None:
        host, _, port = address.rpartition(":")
        self.received: list[dict[str, Any]] = []
        self.refused: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    verify(secret=secret(), headers=headers, body=raw, now=timezone.now())
                except InvalidSignature as error:
                    receiver.refused.append(str(error))
                    self.send_response(400)
                else:
                    event = json.loads(raw)
                    receiver.received.append(event | {"webhook_id": headers["webhook-id"]})
                    self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: the command prints what came."""

        self._server = ThreadingHTTPServer((host, int(port)), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Takes a sample payment over HTTP, prints its story, exits 0 only if all of it held."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--amount-minor", type=int, default=4200)
        parser.add_argument("--currency", default="EUR")

    def handle(self, *args: Any, **options: Any) -> None:
        if not DEMO_FILE.exists():
            raise CommandError("There is no demo data; run `manage.py load_demo` first.")
        if not settings.FLORIN_WEBHOOK_ALLOWED_HOSTS:
            raise CommandError("FLORIN_WEBHOOK_ALLOWED_HOSTS names no address for the receiver.")
        demo = json.loads(DEMO_FILE.read_text())
        address = settings.FLORIN_WEBHOOK_ALLOWED_HOSTS[0]
        merchant = MerchantClient(settings.FLORIN_BASE_URL, demo["secret_key"])
        connect_sandbox(demo)
        with Receiver(address, secret=lambda: demo.get("endpoint_secret", "")) as receiver:
            _ensure_endpoint(merchant, demo, f"http://{address}{RECEIVER_PATH}")
            payment = merchant.post(
                "/v1/payments",
                {
                    "amount_minor": options["amount_minor"],
                    "currency": options["currency"],
                    "confirm": True,
                    "payment_method": "tok_visa",
                    "description": "Sample payment",
                    "merchant_reference": f"sample-{secrets.token_hex(6)}",
                },
                expected=201,
            )
            announced = _wait_until_settled(merchant, payment["id"], receiver)
            _remove_endpoint(merchant, demo)
        console = Console(width=110)
        for table in story_of(payment["id"]):
            console.print(table)
        judgement = judge_settled_payment(payment["id"])
        judgement.expect(announced is not None, "the merchant received a signed payment.settled")
        judgement.expect(not receiver.refused, "every webhook's signature was valid")
        _print_judgement(console, judgement, announced)
        if not judgement.holds:
            raise CommandError("The sample payment did not go as it should.")


class MerchantClient:
    """The merchant's server: JSON over HTTP with the secret key, nothing else."""

    def __init__(self, base_url: str, secret_key: str) -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {secret_key}"}
        self._pool = urllib3.PoolManager(timeout=30.0, retries=False)

    def post(self, path: str, body: dict[str, Any], *, expected: int) -> dict[str, Any]:
        """POST with an idempotency key of its own. Raises CommandError on another status."""
        headers = self._headers | {"Idempotency-Key": f"sample-{secrets.token_hex(16)}"}
        return self._read(
            self._pool.request("POST", self._base_url + path, json=body, headers=headers), expected
        )

    def get(self, path: str) -> dict[str, Any]:
        """GET an object. Raises CommandError on another status than 200."""
        url = self._base_url + path
        return self._read(self._pool.request("GET", url, headers=self._headers), 200)

    def delete(self, path: str) -> None:
        """DELETE an object; one that is gone already is as good."""
        url = self._base_url + path
        response = self._pool.request("DELETE", url, headers=self._headers)
        if response.status >= 300 and response.status != 404:
            raise CommandError(f"Florin answered {response.status}: {response.data.decode()}")

    def _read(self, response: urllib3.BaseHTTPResponse, expected: int) -> dict[str, Any]:
        if response.status != expected:
            raise CommandError(f"Florin answered {response.status}: {response.data.decode()}")
        answer: dict[str, Any] = response.json()
        return answer


def connect_sandbox(demo: dict[str, str]) -> None:
    """Tell the sandbox where this installation takes its webhooks; the same twice is once."""
    account = ProviderAccount.objects.get(pk=demo["provider_account"])
    response = urllib3.request(
        "POST",
        f"{settings.FLORIN_SANDBOX_URL}/v1/webhook_endpoints",
        json={
            "url": address_of(account.endpoints.earliest("pk")),
            "secret": demo["sandbox_webhook_secret"],
        },
        headers={"Authorization": f"Bearer {demo['sandbox_secret_key']}"},
        timeout=10.0,
    )
    if response.status not in (200, 201):
        raise CommandError(f"The sandbox refused our webhook address: {response.data.decode()}")


def _ensure_endpoint(merchant: MerchantClient, demo: dict[str, str], url: str) -> None:
    """Register the merchant's endpoint; its secret is shown once. One that an interrupted run left
    behind is removed first.
    """
    _remove_endpoint(merchant, demo)
    endpoint = merchant.post(
        "/v1/webhook_endpoints", {"url": url, "event_types": ["*"]}, expected=201
    )
    demo |= {"endpoint_id": endpoint["id"], "endpoint_secret": endpoint["secret"]}
    write_demo_file(demo)


def _remove_endpoint(merchant: MerchantClient, demo: dict[str, str]) -> None:
    """Take the endpoint away again: its receiver ends with this command, and what nobody receives
    would be tried for days.
    """
    endpoint_id = demo.pop("endpoint_id", "")
    if endpoint_id:
        merchant.delete(f"/v1/webhook_endpoints/{endpoint_id}")
        demo.pop("endpoint_secret", None)
        write_demo_file(demo)


def _wait_until_settled(
    merchant: MerchantClient, payment_id: str, receiver: Receiver
) -> dict[str, Any] | None:
    """Wait for the state and for the merchant's webhook about it; None when it did not come."""
    deadline = time.monotonic() + STEP_DEADLINE_SECONDS
    while time.monotonic() < deadline:
        announced = [
            event
            for event in list(receiver.received)
            if event["type"] == CONFIRMED_EVENT and event["data"]["object"]["id"] == payment_id
        ]
        if announced and merchant.get(f"/v1/payments/{payment_id}")["status"] == "settled":
            return announced[0]
        time.sleep(POLL_SECONDS)
    return None


def _print_judgement(
    console: Console, judgement: Judgement, announced: dict[str, Any] | None
) -> None:
    if announced is not None:
        console.print(
            f"The merchant received [bold]{announced['type']}[/] as {announced['webhook_id']}, "
            "signature valid."
        )
    for sentence, holds in judgement.expectations:
        console.print(f"  [{'green' if holds else 'red'}]{'✓' if holds else '✗'}[/] {sentence}")
