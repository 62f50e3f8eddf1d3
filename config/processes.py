"""The command line of every kind of process Florin consists of, in one place.

The supervisor of `make run`, the tests and the deployment examples start the same commands.
"""

from __future__ import annotations

import sys
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# A request that waits for a payment provider occupies a thread, not a core; more threads than one
# provider account may occupy (payments.providers.bulkhead), so that a hanging provider leaves some
# to others. The database pool of a worker process has one connection per thread, so no thread ever
# queues for one.
WEB_THREADS_PER_WORKER = 12
# Above this, further requests of a worker process wait in the socket's queue instead of memory.
_WEB_BACKPRESSURE = 64
_MANAGE = [sys.executable, str(BASE_DIR / "manage.py")]


def web(*, port: int, workers: int, static_folder: Path, host: str = "127.0.0.1") -> list[str]:
    """The merchant API and the back office: granian serving WSGI, static files by granian itself.

    Its environment should set FLORIN_DATABASE_POOL_SIZE to WEB_THREADS_PER_WORKER.
    """
    return [
        *(sys.executable, "-m", "granian", "config.wsgi:application", "--interface", "wsgi"),
        *("--host", host, "--port", str(port)),
        *("--workers", str(workers), "--blocking-threads", str(WEB_THREADS_PER_WORKER)),
        *("--backpressure", str(_WEB_BACKPRESSURE), "--no-ws", "--http", "1"),
        *("--no-access-log", "--respawn-failed-workers", "--workers-kill-timeout", "10"),
        *("--static-path-route", "/static", "--static-path-mount", str(static_folder)),
    ]


def stream(*, port: int, host: str = "127.0.0.1") -> list[str]:
    """Live status for payers' pages: granian serving ASGI, one process."""
    return [*_MANAGE, "serve_streams", "--host", host, "--port", str(port)]


def worker(*, concurrency: int = 2) -> list[str]:
    """The Celery worker: executes what a message woke it for."""
    return [
        *(sys.executable, "-m", "celery", "--app", "config", "worker"),
        *("--pool", "prefork", "--concurrency", str(concurrency), "--loglevel", "INFO"),
        *("--without-gossip", "--without-mingle"),
    ]


def beat(*, schedule_file: Path) -> list[str]:
    """The Celery scheduler; one per installation."""
    return [
        *(sys.executable, "-m", "celery", "--app", "config", "beat", "--loglevel", "INFO"),
        *("--schedule", str(schedule_file), "--pidfile", ""),
    ]


def sweeper() -> list[str]:
    """Completes whatever is due in PostgreSQL, whether or not Redis and the worker live."""
    return [*_MANAGE, "sweep"]


def sandbox_provider(*, port: int, data_folder: Path) -> list[str]:
    """The sandbox payment provider, an HTTP service of its own."""
    module = "payments.providers.sandbox.service"
    return [sys.executable, "-m", module, "--port", str(port), "--data", str(data_folder)]


def manage(*arguments: str) -> list[str]:
    """Any management command."""
    return [*_MANAGE, *arguments]
