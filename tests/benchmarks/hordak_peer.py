"""django-hordak at work: the peer that one posting on one connection is measured against.

Run with the folder of its packages, and DATABASE_URL naming an empty database. Each line read is a
number of seconds to post for; the answer is a line of JSON, [postings, seconds]. A posting is what
Florin's benchmark posts, by hordak's own documented way: a transaction and three legs.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable

import dj_database_url
import django
from django.conf import settings
from django.core.management import call_command

_WALLETS = 1_000
_FILLED = 300


def main() -> None:
    """Migrate, fill, then post on demand until the input ends."""
    sys.path.append(sys.argv[1])
    settings.configure(
        DATABASES={
            "default": {**dj_database_url.parse(os.environ["DATABASE_URL"]), "CONN_MAX_AGE": None}
        },
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "mptt",
            "djmoney",
            "hordak",
        ],
        DEFAULT_CURRENCY="EUR",
        CURRENCIES=["EUR"],
        HORDAK_DECIMAL_PLACES=2,
        HORDAK_MAX_DIGITS=20,
        SECRET_KEY="benchmark",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    call_command("migrate", verbosity=0)
    post = _poster()
    for _ in range(_FILLED):
        post()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for line in sys.stdin:
        post()
        done, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < float(line):
            post()
            done += 1
        sys.stdout.write(json.dumps([done, seconds]) + "\n")
        sys.stdout.flush()


def _poster() -> Callable[[], None]:
    from django.db import transaction
    from hordak.models import (  # type: ignore[import-not-found]
        Account,
        Leg,
        Transaction,
    )
    from moneyed import Money  # type: ignore[import-not-found]

    def account(name: str, kind: str) -> Account:
        return Account(name=name, type=kind, currencies=["EUR"], lft=0, rght=0, tree_id=0, level=0)

    Account.objects.bulk_create(
        [
            account("clearing", "AS"),
            account("fees", "IN"),
            *(account(f"wallet {number}", "LI") for number in range(_WALLETS)),
        ]
    )
    clearing, fees, *wallets = Account.objects.order_by("id")

    def post() -> None:
        gross = random.randint(100, 9_000)
        fee = gross // 20
        with transaction.atomic():
            entry = Transaction.objects.create(description="Capture")
            Leg.objects.create(transaction=entry, account=clearing, debit=Money(gross, "EUR"))
            Leg.objects.create(
                transaction=entry, account=random.choice(wallets), credit=Money(gross - fee, "EUR")
            )
            Leg.objects.create(transaction=entry, account=fees, credit=Money(fee, "EUR"))

    return post


if __name__ == "__main__":
    main()
