"""Private servers whose database is migrated already, for tests that kill and crash them.

Migrating takes far longer than copying what was migrated. So the first who asks migrates a pair of
servers, stops it and keeps its data under `.florin/test`, named after all that shapes them, like
the template of the shared server; everybody works on a copy.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from config.embedded import PrivateServers, private_servers
from config.file_lock import locked
from config.postgres_server import OWNER
from tests.databases import folder, shape

_KEPT = 2


@contextlib.contextmanager
def migrated_servers(*, settings: Mapping[str, str] | None = None) -> Iterator[PrivateServers]:
    """A PostgreSQL with all migrations applied and an empty Redis for the length of a `with`."""
    with private_servers(copied_from=_migrated_home(), settings=settings) as private:
        yield private


def _migrated_home() -> Path:
    """Data of a PostgreSQL that has been migrated and stopped, made now if it is not there."""
    home = folder() / f"migrated-{shape(owner=OWNER)}"
    with locked(folder() / "migrated.lock"):
        if not home.exists():
            unfinished = home.with_name("migrated.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            with private_servers(migrated=True) as private:
                private.postgres.stop()
                unfinished.mkdir(mode=0o711)
                for name in ("postgres", "passwords.json", "secrets.env"):
                    source = private.postgres.home / name
                    subprocess.run(["cp", "--archive", source, unfinished], check=True)
            unfinished.rename(home)
            others = sorted(folder().glob("migrated-*"), key=lambda path: path.stat().st_ctime)
            for outdated in others[:-_KEPT]:
                shutil.rmtree(outdated)
    return home
